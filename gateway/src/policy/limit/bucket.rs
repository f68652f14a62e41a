//! A [`Bucket`]: one measure of one limit for one chain of values. What is taken never exceeds the ceiling; only what was
//! used in the end can, and is then owed: nothing is given until it has slid out or its period has ended.

use super::calendar::Calendar;
use super::sliding::Sliding;
use super::{Now, Rule, Window};
use std::time::Duration;

/// Told where nothing says when a request under way will end.
const HELD_RETRY: Duration = Duration::from_secs(1);

/// The live counter of one ceiling.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bucket {
    /// Over a sliding window.
    Sliding(Sliding),
    /// Over a calendar window.
    Calendar(Calendar),
    /// What has not ended.
    Held(u32),
}

/// Where something was counted, to take it back from there.
pub type Mark = u32;

/// How a bucket stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Standing {
    /// The ceiling.
    pub max: u64,
    /// What may still be taken.
    pub remaining: u64,
    /// What was used above the ceiling.
    pub owed: u64,
    /// When it will be empty again, if nothing more is taken.
    pub reset: Duration,
}

impl Bucket {
    /// An empty one.
    #[must_use]
    pub fn new(window: Window) -> Self {
        match window {
            Window::Sliding(_) => Self::Sliding(Sliding::default()),
            Window::Calendar(_) => Self::Calendar(Calendar::default()),
            Window::Held => Self::Held(0),
        }
    }

    /// Takes `amount`, or says how long until there will be so much. More than the ceiling is never there: of such a
    /// request the whole ceiling is taken.
    ///
    /// # Errors
    /// The time until it would be given, if nothing else is taken meanwhile.
    pub fn take(&mut self, rule: &Rule, amount: u64, now: Now) -> Result<(u64, Mark), Duration> {
        let amount = amount.min(rule.max);
        let used = self.used(rule, now);
        if rule.max == 0 || used.saturating_add(amount) > rule.max {
            return Err(self.until(rule, amount, now));
        }
        Ok((amount, self.add(rule, amount, now)))
    }

    /// Counts `amount`, whether it is there or not.
    pub fn add(&mut self, rule: &Rule, amount: u64, now: Now) -> Mark {
        match (self, rule.window) {
            (Self::Sliding(window), Window::Sliding(per)) => window.add(amount, per, now),
            (Self::Calendar(window), Window::Calendar(period)) => window.add(amount, period, now),
            (Self::Held(count), _) => {
                *count = count.saturating_add(u32::try_from(amount).unwrap_or(u32::MAX));
                0
            }
            // A bucket is found by its window: no other can come here.
            _ => 0,
        }
    }

    /// Takes back what was counted at `mark`: as much of it as still counts, which is returned.
    pub fn take_back(&mut self, amount: u64, mark: Mark) -> u64 {
        match self {
            Self::Sliding(window) => window.take_back(amount, mark),
            Self::Calendar(window) => window.take_back(amount, mark),
            Self::Held(count) => {
                let back = u32::try_from(amount).unwrap_or(u32::MAX).min(*count);
                *count -= back;
                u64::from(back)
            }
        }
    }

    /// How it stands.
    pub fn standing(&mut self, rule: &Rule, now: Now) -> Standing {
        let used = self.used(rule, now);
        let reset = match (&mut *self, rule.window) {
            (Self::Sliding(window), Window::Sliding(per)) => window.until(0, per, now),
            (Self::Calendar(window), Window::Calendar(period)) => window.until_end(period, now),
            _ => Duration::ZERO,
        };
        let (remaining, owed) = (rule.max.saturating_sub(used), used.saturating_sub(rule.max));
        Standing { max: rule.max, remaining, owed, reset }
    }

    /// It is as good as a new one.
    #[must_use]
    pub fn is_over(&self, now: Now) -> bool {
        match self {
            Self::Sliding(window) => window.is_over(now),
            Self::Calendar(window) => window.is_over(now),
            Self::Held(count) => *count == 0,
        }
    }

    /// What is counted now.
    pub fn used(&mut self, rule: &Rule, now: Now) -> u64 {
        match (self, rule.window) {
            (Self::Sliding(window), Window::Sliding(per)) => window.used(per, now),
            (Self::Calendar(window), Window::Calendar(period)) => window.used(period, now),
            (Self::Held(count), _) => u64::from(*count),
            _ => 0,
        }
    }

    /// How long until `amount` can be taken.
    fn until(&mut self, rule: &Rule, amount: u64, now: Now) -> Duration {
        match (self, rule.window) {
            // Of a ceiling of zero nothing is ever there.
            (Self::Sliding(_), Window::Sliding(per)) if rule.max == 0 => per,
            (Self::Sliding(window), Window::Sliding(per)) => window.until(rule.max - amount, per, now),
            (Self::Calendar(window), Window::Calendar(period)) => window.until_end(period, now),
            _ => HELD_RETRY,
        }
    }
}
