//! Certificates that the gateway obtains by itself (ACME, RFC 8555, by HTTP-01): at start where there is none, and again
//! at two thirds of its life. What goes wrong leaves the certificate in force and is tried again, with patience; a reload
//! tries at once.
//!
//! It writes one file per listener, which `server::tls` serves as soon as it has changed. A handshake never waits for it.

mod cabinet;
mod caller;
mod order;

use super::Shared;
use super::crew::{Crew, follow};
use crate::config::snapshot::Acme;
use crate::policy::renewal;
use crate::state::{Challenges, Fleet};
use crate::telemetry::{Metrics, clock};
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{Mutex, watch};
use tokio::task::spawn_blocking;
use tokio::time::timeout;

/// The certificate is looked at at least this often: somebody may have taken it away.
const LOOK: Duration = Duration::from_secs(3600);
/// Longest time for one order, all its questions and answers included.
const ORDER_TIMEOUT: Duration = Duration::from_secs(300);

/// The certificate of one listener.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Post {
    listener: String,
    acme: Acme,
}

/// What all of them share.
#[derive(Clone)]
struct Tools {
    metrics: Arc<Metrics>,
    challenges: Challenges,
    /// One order at a time: two of a new account would make two accounts.
    turn: Arc<Mutex<()>>,
    reloads: watch::Receiver<u64>,
}

/// Looks after the certificates of the configuration in force, for ever.
pub(super) async fn keep(shared: &Shared, generations: watch::Receiver<u64>) {
    let tools = Tools {
        metrics: Arc::clone(&shared.metrics),
        challenges: shared.challenges.clone(),
        turn: Arc::default(),
        reloads: generations.clone(),
    };
    let mut crew = Crew::new();
    follow(shared, generations, |fleet| crew.muster(posts(fleet), |post| run(post, tools.clone()))).await;
}

fn posts(fleet: &Fleet) -> HashMap<String, Post> {
    let wanted = fleet.snapshot.listeners.iter().filter_map(|listener| {
        let acme = listener.tls.as_ref()?.acme.clone()?;
        Some((listener.name.to_string(), Post { listener: listener.name.to_string(), acme }))
    });
    wanted.collect()
}

/// The series of a listener, as long as its certificate is looked after.
struct Series<'m>(&'m Metrics, &'m str);

impl Drop for Series<'_> {
    fn drop(&mut self) {
        self.0.acme_failures(self.1, None);
    }
}

async fn run(post: Post, mut tools: Tools) {
    let (listener, acme) = (&post.listener, &post.acme);
    let metrics = Arc::clone(&tools.metrics);
    let series = Series(&metrics, listener);
    let mut failures = 0_u32;
    // One draw for the whole life: a new one at each look would favour the early ones.
    let draw = fastrand::f64();
    tools.reloads.mark_unchanged();
    loop {
        series.0.acme_failures(listener, Some(failures));
        let left = left(acme, draw).await;
        let pause = if left.is_zero() {
            match order(acme, &tools).await {
                Ok(()) => {
                    log::info!("listener {listener}: obtained a certificate for {}", acme.names.join(", "));
                    failures = 0;
                    LOOK
                }
                Err(why) => {
                    failures = failures.saturating_add(1);
                    let pause = renewal::pause(failures, fastrand::f64());
                    log::error!(
                        "listener {listener}: no certificate from {}, again in {} s or at a reload: {why}",
                        acme.directory,
                        pause.as_secs()
                    );
                    pause
                }
            }
        } else {
            left.min(LOOK)
        };
        series.0.acme_failures(listener, Some(failures));
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            changed = tools.reloads.changed() => if changed.is_err() { return },
        }
    }
}

/// How long the certificate in the cache is good enough: no time where there is none, or one for something else.
async fn left(acme: &Acme, draw: f64) -> Duration {
    let wanted = acme.clone();
    let held = spawn_blocking(move || cabinet::certificate(&wanted)).await.ok().flatten();
    let fits = held.filter(|held| held.names == acme.names && held.directory == acme.directory);
    fits.map_or(Duration::ZERO, |held| renewal::due(held.validity, clock::unix_seconds(), draw))
}

async fn order(acme: &Acme, tools: &Tools) -> Result<(), String> {
    let _turn = tools.turn.lock().await;
    let ordered = timeout(ORDER_TIMEOUT, order::obtain(acme, &tools.challenges)).await;
    ordered.unwrap_or_else(|_elapsed| Err(format!("no end after {} s", ORDER_TIMEOUT.as_secs())))
}
