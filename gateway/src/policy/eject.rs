//! Passive, temporary removal of a backend after its outcomes: a machine per backend. Never looks at other backends
//! (whether the pool can spare one is an argument) and never at probes.
//!
//! Two rests overlap freely: one after a 429 (neutral for the failure counters, over at the advised time) and one after
//! failures (growing). When the later one is over, one attempt at a time is a *trial*: a success puts the backend back in
//! service, a failure sends it away for longer, anything else gives the trial slot back.

use super::chance::Chance;
use super::throttle::{self, REST_MIN, Rest, Rests};
use super::window::Window;
use crate::domain::{Moment, Outcome, Throttle};
use std::time::Duration;

/// A trial of a backend that failed: after this it counts as lost, and another may start.
const TRIAL_LEASE: Duration = Duration::from_secs(10);
/// The same after a 429: a refusal comes at once, so a trial that is out this long was admitted.
const TRIAL_LEASE_THROTTLED: Duration = Duration::from_secs(2);
/// An ejection in a row is forgotten for each of this many `base` times in service.
const FORGET_AFTER_BASES: u32 = 6;
/// Doublings beyond this are cut by any sensible `max` anyway.
const DOUBLINGS_MAX: u32 = 16;

/// Parameters of ejection in one pool.
#[derive(Clone, Debug, PartialEq)]
pub struct Ejection {
    /// Consecutive failures that eject; zero switches this rule off.
    pub failures: u32,
    /// Share of failed attempts (0 to 1) within `window` that ejects; zero switches this rule off.
    pub failure_share: f64,
    /// Attempts within `window` before `failure_share` is looked at.
    pub attempts_min: u32,
    /// Window of `failure_share`.
    pub window: Duration,
    /// First ejection time; doubles with each ejection in a row.
    pub base: Duration,
    /// Longest ejection time after failures.
    pub max: Duration,
    /// Share of the pool (0 to 1) that failures may eject at a time; at least one backend always may be where there are two.
    pub share_max: f64,
    /// Rests after a 429.
    pub rests: Rests,
    /// Ejection time after a refusal of our credential or deployment.
    pub misconfigured: Duration,
    /// Spread of every ejection time as a share of it (0 to 1), always upwards.
    pub jitter: f64,
}

/// Why a backend rests.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Reason {
    /// It answered 429.
    RateLimited,
    /// It failed several times in a row.
    ConsecutiveFailures,
    /// Too large a share of its attempts failed.
    FailureShare,
    /// It refuses our credential or deployment.
    Misconfigured,
    /// It answered 429 to another gateway.
    Shared,
}

impl Reason {
    /// Every reason, for tables and tests.
    pub const ALL: [Self; 5] =
        [Self::RateLimited, Self::ConsecutiveFailures, Self::FailureShare, Self::Misconfigured, Self::Shared];

    /// Label in metrics and logs: a closed set.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::RateLimited => "rate_limited",
            Self::ConsecutiveFailures => "consecutive_failures",
            Self::FailureShare => "failure_share",
            Self::Misconfigured => "misconfigured",
            Self::Shared => "shared",
        }
    }
}

/// Where a backend stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// In service.
    Open,
    /// Set aside, for `reason`, until `until`; after that it waits for a trial.
    Resting {
        /// Why.
        reason: Reason,
        /// When a trial may start.
        until: Moment,
    },
    /// One attempt is out on trial.
    Trial {
        /// What it rested for.
        reason: Reason,
        /// When the trial counts as lost.
        until: Moment,
    },
}

impl Standing {
    /// Label in metrics and logs: a closed set.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::Open => "in_service",
            Self::Resting { .. } => "resting",
            Self::Trial { .. } => "trial",
        }
    }
}

/// A change of standing worth a log line and a metric.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Transition {
    /// Before.
    pub from: Standing,
    /// After.
    pub to: Standing,
}

/// What one attempt reports.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Report {
    /// What it came to.
    pub outcome: Outcome,
    /// What a 429 is about, where that is known.
    pub throttle: Option<Throttle>,
    /// How long it asks us to stay away.
    pub advice: Option<Duration>,
    /// When it started.
    pub started: Moment,
    /// The trial slot it held, by the lease that [`Machine::take_trial`] gave.
    pub trial: Option<Moment>,
    /// Its success was reported already, at its header.
    pub accepted: bool,
    /// The pool can spare this backend.
    pub spare: bool,
}

#[derive(Clone, Copy, Debug)]
struct Ejected {
    reason: Reason,
    until: Moment,
    since: Moment,
}

