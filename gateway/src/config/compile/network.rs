//! Compiles addresses and CIDR blocks as people type them.

use crate::config::report::Report;
use crate::domain::{Network, NetworkSet};

/// The networks, with a problem for each that is none.
pub(super) fn set(typed: &[String], path: &str, report: &mut Report<'_>) -> NetworkSet {
    let networks = typed.iter().enumerate().filter_map(|(index, text)| {
        let help = "write an address or a CIDR block: 192.0.2.7, 10.0.0.0/8 or 2001:db8::/32";
        let told = |error| report.problem(&format!("{path}[{index}]"), format!("`{text}` {error}"), help.to_owned());
        text.parse::<Network>().map_err(told).ok()
    });
    networks.collect()
}
