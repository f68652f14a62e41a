//! Names to addresses, off the request path: one task per name looks it up, again and again. What a look-up finds goes to
//! `state`; when it finds nothing the last good addresses stay. Literals are never looked up.

use super::Shared;
use super::crew::{Crew, follow, spread};
use crate::config::snapshot::Dns;
use crate::state::{BackendState, Fleet};
use crate::telemetry::Metrics;
use futures::StreamExt;
use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// Most addresses taken of one name.
const ADDRESSES_MAX: usize = 16;
/// Names looked up at once before a configuration comes into force.
const LOOK_UPS_MAX: usize = 16;
/// While a name has no address at all it is looked up this often, or at the usual pace where that is faster.
const RETRY: Duration = Duration::from_secs(2);
/// Spread of the pace, so that many gateways do not ask at once.
const JITTER: f64 = 0.2;

/// A name and port, and who waits for its addresses.
#[derive(Clone)]
struct Post {
    name: Name,
    dns: Dns,
    states: Vec<Arc<BackendState>>,
}

type Name = (String, u16);

impl PartialEq for Post {
    fn eq(&self, other: &Self) -> bool {
        let same = |(one, two): (&Arc<BackendState>, &Arc<BackendState>)| Arc::ptr_eq(one, two);
        self.name == other.name
            && self.dns == other.dns
            && self.states.len() == other.states.len()
            && self.states.iter().zip(&other.states).all(same)
    }
}

/// Looks up every name of `fleet` that has no address yet and waits for all, for the configured timeout at most. Called
/// before a configuration comes into force, so that a backend does not begin without an address.
pub async fn missing(fleet: &Fleet, metrics: &Metrics) {
    let posts = posts(fleet).into_values().filter(Post::is_missing);
    futures::stream::iter(posts)
        .for_each_concurrent(LOOK_UPS_MAX, |post| async move {
            let mut lookup = look_up(post.name.clone());
            let found = tokio::time::timeout(post.dns.timeout, &mut lookup).await.unwrap_or_else(|_| Ok(timed_out()));
            match settle(&post, found, metrics) {
                Ok(()) => log::info!("{}: resolved", post.name.0),
                Err(why) => log::warn!("{} cannot be resolved: {why}", post.name.0),
            }
        })
        .await;
}

/// Keeps every name of the fleet in force resolved, for ever.
pub(super) async fn keep(shared: &Shared, generations: watch::Receiver<u64>) {
    let mut crew = Crew::new();
    follow(shared, generations, |fleet| {
        crew.muster(posts(fleet), |post| run(post, Arc::clone(&shared.metrics)));
    })
    .await;
}

fn posts(fleet: &Fleet) -> HashMap<Name, Post> {
    let mut posts = HashMap::new();
    for (pool, states) in fleet.snapshot.pools.iter().zip(&fleet.pools) {
        for (backend, state) in pool.backends.iter().zip(states.backends()) {
            if backend.url.host.parse::<IpAddr>().is_err() {
                let name = (backend.url.host.clone(), backend.url.port);
                let post = || Post { name: name.clone(), dns: fleet.snapshot.dns.clone(), states: Vec::new() };
                posts.entry(name.clone()).or_insert_with(post).states.push(Arc::clone(state));
            }
        }
    }
    posts
}

impl Post {
    fn is_missing(&self) -> bool {
        self.states.iter().any(|state| state.addresses().count() == 0)
    }

    /// When to look next. A round that found nothing for a name without address comes sooner.
    fn pause(&self, draw: f64) -> Duration {
        let pace = if self.is_missing() { self.dns.refresh.min(RETRY) } else { self.dns.refresh };
        spread(pace, JITTER, draw)
    }
}

async fn run(post: Post, metrics: Arc<Metrics>) {
    // A first failure was reported by `missing`.
    let mut failing = post.is_missing();
    loop {
        tokio::time::sleep(post.pause(fastrand::f64())).await;
        let mut lookup = look_up(post.name.clone());
        let found = tokio::time::timeout(post.dns.timeout, &mut lookup).await;
        let late = found.is_err();
        let result = settle(&post, found.unwrap_or_else(|_| Ok(timed_out())), &metrics);
        match result {
            Err(ref why) if !failing => {
                log::warn!("{} cannot be resolved, its last addresses stay in use: {why}", post.name.0);
            }
            Ok(()) if failing => log::info!("{} can be resolved again", post.name.0),
            _ => {}
        }
        failing = result.is_err();
        if late {
            // The resolver's thread cannot be stopped. One name never holds more than one of them.
            let _ = lookup.await;
        }
    }
}

