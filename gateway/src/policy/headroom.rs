//! How much of its quota a backend has left, as far as we can know: what is configured or told, less what we took, corrected
//! by the header of every answer. It steers and never refuses: a backend of which nothing is known always has room.
//!
//! Azure counts tokens at admission, by estimate, and begins anew each minute; requests it counts over ten seconds, and
//! from 600 a minute on over each second too, refused ones included. When its minute begins only a header tells. What a
//! header told is believed for five minutes, so that a wrong number does not keep a backend idle for good.

use super::provisioned::Provisioned;
use super::window::Window;
use crate::domain::{Budgets, Cost, Moment, Quota, Told};
use std::time::Duration;

/// Tokens begin anew after this long.
const MINUTE: Duration = Duration::from_secs(60);
/// Longest that a limit is believed after it was last told.
const TOLD_KEPT: Duration = Duration::from_secs(300);
/// Resets are told in whole seconds, rounded up.
const RESET_GRAIN: Duration = Duration::from_secs(1);
/// Requests are counted over 10 s and over 1 s. Ten sub-windows of which one is under way: a ninth is added, so that they
/// cover Azure's window wherever it begins.
const TEN_SECONDS: Duration = Duration::from_millis(11_112);
const ONE_SECOND: Duration = Duration::from_millis(1_112);
/// From this many requests a minute on, each second is bounded too.
const SECOND_FROM: u64 = 600;
/// An answer that took longer tells of requests that are no longer counted.
const REQUESTS_FRESH: Duration = Duration::from_secs(10);

/// What an attempt remembers of the quota that it took from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mark {
    started: Moment,
    cost: Cost,
    /// Everything taken up to and with this attempt.
    tokens: u64,
    requests: u64,
    /// The minute it fell into.
    minute: u64,
}

/// What is left of both quotas; absent where nothing is known.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Left {
    /// Tokens until the next minute begins.
    pub tokens: Option<u64>,
    /// Of how many.
    pub tokens_limit: Option<u64>,
    /// Requests that may be sent now.
    pub requests: Option<u64>,
    /// Of how many a minute.
    pub requests_limit: Option<u64>,
    /// A limit was told that is below the configured one.
    pub cut: bool,
}

/// The model of one backend, or of several that share a quota.
#[derive(Clone, Debug, Default)]
pub struct Headroom {
    tokens: Tokens,
    requests: Requests,
    provisioned: Provisioned,
}

impl Headroom {
    /// Takes the configured quota in, at start and after a reload.
    pub fn configure(&mut self, quota: Quota) {
        if self.tokens.limit.configured != quota.tokens {
            self.tokens.limit.configured = quota.tokens;
            self.tokens.left = None;
        }
        self.requests.limit.configured = quota.requests;
        self.provisioned.configure(quota.tokens);
    }

    /// Whether anything is known.
    #[must_use]
    pub const fn is_known(&self) -> bool {
        self.tokens.limit.is_known() || self.requests.limit.is_known() || self.tokens.left.is_some()
    }

    /// Whether an attempt of this cost has room.
    #[must_use]
    pub fn has_room(&self, cost: Cost, now: Moment) -> bool {
        self.tokens.left(now).is_none_or(|left| cost.tokens <= left)
            && self.requests.left(now).is_none_or(|left| left > 0)
    }

    /// Takes an attempt's cost, room or not.
    pub fn take(&mut self, cost: Cost, now: Moment) -> Mark {
        self.tokens.take(cost.tokens, now);
        self.requests.take(now);
        self.provisioned.charge(cost.tokens, now);
        Mark {
            started: now,
            cost,
            tokens: self.tokens.taken,
            requests: self.requests.taken,
            minute: self.tokens.minute,
        }
    }

    /// Gives the tokens of an attempt back that the backend has never seen.
    pub fn give_back(&mut self, mark: &Mark) {
        self.tokens.give_back(mark);
    }

    /// Takes in what the header of an attempt's answer tells.
    pub fn correct(&mut self, told: &Budgets, mark: &Mark, now: Moment) {
        if is_sound(&told.tokens) {
            self.tokens.correct(&told.tokens, mark, now);
        }
        if is_sound(&told.requests) {
            self.requests.correct(&told.requests, mark, now);
        }
    }

    /// How full a provisioned deployment is, to tell it what happened there.
    pub const fn provisioned(&mut self) -> &mut Provisioned {
        &mut self.provisioned
    }

    /// How full it is, where it has turned out to be a provisioned deployment.
    #[must_use]
    pub fn utilization(&self, now: Moment) -> Option<f64> {
        self.provisioned.utilization(now).filter(|_| self.provisioned.is_seen())
    }

    /// What is left at `now`.
    #[must_use]
    pub fn left(&self, now: Moment) -> Left {
        Left {
            tokens: self.tokens.left(now),
            tokens_limit: self.tokens.limit.get(now),
            requests: self.requests.left(now),
            requests_limit: self.requests.limit.get(now),
            cut: self.tokens.limit.is_cut(now) || self.requests.limit.is_cut(now),
        }
    }
}

/// A limit of zero, and more left than the whole, are no numbers of a quota.
fn is_sound(told: &Told) -> bool {
    told.limit != Some(0) && told.limit.zip(told.remaining).is_none_or(|(limit, remaining)| remaining <= limit)
}

/// One limit: the configured one, and what was told last.
#[derive(Clone, Copy, Debug, Default)]
struct Limit {
    configured: Option<u64>,
    told: Option<(u64, Moment)>,
}

impl Limit {
    const fn is_known(&self) -> bool {
        self.configured.is_some() || self.told.is_some()
    }

    fn told(&self, now: Moment) -> Option<u64> {
        self.told.filter(|(_, until)| *until > now).map(|(limit, _)| limit)
    }

