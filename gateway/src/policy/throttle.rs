//! How long a backend rests after a 429, by what that is about. Never waits and never chooses.

use crate::domain::Throttle;
use std::time::Duration;

/// Shortest rest, so that advice of zero does not make a hot loop.
pub const REST_MIN: Duration = Duration::from_millis(100);
/// Rest of a provisioned deployment that tells no time: its bucket leaks all the time.
const PROVISIONED: Duration = Duration::from_secs(1);

/// Resting times of one pool.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rests {
    /// Where neither header nor body tells.
    pub unknown: Duration,
    /// Longest rest, whatever is told.
    pub max: Duration,
    /// Too many requests: Azure counts them over ten seconds, so that a longer time is not waited for.
    pub call_rate: Duration,
    /// The day's quota is gone: so often it is tried all the same, whatever time is told.
    pub day_quota: Duration,
    /// So long the other backends of that region are taken last.
    pub capacity_region: Duration,
}

/// A rest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rest {
    /// How long.
    pub time: Duration,
    /// To the millisecond: nothing is added to spread returns.
    pub exact: bool,
}

/// The rest after a 429 of this kind that told `advice`.
///
/// | Kind | Told a time | Told none |
/// |---|---|---|
/// | `TokenRate`, `Capacity`, `Unknown` | that, at most `max` | `unknown` |
/// | `CallRate` | that, at most `call_rate` | `call_rate` |
/// | `DayQuota` | that, at most `day_quota` and `max` | `day_quota` |
/// | `Provisioned` | that to the millisecond, at most `max` | a second |
#[must_use]
pub fn rest(kind: Throttle, advice: Option<Duration>, rests: &Rests) -> Rest {
    let time = match kind {
        Throttle::TokenRate | Throttle::Capacity | Throttle::Unknown => advice.unwrap_or(rests.unknown),
        Throttle::CallRate => advice.unwrap_or(rests.call_rate).min(rests.call_rate),
        Throttle::DayQuota => advice.unwrap_or(rests.day_quota).min(rests.day_quota),
        Throttle::Provisioned => advice.unwrap_or(PROVISIONED),
    };
    Rest { time: time.max(REST_MIN).min(rests.max), exact: kind == Throttle::Provisioned }
}

#[cfg(test)]
#[allow(clippy::indexing_slicing, reason = "tests may panic")]
mod tests {
    use super::*;
    use proptest::prelude::{any, prop_assert, proptest};

    const fn seconds(count: u64) -> Duration {
        Duration::from_secs(count)
    }

    const RESTS: Rests = Rests {
        unknown: seconds(20),
        max: seconds(300),
        call_rate: seconds(10),
        day_quota: seconds(240),
        capacity_region: seconds(5),
    };

    #[test]
    fn every_kind_has_its_rest() {
        use Throttle::{CallRate, Capacity, DayQuota, Provisioned, TokenRate, Unknown};
        for (kind, advice, want) in [
            (TokenRate, Some(37), 37),
            (TokenRate, Some(4000), 300),
            (TokenRate, None, 20),
            (CallRate, Some(3), 3),
            (CallRate, Some(60), 10),
            (CallRate, None, 10),
            (DayQuota, Some(86_400), 240),
            (DayQuota, Some(60), 60),
            (DayQuota, None, 240),
            (Capacity, Some(2), 2),
            (Capacity, None, 20),
            (Provisioned, Some(12), 12),
            (Provisioned, None, 1),
            (Unknown, Some(45), 45),
            (Unknown, None, 20),
        ] {
            let rest = rest(kind, advice.map(seconds), &RESTS);
            assert_eq!((rest.time, rest.exact), (seconds(want), kind == Provisioned), "{kind:?} {advice:?}");
        }
        let exact = rest(Provisioned, Some(Duration::from_millis(740)), &RESTS);
        assert_eq!(exact.time, Duration::from_millis(740));
    }

    proptest! {
        #[test]
        fn no_rest_is_shorter_or_longer_than_allowed(kind in 0..Throttle::ALL.len(), advice in any::<Option<u64>>()) {
            let kind = Throttle::ALL[kind];
            let rest = rest(kind, advice.map(Duration::from_micros), &RESTS);
            prop_assert!(rest.time >= REST_MIN && rest.time <= RESTS.max);
        }
    }
}
