//! The failover rule: what follows an attempt's outcome.

use std::time::Duration;

/// Parameters of failover in one pool.
#[derive(Clone, Debug, PartialEq)]
pub struct Failover {
    /// Attempts per request, the first included.
    pub attempts_max: u32,
    /// From arrival to the first byte of the answer, over all attempts.
    pub deadline: Duration,
    /// From the start of one attempt to its response header, for answers that do not stream.
    pub first_byte_timeout: Duration,
    /// The same for answers that stream.
    pub stream_first_byte_timeout: Duration,
    /// Failovers allowed on top of the client's requests, as a share of them (0 to 1). A failover that is served costs nothing.
    pub budget: f64,
    /// Failovers per second that are allowed whatever the share says.
    pub budget_min: u32,
}
