//! The hedge: when a request that has waited longer than nearly all others may be sent to a second backend beside the first,
//! and how few of them may. Never chooses the backend.

use crate::domain::Moment;
use std::time::Duration;

/// Parameters of one pool.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Hedge {
    /// Hedges as a share of the pool's requests (0 to [`BUDGET_MAX`]).
    pub budget: f64,
    /// Never earlier than this, however fast the pool is.
    pub delay_min: Duration,
}

/// What may become of a hedge; the last two: it was not made.
pub const RESULTS: [&str; 6] = ["won", "lost", "failed", "abandoned", "over_budget", "no_backend"];

/// The largest budget.
pub const BUDGET_MAX: f64 = 0.02;
/// Hedges that a quiet time can save up.
const CREDIT_MAX: f64 = 5.0;
/// Below the sum of so many shares' rounding.
const ROUNDING: f64 = 1e-9;

/// Share of the answers that begin before a hedge would be sent.
const QUANTILE: (u32, u32) = (19, 20);
/// Times known before the quantile says anything.
const SAMPLES_MIN: u32 = 50;
/// Times after which those known so far count half.
const SAMPLES_MAX: u32 = 2000;
/// The same by age.
const HALF_LIFE: Duration = Duration::from_secs(600);
/// Binary digits of a time that count: a bucket is at most an eighth wide.
const DIGITS: u32 = 3;
const STEPS: u64 = 1 << DIGITS;
/// Up to some four hours; what is longer is in the last one.
const BUCKETS: usize = 256;

/// Hedges that a pool may make: each request adds its share, each hedge takes one. They never exceed the share of the requests so far.
#[derive(Clone, Copy, Debug, Default)]
pub struct Credit(f64);

impl Credit {
    /// A request of the pool.
    pub fn deposit(&mut self, budget: f64) {
        self.0 = (self.0 + budget.clamp(0.0, BUDGET_MAX)).min(CREDIT_MAX);
    }

    /// Whether one hedge is left.
    #[must_use]
    pub fn grants(self) -> bool {
        self.0 + ROUNDING >= 1.0
    }

    /// A hedge is made.
    pub fn withdraw(&mut self) {
        self.0 = (self.0 - 1.0).max(0.0);
    }
}

/// How long answers took to begin: a histogram with buckets of equal relative width, in which old times fade.
#[derive(Clone, Debug)]
pub struct Delays {
    counts: [u32; BUCKETS],
    total: u32,
    halved: Moment,
}

impl Default for Delays {
    fn default() -> Self {
        Self { counts: [0; BUCKETS], total: 0, halved: Moment::ZERO }
    }
}

impl Delays {
    /// An answer began after `time`.
    pub fn observe(&mut self, time: Duration, now: Moment) {
        if self.total >= SAMPLES_MAX || now.since(self.halved) >= HALF_LIFE {
            self.halve();
            self.halved = now;
        }
        if let Some(count) = self.counts.get_mut(bucket(time)) {
            *count += 1;
            self.total += 1;
        }
    }

    /// The time in which 95 % of the answers had begun, rounded up by an eighth at most; `None` while too few are known.
    #[must_use]
    pub fn usual(&self) -> Option<Duration> {
        if self.total < SAMPLES_MIN {
            return None;
        }
        let wanted = (self.total * QUANTILE.0).div_ceil(QUANTILE.1);
        let mut seen = 0;
        let index = self.counts.iter().position(|count| {
            seen += count;
            seen >= wanted
        });
        index.map(upper)
    }

    fn halve(&mut self) {
        self.total = 0;
        for count in &mut self.counts {
            *count /= 2;
            self.total += *count;
        }
    }
}

/// The bucket of a time: its power of two and the digits behind the first.
fn bucket(time: Duration) -> usize {
    let micros = u64::try_from(time.as_micros()).unwrap_or(u64::MAX).max(STEPS);
    let power = micros.ilog2() - DIGITS;
    let index = u64::from(power) * STEPS + ((micros >> power) - STEPS);
    usize::try_from(index).map_or(BUCKETS - 1, |index| index.min(BUCKETS - 1))
}

