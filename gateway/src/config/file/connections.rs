//! The part of the file about connections of clients: how many, and how long each step may take.

use super::values::Period;
use crate::config::defaults;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Connections of clients: how many, and how long each step may take.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(in crate::config) struct Connections {
    /// Most connections at a time, 1 to 1000000; default `10000`.
    #[schemars(range(min = 1, max = 1_000_000))]
    pub(in crate::config) total_max: u32,
    /// Most connections of one address (IPv6: of one /64 network) at a time, 1 to 1000000; default `256`.
    #[schemars(range(min = 1, max = 1_000_000))]
    pub(in crate::config) per_address_max: u32,
    /// Addresses and CIDR blocks that `per_address_max` does not concern, at most 1024.
    #[schemars(length(max = 1024))]
    pub(in crate::config) exempt: Vec<String>,
    /// Longest TLS handshake; default `5s`.
    pub(in crate::config) tls_handshake_timeout: Period,
    /// Longest wait for the first byte of a connection's first request; default `15s`.
    pub(in crate::config) first_byte_timeout: Period,
    /// Longest time for a whole request header, from its first byte; default `10s`.
    pub(in crate::config) header_timeout: Period,
    /// Longest time for which a client may take no byte of its answer; default `1m`.
    pub(in crate::config) write_timeout: Period,
    /// Most requests of one connection, 1 to 1000000; default `1000`.
    #[schemars(range(min = 1, max = 1_000_000))]
    pub(in crate::config) requests_max: u32,
}

/// Load balancers that tell the client's address by the PROXY protocol.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::config) struct ProxyProtocol {
    /// Addresses and CIDR blocks of the load balancers, 1 to 1024: their connections must begin with the header, others' must not.
    #[schemars(length(min = 1, max = 1024))]
    pub(in crate::config) from: Vec<String>,
}

impl Default for Connections {
    fn default() -> Self {
        Self {
            total_max: defaults::CONNECTIONS_MAX,
            per_address_max: defaults::CONNECTIONS_PER_ADDRESS_MAX,
            exempt: Vec::new(),
            tls_handshake_timeout: Period(defaults::TLS_HANDSHAKE_TIMEOUT),
            first_byte_timeout: Period(defaults::CLIENT_FIRST_BYTE_TIMEOUT),
            header_timeout: Period(defaults::HEADER_TIMEOUT),
            write_timeout: Period(defaults::CLIENT_WRITE_TIMEOUT),
            requests_max: defaults::REQUESTS_MAX,
        }
    }
}
