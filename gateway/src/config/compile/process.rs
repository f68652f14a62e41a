//! Compiles what concerns the process itself: listeners, admin, limits, headers, access log, DNS.

use super::address::{self, Taken};
use super::{acme, connections, name, positive, size, tls, unique, zero_or_more};
use crate::config::file::{self, Switch};
use crate::config::report::Report;
use crate::config::snapshot::{AccessLog, Dns, Headers, Limits, Listener, Process};
use crate::domain::ListenerName;
use std::net::SocketAddr;
use std::path::Path;

const KIB: u64 = 1024;
const MIB: u64 = 1024 * KIB;

/// Listeners and the admin address, no two of them on one address.
pub(super) fn listeners(file: &file::File, report: &mut Report<'_>) -> (Option<Vec<Listener>>, Option<SocketAddr>) {
    unique(file.listeners.iter().map(|one| one.name.as_str()), "listeners", "listeners", report);
    let mut taken = Taken::default();
    let mut listeners = Vec::with_capacity(file.listeners.len());
    for (index, typed) in file.listeners.iter().enumerate() {
        listeners.push(listener(typed, &format!("listeners[{index}]"), &mut taken, report));
    }
    acme::needs_plain(file, report);
    let admin = match &file.admin {
        Switch::Off => None,
        Switch::On(admin) => address::ip(&admin.address, "admin.address", &mut taken, report),
    };
    if let Some(exposed) = admin.filter(|address| !address.ip().is_loopback()) {
        let help = "it has no authentication: let only the monitoring reach it";
        report.warn("admin.address", format!("{exposed} can be reached from other hosts"), help.to_owned());
    }
    (listeners.into_iter().collect(), admin)
}

fn listener(typed: &file::Listener, path: &str, taken: &mut Taken, report: &mut Report<'_>) -> Option<Listener> {
    let name = name(ListenerName::new(&typed.name), &format!("{path}.name"), report);
    let address = address::listener(typed, path, taken, report);
    let tls = typed.tls.as_ref().map(|tls| {
        let path = format!("{path}.tls");
        let acme = tls.acme.as_ref().map(|acme| acme::compile(acme, &typed.name, &format!("{path}.acme"), report));
        tls::listener(tls, acme, &path, report)
    });
    if tls.is_some() && typed.redirect_to_https {
        report.problem(&format!("{path}.redirect_to_https"), "is for listeners without `tls`", None);
    }
    Some(Listener {
        name: name?,
        address: address?,
        tls,
        http2: typed.http2,
        connection_caps: typed.connection_caps,
        redirect_to_https: typed.redirect_to_https,
        proxies: connections::proxies(typed.proxy_protocol.as_ref(), path, report),
    })
}

/// Process-wide settings.
pub(super) fn process(typed: &file::Process, report: &mut Report<'_>) -> Process {
    let upgrade_socket = report.resolve(&typed.upgrade_socket);
    private_directory(&upgrade_socket, report);
    let threads = typed.threads.and_then(|threads| usize::try_from(threads).ok());
    Process {
        threads: threads.unwrap_or_else(|| std::thread::available_parallelism().map_or(1, usize::from)),
        pre_drain: zero_or_more(typed.pre_drain, "process.pre_drain", report),
        drain: zero_or_more(typed.drain, "process.drain", report),
        upgrade_socket,
        keepalive_connections_max: usize::try_from(typed.keepalive_connections_max).unwrap_or(usize::MAX),
    }
}

/// Whoever can write to the socket's directory can take the listeners over.
#[cfg(unix)]
fn private_directory(socket: &Path, report: &mut Report<'_>) {
    use std::os::unix::fs::PermissionsExt;
    let Some(metadata) = socket.parent().and_then(|directory| std::fs::metadata(directory).ok()) else { return };
    if metadata.permissions().mode() & 0o022 != 0 {
        let help = "give it a directory of its own with mode 0700";
        report.warn("process.upgrade_socket", "others can write to its directory", help.to_owned());
    }
}

#[cfg(not(unix))]
fn private_directory(_: &Path, _: &mut Report<'_>) {}

/// Ceilings of a request.
pub(super) fn limits(typed: &file::Limits, report: &mut Report<'_>) -> Limits {
    let bytes = |value: u64| usize::try_from(value).unwrap_or(usize::MAX);
    let body_size_max = size(typed.body_size_max, KIB, 1024 * MIB, "limits.body_size_max", report);
    let body_memory_max = size(typed.body_memory_max, KIB, 1024 * 1024 * MIB, "limits.body_memory_max", report);
    if body_memory_max < body_size_max {
        let message = format!("{} is less than `body_size_max` ({})", typed.body_memory_max, typed.body_size_max);
        report.problem("limits.body_memory_max", message, "all bodies together need room for the largest".to_owned());
    }
    Limits {
        uri_length_max: bytes(size(typed.uri_length_max, 256, MIB, "limits.uri_length_max", report)),
        header_size_max: bytes(size(typed.header_size_max, KIB, MIB, "limits.header_size_max", report)),
        header_count_max: usize::try_from(typed.header_count_max).unwrap_or(usize::MAX),
        body_size_max,
        body_memory_max,
        body_idle_timeout: positive(typed.body_idle_timeout, "limits.body_idle_timeout", report),
        body_timeout: positive(typed.body_timeout, "limits.body_timeout", report),
        body_rate_min: size(typed.body_rate_min, 0, MIB, "limits.body_rate_min", report),
        body_rate_window: positive(typed.body_rate_window, "limits.body_rate_window", report),
        keepalive_timeout: positive(typed.keepalive_timeout, "limits.keepalive_timeout", report),
        connections: connections::compile(&typed.connections, report),
    }
}

/// Headers that we add.
pub(super) const fn headers(typed: &file::Headers) -> Headers {
    Headers {
        served_by: typed.served_by,
        region: typed.region,
        attempts: typed.attempts,
        request_id_accepted: typed.request_id_accepted,
    }
}

/// Where the access log goes.
pub(super) fn access_log(typed: &file::AccessLog, report: &mut Report<'_>) -> AccessLog {
    match typed {
        file::AccessLog::Stdout => AccessLog::Stdout,
        file::AccessLog::Off => AccessLog::Off,
        file::AccessLog::File(path) => {
            let path = report.resolve(path);
            if !path.parent().is_some_and(Path::is_dir) {
                report.problem("access_log.file", "is in a directory that does not exist", None);
            } else if path.is_dir() {
                report.problem("access_log.file", "is a directory", None);
            }
            AccessLog::File(path)
        }
    }
}

/// Background DNS.
pub(super) fn dns(typed: &file::Dns, report: &mut Report<'_>) -> Dns {
    Dns {
        refresh: positive(typed.refresh, "dns.refresh", report),
        timeout: positive(typed.timeout, "dns.timeout", report),
    }
}