/// The machine of one backend.
#[derive(Clone, Debug, Default)]
pub struct Machine {
    /// End of the rest after a 429, and whose that was; kept past its time until a trial succeeds.
    throttled: Option<(Moment, Reason)>,
    /// The rest after failures; kept likewise.
    ejected: Option<Ejected>,
    /// When the trial under way counts as lost.
    trial: Option<Moment>,
    consecutive: u32,
    /// Attempts and failures.
    window: Window,
    /// Failure ejections in a row.
    row: u32,
    /// When the backend last came back from a failure ejection.
    returned: Moment,
}

impl Machine {
    /// Where the backend stands at `now`.
    #[must_use]
    pub fn standing(&self, now: Moment) -> Standing {
        let Some((reason, until)) = self.rest() else { return Standing::Open };
        match self.trial {
            Some(lease) if until <= now && lease > now => Standing::Trial { reason, until: lease },
            _ => Standing::Resting { reason, until },
        }
    }

    /// Whether it rests (or waits for its trial) because of failures that are not a refusal of us.
    #[must_use]
    pub fn is_failing(&self) -> bool {
        self.ejected.is_some_and(|e| e.reason != Reason::Misconfigured)
    }

    /// The end of the rest after a 429; past or future, until a trial succeeds.
    #[must_use]
    pub fn throttled_until(&self) -> Option<Moment> {
        self.throttled.map(|(until, _)| until)
    }

    /// What is left of the rest after a 429 of our own.
    #[must_use]
    pub fn own_rest(&self, now: Moment) -> Option<Duration> {
        let (until, _) = self.throttled.filter(|(until, reason)| *until > now && *reason == Reason::RateLimited)?;
        Some(now.until(until))
    }

    /// The end of the longest rest; past or future, until a trial succeeds.
    #[must_use]
    pub fn rest_until(&self) -> Option<Moment> {
        self.rest().map(|(_, until)| until)
    }

    /// When the trial under way counts as lost.
    #[must_use]
    pub const fn trial_until(&self) -> Option<Moment> {
        self.trial
    }

    /// Whether it was set aside for refusing our credential or deployment.
    #[must_use]
    pub fn is_misconfigured(&self) -> bool {
        self.ejected.is_some_and(|e| e.reason == Reason::Misconfigured)
    }

    /// Failures in a row.
    #[must_use]
    pub const fn consecutive_failures(&self) -> u32 {
        self.consecutive
    }

    /// Takes the trial slot when the rest is over and no trial is under way; the moment it counts as lost.
    pub fn take_trial(&mut self, now: Moment) -> Option<Moment> {
        match self.standing(now) {
            Standing::Resting { until, .. } if until <= now => {
                let lease = now.after(if self.ejected.is_some() { TRIAL_LEASE } else { TRIAL_LEASE_THROTTLED });
                self.trial = Some(lease);
                Some(lease)
            }
            _ => None,
        }
    }

    /// Gives the trial slot back without a verdict.
    ///
    /// The slot is known by its lease: a trial that was given up for lost must not free its successor's slot.
    pub fn return_trial(&mut self, lease: Moment) {
        if self.trial == Some(lease) {
            self.trial = None;
        }
    }

    /// Lifts an ejection for misconfiguration: our credential changed.
    pub fn forgive_misconfiguration(&mut self) {
        if self.is_misconfigured() {
            self.ejected = None;
        }
    }

    /// Takes one attempt's report in.
    pub fn record(&mut self, report: &Report, params: &Ejection, now: Moment, draw: u64) -> Option<Transition> {
        let from = self.standing(now);
        if let Some(lease) = report.trial {
            self.return_trial(lease);
        }
        let mut chance = Chance::new(draw);
        match report.outcome {
            outcome if outcome.is_throttled() => {
                let kind = report.throttle.unwrap_or(Throttle::Unknown);
                let rest = throttle::rest(kind, report.advice, &params.rests);
                self.throttle(Reason::RateLimited, rest, params, now, &mut chance);
            }
            outcome if outcome.is_misconfiguration() => {
                self.set_aside(Reason::Misconfigured, params.misconfigured, params, now, &mut chance);
            }
            outcome if outcome.is_success() => self.succeed(report, params, now),
            outcome if outcome.is_failure() => self.fail(report, params, now, &mut chance),
            _ => {}
        }
        news(from, self.standing(now), now)
    }

    /// Another gateway was answered 429 and leaves the backend alone for `rest`. One that is almost over, or that is not
    /// longer than what is known, changes nothing.
    pub fn hear(&mut self, rest: Duration, params: &Ejection, now: Moment, draw: u64) -> Option<Transition> {
        let known = self.throttled.map_or(Duration::ZERO, |(until, _)| now.until(until));
        if rest < known.saturating_add(REST_MIN) {
            return None;
        }
        let from = self.standing(now);
        let rest = Rest { time: rest.max(REST_MIN).min(params.rests.max), exact: false };
        self.throttle(Reason::Shared, rest, params, now, &mut Chance::new(draw));
        news(from, self.standing(now), now)
    }

