//! What happens without a request: names are resolved ([`resolve`]), backends probed ([`probe`]), the configuration is
//! loaded anew on SIGHUP ([`reload`]), certificates obtained (`acme`), keys of token issuers fetched (`jwks`), tokens of our own got
//! (`identity`), secrets read from vaults ([`vault`]), operators and Prometheus are answered ([`admin`]).
//!
//! Nothing here decides about a request: it keeps `state` informed and puts configurations in force.

mod acme;
pub mod admin;
mod azure;
mod crew;
mod http;
mod identity;
mod jwks;
mod keys;
mod pressure;
pub mod probe;
pub mod reload;
pub mod resolve;
mod rotation;
mod shared_limits;
mod trust;
pub mod usage;
pub mod vault;

use crate::config::snapshot::Address;
use crate::state::{BodyMemory, Challenges, Fleet, Floor, Registry, Secrets};
use crate::telemetry::{AccessLog, Metrics};
use arc_swap::ArcSwap;
use async_trait::async_trait;
use pingora::server::ShutdownWatch;
use pingora::services::background::{BackgroundService, background_service};
use pingora::services::{ServiceReadyNotifier, ServiceWithDependents};
use reload::Reload;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::net::{TcpSocket, UnixStream};

/// Pause between two looks at a listener that is being opened.
const LOOK: Duration = Duration::from_millis(5);

/// What the background work shares with the request path.
#[derive(Clone, Debug)]
pub struct Shared {
    /// The configuration in force, with its live state.
    pub fleets: Arc<ArcSwap<Fleet>>,
    /// State of all backends.
    pub registry: Arc<Registry>,
    /// Metrics.
    pub metrics: Arc<Metrics>,
    /// Access log, reopened on reload.
    pub access_log: AccessLog,
    /// Request bodies held; its ceiling follows the configuration.
    pub memory: BodyMemory,
    /// How busy the process is; it is told how short memory is.
    pub floor: Floor,
    /// The listeners accept connections; until then `/readyz` says 503.
    pub listening: Arc<AtomicBool>,
    /// The process is shutting down: `/readyz` says 503.
    pub draining: Arc<AtomicBool>,
    /// Where the answers for ACME servers are put.
    pub challenges: Challenges,
    /// The last good values of secrets in vaults.
    pub secrets: Arc<Secrets>,
}

/// The services for Pingora's server, in the order in which to add them: the background work, and the admin listener when
/// the configuration has one. The first is ready once every name was looked up; listeners may be made to wait for it.
#[must_use]
pub fn services(reload: Arc<Reload>) -> Vec<Box<dyn ServiceWithDependents>> {
    let shared = reload.shared().clone();
    let admin = shared.fleets.load().snapshot.admin.map(|address| admin::service(shared, address));
    let mut work = background_service("background", Work { reload });
    work.threads = Some(1);
    let mut services: Vec<Box<dyn ServiceWithDependents>> = vec![Box::new(work)];
    services.extend(admin.map(|admin| -> Box<dyn ServiceWithDependents> { Box::new(admin) }));
    services
}

/// Resolve, probe and reload, until shutdown begins.
struct Work {
    reload: Arc<Reload>,
}

#[async_trait]
impl BackgroundService for Work {
    async fn start_with_ready_notifier(&self, mut shutdown: ShutdownWatch, ready: ServiceReadyNotifier) {
        // First of all: until this is done, a SIGHUP ends the process.
        let hangups = reload::hangups();
        let shared = self.reload.shared();
        let fleet = shared.fleets.load_full();
        resolve::missing(&fleet, &shared.metrics).await;
        tokio::join!(jwks::missing(&fleet, &shared.metrics), identity::missing(&fleet, &shared.metrics));
        vault::report(&fleet, &shared.secrets, &shared.metrics);
        drop(fleet);
        ready.notify_ready();
        tokio::select! {
            () = announce(shared) => {}
            () = pressure::keep(shared) => {}
            () = shared_limits::keep(shared) => {}
            () = usage::keep(shared) => {}
            () = keys::keep(shared) => {}
            () = resolve::keep(shared, self.reload.generations()) => {}
            () = probe::keep(shared, self.reload.generations()) => {}
            () = acme::keep(shared, self.reload.generations()) => {}
            () = jwks::keep(shared, self.reload.generations()) => {}
            () = identity::keep(shared, self.reload.generations()) => {}
            () = rotation::keep(&self.reload) => {}
            () = self.reload.keep(hangups) => {}
            () = stopped(&mut shutdown) => {}
        }
    }
}

/// Tells `/readyz` once the listeners accept: Pingora does not say when it has opened them, and opens the admin listener
/// at the same time. Never ends.
async fn announce(shared: &Shared) {
    let fleet = shared.fleets.load_full();
    for listener in &fleet.snapshot.listeners {
        while !is_open(&listener.address).await {
            tokio::time::sleep(LOOK).await;
        }
    }
    drop(fleet);
    shared.listening.store(true, Ordering::Release);
    std::future::pending().await
}

/// Whether someone listens there. A Unix socket can only be asked by a connection.
async fn is_open(address: &Address) -> bool {
    match address {
        Address::Ip(address) => is_listening(*address),
        Address::Unix { path, .. } => UnixStream::connect(path).await.is_ok(),
    }
}

/// Whether someone listens on `address`. A socket that is bound and never listens is refused beside one that listens, and
/// disturbs nobody; a connection would show up as one that was closed early.
fn is_listening(address: SocketAddr) -> bool {
    let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() };
    let bound = socket.and_then(|socket| {
        socket.set_reuseaddr(true)?;
        socket.bind(address)
    });
    // With port 0 the kernel has chosen one that nobody here knows.
    bound.is_err() || address.port() == 0
}

async fn stopped(shutdown: &mut ShutdownWatch) {
    while !*shutdown.borrow() {
        if shutdown.changed().await.is_err() {
            return;
        }
    }
}

#[cfg(test)]
mod tests;
