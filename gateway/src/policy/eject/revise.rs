//! A second look at a 429: what it was about is known once its body has passed, after its rest has begun.

use super::{Chance, Ejection, Machine, Reason, jittered};
use crate::domain::{Moment, Throttle};
use crate::policy::throttle::{self, Rest};
use std::time::Duration;

/// A 429 that was recorded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Recorded {
    /// What it was taken for.
    pub kind: Throttle,
    /// How long it asked us to stay away.
    pub advice: Option<Duration>,
    /// When.
    pub at: Moment,
    /// The draw of that time.
    pub draw: u64,
}

impl Recorded {
    fn until(&self, params: &Ejection) -> Moment {
        let Rest { time, exact } = throttle::rest(self.kind, self.advice, &params.rests);
        let time = if exact { time } else { jittered(time, params, &mut Chance::new(self.draw)) };
        self.at.after(time)
    }
}

impl Machine {
    /// The 429 that was recorded as `first` is what `then` says. Its own rest is replaced, longer or shorter; a longer one
    /// of another attempt stands, and where a trial has succeeded since nothing rests.
    pub fn revise(&mut self, first: &Recorded, then: &Recorded, params: &Ejection) {
        let (was, until) = (first.until(params), then.until(params));
        if self.throttled.is_some_and(|(standing, _)| standing == was || until > standing) {
            self.throttled = Some((until, Reason::RateLimited));
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests may panic")]
mod tests {
    use super::super::Report;
    use super::*;
    use crate::domain::Outcome;
    use crate::policy::throttle::Rests;
    use proptest::prelude::{any, prop_assert_eq, proptest};

    const fn secs(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    fn at(seconds: u64) -> Moment {
        Moment::from_micros(seconds * 1_000_000)
    }

    fn params() -> Ejection {
        let (unknown, max, call_rate) = (secs(30), secs(600), secs(10));
        Ejection {
            failures: 0,
            failure_share: 0.0,
            attempts_min: 1,
            window: secs(10),
            base: secs(10),
            max: secs(60),
            share_max: 1.0,
            rests: Rests { unknown, max, call_rate, day_quota: secs(300), capacity_region: secs(5) },
            misconfigured: secs(60),
            jitter: 0.2,
        }
    }

    fn record(machine: &mut Machine, recorded: &Recorded) {
        let report = Report {
            outcome: Outcome::RateLimited,
            throttle: Some(recorded.kind),
            advice: recorded.advice,
            started: recorded.at,
            trial: None,
            accepted: false,
            spare: true,
        };
        let _ = machine.record(&report, &params(), recorded.at, recorded.draw);
    }

    const FIRST: Recorded = Recorded { kind: Throttle::Capacity, advice: None, at: Moment::ZERO, draw: 7 };

    #[test]
    fn a_rest_becomes_as_long_as_it_would_have_been() {
        for (kind, advice) in [
            (Throttle::Provisioned, None),
            (Throttle::CallRate, Some(secs(9))),
            (Throttle::TokenRate, Some(secs(60))),
            (Throttle::DayQuota, Some(secs(86_400))),
            (Throttle::Capacity, None),
        ] {
            let then = Recorded { kind, advice, ..FIRST };
            let (mut revised, mut known) = (Machine::default(), Machine::default());
            record(&mut revised, &FIRST);
            revised.revise(&FIRST, &then, &params());
            record(&mut known, &then);
            assert_eq!(revised.throttled_until(), known.throttled_until(), "{kind:?}");
            assert_eq!(revised.standing(at(1)), known.standing(at(1)), "{kind:?}");
        }
    }

    #[test]
    fn a_longer_rest_of_another_attempt_stands() {
        let mut machine = Machine::default();
        record(&mut machine, &FIRST);
        let other = Recorded { kind: Throttle::TokenRate, advice: Some(secs(90)), at: at(1), draw: 3 };
        record(&mut machine, &other);
        let standing = machine.throttled_until();
        machine.revise(&FIRST, &Recorded { kind: Throttle::Provisioned, ..FIRST }, &params());
        assert_eq!(machine.throttled_until(), standing);
        machine.revise(&FIRST, &Recorded { kind: Throttle::DayQuota, ..FIRST }, &params());
        assert!(machine.throttled_until() > standing, "a longer one takes its place");
    }

    #[test]
    fn after_a_trial_that_succeeded_nothing_rests_again() {
        let mut machine = Machine::default();
        record(&mut machine, &FIRST);
        let lease = machine.take_trial(at(100)).unwrap();
        let served = Report {
            outcome: Outcome::Served,
            throttle: None,
            advice: None,
            started: at(100),
            trial: Some(lease),
            accepted: false,
            spare: true,
        };
        let _ = machine.record(&served, &params(), at(101), 1);
        machine.revise(&FIRST, &Recorded { kind: Throttle::DayQuota, ..FIRST }, &params());
        assert_eq!(machine.throttled_until(), None);
    }

    proptest! {
        #[test]
        fn what_is_the_same_changes_nothing(wait in 0_u64..100_000, draw in any::<u64>(), later in 0_u64..1000) {
            let recorded = Recorded { kind: Throttle::Unknown, advice: Some(secs(wait)), at: at(later), draw };
            let mut machine = Machine::default();
            record(&mut machine, &recorded);
            let before = machine.throttled_until();
            machine.revise(&recorded, &recorded, &params());
            prop_assert_eq!(machine.throttled_until(), before);
        }
    }
}
