//! What the configuration says about connections of clients.

use crate::domain::NetworkSet;
use std::time::Duration;

/// Limits of clients' connections.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(test, derive(Default))]
pub struct Connections {
    /// Most at a time.
    pub total_max: usize,
    /// Most of one address (IPv6: of one /64 network) at a time.
    pub per_address_max: u32,
    /// Addresses that the cap per address does not concern.
    pub exempt: NetworkSet,
    /// Whole TLS handshake.
    pub tls_handshake_timeout: Duration,
    /// The first byte of the first request.
    pub first_byte_timeout: Duration,
    /// Whole header of a request, from its first byte.
    pub header_timeout: Duration,
    /// Longest time for which a client may take no byte.
    pub write_timeout: Duration,
    /// Most requests of one connection.
    pub requests_max: u32,
}
