//! The gateway as one value: what the request path shares, and why a request goes no further.

use super::closing::Closing;
use super::context::Verdict;
use super::hops::Via;
use super::live::Live;
use super::overload::Doorman;
use super::read;
use crate::config::snapshot::Address;
use crate::state::{BodyMemory, Challenges, Gauges};
use crate::telemetry::{AccessLog, Metrics};
use arc_swap::ArcSwap;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

/// The gateway: everything the request path needs, shared by all threads.
pub struct Gateway {
    /// The configuration in force, swapped whole.
    pub live: Arc<ArcSwap<Live>>,
    /// Every metric.
    pub metrics: Arc<Metrics>,
    /// One line per request.
    pub access_log: AccessLog,
    /// Request bodies held by the process.
    pub memory: BodyMemory,
    /// Who may begin near the process's ceilings.
    pub doorman: Doorman,
    /// Requests and streams in flight, for draining.
    pub gauges: Gauges,
    /// The listeners' addresses and names, for the access log.
    pub listeners: Vec<(Address, String)>,
    /// How we sign what we pass on.
    pub via: Via,
    /// Addresses of the listeners that only redirect to HTTPS.
    pub redirecting: Vec<Address>,
    /// What ACME servers may ask for.
    pub challenges: Challenges,
    /// Ends the WebSockets with the process.
    pub closing: Closing,
}

/// Why the request goes no further.
pub(super) enum Stop {
    /// We answer.
    Refuse(Verdict),
    /// Nobody is left to answer to.
    ClientGone,
}

impl<V: Into<Verdict>> From<V> for Stop {
    fn from(verdict: V) -> Self {
        Self::Refuse(verdict.into())
    }
}

impl From<read::Unread> for Stop {
    fn from(unread: read::Unread) -> Self {
        match unread {
            read::Unread::Denied(denial) => Self::Refuse(denial.into()),
            read::Unread::ClientGone => Self::ClientGone,
        }
    }
}

/// The local end of a connection: an address of this host, or the path of a Unix socket.
pub(super) fn ends(local: &pingora::protocols::l4::socket::SocketAddr) -> (Option<SocketAddr>, Option<&Path>) {
    (local.as_inet().copied(), local.as_unix().and_then(|unix| unix.as_pathname()))
}

impl Gateway {
    /// Name of the listener with this local address.
    pub(super) fn listener_of(&self, local: Option<&pingora::protocols::l4::socket::SocketAddr>) -> Option<&str> {
        let local = local?;
        let (ip, path) = ends(local);
        let named = |(address, _): &&(Address, String)| address.is_at(ip, path);
        self.listeners.iter().find(named).map(|(_, name)| name.as_str())
    }
}
