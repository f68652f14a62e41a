//! [`Policy`]: the order of a screening. Custom rules by priority come first, then the built-in rules, then the score.
//!
//! It never counts or reads a clock: a [`Limiter`] does.

use super::body::Refused;
use super::custom::{Action, Key, Match, RateLimit, Rule};
use super::finding::{ANOMALY_RULE, Deed, Finding, Findings, Mode, Ruling};
use super::view::View;
use std::fmt::Debug;
use std::sync::Arc;
use std::time::Duration;

/// Variable of the finding that a reached threshold makes.
const ANOMALY_VARIABLE: &str = "Score";

/// One policy, ready to run.
#[derive(Clone, Debug)]
pub struct Policy {
    /// Its name in log and metrics.
    pub name: Arc<str>,
    /// What it does about what it finds; never [`Mode::Off`]: such a policy is not run at all.
    pub mode: Mode,
    /// The score that blocks.
    pub threshold: u32,
    /// Status of a block.
    pub block_status: u16,
    /// Body of a block; the usual error where there is none.
    pub block_body: Option<Arc<str>>,
    /// Where a redirect leads; set where a rule redirects.
    pub redirect_url: Option<Arc<str>>,
    /// Bytes of a body that conditions look at.
    pub body_size_max: usize,
    /// Custom rules that are not off, by priority.
    pub rules: Vec<Rule>,
    /// What comes after the custom rules.
    pub sources: Vec<Arc<dyn Source>>,
}

/// Rules that are not custom: the built-in ones, or another rule set. All score toward one threshold.
pub trait Source: Debug + Send + Sync {
    /// Adds what it finds in the envelope, with `mode` as the policy's.
    fn inspect(&self, view: &View<'_>, mode: Mode, findings: &mut Findings);

    /// Adds what it finds in the body of an inference request; why that is refused, where it is.
    fn inspect_body(&self, _kind: Option<&[u8]>, _body: &[u8], _findings: &mut Findings) -> Option<Refused> {
        None
    }

    /// The ids that its findings may carry: the closed set of a metric's label.
    fn rules(&self) -> Vec<Arc<str>>;
}

/// Counts for rate limits.
pub trait Limiter {
    /// Counts a request; when it is one too many, how long until the window ends.
    fn take(&self, limit: &RateLimit, key: &Key<'_>) -> Option<Duration>;
}

/// One request on its way through a policy.
#[derive(Debug, Default)]
pub struct Screening {
    findings: Findings,
    /// A rule passed the request: nothing else judges it.
    allowed: bool,
    /// Rules whose other conditions hold and that wait for the body, and what comes after them.
    waiting: Vec<Waiting>,
}

#[derive(Debug)]
struct Waiting {
    rule: usize,
    needs_body: bool,
    found: Match,
    key: Option<Key<'static>>,
}

/// What a rule that matched does to the request's way.
enum Turn {
    Next,
    Allowed,
    Stop(Ruling),
}

impl Policy {
    /// Whether a rule asks where an address is registered.
    #[must_use]
    pub fn needs_place(&self) -> bool {
        self.rules.iter().any(Rule::needs_place)
    }

    /// Judges what is known before the body is read; `None` where the body decides.
    pub fn envelope(&self, view: &View<'_>, limiter: &dyn Limiter, screening: &mut Screening) -> Option<Ruling> {
        for (index, rule) in self.rules.iter().enumerate() {
            let needs_body = rule.needs_body();
            let Some(found) = rule.judge(view, false) else { continue };
            if needs_body || !screening.waiting.is_empty() {
                // From here on the order of priorities waits for the body.
                let key = key(rule, view).map(Key::into_owned);
                screening.waiting.push(Waiting { rule: index, needs_body, found, key });
                continue;
            }
            match self.act(rule, found, key(rule, view).as_ref(), (limiter, &mut screening.findings)) {
                Turn::Next => {}
                Turn::Allowed => {
                    screening.allowed = true;
                    return Some(Ruling::Pass);
                }
                Turn::Stop(ruling) => return Some(ruling),
            }
        }
        screening.waiting.is_empty().then(|| self.conclude(view, &mut screening.findings))
    }

