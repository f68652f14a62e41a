//! The clock of the process: the one place of this room that reads time. Whoever serves a request or does work in the
//! background takes [`now`] from here and hands it to the decisions, which never read a clock themselves.

use crate::domain::Moment;
use std::fmt;
use std::sync::OnceLock;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

/// Where the monotonic clock of this process begins.
static START: OnceLock<Instant> = OnceLock::new();

/// One second is kept in front of the first reading, so that no real moment is [`Moment::ZERO`], which means "never".
const LEAD_MICROS: u64 = 1_000_000;

/// The present on the process's monotonic clock.
#[must_use]
#[allow(clippy::disallowed_methods, reason = "the named place where the monotonic clock is read")]
pub fn now() -> Moment {
    moment(Instant::now())
}

/// The same clock's word for `instant`.
#[must_use]
pub fn moment(instant: Instant) -> Moment {
    let passed = instant.saturating_duration_since(*START.get_or_init(|| instant));
    let micros = u64::try_from(passed.as_micros()).unwrap_or(u64::MAX);
    Moment::from_micros(micros.saturating_add(LEAD_MICROS))
}

/// Milliseconds since the Unix epoch, by the wall clock; zero when that clock stands before it.
#[must_use]
#[allow(clippy::disallowed_methods, reason = "the named place where the wall clock is read")]
pub fn unix_ms() -> u64 {
    let elapsed = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX)
}

/// Seconds since the Unix epoch, by the wall clock.
#[must_use]
pub fn unix_seconds() -> u64 {
    unix_ms() / 1000
}

/// The present on the clock that timers of the runtime go by.
#[must_use]
#[allow(clippy::disallowed_methods, reason = "the named place where the clock of timers is read")]
pub fn timer_now() -> tokio::time::Instant {
    tokio::time::Instant::now()
}

/// A point on the wall clock in milliseconds since the Unix epoch; prints as RFC 3339 in UTC, `2026-11-21T04:39:38.123Z`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Timestamp(pub u64);

impl Timestamp {
    /// The present.
    #[must_use]
    pub fn now() -> Self {
        Self(unix_ms())
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (seconds, millis) = (self.0 / 1000, self.0 % 1000);
        let (days, second_of_day) = (seconds / 86_400, seconds % 86_400);
        let (year, month, day) = civil(days);
        let (hour, minute, second) = (second_of_day / 3600, second_of_day / 60 % 60, second_of_day % 60);
        write!(f, "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{millis:03}Z")
    }
}

/// Year, month and day of the day `days` after 1970-01-01, in the Gregorian calendar. Years begin in March, so that the
/// leap day is the last of its year (Howard Hinnant, "chrono-compatible low-level date algorithms").
const fn civil(days: u64) -> (u64, u64, u64) {
    let shifted = days + 719_468;
    let (era, day_of_era) = (shifted / 146_097, shifted % 146_097);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    let year = year_of_era + era * 400 + if month <= 2 { 1 } else { 0 };
    (year, month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timestamps_print_as_rfc_3339() {
        for (millis, text) in [
            (0, "1970-01-01T00:00:00.000Z"),
            (951_782_400_000, "2000-02-29T00:00:00.000Z"),
            (1_709_251_199_999, "2024-02-29T23:59:59.999Z"),
            (1_735_689_600_001, "2025-01-01T00:00:00.001Z"),
            (4_107_542_400_000, "2100-03-01T00:00:00.000Z"),
        ] {
            assert_eq!(Timestamp(millis).to_string(), text);
        }
    }

    #[test]
    fn the_clock_runs_forward_and_never_reads_never() {
        let first = now();
        assert!(first > Moment::ZERO);
        assert!(now() >= first);
    }
}
