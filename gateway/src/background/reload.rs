//! A new configuration without a restart: on SIGHUP the file is loaded, compiled and put in force by one swap, or refused
//! whole. Requests under way keep the configuration that they began with. Listeners and threads do not change: where the
//! file wants that, a warning says so.

use super::{Shared, identity, jwks, resolve, vault};
use crate::config::snapshot::{Listener, Snapshot, VaultSecret};
use crate::config::{self, Problem, Sources};
use crate::domain::Secret;
use crate::state::Fleet;
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::{Mutex, watch};
use tokio::task::spawn_blocking;

/// Signals that come within this time of a reload are one more reload, not many.
const PAUSE: Duration = Duration::from_millis(50);

/// Puts what was prepared in force; called with the new fleet, after everything that can fail.
pub type Commit = Box<dyn FnOnce(&Arc<Fleet>) + Send>;

/// Prepares what else depends on the configuration, such as certificates; an error refuses the configuration. Runs on a
/// thread where blocking is allowed, and so does its [`Commit`].
pub type Hook = Box<dyn Fn(&Snapshot) -> Result<Commit, String> + Send + Sync>;

/// How the environment is looked up.
pub type Environment = Box<dyn Fn(&str) -> Option<String> + Send + Sync>;

/// Loads configurations and puts them in force, one at a time.
pub struct Reload {
    shared: Shared,
    path: PathBuf,
    environment: Environment,
    hooks: Vec<Hook>,
    /// What the process started with: listeners and threads are still these.
    started: Arc<Snapshot>,
    /// Held while a configuration is loaded.
    turn: Mutex<()>,
    generations: watch::Sender<u64>,
}

/// Why a configuration was not loaded; the old one stays in force.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Refused(String);

impl Reload {
    /// Loads from `path`. The configuration in force in `shared` is the one that the process started with.
    #[must_use]
    pub fn new(shared: Shared, path: PathBuf, environment: Environment, hooks: Vec<Hook>) -> Arc<Self> {
        let started = Arc::clone(&shared.fleets.load().snapshot);
        let (generations, _) = watch::channel(started.generation);
        Arc::new(Self { shared, path, environment, hooks, started, turn: Mutex::new(()), generations })
    }

    /// Loads the file now and puts it in force; its generation. Logs and counts what came of it.
    ///
    /// # Errors
    /// [`Refused`] says why; nothing has changed then.
    pub async fn reload_now(self: &Arc<Self>) -> Result<u64, Refused> {
        self.put(None).await
    }

    /// Puts the text that is in force in force again, with what it refers to as that is now; the generation.
    ///
    /// # Errors
    /// [`Refused`] says why; nothing has changed then.
    pub(super) async fn renew(self: &Arc<Self>) -> Result<u64, Refused> {
        let text = Arc::clone(&self.shared.fleets.load().snapshot.text.0);
        self.put(Some(text)).await
    }

    async fn put(self: &Arc<Self>, text: Option<Arc<str>>) -> Result<u64, Refused> {
        let _turn = self.turn.lock().await;
        let result = self.load(text).await;
        match &result {
            Ok(fleet) => {
                let Snapshot { generation, digest, pools, .. } = fleet.snapshot.as_ref();
                let backends = pools.iter().map(|pool| pool.backends.len()).sum::<usize>();
                log::info!(
                    "configuration generation {generation} in force ({}, {}, digest {digest})",
                    Count(pools.len(), "pool"),
                    Count(backends, "backend"),
                );
            }
            Err(why) => {
                let generation = self.shared.fleets.load().snapshot.generation;
                log::error!("{why} (generation {generation} stays in force)");
            }
        }
        self.shared.metrics.reloaded(result.is_ok());
        result.map(|fleet| fleet.snapshot.generation)
    }

    /// Reloads at each signal, for ever.
    pub(super) async fn keep(self: &Arc<Self>, hangups: Option<Signal>) {
        let Some(mut hangups) = hangups else { return std::future::pending().await };
        while hangups.recv().await.is_some() {
            log::info!("SIGHUP: loading {}", self.path.display());
            // Told in the log by itself.
            let _ = self.reload_now().await;
            tokio::time::sleep(PAUSE).await;
        }
    }

    /// What the reload works on.
    pub(super) const fn shared(&self) -> &Shared {
        &self.shared
    }

    /// The generation in force; changes after each swap.
    pub(super) fn generations(&self) -> watch::Receiver<u64> {
        self.generations.subscribe()
    }