    /// Judges the rest, once the body is read.
    pub fn body(&self, view: &View<'_>, limiter: &dyn Limiter, screening: &mut Screening) -> Ruling {
        for waiting in std::mem::take(&mut screening.waiting) {
            let Some(rule) = self.rules.get(waiting.rule) else { continue };
            let found = if waiting.needs_body {
                let Some(found) = rule.judge(view, true) else { continue };
                found
            } else {
                waiting.found
            };
            match self.act(rule, found, waiting.key.as_ref(), (limiter, &mut screening.findings)) {
                Turn::Next => {}
                Turn::Allowed => {
                    screening.allowed = true;
                    return Ruling::Pass;
                }
                Turn::Stop(ruling) => return ruling,
            }
        }
        self.conclude(view, &mut screening.findings)
    }

    /// Judges the body of an inference request, of the media type `kind`, by its shape.
    pub fn shape(&self, kind: Option<&[u8]>, body: &[u8], screening: &mut Screening) -> Option<Refused> {
        if screening.allowed {
            return None;
        }
        let inspect = |source: &Arc<dyn Source>| source.inspect_body(kind, body, &mut screening.findings);
        // Every source is heard, the first refusal counts.
        self.sources.iter().map(inspect).fold(None, Option::or)
    }

    /// A rule matches: its finding is noted, and what it does is done where it may.
    fn act(
        &self,
        rule: &Rule,
        found: Match,
        key: Option<&Key<'_>>,
        (limiter, findings): (&dyn Limiter, &mut Findings),
    ) -> Turn {
        let wait = match (&rule.action, key) {
            (Action::RateLimit(limit), Some(key)) => match limiter.take(limit, key) {
                Some(wait) => Some(wait),
                None => return Turn::Next,
            },
            _ => None,
        };
        let score = if let Action::AnomalyScore(severity) = rule.action { severity.score() } else { 0 };
        let (variable, data) = (found.variable.unwrap_or_else(|| Arc::from("")), found.data);
        findings.add(Finding {
            rule: Arc::clone(&rule.name),
            variable,
            data,
            score,
            deed: rule.deed(),
            mode: rule.mode,
        });
        match (&rule.action, rule.mode) {
            // A policy that only detects passes what it would pass, so that its log shows what it would do.
            (Action::Allow, _) => Turn::Allowed,
            (Action::Log | Action::AnomalyScore(_), _) | (_, Mode::Detect | Mode::Off) => Turn::Next,
            (Action::Block, Mode::Prevent) => Turn::Stop(self.block()),
            (Action::Redirect, Mode::Prevent) => Turn::Stop(match &self.redirect_url {
                Some(location) => Ruling::Redirect { location: Arc::clone(location) },
                None => self.block(),
            }),
            (Action::RateLimit(_), Mode::Prevent) => {
                Turn::Stop(Ruling::RateLimited { retry_after: wait.unwrap_or_default() })
            }
        }
    }

    /// After the custom rules: the other sources, then the score.
    fn conclude(&self, view: &View<'_>, findings: &mut Findings) -> Ruling {
        for source in &self.sources {
            source.inspect(view, self.mode, findings);
        }
        let (score, observed) = (findings.score(), findings.observed());
        if observed < self.threshold {
            return Ruling::Pass;
        }
        let mode = if score >= self.threshold { Mode::Prevent } else { Mode::Detect };
        findings.add(Finding {
            rule: Arc::from(ANOMALY_RULE),
            variable: Arc::from(ANOMALY_VARIABLE),
            data: if mode == Mode::Prevent { score } else { observed }.to_string(),
            score: 0,
            deed: Deed::Block,
            mode,
        });
        if mode == Mode::Prevent { self.block() } else { Ruling::Pass }
    }

    fn block(&self) -> Ruling {
        Ruling::Block { status: self.block_status, body: self.block_body.clone() }
    }
}

impl Screening {
    /// What was found so far.
    #[must_use]
    pub const fn findings(&self) -> &Findings {
        &self.findings
    }
}

fn key<'a>(rule: &Rule, view: &View<'a>) -> Option<Key<'a>> {
    match &rule.action {
        Action::RateLimit(limit) => Some(limit.group.key(view)),
        _ => None,
    }
}

#[cfg(test)]
mod tests;
