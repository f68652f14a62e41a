//! When a certificate is obtained again: [`due()`], and after a failure [`pause()`]. It never looks at a clock or a file.

use std::time::Duration;

/// First pause after a failure: ACME servers count failures by the hour.
const PAUSE_MIN: Duration = Duration::from_secs(5 * 60);
/// Longest pause after failures.
const PAUSE_MAX: Duration = Duration::from_secs(3600);
/// Part of a life by which chance brings a renewal forward: many gateways do not ask at once.
const SPREAD: f64 = 0.05;

/// From when to when a certificate is valid, Unix time in seconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Validity {
    /// Its beginning.
    pub from: u64,
    /// Its end.
    pub until: u64,
}

/// How long to wait before the certificate is renewed: until two thirds of its life, by `draw` (0 to 1) a little sooner.
#[must_use]
#[allow(clippy::cast_precision_loss, reason = "exact far beyond any certificate's life in seconds")]
pub fn due(validity: Validity, now: u64, draw: f64) -> Duration {
    let life = validity.until.saturating_sub(validity.from) as f64;
    let age = now.saturating_sub(validity.from) as f64;
    let left = life * (2.0 / 3.0 - SPREAD * draw.clamp(0.0, 1.0)) - age;
    Duration::try_from_secs_f64(left.max(0.0)).unwrap_or(Duration::MAX)
}

/// How long to wait after so many failures in a row: 5 minutes, then twice as long each time, up to an hour, by `draw` up
/// to a tenth longer.
#[must_use]
pub fn pause(failures: u32, draw: f64) -> Duration {
    let doubled = PAUSE_MIN.saturating_mul(2_u32.saturating_pow(failures.saturating_sub(1)));
    doubled.min(PAUSE_MAX).mul_f64(1.0 + draw.clamp(0.0, 1.0) / 10.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: u64 = 86_400;

    #[test]
    fn a_certificate_is_renewed_at_two_thirds_of_its_life_or_a_little_sooner() {
        let validity = Validity { from: 1000 * DAY, until: 1090 * DAY };
        let days = |now: u64, draw: f64| due(validity, now * DAY, draw).as_secs_f64() / 86_400.0;
        assert!((days(1000, 0.0) - 60.0).abs() < 0.001 && (days(1000, 1.0) - 55.5).abs() < 0.001);
        assert!((days(1050, 0.0) - 10.0).abs() < 0.001);
        for late in [1060, 1089, 1090, 2000] {
            assert_eq!(due(validity, late * DAY, 0.0), Duration::ZERO, "{late}");
        }
        // A clock before its beginning, and a life of nothing, end in a wait and in none.
        assert!(due(validity, 0, 0.0) > Duration::from_secs(59 * DAY));
        assert_eq!(due(Validity { from: 5, until: 1 }, 5, 0.5), Duration::ZERO);
    }

    #[test]
    fn failures_are_answered_by_patience_with_a_limit() {
        let minutes = |failures| pause(failures, 0.0).as_secs() / 60;
        assert_eq!([0, 1, 2, 3, 4, 5, 99, u32::MAX].map(minutes), [5, 5, 10, 20, 40, 60, 60, 60]);
        assert_eq!(pause(1, 1.0), Duration::from_secs(330));
    }
}