    async fn load(self: &Arc<Self>, text: Option<Arc<str>>) -> Result<Arc<Fleet>, Refused> {
        let this = Arc::clone(self);
        if text.is_none() {
            // What is wrong with it is told below.
            let wants = spawn_blocking(move || config::load(&this.path, &|name| (this.environment)(name)).ok());
            if let Some((snapshot, _)) = wants.await.map_err(|error| broken(&error))? {
                vault::missing(&snapshot, Some(&self.shared.fleets.load_full()), &self.shared.secrets).await;
            }
        }
        let this = Arc::clone(self);
        let (snapshot, commits) =
            spawn_blocking(move || this.prepare(text.as_deref())).await.map_err(|error| broken(&error))??;
        let fleet = self.shared.registry.bind(Arc::new(snapshot));
        // A backend that is new to us gets its addresses before the first request can choose it.
        resolve::missing(&fleet, &self.shared.metrics).await;
        // And an issuer its keys.
        jwks::missing(&fleet, &self.shared.metrics).await;
        // And an identity its token.
        identity::missing(&fleet, &self.shared.metrics).await;
        vault::report(&fleet, &self.shared.secrets, &self.shared.metrics);
        let this = Arc::clone(self);
        spawn_blocking(move || this.put_in_force(fleet, commits)).await.map_err(|error| broken(&error))
    }

    /// The file, or `text` in its place.
    fn compile(
        &self,
        text: Option<&str>,
        vault: &dyn Fn(&VaultSecret) -> Option<Secret>,
    ) -> Result<(Snapshot, Vec<Problem>), Refused> {
        let environment = |name: &str| (self.environment)(name);
        let sources = Sources { environment: &environment, vault };
        let compiled = match text {
            None => config::load_with(&self.path, sources),
            Some(text) => config::reload_with(&self.path, text, sources),
        };
        compiled.map_err(|problems| Refused(problems.to_string()))
    }

    /// Everything that can fail.
    fn prepare(&self, text: Option<&str>) -> Result<(Snapshot, Vec<Commit>), Refused> {
        let (mut snapshot, warnings) = self.compile(text, &|secret| self.shared.secrets.get(secret))?;
        snapshot.generation = self.shared.fleets.load().snapshot.generation + 1;
        let commits: Result<Vec<_>, _> = self.hooks.iter().map(|hook| hook(&snapshot)).collect();
        let commits = commits.map_err(|why| Refused(format!("configuration not loaded: {why}")))?;
        let reopened = self.shared.access_log.reopen(&snapshot.access_log);
        reopened.map_err(|error| Refused(format!("configuration not loaded: access log: {error}")))?;
        for warning in warnings {
            log::warn!("{warning}");
        }
        let fixed = needs_restart(&self.started, &snapshot);
        if !fixed.is_empty() {
            log::warn!("these changes take effect after a restart: {}", fixed.join(", "));
        }
        Ok((snapshot, commits))
    }

    /// Nothing here can fail.
    fn put_in_force(&self, fleet: Arc<Fleet>, commits: Vec<Commit>) -> Arc<Fleet> {
        let Shared { metrics, memory, fleets, .. } = &self.shared;
        // Before anyone takes meters of the new configuration.
        metrics.retain(&fleet.snapshot);
        memory.set_ceiling(fleet.snapshot.limits.body_memory_max);
        for commit in commits {
            commit(&fleet);
        }
        fleets.store(Arc::clone(&fleet));
        metrics.in_force(fleet.snapshot.generation);
        self.generations.send_replace(fleet.snapshot.generation);
        fleet
    }
}

/// Listens for SIGHUP. Until then the signal ends the process.
pub(super) fn hangups() -> Option<Signal> {
    signal(SignalKind::hangup()).inspect_err(|error| log::error!("SIGHUP cannot be watched: {error}")).ok()
}

/// A bug: the thread that loads has panicked.
fn broken(error: &tokio::task::JoinError) -> Refused {
    Refused(format!("configuration not loaded: {error}"))
}

/// Keys whose new values the running process cannot take over.
fn needs_restart(started: &Snapshot, new: &Snapshot) -> Vec<&'static str> {
    // Certificates are read again; whether there is one at all is the listener's nature.
    let natures = |snapshot: &Snapshot| {
        let nature = |l: &Listener| (l.name.clone(), l.address.clone(), l.http2, l.tls.is_some(), l.redirect_to_https);
        snapshot.listeners.iter().map(nature).collect::<Vec<_>>()
    };
    let (old, now) = (&started.process, &new.process);
    [
        ("listeners", natures(started) != natures(new)),
        ("admin", started.admin != new.admin),
        ("process.threads", old.threads != now.threads),
        ("process.pre_drain", old.pre_drain != now.pre_drain),
        ("process.drain", old.drain != now.drain),
        ("process.upgrade_socket", old.upgrade_socket != now.upgrade_socket),
        ("process.keepalive_connections_max", old.keepalive_connections_max != now.keepalive_connections_max),
        ("limits.keepalive_timeout", started.limits.keepalive_timeout != new.limits.keepalive_timeout),
    ]
    .into_iter()
    .filter_map(|(key, changed)| changed.then_some(key))
    .collect()
}

/// `1 pool`, `2 pools`.
struct Count(usize, &'static str);

impl fmt::Display for Count {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}{}", self.0, self.1, if self.0 == 1 { "" } else { "s" })
    }
}

impl fmt::Debug for Reload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reload").field("path", &self.path).field("hooks", &self.hooks.len()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
