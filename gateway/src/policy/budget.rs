//! The retry budget of a pool: failovers that fail are bounded by a share of the client's requests; failovers that are
//! served cost nothing, so failing over to a healthy region is never limited. Never blocks or waits.

use super::window::Window;
use crate::domain::Moment;
use std::time::Duration;

/// Requests and failovers are looked at over this long.
const WINDOW: Duration = Duration::from_secs(10);
/// Assumed share of failing failovers while none has come to its outcome.
const FAILING_ASSUMED: f64 = 0.1;
/// Outcomes that this assumption weighs as much as.
const FAILING_ASSUMED_WEIGHT: f64 = 5.0;

/// Retry budget of one pool.
#[derive(Clone, Debug, Default)]
pub struct RetryBudget {
    /// Client requests; unused.
    requests: Window,
    /// Failovers that were not served; that were.
    failovers: Window,
    /// Failovers under way.
    pending: u32,
}

/// How a failover that was under way ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Spending {
    /// It was served: free.
    Refund,
    /// It failed: charged.
    Charge,
    /// Nobody knows (the client left): forgotten.
    Forget,
}

impl RetryBudget {
    /// A client's request arrived.
    pub fn deposit(&mut self, now: Moment) {
        self.requests.add([1, 0], WINDOW, now);
    }

    /// Whether one more failover is granted: what failed, plus what is expected to fail of those under way, must stay
    /// below `share` of the client's requests (or `floor` per second, whichever is more).
    #[must_use]
    pub fn grants(&self, share: f64, floor: u32, now: Moment) -> bool {
        let least = f64::from(floor) * WINDOW.as_secs_f64();
        let allowed = |[requests, _]: [u64; 2]| (requests as f64 * share).max(least);
        let [failed, served] = self.failovers.sums(WINDOW, now).map(|n| n as f64);
        let failing = (failed + FAILING_ASSUMED * FAILING_ASSUMED_WEIGHT) / (failed + served + FAILING_ASSUMED_WEIGHT);
        // What did fail is held against a little less time than it is counted over, so that bursts at the window's edge
        // stay within the share.
        failed < allowed(self.requests.sums_completed(WINDOW, now))
            && failed + f64::from(self.pending) * failing < allowed(self.requests.sums(WINDOW, now))
    }

    /// A failover starts.
    pub fn withdraw(&mut self) {
        self.pending = self.pending.saturating_add(1);
    }

    /// A failover that was withdrawn has ended.
    pub fn settle(&mut self, spending: Spending, now: Moment) {
        self.pending = self.pending.saturating_sub(1);
        match spending {
            Spending::Refund => self.failovers.add([0, 1], WINDOW, now),
            Spending::Charge => self.failovers.add([1, 0], WINDOW, now),
            Spending::Forget => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: u64) -> Moment {
        Moment::from_micros(millis * 1000)
    }

    /// Requests at `per_second` for 20 s, each wanting up to two failovers that end after `delay_ms`.
    fn attempts_per_request(per_second: u64, delay_ms: u64, spending: Spending) -> f64 {
        let mut budget = RetryBudget::default();
        let (mut requests, mut attempts) = (0_u32, 0_u32);
        let mut ends = std::collections::VecDeque::new();
        for tick in 0..20_000 {
            while ends.front().is_some_and(|end| *end <= tick) {
                ends.pop_front();
                budget.settle(spending, at(tick));
            }
            if tick % (1000 / per_second) == 0 {
                requests += 1;
                attempts += 1;
                budget.deposit(at(tick));
                for _ in 0..2 {
                    if budget.grants(0.2, 3, at(tick)) {
                        budget.withdraw();
                        attempts += 1;
                        ends.push_back(tick + delay_ms);
                    }
                }
            }
        }
        f64::from(attempts) / f64::from(requests)
    }

    #[test]
    fn a_dead_pool_sees_a_fifth_more_than_the_clients_send() {
        assert!(attempts_per_request(40, 5, Spending::Charge) <= 1.2);
        assert!(attempts_per_request(200, 50, Spending::Charge) <= 1.2);
    }

    #[test]
    fn failovers_that_are_served_are_never_limited() {
        let wanted = 3.0 - 1e-9;
        assert!(attempts_per_request(40, 5, Spending::Refund) > wanted);
        assert!(attempts_per_request(500, 2_000, Spending::Refund) > wanted);
    }

    #[test]
    fn a_trickle_may_fail_over_up_to_the_floor() {
        assert!(attempts_per_request(1, 5, Spending::Charge) > 2.9);
    }
}
