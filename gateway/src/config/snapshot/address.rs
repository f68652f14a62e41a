//! [`Address`]: where a listener listens.

use std::fmt;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

/// Where a listener listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Address {
    /// On a port of one or all addresses of this host.
    Ip(SocketAddr),
    /// On a Unix socket.
    Unix {
        /// Its path.
        path: PathBuf,
        /// Permission bits of its file.
        mode: u32,
    },
}

impl Address {
    /// Whether a connection whose local end is `ip` or `path` came in here.
    #[must_use]
    pub fn is_at(&self, ip: Option<SocketAddr>, path: Option<&Path>) -> bool {
        match self {
            Self::Ip(own) => ip.is_some_and(|local| {
                own.port() == local.port() && (own.ip().is_unspecified() || own.ip() == local.ip().to_canonical())
            }),
            Self::Unix { path: own, .. } => path == Some(own),
        }
    }

    /// Whether the kernel chooses the port.
    #[must_use]
    pub fn is_chosen_by_the_kernel(&self) -> bool {
        matches!(self, Self::Ip(address) if address.port() == 0)
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ip(address) => address.fmt(f),
            Self::Unix { path, .. } => write!(f, "unix:{}", path.display()),
        }
    }
}
