//! What happens without a request: names are resolved ([`resolve`]), backends probed ([`probe`]), the configuration is
//! loaded anew on SIGHUP ([`reload`]), operators and Prometheus are answered ([`admin`]).
//!
//! Nothing here decides about a request: it keeps `state` informed and puts configurations in force.

pub mod admin;
mod crew;
mod doors;
pub mod probe;
pub mod reload;
pub mod resolve;

use crate::state::{BodyMemory, Fleet, Registry};
use crate::telemetry::{AccessLog, Metrics};
use arc_swap::ArcSwap;
use async_trait::async_trait;
use pingora::server::ShutdownWatch;
use pingora::services::background::{BackgroundService, background_service};
use pingora::services::{ServiceReadyNotifier, ServiceWithDependents};
use reload::Reload;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

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
    /// The process is shutting down: `/readyz` says 503.
    pub draining: Arc<AtomicBool>,
    /// Every listener is open: until then `/readyz` says 503.
    pub listening: Arc<AtomicBool>,
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
        drop(fleet);
        ready.notify_ready();
        tokio::select! {
            () = resolve::keep(shared, self.reload.generations()) => {}
            () = probe::keep(shared, self.reload.generations()) => {}
            () = self.reload.keep(hangups) => {}
            () = doors::watch(shared) => {}
            () = stopped(&mut shutdown) => {}
        }
    }
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