    /// The rest in force: the one that ends later, where both are.
    fn rest(&self) -> Option<(Reason, Moment)> {
        let ejected = self.ejected.map(|e| (e.reason, e.until));
        let throttled = self.throttled.map(|(until, reason)| (reason, until));
        match (ejected, throttled) {
            (Some(a), Some(b)) if b.1 > a.1 => Some(b),
            (a, b) => a.or(b),
        }
    }

    fn throttle(&mut self, reason: Reason, rest: Rest, params: &Ejection, now: Moment, chance: &mut Chance) {
        let time = if rest.exact { rest.time } else { jittered(rest.time, params, chance) };
        let until = now.after(time);
        if self.throttled.is_none_or(|(standing, _)| until > standing) {
            self.throttled = Some((until, reason));
        }
    }

    fn set_aside(&mut self, reason: Reason, rest: Duration, params: &Ejection, now: Moment, chance: &mut Chance) {
        self.ejected = Some(Ejected { reason, until: now.after(jittered(rest, params, chance)), since: now });
        self.trial = None;
        self.forget_counts();
    }

    fn succeed(&mut self, report: &Report, params: &Ejection, now: Moment) {
        if report.accepted {
            return;
        }
        let recent = self.ejected.is_none_or(|e| report.started >= e.since);
        if report.trial.is_some() {
            self.throttled = None;
        }
        if self.ejected.is_some() && recent {
            // A trial, or an attempt made in need while it rested: either way it works again.
            self.ejected = None;
            self.trial = None;
            self.returned = now;
            self.forget_counts();
        }
        if recent {
            self.consecutive = 0;
            self.window.add([1, 0], params.window, now);
        }
    }

    fn fail(&mut self, report: &Report, params: &Ejection, now: Moment, chance: &mut Chance) {
        match self.ejected {
            Some(e) if report.trial.is_some() => return self.eject(e.reason, params, now, chance),
            // From before the ejection, or made in need during it: one ejection answers for them all.
            Some(_) => return,
            None => {}
        }
        self.consecutive = self.consecutive.saturating_add(1);
        self.window.add([u32::from(!report.accepted), 1], params.window, now);
        if let Some(reason) = self.grounds(params, now).filter(|_| report.spare) {
            self.eject(reason, params, now, chance);
        }
    }

    fn grounds(&self, params: &Ejection, now: Moment) -> Option<Reason> {
        if params.failures > 0 && self.consecutive >= params.failures {
            return Some(Reason::ConsecutiveFailures);
        }
        let [attempts, failures] = self.window.sums(params.window, now);
        let enough = params.failure_share > 0.0 && attempts >= u64::from(params.attempts_min.max(1));
        (enough && failures as f64 >= params.failure_share * attempts as f64).then_some(Reason::FailureShare)
    }

    fn eject(&mut self, reason: Reason, params: &Ejection, now: Moment, chance: &mut Chance) {
        if self.ejected.is_none() {
            let served = now.since(self.returned).as_micros();
            let forget = params.base.saturating_mul(FORGET_AFTER_BASES).as_micros().max(1);
            self.row = self.row.saturating_sub(u32::try_from(served / forget).unwrap_or(u32::MAX));
        }
        let rest = params.base.saturating_mul(1 << self.row.min(DOUBLINGS_MAX)).min(params.max);
        self.row = self.row.saturating_add(1).min(DOUBLINGS_MAX);
        // A refusal of us that turned into failures is a failure now.
        let reason = if reason == Reason::Misconfigured { Reason::ConsecutiveFailures } else { reason };
        self.set_aside(reason, rest, params, now, chance);
    }

    fn forget_counts(&mut self) {
        self.consecutive = 0;
        self.window.clear();
    }
}

/// A change of standing, where it is one worth telling.
fn news(from: Standing, to: Standing, now: Moment) -> Option<Transition> {
    let told = match (from, to) {
        (Standing::Open, Standing::Open) | (Standing::Trial { .. }, Standing::Trial { .. }) => false,
        (Standing::Resting { reason: a, until: x }, Standing::Resting { reason: b, until: y }) => a != b || y > x,
        // A trial slot given back is no news; a trial that ends in a new rest is.
        (Standing::Trial { .. }, Standing::Resting { until, .. }) => until > now,
        _ => true,
    };
    told.then_some(Transition { from, to })
}

fn jittered(rest: Duration, params: &Ejection, chance: &mut Chance) -> Duration {
    rest.saturating_add(rest.mul_f64(params.jitter.clamp(0.0, 1.0) * chance.share()))
}

mod revise;
pub use revise::Recorded;

#[cfg(test)]
mod tests;
