//! Passive, temporary removal of a backend after its outcomes: a machine per backend.

use std::time::Duration;

/// Parameters of ejection in one pool.
#[derive(Clone, Debug, PartialEq)]
pub struct Ejection {
    /// Consecutive failures that eject; zero switches this rule off.
    pub failures: u32,
    /// Share of failed attempts (0 to 1) within `window` that ejects; zero switches this rule off.
    pub failure_share: f64,
    /// Attempts within `window` before `failure_share` is looked at.
    pub attempts_min: u32,
    /// Window of `failure_share`.
    pub window: Duration,
    /// First ejection time; doubles with each ejection in a row.
    pub base: Duration,
    /// Longest ejection time after failures.
    pub max: Duration,
    /// Share of the pool (0 to 1) that failures may eject at a time; at least one backend always may be where there are two.
    pub share_max: f64,
    /// Rest after a 429 that says nothing about its time.
    pub advised_default: Duration,
    /// Longest rest after a 429, whatever it says.
    pub advised_max: Duration,
    /// Ejection time after a refusal of our credential or deployment.
    pub misconfigured: Duration,
    /// Spread of every ejection time as a share of it (0 to 1), always upwards.
    pub jitter: f64,
}
