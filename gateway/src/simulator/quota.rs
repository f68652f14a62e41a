//! How Azure counts tokens and requests: the windows of a standard deployment, the bucket of a provisioned one.
//!
//! Pure: the caller supplies the moment. Source: `includes/quota-1.md` and `concepts/provisioned-throughput.md` of
//! the Azure OpenAI documentation.

use std::time::Duration;

use super::options::Quota;
use crate::domain::Moment;

const SECOND: u64 = 1_000_000;
const MINUTE: u64 = 60 * SECOND;
/// Seconds of the sliding request window.
const REQUEST_WINDOW: u64 = 10;
/// From this many requests per minute on, each second is bounded too (600 RPM = at most 10 per second).
const SECOND_WINDOW_FROM: u64 = 600;

/// What a refused request ran into.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Exceeded {
    Tokens,
    Requests,
    Utilization,
}

/// The budgets of a standard deployment, for the `x-ratelimit-*` headers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Budget {
    pub(crate) limit_requests: u64,
    pub(crate) limit_tokens: u64,
    pub(crate) remaining_requests: u64,
    pub(crate) remaining_tokens: u64,
    pub(crate) reset_requests: Duration,
    pub(crate) reset_tokens: Duration,
}

/// The verdict on one request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Verdict {
    /// What was exceeded and how long to wait; absent when the request may run.
    pub(crate) exceeded: Option<(Exceeded, Duration)>,
    /// Absent for provisioned and unlimited deployments.
    pub(crate) budget: Option<Budget>,
}

/// The live counters of one deployment.
#[derive(Clone, Debug)]
pub(crate) enum Meter {
    Unlimited,
    Standard(Standard),
    Provisioned(Provisioned),
}

impl Meter {
    pub(crate) fn new(quota: Quota) -> Self {
        match quota {
            Quota::Unlimited => Self::Unlimited,
            Quota::Standard { tpm, rpm } => Self::Standard(Standard::new(tpm, rpm)),
            Quota::Provisioned { tokens_per_second, burst_tokens } => Self::Provisioned(Provisioned {
                rate: tokens_per_second.max(1),
                burst: burst_tokens,
                level: 0.0,
                at: 0,
            }),
        }
    }

    /// Charges one request of `tokens` (estimate + ceiling) at `now`.
    pub(crate) fn admit(&mut self, now: Moment, tokens: u64) -> Verdict {
        match self {
            Self::Unlimited => Verdict { exceeded: None, budget: None },
            Self::Standard(standard) => standard.admit(now.as_micros(), tokens),
            Self::Provisioned(bucket) => Verdict {
                exceeded: bucket.admit(now.as_micros(), tokens).map(|wait| (Exceeded::Utilization, wait)),
                budget: None,
            },
        }
    }

    /// Corrects a provisioned deployment's charge to what was really used; a standard one keeps the estimate.
    pub(crate) fn settle(&mut self, charged: u64, used: u64) {
        if let Self::Provisioned(bucket) = self {
            bucket.level = (bucket.level - as_f64(charged) + as_f64(used)).max(0.0);
        }
    }
}

/// Windows of a standard deployment.
#[derive(Clone, Debug)]
pub(crate) struct Standard {
    tpm: u64,
    rpm: u64,
    minute: u64,
    tokens: u64,
    /// Requests of each of the last ten seconds, refused ones included: (second, count).
    seconds: [(u64, u64); 10],
}

impl Standard {
    fn new(tpm: u64, rpm: u64) -> Self {
        Self { tpm, rpm, minute: 0, tokens: 0, seconds: [(0, 0); 10] }
    }

    fn admit(&mut self, now: u64, tokens: u64) -> Verdict {
        let exceeded = self.exceeded(now, tokens);
        let second = now / SECOND;
        if let Some(slot) = usize::try_from(second % REQUEST_WINDOW).ok().and_then(|i| self.seconds.get_mut(i)) {
            *slot = if slot.0 == second { (second, slot.1.saturating_add(1)) } else { (second, 1) };
        }
        if exceeded.is_none() {
            self.tokens = self.tokens.saturating_add(tokens);
        }
        Verdict { exceeded, budget: Some(self.budget(now)) }
    }

    fn exceeded(&mut self, now: u64, tokens: u64) -> Option<(Exceeded, Duration)> {
        if now / MINUTE != self.minute {
            (self.minute, self.tokens) = (now / MINUTE, 0);
        }
        let second = now / SECOND;
        if self.requests_since(second, REQUEST_WINDOW) >= self.window_limit() {
            return Some((Exceeded::Requests, self.requests_wait(now)));
        }
        if self.rpm >= SECOND_WINDOW_FROM && self.requests_since(second, 1) >= self.rpm.div_ceil(60) {
            return Some((Exceeded::Requests, Duration::from_micros(SECOND - now % SECOND)));
        }
        (self.tokens.saturating_add(tokens) > self.tpm).then(|| (Exceeded::Tokens, minute_left(now)))
    }

    fn window_limit(&self) -> u64 {
        self.rpm.div_ceil(60 / REQUEST_WINDOW)
    }

