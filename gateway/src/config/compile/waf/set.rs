//! Compiles sets of addresses, from lists and files. A file is read whole and checked line by line.

use crate::config::compile::tls::read_limited;
use crate::config::file::IpSet;
use crate::config::report::Report;
use crate::domain::{Network, NetworkError, NetworkSet};
use std::sync::Arc;

/// Largest file of addresses, in bytes: about a million lines.
const FILE_SIZE_MAX: u64 = 32 * 1024 * 1024;

/// Every set under its name.
pub(super) fn compile(typed: &[IpSet], report: &mut Report<'_>) -> Vec<(String, Arc<NetworkSet>)> {
    let mut sets = Vec::with_capacity(typed.len());
    for (index, one) in typed.iter().enumerate() {
        let path = format!("waf.ip_sets[{index}]");
        if one.addresses.is_empty() && one.file.is_none() {
            report.problem(&path, "holds no address", "write `addresses`, `file` or both".to_owned());
        }
        let mut networks = Vec::with_capacity(one.addresses.len());
        for (index, text) in one.addresses.iter().enumerate() {
            match text.parse::<Network>() {
                Ok(network) => networks.push(network),
                Err(error) => {
                    report.problem(&format!("{path}.addresses[{index}]"), format!("`{text}` {error}"), help(&error));
                }
            }
        }
        lines(one, &format!("{path}.file"), &mut networks, report);
        sets.push((one.name.clone(), Arc::new(networks.into_iter().collect())));
    }
    sets
}

/// Adds the networks of the set's file; the first bad line is told.
fn lines(typed: &IpSet, path: &str, networks: &mut Vec<Network>, report: &mut Report<'_>) {
    let Some(file) = typed.file.as_deref().map(|file| report.resolve(file)) else { return };
    let bytes = match read_limited(&file, FILE_SIZE_MAX) {
        Ok(bytes) => bytes,
        Err(error) => return report.problem(path, format!("{} cannot be read: {error}", file.display()), None),
    };
    let Ok(text) = std::str::from_utf8(&bytes) else {
        return report.problem(path, format!("{} holds no text", file.display()), None);
    };
    for (number, line) in text.lines().enumerate() {
        let entry = line.split('#').next().unwrap_or_default().trim();
        if entry.is_empty() {
            continue;
        }
        match entry.parse() {
            Ok(network) => networks.push(network),
            Err(error) => {
                let shown: String = entry.chars().filter(|c| !c.is_control()).take(64).collect();
                let message = format!("{} line {}: `{shown}` {error}", file.display(), number + 1);
                return report.problem(path, message, help(&error));
            }
        }
    }
}

fn help(error: &NetworkError) -> Option<String> {
    match error {
        NetworkError::HostBits { network } => Some(format!("write {network}, or a single address without a slash")),
        _ => Some("write an address or a block: 192.0.2.7, 10.0.0.0/8, 2001:db8::/32".to_owned()),
    }
}
