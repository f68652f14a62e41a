//! Tokens of our own, off the request path: one task per token gets the next one ahead of the old one's end, and when a backend
//! refuses it. All who want the same token share one. A token stays in use until it really ends; a backend whose token has
//! ended gets no requests. How one is got is [`source`]'s business.

mod answer;
mod assertion;
mod cli;
mod source;
#[cfg(test)]
mod tests;

pub(super) use answer::refusal;

use super::Shared;
use super::crew::{Crew, follow, spread};
use crate::config::snapshot::{Auth, OwnToken};
use crate::domain::IdentityName;
use crate::state::{Bearer, Fleet};
use crate::telemetry::{Metrics, clock};
use futures::StreamExt;
use std::collections::HashMap;
use std::future::poll_fn;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;

/// Tokens got together before a configuration comes into force.
const TRIES_MAX: usize = 8;
/// After a failure the next try comes this soon, then after twice as long each time.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
/// Longest pause after failures.
const PAUSE_MAX: Duration = Duration::from_secs(60);
/// Shortest pause between two tokens, however short they live.
const PAUSE_MIN: Duration = Duration::from_secs(1);
/// Spread of the pauses, so that many gateways do not ask at once.
const JITTER: f64 = 0.2;

/// A token, and where it goes.
#[derive(Clone)]
struct Post {
    token: OwnToken,
    store: Arc<Bearer>,
}

impl PartialEq for Post {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.store, &other.store) && self.token == other.token
    }
}

/// Gets the tokens that there are none of yet. One that cannot be got costs one timeout, and its backends.
pub(super) async fn missing(fleet: &Fleet, metrics: &Metrics) {
    metrics.identities(&fleet.snapshot);
    let missing = posts(fleet).into_values().filter(|post| post.store.usable(clock::now()).is_none());
    futures::stream::iter(missing)
        .for_each_concurrent(TRIES_MAX, async |post| {
            if let Err(why) = get(&post, metrics).await {
                log::error!(
                    "identity {}: no token for {}, its backends get no requests: {why}",
                    name(&post),
                    scope(&post)
                );
            }
        })
        .await;
}

/// Keeps the tokens of the fleet in force good, for ever.
pub(super) async fn keep(shared: &Shared, generations: watch::Receiver<u64>) {
    let mut crew = Crew::new();
    follow(shared, generations, |fleet| crew.muster(posts(fleet), |post: Post| run(post, shared.clone()))).await;
}

fn posts(fleet: &Fleet) -> HashMap<(IdentityName, Arc<str>), Post> {
    let posts = fleet.snapshot.own_tokens.iter().zip(&fleet.own_tokens).map(|(token, store)| {
        let post = Post { token: token.clone(), store: Arc::clone(store) };
        ((token.identity.name.clone(), Arc::clone(&token.scope)), post)
    });
    posts.collect()
}

async fn run(post: Post, shared: Shared) {
    // The first failure was reported by `missing`.
    let mut failures = u32::from(post.store.usable(clock::now()).is_none());
    loop {
        let asked = tokio::select! {
            () = poll_fn(|context| post.store.poll_asked(context)) => true,
            () = tokio::time::sleep(pause(&post.store, failures, fastrand::f64())) => false,
        };
        if asked {
            log::warn!("identity {}: a backend refuses its token for {}, getting another", name(&post), scope(&post));
        }
        let usable = || post.store.usable(clock::now()).is_some();
        let was_usable = usable();
        let result = get(&post, &shared.metrics).await;
        if asked {
            post.store.tried();
        }
        match &result {
            Ok(changed) => {
                if failures > 0 {
                    log::info!("identity {}: tokens for {} can be got again", name(&post), scope(&post));
                }
                if *changed {
                    forgive(&shared.fleets.load_full(), &post.store);
                }
            }
            Err(why) if failures == 0 => {
                log::warn!("identity {}: its last token for {} stays in use: {why}", name(&post), scope(&post));
            }
            Err(why) if was_usable && !usable() => {
                log::error!("identity {}: its token for {} has expired: {why}", name(&post), scope(&post));
            }
            Err(_) => {}
        }
        failures = if result.is_ok() { 0 } else { failures.saturating_add(1) };
    }
}

/// How long the token is left alone after `failures` tries in a row that got none; `draw` is from 0 to 1.
fn pause(store: &Bearer, failures: u32, draw: f64) -> Duration {
    let Some(doublings) = failures.checked_sub(1) else {
        let now = clock::now();
        let wait = store.held().map_or(Duration::ZERO, |held| now.until(held.due));
        return spread(wait, JITTER, draw).max(PAUSE_MIN);
    };
    spread(FIRST_PAUSE.saturating_mul(1 << doublings.min(10)).min(PAUSE_MAX), JITTER, draw)
}

/// One try. Whether the token differs from the one before.
async fn get(post: &Post, metrics: &Metrics) -> Result<bool, String> {
    let limit = post.token.identity.timeout;
    let got = tokio::time::timeout(limit, source::get(&post.token)).await;
    let got = got.unwrap_or_else(|_elapsed| Err(format!("no answer within {limit:?}")));
    let identity = &post.token.identity.name;
    metrics.token_tried(identity, &post.token.scope, got.as_ref().ok().map(|got| got.life));
    let got = got?;
    Ok(post.store.publish(got.header, got.life, clock::now()))
}

/// A backend that refused the token before may take this one.
fn forgive(fleet: &Fleet, store: &Arc<Bearer>) {
    for (pool, state) in fleet.snapshot.pools.iter().zip(&fleet.pools) {
        for (backend, state) in pool.backends.iter().zip(state.backends()) {
            let Auth::Token(index) = backend.auth else { continue };
            if fleet.own_tokens.get(index).is_some_and(|own| Arc::ptr_eq(own, store)) {
                state.forgive_misconfiguration();
            }
        }
    }
}

const fn name(post: &Post) -> &IdentityName {
    &post.token.identity.name
}

fn scope(post: &Post) -> &str {
    &post.token.scope
}

/// A token for whoever asks outside of a fleet: at the start, before there is one.
pub(super) async fn once(token: &OwnToken, store: &Bearer) -> Result<(), String> {
    let limit = token.identity.timeout;
    let got = tokio::time::timeout(limit, source::get(token)).await;
    let got = got.unwrap_or_else(|_elapsed| Err(format!("no answer within {limit:?}")))?;
    store.publish(got.header, got.life, clock::now());
    Ok(())
}
