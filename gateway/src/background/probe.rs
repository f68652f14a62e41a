//! Active health checks: one task per backend probes it at its pool's pace and tells `state`, whose machine decides about
//! health. The checks themselves are those of `pingora-load-balancing`, one object per backend: host, path, credential and
//! trust differ. A limit around each probe holds whatever the backend does.

mod check;

use super::Shared;
use super::crew::{Crew, follow, spread};
use crate::config::snapshot::{Auth, BaseUrl, Probe};
use crate::domain::{BackendId, Region};
use crate::policy::health::{HealthChange, Thresholds};
use crate::state::{BackendState, Bearer, Fleet};
use crate::telemetry::{BackendMeters, ProbeResult, clock};
use check::Check;
use http::{HeaderName, HeaderValue};
use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;

/// The first probes of all backends are spread over this long at most.
const START_SPREAD: Duration = Duration::from_millis(500);

/// A backend to probe, and everything that makes its probe what it is.
#[derive(Clone)]
struct Post {
    id: BackendId,
    region: Region,
    probe: Probe,
    url: BaseUrl,
    auth: Auth,
    /// The token of ours that it is shown.
    token: Option<Arc<Bearer>>,
    headers: Vec<(HeaderName, HeaderValue)>,
    http2: bool,
    state: Arc<BackendState>,
}

impl PartialEq for Post {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.state, &other.state)
            && self.token.as_ref().map(Arc::as_ptr) == other.token.as_ref().map(Arc::as_ptr)
            && (&self.region, &self.probe, &self.url, &self.auth, &self.headers, self.http2)
                == (&other.region, &other.probe, &other.url, &other.auth, &other.headers, other.http2)
    }
}

/// Keeps every enabled backend of the fleet in force probed, where its pool says so, for ever.
pub(super) async fn keep(shared: &Shared, generations: watch::Receiver<u64>) {
    let mut crew = Crew::new();
    follow(shared, generations, |fleet| {
        crew.muster(posts(fleet), |post: Post| {
            let meters = shared.metrics.backend(&post.id, &post.region);
            run(post, meters)
        });
    })
    .await;
}

fn posts(fleet: &Fleet) -> HashMap<BackendId, Post> {
    let mut posts = HashMap::new();
    for (pool, states) in fleet.snapshot.pools.iter().zip(&fleet.pools) {
        let Some(probe) = &pool.probe else { continue };
        for (backend, state) in pool.backends.iter().zip(states.backends()).filter(|(backend, _)| backend.enabled) {
            let post = Post {
                id: backend.id.clone(),
                region: backend.region.clone(),
                probe: probe.clone(),
                url: backend.url.clone(),
                auth: backend.auth.clone(),
                token: match backend.auth {
                    Auth::Token(index) => fleet.own_tokens.get(index).map(Arc::clone),
                    Auth::None | Auth::ApiKey(_) | Auth::Bearer(_) => None,
                },
                headers: backend.headers.clone(),
                http2: backend.http2,
                state: Arc::clone(state),
            };
            posts.insert(backend.id.clone(), post);
        }
    }
    posts
}

async fn run(post: Post, meters: Arc<BackendMeters>) {
    let mut check = None;
    let first = START_SPREAD.min(post.probe.interval).mul_f64(fastrand::f64());
    tokio::time::sleep(first).await;
    // As the request path does, stay with one of the name's addresses until it fails.
    let mut turn = 0_usize;
    loop {
        if probe(&post, &meters, &mut check, turn).await != ProbeResult::Passed {
            turn = turn.wrapping_add(1);
        }
        tokio::time::sleep(spread(post.probe.interval, post.probe.jitter, fastrand::f64())).await;
    }
}

/// One probe: sends it, tells the meters and the state, logs a change of health.
async fn probe(post: &Post, meters: &BackendMeters, check: &mut Option<Check>, turn: usize) -> ProbeResult {
    let Some(address) = post.state.addresses().address(turn) else {
        // No verdict: selection passes over a backend without address anyway.
        meters.probed(ProbeResult::Unresolved, Duration::ZERO);
        return ProbeResult::Unresolved;
    };
    let began = clock::now();
    let (result, why) = send(post, check, address).await;
    let now = clock::now();
    let elapsed = now.since(began);
    meters.probed(result, elapsed);
    let passed = result == ProbeResult::Passed;
    let change = post.state.probed(passed, passed.then_some(elapsed), post.probe.thresholds, now);
    if let Some(change) = change {
        meters.health_changed(change == HealthChange::BecameHealthy);
        tell(&post.id, change, post.probe.thresholds, &why);
    }
    result
}

/// Sends one probe and says what is wrong when it fails.
async fn send(post: &Post, check: &mut Option<Check>, address: SocketAddr) -> (ProbeResult, String) {
    let ready = match check.take().filter(|check| check.is_current(post)) {
        Some(ready) => ready,
        None => match Check::new(post) {
            Ok(ready) => ready,
            // The CA file is gone. The next probe looks for it again.
            Err(why) => return (ProbeResult::Failed, why),
        },
    };
    let sent = tokio::time::timeout(post.probe.timeout, ready.send(address)).await;
    *check = Some(ready);
    match sent {
        Ok(Ok(())) => (ProbeResult::Passed, String::new()),
        Ok(Err(why)) => (ProbeResult::Failed, why),
        Err(_) => (ProbeResult::TimedOut, format!("no answer within {:?}", post.probe.timeout)),
    }
}

fn tell(id: &BackendId, change: HealthChange, thresholds: Thresholds, why: &str) {
    match change {
        HealthChange::BecameHealthy => {
            log::info!("backend {id} is healthy again: {} probes in a row passed", thresholds.healthy_after);
        }
        HealthChange::BecameUnhealthy => {
            log::warn!(
                "backend {id} is unhealthy: {} probes in a row failed, the last: {why}",
                thresholds.unhealthy_after
            );
        }
    }
}

#[cfg(test)]
mod tests;
