//! Compiles the limits of clients' connections.

use super::{network, positive};
use crate::config::file;
use crate::config::report::Report;
use crate::config::snapshot::Connections;
use crate::domain::NetworkSet;

/// Limits of connections.
pub(super) fn compile(typed: &file::Connections, report: &mut Report<'_>) -> Connections {
    let exempt = network::set(&typed.exempt, "limits.connections.exempt", report);
    let mut timeout = |typed, key| positive(typed, &format!("limits.connections.{key}"), report);
    Connections {
        total_max: usize::try_from(typed.total_max).unwrap_or(usize::MAX),
        per_address_max: typed.per_address_max,
        exempt,
        tls_handshake_timeout: timeout(typed.tls_handshake_timeout, "tls_handshake_timeout"),
        first_byte_timeout: timeout(typed.first_byte_timeout, "first_byte_timeout"),
        header_timeout: timeout(typed.header_timeout, "header_timeout"),
        write_timeout: timeout(typed.write_timeout, "write_timeout"),
        requests_max: typed.requests_max,
    }
}

/// Who speaks the PROXY protocol on the listener at `path`.
pub(super) fn proxies(typed: Option<&file::ProxyProtocol>, path: &str, report: &mut Report<'_>) -> NetworkSet {
    let Some(typed) = typed else { return NetworkSet::default() };
    network::set(&typed.from, &format!("{path}.proxy_protocol.from"), report)
}
