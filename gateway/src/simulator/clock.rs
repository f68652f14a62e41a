//! The room's only clock. Monotonic readings are the machine's `CLOCK_MONOTONIC`, so that other processes on the same
//! machine can subtract them from their own.

use std::time::{SystemTime, UNIX_EPOCH};

use rustix::time::{ClockId, clock_gettime};

use crate::domain::Moment;

/// Now, in µs of the machine's monotonic clock.
pub(crate) fn now() -> Moment {
    let time = clock_gettime(ClockId::Monotonic);
    let (seconds, nanos) = (u64::try_from(time.tv_sec).unwrap_or(0), u64::try_from(time.tv_nsec).unwrap_or(0));
    Moment::from_micros(seconds.saturating_mul(1_000_000).saturating_add(nanos / 1000))
}

/// Seconds since 1970, for `created`.
#[allow(clippy::disallowed_methods, reason = "the room's one place that reads the wall clock")]
pub(crate) fn unix_seconds() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}
