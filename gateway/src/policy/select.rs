//! Which backend takes the next attempt: eligible → best tier → latency band → weight.

use std::time::Duration;

/// Parameters of selection in one pool.
#[derive(Clone, Debug, PartialEq)]
pub struct Selection {
    /// Backends within this of the fastest in their tier count as equally near.
    pub latency_band: Duration,
    /// Share of a tier's requests (0 to 1) that may sample a backend whose latency is unknown or stale.
    pub explore: f64,
    /// Ramp of a backend's weight from 10 % to 100 % after it returns from ejection or a failed probe; zero switches it off.
    pub slow_start: Duration,
    /// Share of the pool (0 to 1) below which failure ejections and probe results are ignored. Zero: only when none is left.
    pub panic_threshold: f64,
    /// Whether a pool whose backends are all probe-unhealthy is used all the same (Front Door's fail-open).
    pub fail_open: bool,
}
