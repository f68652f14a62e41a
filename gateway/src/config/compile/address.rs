//! Compiles the addresses of listeners: IP address and port, or a Unix socket; no two of them the same. It opens none.

use crate::config::defaults;
use crate::config::file;
use crate::config::report::Report;
use crate::config::snapshot::Address;
use std::net::SocketAddr;
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};

/// Longest path of a Unix socket that the kernel takes, in bytes.
const SOCKET_PATH_LENGTH_MAX: usize = 107;

/// The addresses so far, each with its path in the file.
#[derive(Default)]
pub(super) struct Taken {
    ips: Vec<(SocketAddr, String)>,
    sockets: Vec<(PathBuf, String)>,
}

/// Where the listener at `path` listens.
pub(super) fn listener(
    typed: &file::Listener,
    path: &str,
    taken: &mut Taken,
    report: &mut Report<'_>,
) -> Option<Address> {
    let (address_path, mode_path) = (format!("{path}.address"), format!("{path}.socket_mode"));
    let Some(socket) = typed.address.strip_prefix("unix:") else {
        if typed.socket_mode.is_some() {
            report.problem(&mode_path, "is for Unix sockets", "write `address: unix:/path`, or remove it".to_owned());
        }
        return ip(&typed.address, &address_path, taken, report).map(Address::Ip);
    };
    let mode = match &typed.socket_mode {
        None => Some(defaults::SOCKET_MODE),
        Some(text) => mode(text, &mode_path, report),
    };
    let path = unix(Path::new(socket), &address_path, taken, report)?;
    Some(Address::Unix { path, mode: mode? })
}

/// An IP address and a port that nobody else has.
pub(super) fn ip(typed: &str, path: &str, taken: &mut Taken, report: &mut Report<'_>) -> Option<SocketAddr> {
    let Ok(address) = typed.parse::<SocketAddr>() else {
        let help = "write IP address and port: 0.0.0.0:8443, 127.0.0.1:8080 or [::]:8443";
        report.problem(path, format!("`{typed}` is not an address"), help.to_owned());
        return None;
    };
    // Port 0 lets the kernel choose: such addresses never collide.
    if address.port() != 0 {
        if let Some((_, other)) = taken.ips.iter().find(|(earlier, _)| collide(*earlier, address)) {
            report.problem(path, format!("{address} is taken"), format!("{other} has it already"));
        }
        taken.ips.push((address, path.to_owned()));
    }
    Some(address)
}

/// Whether both cannot be bound: one port, and one address or an address that means all of the family.
fn collide(a: SocketAddr, b: SocketAddr) -> bool {
    let all = a.ip().is_unspecified() || b.ip().is_unspecified();
    a.port() == b.port() && (a.ip() == b.ip() || (all && a.is_ipv4() == b.is_ipv4()))
}

/// A path at which a socket can be made. What lies there is removed when the listener opens: it must be a socket.
fn unix(typed: &Path, path: &str, taken: &mut Taken, report: &mut Report<'_>) -> Option<PathBuf> {
    let socket = report.resolve(typed);
    if typed.as_os_str().is_empty() {
        report.problem(path, "names no path", "write it as unix:/run/tidegate/edge.sock".to_owned());
        return None;
    }
    if socket.as_os_str().len() > SOCKET_PATH_LENGTH_MAX {
        report.problem(path, format!("is longer than the {SOCKET_PATH_LENGTH_MAX} bytes of a socket's path"), None);
    } else if !socket.parent().is_some_and(Path::is_dir) {
        report.problem(path, "is in a directory that does not exist", None);
    } else if std::fs::symlink_metadata(&socket).is_ok_and(|found| !found.file_type().is_socket()) {
        report.problem(path, "is there already and is no socket", None);
    }
    if let Some((_, other)) = taken.sockets.iter().find(|(earlier, _)| *earlier == socket) {
        report.problem(path, format!("{} is taken", socket.display()), format!("{other} has it already"));
    }
    taken.sockets.push((socket.clone(), path.to_owned()));
    Some(socket)
}

fn mode(typed: &str, path: &str, report: &mut Report<'_>) -> Option<u32> {
    let mode = u32::from_str_radix(typed, 8).ok().filter(|mode| *mode <= 0o777);
    if mode.is_none() {
        let help = "write three octal digits, such as \"0660\" for owner and group";
        report.problem(path, "is no set of permissions", help.to_owned());
    }
    mode
}