/// The end of a bucket.
fn upper(index: usize) -> Duration {
    let index = index as u64;
    Duration::from_micros((STEPS + index % STEPS + 1) << (index / STEPS))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests may panic")]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const fn ms(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    fn at(seconds: u64) -> Moment {
        Moment::from_micros(seconds * 1_000_000)
    }

    #[test]
    fn no_hedge_before_the_share_makes_up_one() {
        let mut credit = Credit::default();
        for request in 1..=50 {
            assert!(!credit.grants(), "{request}");
            credit.deposit(0.02);
        }
        assert!(credit.grants());
        credit.withdraw();
        assert!(!credit.grants());
    }

    #[test]
    fn a_quiet_time_saves_up_a_handful() {
        let mut credit = Credit::default();
        (0..1_000_000).for_each(|_| credit.deposit(0.01));
        let mut made = 0;
        while credit.grants() {
            credit.withdraw();
            made += 1;
        }
        assert_eq!(made, 5);
    }

    proptest! {
        #[test]
        fn hedges_never_exceed_their_share(
            budget in 0.0..0.05,
            wants in prop::collection::vec(prop::collection::vec(any::<bool>(), 0..3), 0..2000),
        ) {
            let mut credit = Credit::default();
            let (mut requests, mut hedges) = (0_u32, 0_u32);
            for round in wants {
                requests += 1;
                credit.deposit(budget);
                for wanted in round {
                    if wanted && credit.grants() {
                        credit.withdraw();
                        hedges += 1;
                    }
                }
                prop_assert!(f64::from(hedges) <= budget.min(BUDGET_MAX) * f64::from(requests) + 1e-6);
            }
        }

        #[test]
        fn a_bucket_ends_behind_its_times_and_at_most_an_eighth_later(micros in 8_u64..10_000_000_000) {
            let time = Duration::from_micros(micros);
            let end = upper(bucket(time));
            prop_assert!(end > time && end <= time + time / 8 + Duration::from_micros(1), "{time:?} {end:?}");
        }
    }

    #[test]
    fn the_usual_time_is_the_one_of_nineteen_in_twenty() {
        let mut delays = Delays::default();
        for n in 0..49 {
            delays.observe(ms(100), at(1));
            assert_eq!(delays.usual(), None, "{n}");
        }
        (0..46).for_each(|_| delays.observe(ms(100), at(1)));
        (0..5).for_each(|_| delays.observe(ms(900), at(1)));
        let usual = delays.usual().unwrap();
        assert!((ms(100)..ms(113)).contains(&usual), "{usual:?}");
        (0..2).for_each(|_| delays.observe(ms(900), at(1)));
        let usual = delays.usual().unwrap();
        assert!((ms(900)..ms(1013)).contains(&usual), "{usual:?}");
    }

    #[test]
    fn what_was_long_ago_fades() {
        let mut delays = Delays::default();
        (0..1000).for_each(|_| delays.observe(ms(100), at(1)));
        (0..4000).for_each(|_| delays.observe(ms(800), at(2)));
        assert!(delays.usual().unwrap() > ms(800));
        (0..6000).for_each(|_| delays.observe(ms(50), at(3)));
        assert!(delays.usual().unwrap() > ms(50) && delays.usual().unwrap() < ms(800));
        // A day later too little is left of it.
        let mut later = 3;
        while delays.usual().is_some() {
            later += 600;
            delays.observe(ms(50), at(later));
        }
        assert!(later < 86_400, "{later}");
    }

    #[test]
    fn absurd_times_have_a_bucket() {
        for time in [Duration::ZERO, Duration::MAX, Duration::from_secs(86_400)] {
            let mut delays = Delays::default();
            (0..60).for_each(|_| delays.observe(time, at(1)));
            assert!(delays.usual().is_some(), "{time:?}");
        }
    }
}