    /// Requests of the last `span` seconds, the running one included.
    fn requests_since(&self, second: u64, span: u64) -> u64 {
        let oldest = (second + 1).saturating_sub(span);
        self.seconds.iter().filter(|slot| slot.0 >= oldest && slot.0 <= second).map(|slot| slot.1).sum()
    }

    /// Until enough old seconds have left the window, if nobody asks in between.
    fn requests_wait(&self, now: u64) -> Duration {
        let second = now / SECOND;
        let free_at = (1..=REQUEST_WINDOW)
            .map(|ahead| second + ahead)
            .find(|&later| {
                let oldest = (later + 1).saturating_sub(REQUEST_WINDOW);
                let left: u64 =
                    self.seconds.iter().filter(|slot| slot.0 >= oldest && slot.0 <= second).map(|slot| slot.1).sum();
                left < self.window_limit()
            })
            .unwrap_or(second + REQUEST_WINDOW);
        Duration::from_micros((free_at * SECOND).saturating_sub(now))
    }

    fn budget(&self, now: u64) -> Budget {
        let used = self.requests_since(now / SECOND, REQUEST_WINDOW);
        Budget {
            limit_requests: self.rpm,
            limit_tokens: self.tpm,
            remaining_requests: self.window_limit().saturating_sub(used),
            remaining_tokens: self.tpm.saturating_sub(self.tokens),
            reset_requests: self.requests_wait(now),
            reset_tokens: minute_left(now),
        }
    }
}

fn minute_left(now: u64) -> Duration {
    Duration::from_micros(MINUTE - now % MINUTE)
}

/// A leaky bucket: above 100 % nothing is let in, the request that crosses the line is.
#[derive(Clone, Debug)]
pub(crate) struct Provisioned {
    rate: u64,
    burst: u64,
    level: f64,
    at: u64,
}

impl Provisioned {
    fn admit(&mut self, now: u64, tokens: u64) -> Option<Duration> {
        let seconds = as_f64(now.saturating_sub(self.at)) / as_f64(SECOND);
        self.level = (self.level - seconds * as_f64(self.rate)).max(0.0);
        self.at = now;
        let over = self.level - as_f64(self.burst);
        if over >= 0.0 && self.level > 0.0 {
            return Some(Duration::from_secs_f64((over / as_f64(self.rate)).clamp(0.001, 86_400.0)));
        }
        self.level += as_f64(tokens);
        None
    }
}

#[allow(clippy::cast_precision_loss, reason = "token counts stay far below 2^52")]
const fn as_f64(n: u64) -> f64 {
    n as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ms: u64) -> Moment {
        Moment::from_micros(ms * 1000)
    }

    #[test]
    fn tokens_start_anew_each_minute() {
        let mut meter = Meter::new(Quota::Standard { tpm: 100, rpm: 6000 });
        assert_eq!(meter.admit(at(0), 60).exceeded, None);
        let refused = meter.admit(at(15_000), 60);
        assert_eq!(refused.exceeded, Some((Exceeded::Tokens, Duration::from_secs(45))));
        assert_eq!(refused.budget.map(|b| b.remaining_tokens), Some(40));
        assert_eq!(meter.admit(at(15_001), 40).exceeded, None);
        assert_eq!(meter.admit(at(60_000), 100).exceeded, None);
    }

    #[test]
    fn requests_are_bounded_in_ten_seconds_and_refused_ones_count() {
        let mut meter = Meter::new(Quota::Standard { tpm: 1_000_000, rpm: 12 });
        assert_eq!(meter.admit(at(0), 1).exceeded, None);
        assert_eq!(meter.admit(at(100), 1).exceeded, None);
        assert_eq!(meter.admit(at(5000), 1).exceeded, Some((Exceeded::Requests, Duration::from_secs(5))));
        // The refused request of second 5 leaves room for one more at second 10, not for two.
        assert_eq!(meter.admit(at(10_000), 1).exceeded, None);
        assert!(meter.admit(at(10_001), 1).exceeded.is_some());
        assert_eq!(meter.admit(at(30_000), 1).exceeded, None);
    }

    #[test]
    fn each_second_is_bounded_from_600_a_minute_on() {
        let mut meter = Meter::new(Quota::Standard { tpm: 1_000_000, rpm: 600 });
        let refused = (0..20).filter(|i| meter.admit(at(*i), 1).exceeded.is_some()).count();
        assert_eq!(refused, 10);
        assert_eq!(meter.admit(at(1000), 1).exceeded, None);
    }

    #[test]
    fn a_provisioned_bucket_leaks_and_says_when() {
        let mut meter = Meter::new(Quota::Provisioned { tokens_per_second: 100, burst_tokens: 200 });
        assert_eq!(meter.admit(at(0), 300).exceeded, None);
        assert_eq!(meter.admit(at(0), 1).exceeded, Some((Exceeded::Utilization, Duration::from_secs(1))));
        assert_eq!(meter.admit(at(1001), 1).exceeded, None);
        meter.settle(300, 0);
        assert_eq!(meter.admit(at(1001), 1).exceeded, None);
        assert_eq!(meter.admit(at(1001), 1).budget, None);
    }
}
