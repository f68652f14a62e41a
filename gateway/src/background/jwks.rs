//! Keys of token issuers, off the request path: one task per issuer looks at them ahead of time, and when a token names a key
//! that is not among them. What a look finds goes to `state`; when it finds nothing the last good keys stay, until they are
//! too old to be trusted. How they are fetched is [`fetch`]'s business.

mod fetch;

use super::Shared;
use super::crew::{Crew, follow, spread};
use crate::config::snapshot::{Issuer, KeySource};
use crate::domain::IssuerName;
use crate::policy::token::{KeySet, SET_SIZE_MAX};
use crate::state::{Fleet, IssuerKeys};
use crate::telemetry::{Metrics, clock};
use futures::StreamExt;
use std::collections::HashMap;
use std::future::poll_fn;
use std::io::Read;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tokio::task::spawn_blocking;

/// Issuers looked at together before a configuration comes into force.
const LOOKS_MAX: usize = 16;
/// One look, redirect-free: names, connection, answers.
const LOOK_TIMEOUT: Duration = Duration::from_secs(5);
/// After a failed look the next comes this soon, then after twice as long each time, up to the usual pace.
const FIRST_PAUSE: Duration = Duration::from_secs(5);
/// Spread of the pace, so that many gateways do not ask at once.
const JITTER: f64 = 0.2;
/// How often a file of keys is read.
const FILE_PACE: Duration = Duration::from_secs(10);

/// An issuer, and where its keys go.
#[derive(Clone)]
struct Post {
    issuer: Issuer,
    store: Arc<IssuerKeys>,
}

impl PartialEq for Post {
    fn eq(&self, other: &Self) -> bool {
        let (one, two) = (&self.issuer, &other.issuer);
        Arc::ptr_eq(&self.store, &other.store)
            && one.source.is_same_place(&two.source)
            && (one.rules.names == two.rules.names)
            && (one.refresh, one.stale_max) == (two.refresh, two.stale_max)
    }
}

/// Fetches the keys of issuers that have none yet. An issuer that cannot be reached costs one timeout, and its tokens.
pub(super) async fn missing(fleet: &Fleet, metrics: &Metrics) {
    metrics.issuers(&fleet.snapshot);
    // A file was read with the configuration; this counts it.
    let is_missing = |post: &Post| post.store.is_missing() || matches!(post.issuer.source, KeySource::File { .. });
    let missing = posts(fleet).into_values().filter(is_missing);
    futures::stream::iter(missing)
        .for_each_concurrent(LOOKS_MAX, async |post| {
            if let Err(why) = look(&post, metrics).await {
                log::error!("issuer {}: no keys, its tokens are refused: {why}", post.issuer.name);
            }
        })
        .await;
}

/// Keeps the keys of every issuer of the fleet in force fresh, for ever.
pub(super) async fn keep(shared: &Shared, generations: watch::Receiver<u64>) {
    let mut crew = Crew::new();
    follow(shared, generations, |fleet| {
        crew.muster(posts(fleet), |post: Post| run(post, Arc::clone(&shared.metrics)));
    })
    .await;
}

fn posts(fleet: &Fleet) -> HashMap<IssuerName, Post> {
    let issuers = fleet.snapshot.access.iter().flat_map(|access| &access.issuers);
    let posts = issuers.zip(&fleet.issuers).map(|(issuer, store)| {
        let post = Post { issuer: issuer.clone(), store: Arc::clone(store) };
        (issuer.name.clone(), post)
    });
    posts.collect()
}

impl Post {
    /// How long the keys are left alone after `failures` looks in a row that found nothing.
    fn pace(&self, failures: u32) -> Duration {
        let usual = match self.issuer.source {
            KeySource::File { .. } => FILE_PACE,
            KeySource::Url(_) | KeySource::Discovery(_) => self.issuer.refresh,
        };
        match failures {
            0 => usual,
            _ => usual.min(FIRST_PAUSE.saturating_mul(1 << (failures - 1).min(10))),
        }
    }

    fn is_stale(&self) -> bool {
        self.store.trusted(self.issuer.keys_age_max(), clock::now()).is_none()
    }
}

async fn run(post: Post, metrics: Arc<Metrics>) {
    let name = &post.issuer.name;
    // The first failure was reported by `missing`.
    let mut failures = u32::from(post.store.is_missing());
    let mut stale = post.is_stale();
    loop {
        let asked = tokio::select! {
            () = poll_fn(|context| post.store.poll_asked(context)) => true,
            () = tokio::time::sleep(spread(post.pace(failures), JITTER, fastrand::f64())) => false,
        };
        let result = look(&post, &metrics).await;
        if asked {
            post.store.looked();
        }
        match &result {
            Ok(()) if failures > 0 => log::info!("issuer {name}: its keys can be fetched again"),
            Err(why) if failures == 0 => log::warn!("issuer {name}: its last keys stay in use: {why}"),
            _ => {}
        }
        failures = if result.is_ok() { 0 } else { failures.saturating_add(1) };
        if !stale && post.is_stale() {
            log::error!("issuer {name}: its keys are too old to be trusted, its tokens are refused");
        }
        stale = post.is_stale();
    }
}

/// One look at an issuer's keys.
async fn look(post: &Post, metrics: &Metrics) -> Result<(), String> {
    let name = &post.issuer.name;
    let found = match &post.issuer.source {
        KeySource::File { path, .. } => read(path).await,
        KeySource::Url(_) | KeySource::Discovery(_) => {
            let fetched = tokio::time::timeout(LOOK_TIMEOUT, fetch::keys(&post.issuer)).await;
            fetched.unwrap_or_else(|_elapsed| Err(format!("no answer within {LOOK_TIMEOUT:?}")))
        }
    };
    let found = found.and_then(|bytes| KeySet::read(&bytes).map_err(|error| format!("what is published {error}")));
    metrics.keys_seen(name, found.as_ref().ok().map(KeySet::len));
    let keys = Arc::new(found?);
    if post.store.publish(&keys, clock::now()) {
        log::info!("issuer {name}: {} keys in use", keys.len());
    }
    Ok(())
}

/// A file's bytes, and one more than it may have.
async fn read(path: &Path) -> Result<Vec<u8>, String> {
    let path = path.to_owned();
    let read = spawn_blocking(move || {
        let limit = u64::try_from(SET_SIZE_MAX).unwrap_or(u64::MAX).saturating_add(1);
        let mut bytes = Vec::new();
        let result = std::fs::File::open(&path).and_then(|file| file.take(limit).read_to_end(&mut bytes));
        result.map(|_| bytes).map_err(|error| format!("{} cannot be read: {error}", path.display()))
    });
    read.await.unwrap_or_else(|error| Err(error.to_string()))
}

#[cfg(test)]
mod tests;
