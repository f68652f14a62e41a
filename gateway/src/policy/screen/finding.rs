//! [`Finding`]s, their scores, and the [`Ruling`] they lead to. It never knows how a finding was made.

use super::redact::redacted;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

/// The score at which a request is blocked, unless a policy says otherwise.
pub const THRESHOLD: u32 = 5;
/// Matched data kept of one finding, in bytes.
pub const DATA_LENGTH_MAX: usize = 128;
/// Findings kept of one request; more are counted only.
pub const FINDINGS_MAX: usize = 16;
/// Rule id of the finding that a reached threshold makes, as Front Door logs it.
pub const ANOMALY_RULE: &str = "949110";

/// What a policy or a rule does about what it finds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mode {
    /// Not looked for.
    Off,
    /// Logged and counted.
    #[default]
    Detect,
    /// Logged, counted and acted on.
    Prevent,
}

/// How grave a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Severity {
    /// Scores 5: blocks on its own.
    Critical,
    /// Scores 4.
    Error,
    /// Scores 3.
    Warning,
    /// Scores 2.
    Notice,
}

/// What a rule does when it matches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Deed {
    /// Passes the request, the built-in rules included.
    Allow,
    /// Refuses it.
    Block,
    /// Notes it.
    Log,
    /// Sends the client elsewhere.
    Redirect,
    /// Adds to the request's score.
    AnomalyScore,
    /// Refuses what comes too often.
    RateLimit,
}

/// One rule that matched.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// The rule's id or name.
    pub rule: Arc<str>,
    /// Where: `QueryString`, `RequestHeader:user-agent` ….
    pub variable: Arc<str>,
    /// The matched data, cut to [`DATA_LENGTH_MAX`] and without secrets; empty where there is none to show.
    pub data: String,
    /// What it adds to the request's score.
    pub score: u32,
    /// What the rule does.
    pub deed: Deed,
    /// Whether it was acted on ([`Mode::Prevent`]) or only noted.
    pub mode: Mode,
}

/// What rules have found in one request.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Findings {
    kept: Vec<Finding>,
    /// Findings beyond [`FINDINGS_MAX`].
    dropped: u32,
    /// Score of the rules that are acted on.
    score: u32,
    /// Score of all rules.
    observed: u32,
}

/// What a policy says about a request.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Ruling {
    /// On its way.
    #[default]
    Pass,
    /// Refused.
    Block {
        /// The policy's status.
        status: u16,
        /// The policy's body; the usual error where there is none.
        body: Option<Arc<str>>,
    },
    /// Sent elsewhere.
    Redirect {
        /// Value of `location`.
        location: Arc<str>,
    },
    /// Refused for now.
    RateLimited {
        /// When to come back.
        retry_after: Duration,
    },
}

impl Mode {
    /// The word in configuration and log.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::Off => "off",
            Self::Detect => "detect",
            Self::Prevent => "prevent",
        }
    }

    /// A rule's own mode under its policy's: a policy that detects never lets a rule act, and one that is off is off.
    #[must_use]
    pub const fn under(self, policy: Self) -> Self {
        match (self, policy) {
            (Self::Off, _) | (_, Self::Off) => Self::Off,
            (Self::Prevent, Self::Prevent) => Self::Prevent,
            _ => Self::Detect,
        }
    }
}

impl Severity {
    /// What it adds to a request's score.
    #[must_use]
    pub const fn score(self) -> u32 {
        match self {
            Self::Critical => 5,
            Self::Error => 4,
            Self::Warning => 3,
            Self::Notice => 2,
        }
    }
}

impl Deed {
    /// The word in configuration, log and metrics.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::Allow => "allow",
            Self::Block => "block",
            Self::Log => "log",
            Self::Redirect => "redirect",
            Self::AnomalyScore => "anomaly_score",
            Self::RateLimit => "rate_limit",
        }
    }
}

impl Finding {
    /// A finding in `range` of `value`. `secret` hides the data altogether: the variable's name says it is a credential.
    #[must_use]
    pub fn data_of(value: &[u8], range: Range<usize>, secret: bool) -> String {
        if secret { "***".to_owned() } else { redacted(value, range, DATA_LENGTH_MAX) }
    }
}

impl Findings {
    /// Adds one. Its score counts toward the threshold where its rule is acted on.
    pub fn add(&mut self, finding: Finding) {
        self.observed = self.observed.saturating_add(finding.score);
        if finding.mode == Mode::Prevent {
            self.score = self.score.saturating_add(finding.score);
        }
        if self.kept.len() < FINDINGS_MAX {
            self.kept.push(finding);
        } else {
            self.dropped = self.dropped.saturating_add(1);
        }
    }

    /// The findings kept, in the order of their making.
    #[must_use]
    pub fn kept(&self) -> &[Finding] {
        &self.kept
    }

    /// How many more there were.
    #[must_use]
    pub const fn dropped(&self) -> u32 {
        self.dropped
    }

    /// No rule matched.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.kept.is_empty()
    }

    /// Score of the rules that are acted on.
    #[must_use]
    pub const fn score(&self) -> u32 {
        self.score
    }

    /// Score of all rules, those that only detect included.
    #[must_use]
    pub const fn observed(&self) -> u32 {
        self.observed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn finding(score: u32, mode: Mode) -> Finding {
        let (rule, variable) = (Arc::from("r"), Arc::from("QueryString"));
        Finding { rule, variable, data: String::new(), score, deed: Deed::AnomalyScore, mode }
    }

    #[test]
    fn only_rules_that_are_acted_on_score() {
        let mut findings = Findings::default();
        findings.add(finding(Severity::Warning.score(), Mode::Detect));
        findings.add(finding(Severity::Notice.score(), Mode::Prevent));
        assert_eq!((findings.score(), findings.observed()), (2, 5));
        for _ in 0..FINDINGS_MAX {
            findings.add(finding(Severity::Critical.score(), Mode::Prevent));
        }
        assert_eq!((findings.kept().len(), findings.dropped(), findings.score()), (FINDINGS_MAX, 2, 82));
    }

    #[test]
    fn a_rule_never_acts_beyond_its_policy() {
        for (rule, policy, both) in [
            (Mode::Prevent, Mode::Prevent, Mode::Prevent),
            (Mode::Prevent, Mode::Detect, Mode::Detect),
            (Mode::Detect, Mode::Prevent, Mode::Detect),
            (Mode::Off, Mode::Prevent, Mode::Off),
            (Mode::Prevent, Mode::Off, Mode::Off),
        ] {
            assert_eq!(rule.under(policy), both);
        }
        let scores = [Severity::Critical, Severity::Error, Severity::Warning, Severity::Notice].map(Severity::score);
        assert_eq!(scores, [5, 4, 3, 2]);
    }
}
