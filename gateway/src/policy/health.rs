//! Probe results to health: thresholds both ways.

/// Parameters of a backend's probe machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Thresholds {
    /// Successes in a row that make an unhealthy backend healthy.
    pub healthy_after: u32,
    /// Failures in a row that make a healthy backend unhealthy.
    pub unhealthy_after: u32,
}