type Found = Result<Vec<SocketAddr>, String>;

/// `getaddrinfo` on a thread of the blocking pool.
fn look_up((host, port): Name) -> JoinHandle<Found> {
    tokio::spawn(async move {
        let found = tokio::net::lookup_host((host.as_str(), port)).await.map_err(|error| error.to_string())?;
        Ok(order(found))
    })
}

fn timed_out() -> Found {
    Err("timed out".to_owned())
}

/// Hands a look-up's result to everyone who waits for it.
fn settle(post: &Post, found: Result<Found, tokio::task::JoinError>, metrics: &Metrics) -> Result<(), String> {
    let found = found.unwrap_or_else(|error| Err(error.to_string()));
    let found = found.and_then(|list| if list.is_empty() { Err("no address".to_owned()) } else { Ok(list) });
    metrics.looked_up(found.is_ok());
    let found = found?;
    for state in post.states.iter().filter(|state| state.addresses().all() != found) {
        state.addresses().replace(found.clone());
    }
    Ok(())
}

/// Sorted and without repetition, so that the same answer is the same list; IPv4 and IPv6 take turns, IPv4 first, so that
/// whoever goes on to the next address after a failure changes the family too.
fn order(found: impl Iterator<Item = SocketAddr>) -> Vec<SocketAddr> {
    let (mut four, mut six): (Vec<_>, Vec<_>) = found.take(16 * ADDRESSES_MAX).partition(SocketAddr::is_ipv4);
    for family in [&mut four, &mut six] {
        family.sort_unstable();
        family.dedup();
    }
    let length = four.len().max(six.len());
    let (mut four, mut six) = (four.into_iter(), six.into_iter());
    (0..length).flat_map(|_| [four.next(), six.next()]).flatten().take(ADDRESSES_MAX).collect()
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests may panic")]
mod tests {
    use super::*;
    use crate::background::tests::{Site, shared};

    #[test]
    fn addresses_are_sorted_and_families_take_turns() {
        let list = ["[2001:db8::2]:1", "192.0.2.9:1", "[2001:db8::1]:1", "192.0.2.1:1", "192.0.2.9:1", "192.0.2.5:1"];
        let ordered = order(list.iter().map(|text| text.parse().unwrap()));
        let texts: Vec<_> = ordered.iter().map(ToString::to_string).collect();
        assert_eq!(texts, ["192.0.2.1:1", "[2001:db8::1]:1", "192.0.2.5:1", "[2001:db8::2]:1", "192.0.2.9:1"]);
        let many = order((0..=255).map(|last| SocketAddr::from(([192, 0, 2, last], 1))));
        assert_eq!(many.len(), ADDRESSES_MAX);
    }

    #[tokio::test]
    async fn a_name_is_resolved_and_its_last_addresses_survive_a_failure() {
        let shared = shared(&Site {
            urls: &["http://localhost:8080", "http://127.0.0.1:9", "http://localhost:8080"],
            ..Site::default()
        });
        let fleet = shared.fleets.load_full();
        missing(&fleet, &shared.metrics).await;
        let states: Vec<_> = fleet.pools[0].backends().cloned().collect();
        assert!(states.iter().all(|state| state.addresses().all()[0].ip().is_loopback()));
        let posts = posts(&fleet);
        assert_eq!(posts.len(), 1, "literals have no task, equal names share one");
        let post = posts.into_values().next().unwrap();
        let before = states[0].addresses().all();
        assert!(settle(&post, Ok(timed_out()), &shared.metrics).is_err());
        assert!(settle(&post, Ok(Ok(Vec::new())), &shared.metrics).is_err());
        assert_eq!(states[0].addresses().all(), before);
        let text = String::from_utf8(shared.metrics.render()).unwrap();
        assert!(text.contains("tidegate_dns_lookups_total{result=\"failed\"} 2"), "{text}");
        assert!(text.contains("tidegate_dns_lookups_total{result=\"ok\"} 1"), "{text}");
    }

    #[tokio::test]
    async fn a_name_that_does_not_resolve_is_asked_for_soon_again() {
        let shared = shared(&Site { urls: &["http://no-such-name.invalid"], ..Site::default() });
        let fleet = shared.fleets.load_full();
        missing(&fleet, &shared.metrics).await;
        let post = posts(&fleet).into_values().next().unwrap();
        assert!(post.is_missing());
        assert!(post.pause(1.0) < RETRY * 2);
    }
}