    /// The configured one, or the one told where that is lower or nothing is configured.
    fn get(&self, now: Moment) -> Option<u64> {
        let told = self.told(now);
        self.configured.map_or(told, |configured| Some(told.map_or(configured, |told| told.min(configured))))
    }

    fn is_cut(&self, now: Moment) -> bool {
        self.configured.zip(self.told(now)).is_some_and(|(configured, told)| told < configured)
    }

    fn tell(&mut self, told: Option<u64>, now: Moment) {
        if let Some(limit) = told {
            self.told = Some((limit, now.after(TOLD_KEPT)));
        }
    }
}

/// Tokens, counted in minutes.
#[derive(Clone, Copy, Debug, Default)]
struct Tokens {
    limit: Limit,
    /// Of the minute under way; absent: the whole limit.
    left: Option<u64>,
    /// When the next minute begins.
    reset_at: Moment,
    /// A header has told when; else it is a minute after the first attempt.
    reset_told: bool,
    /// Counts the minutes.
    minute: u64,
    /// Everything ever taken.
    taken: u64,
}

impl Tokens {
    fn left(&self, now: Moment) -> Option<u64> {
        if now < self.reset_at { self.left.or_else(|| self.limit.get(now)) } else { self.limit.get(now) }
    }

    fn roll(&mut self, now: Moment) {
        if now < self.reset_at {
            return;
        }
        let over = now.since(self.reset_at).as_micros() % MINUTE.as_micros();
        let over = if self.reset_at == Moment::ZERO { 0 } else { u64::try_from(over).unwrap_or(0) };
        self.reset_at = now.after(MINUTE.saturating_sub(Duration::from_micros(over)));
        self.left = None;
        self.minute = self.minute.wrapping_add(1);
    }

    fn take(&mut self, tokens: u64, now: Moment) {
        self.roll(now);
        self.taken = self.taken.wrapping_add(tokens);
        self.left = self.left(now).map(|left| left.saturating_sub(tokens));
    }

    fn give_back(&mut self, mark: &Mark) {
        let tokens = mark.cost.tokens;
        self.taken = self.taken.wrapping_sub(tokens);
        if mark.minute == self.minute {
            let whole = self.limit.configured.or(self.limit.told.map(|(limit, _)| limit)).unwrap_or(u64::MAX);
            self.left = self.left.map(|left| left.saturating_add(tokens).min(whole));
        }
    }

    /// `told` is of the moment at which the backend admitted the attempt: what we started since has to be taken off. What
    /// it tells of a minute that is over says nothing.
    fn correct(&mut self, told: &Told, mark: &Mark, now: Moment) {
        self.roll(now);
        self.limit.tell(told.limit, now);
        if mark.minute != self.minute {
            return;
        }
        if let Some(remaining) = told.remaining {
            let used = told.limit.map_or(0, |limit| limit.saturating_sub(remaining));
            let left = match (self.limit.get(now), told.limit) {
                (Some(limit), Some(_)) => limit.saturating_sub(used),
                (Some(limit), None) => remaining.min(limit),
                (None, _) => remaining,
            };
            self.left = Some(left.saturating_sub(self.taken.wrapping_sub(mark.tokens)));
        }
        if let Some(reset) = told.reset.filter(|reset| !reset.is_zero() && *reset <= MINUTE) {
            // Told when the attempt was admitted or when it was answered, and rounded up: the truth lies between.
            let earliest = mark.started.after(reset.saturating_sub(RESET_GRAIN));
            let latest = now.after(reset);
            self.reset_at = if self.reset_told { self.reset_at.max(earliest).min(latest) } else { latest };
            self.reset_told = true;
        }
    }
}

/// Requests, counted in seconds.
#[derive(Clone, Copy, Debug, Default)]
struct Requests {
    limit: Limit,
    /// What the last header left, and until when it holds.
    told: Option<(u64, Moment)>,
    ten_seconds: Window,
    one_second: Window,
    /// Everything ever taken.
    taken: u64,
}

impl Requests {
    fn left(&self, now: Moment) -> Option<u64> {
        let counted = self.limit.get(now).map(|limit| self.counted_left(limit, now));
        let told = self.told.filter(|(_, until)| *until > now).map(|(left, _)| left);
        counted.map_or(told, |counted| Some(told.map_or(counted, |told| told.min(counted))))
    }

    fn counted_left(&self, limit: u64, now: Moment) -> u64 {
        let [in_ten, _] = self.ten_seconds.sums(TEN_SECONDS, now);
        let left = limit.div_ceil(6).saturating_sub(in_ten);
        if limit < SECOND_FROM {
            return left;
        }
        let [in_one, _] = self.one_second.sums(ONE_SECOND, now);
        left.min(limit.div_ceil(60).saturating_sub(in_one))
    }

    fn take(&mut self, now: Moment) {
        self.ten_seconds.add([1, 0], TEN_SECONDS, now);
        self.one_second.add([1, 0], ONE_SECOND, now);
        self.taken = self.taken.wrapping_add(1);
        self.told = self.told.map(|(left, until)| (left.saturating_sub(1), until));
    }

    fn correct(&mut self, told: &Told, mark: &Mark, now: Moment) {
        self.limit.tell(told.limit, now);
        if now.since(mark.started) > REQUESTS_FRESH {
            return;
        }
        if let Some(remaining) = told.remaining {
            let left = remaining.saturating_sub(self.taken.wrapping_sub(mark.requests));
            let until = mark.started.after(told.reset.unwrap_or(REQUESTS_FRESH).min(MINUTE));
            self.told = Some((left, until));
        }
    }
}

#[cfg(test)]
mod tests;
