//! Picks of a pool: who stands, who never does, and what is given back.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "tests may panic")]

use super::*;
use crate::config::snapshot::{
    Auth, Backend, BackendQuota, BackendTls, BaseUrl, Pace, Pool, Probe, ProbeKind, Site, Snapshot, Timeouts,
};
use crate::domain::{BackendId, BackendName, Outcome, Region};
use crate::policy::{eject::Ejection, failover::Failover, health::Thresholds};
use crate::state::{Fleet, Registry};
use http::HeaderValue;
use std::time::Duration;

mod barred;
mod fixture;
mod headroom;
mod hedging;
mod steering;

use fixture::snapshot;

const SECOND: Duration = Duration::from_secs(1);
const THRESHOLDS: Thresholds = Thresholds { healthy_after: 1, unhealthy_after: 1 };

fn at(millis: u64) -> Moment {
    Moment::from_micros(millis * 1000)
}

fn backend(name: &str, priority: u32) -> Backend {
    Backend {
        keyless: false,
        id: BackendId { pool: PoolName::new("chat").unwrap(), backend: BackendName::new(name).unwrap() },
        region: Region::new("swedencentral").unwrap(),
        enabled: true,
        priority,
        weight: 1,
        url: BaseUrl {
            tls: false,
            host: "192.0.2.1".into(),
            port: 80,
            authority: HeaderValue::from_static("192.0.2.1"),
            path: String::new(),
            trust: BackendTls::default(),
        },
        deployment: None,
        model: None,
        api_version: None,
        speaks: Default::default(),
        realtime: Default::default(),
        capability: Default::default(),
        lacks_by_version: Default::default(),
        spillover: None,
        quota: BackendQuota::default(),
        auth: Auth::None,
        headers: Vec::new(),
        distance_km: None,
        site: Site::default(),
        http2: false,
        served_by: HeaderValue::from_static("x"),
    }
}

fn pool(backends: Vec<Backend>) -> Pool {
    Pool {
        name: PoolName::new("chat").unwrap(),
        required: true,
        affinity: None,
        pace: Pace::default(),
        hedge: None,
        selection: Selection {
            latency_band: Duration::from_millis(30),
            explore: 0.0,
            slow_start: Duration::ZERO,
            panic_threshold: 0.0,
            fail_open: true,
        },
        failover: Failover {
            attempts_max: 3,
            deadline: 60 * SECOND,
            first_byte_timeout: 20 * SECOND,
            stream_first_byte_timeout: 20 * SECOND,
            budget: 0.2,
            budget_min: 3,
        },
        ejection: Ejection {
            failures: 2,
            failure_share: 0.0,
            attempts_min: 20,
            window: 10 * SECOND,
            base: 10 * SECOND,
            max: 60 * SECOND,
            share_max: 0.5,
            rests: steering::RESTS,
            misconfigured: 60 * SECOND,
            jitter: 0.0,
        },
        probe: Some(Probe {
            kind: ProbeKind::Tcp,
            interval: SECOND,
            jitter: 0.0,
            timeout: SECOND,
            thresholds: THRESHOLDS,
        }),
        gate: None,
        timeouts: Timeouts {
            connect: SECOND,
            handshake: SECOND,
            idle: SECOND,
            write: SECOND,
            total: SECOND,
            websocket_idle: SECOND,
            keepalive: SECOND,
        },
        nearest: Default::default(),
        outside: Default::default(),
        backends,
    }
}

/// Fleet of one pool with backends `a`, `b`, `c` of these priorities.
fn fleet(registry: &Registry, priorities: &[u32]) -> Arc<Fleet> {
    let backends = priorities.iter().zip(["a", "b", "c"]).map(|(p, name)| backend(name, *p)).collect();
    registry.bind(snapshot(pool(backends)))
}

fn attempt(pool: &PoolState, tried: Tried, now: u64) -> Ticket {
    match pool.pick(tried, at(now), now ^ 0x5eed) {
        Pick::Attempt(ticket) => ticket,
        other => panic!("{other:?}"),
    }
}

fn fail(pool: &PoolState, index: usize, now: u64) {
    let others = (0..3).filter(|i| *i != index).fold(Tried::NONE, Tried::with);
    for _ in 0..2 {
        let mut ticket = attempt(pool, others, now);
        assert_eq!(ticket.index(), index);
        let _ = ticket.finish(Outcome::ServerError, None, at(now), 1);
    }
}

fn throttle(pool: &PoolState, now: u64, advice: Duration) -> usize {
    let mut ticket = attempt(pool, Tried::NONE, now);
    let _ = ticket.finish(Outcome::RateLimited, Some(advice), at(now), 1);
    ticket.index()
}

#[test]
fn the_next_tier_serves_only_when_the_first_cannot() {
    let fleet = fleet(&Registry::default(), &[1, 1, 2]);
    let pool = &fleet.pools[0];
    for now in 0..50 {
        assert!(attempt(pool, Tried::NONE, now).index() < 2);
        assert_eq!(attempt(pool, Tried::NONE.with(0).with(1), now).index(), 2);
    }
    assert!(matches!(pool.pick(Tried::NONE.with(0).with(1).with(2), at(1), 1), Pick::None { .. }));
    assert!(!pool.has_eligible(&Wanted::after(Tried::NONE.with(0).with(1).with(2)), at(1)));
}

#[test]
fn all_throttled_tells_the_soonest_return_and_then_one_trial_goes() {
    let fleet = fleet(&Registry::default(), &[1, 2]);
    let pool = &fleet.pools[0];
    assert_eq!(throttle(pool, 0, 5 * SECOND), 0);
    assert_eq!(throttle(pool, 0, 3 * SECOND), 1);
    assert!(matches!(pool.pick(Tried::NONE, at(10), 1), Pick::AllThrottled { soonest } if soonest == at(3_000)));
    assert_eq!((pool.eligible_count(at(10)), pool.soonest(Tried::NONE, at(10))), (0, Some(at(3_000))));
    assert!(matches!(pool.pick(Tried::NONE.with(1), at(10), 1), Pick::None { soonest: Some(s) } if s == at(5_000)));
    let mut trial = attempt(pool, Tried::NONE, 3_000);
    assert!(trial.is_trial() && trial.index() == 1);
    assert!(matches!(pool.pick(Tried::NONE, at(3_001), 1), Pick::AllThrottled { .. }), "one trial at a time");
    let told = trial.accept(at(3_050), 1).unwrap();
    assert_eq!(told.to, crate::policy::eject::Standing::Open);
    assert_eq!(attempt(pool, Tried::NONE, 3_051).index(), 1);
    assert_eq!(trial.finish(Outcome::Served, None, at(9_000), 1), None);
}

#[test]
fn many_threads_get_one_trial_between_them() {
    let fleet = fleet(&Registry::default(), &[1]);
    let pool = &fleet.pools[0];
    let mut now = 0;
    for round in 0..50 {
        let mut ticket = attempt(pool, Tried::NONE, now);
        let _ = ticket.finish(Outcome::RateLimited, Some(SECOND), at(now), 1);
        now += 1_000;
        let tickets: Vec<Pick> = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..4).map(|i| scope.spawn(move || pool.pick(Tried::NONE, at(now), i))).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        let trials = tickets.iter().filter(|pick| matches!(pick, Pick::Attempt(ticket) if ticket.is_trial())).count();
        let turned_away = tickets.iter().filter(|pick| matches!(pick, Pick::AllThrottled { .. })).count();
        assert_eq!((trials, turned_away), (1, 3), "round {round}");
        drop(tickets);
    }
}

#[test]
fn a_dropped_trial_gives_its_slot_back() {
    let fleet = fleet(&Registry::default(), &[1]);
    let pool = &fleet.pools[0];
    let _ = throttle(pool, 0, SECOND);
    drop(attempt(pool, Tried::NONE, 1_000));
    assert!(attempt(pool, Tried::NONE, 1_001).is_trial());
    assert_eq!((fleet.report(at(0))[0].in_flight, fleet.report(at(0))[0].waiting), (0, 0));
}

#[test]
fn failures_eject_no_more_than_the_pool_can_spare() {
    let fleet = fleet(&Registry::default(), &[1, 1, 1]);
    let pool = &fleet.pools[0];
    fail(pool, 0, 0);
    fail(pool, 1, 0);
    assert_eq!(pool.eligible_count(at(1)), 2, "half of three is one");
    assert_eq!(fleet.report(at(1))[0].why, Some("consecutive_failures"));
    assert_eq!(fleet.report(at(1))[1].why, None);
}

#[test]
fn a_backend_at_the_end_of_its_rest_gets_its_trial_beside_an_idle_one() {
    let fleet = fleet(&Registry::default(), &[1, 1]);
    let pool = &fleet.pools[0];
    fail(pool, 0, 0);
    let tries = (0..50).filter(|i| attempt(pool, Tried::NONE, 10_001 + i).index() == 0).count();
    assert!(tries >= 10, "{tries} of 50: its failures of before the rest count no more");
}

#[test]
fn in_need_failing_ones_serve_but_throttled_and_misconfigured_never() {
    let fleet = fleet(&Registry::default(), &[1, 1, 1]);
    let pool = &fleet.pools[0];
    fail(pool, 0, 0);
    let mut denied = attempt(pool, Tried::NONE.with(0).with(2), 0);
    let _ = denied.finish(Outcome::BackendDenied, None, at(0), 1);
    assert_eq!(throttle(pool, 0, 5 * SECOND), 2);
    for now in 1..50 {
        assert_eq!(attempt(pool, Tried::NONE, now).index(), 0, "only failures hold it back");
    }
    assert!(matches!(pool.pick(Tried::NONE.with(0), at(50), 1), Pick::None { .. }));
}

#[test]
fn a_failing_one_is_no_failover_while_another_is_in_service() {
    let fleet = fleet(&Registry::default(), &[1, 1]);
    let pool = &fleet.pools[0];
    fail(pool, 0, 0);
    assert!(!pool.has_eligible(&Wanted::after(Tried::NONE.with(1)), at(1)));
}

#[test]
fn fail_open_needs_every_backend_unhealthy() {
    let fleet = fleet(&Registry::default(), &[1, 2]);
    let pool = &fleet.pools[0];
    let probe = |index: usize, ok| pool.backend(index).unwrap().probed(ok, Some(SECOND), THRESHOLDS, at(1));
    assert!(probe(0, false).is_some());
    assert_eq!(attempt(pool, Tried::NONE, 2).index(), 1);
    assert!(probe(1, false).is_some());
    assert_eq!(attempt(pool, Tried::NONE, 2).index(), 0, "used all the same, best tier first");
    assert_eq!(pool.eligible_count(at(2)), 0);
    assert!(probe(0, true).is_some());
    assert!(!pool.has_eligible(&Wanted::after(Tried::NONE.with(0)), at(2)));
}

#[test]
fn a_silent_backend_is_avoided_and_used_as_a_last_resort() {
    let fleet = fleet(&Registry::default(), &[1, 2]);
    let pool = &fleet.pools[0];
    let waiting = [attempt(pool, Tried::NONE, 100), attempt(pool, Tried::NONE, 110)];
    assert_eq!(attempt(pool, Tried::NONE, 1_100).index(), 0);
    assert_eq!(attempt(pool, Tried::NONE, 1_101).index(), 1, "nothing said for more than a second");
    assert_eq!(fleet.report(at(1_101))[0].state, "silent");
    assert_eq!(attempt(pool, Tried::NONE.with(1), 1_101).index(), 0);
    assert_eq!(pool.eligible_count(at(1_101)), 2, "silence alone makes nobody unready");
    let [mut first, _second] = waiting;
    first.first_byte(at(1_102), true);
    assert_eq!(attempt(pool, Tried::NONE, 1_103).index(), 0, "it has spoken");
}

#[test]
fn nothing_without_an_address_or_switched_off_is_picked() {
    let mut backends = vec![backend("a", 1), backend("b", 1)];
    backends[0].url.host = "name.example".into();
    backends[1].enabled = false;
    let fleet = Registry::default().bind(snapshot(pool(backends)));
    let pool = &fleet.pools[0];
    assert!(matches!(pool.pick(Tried::NONE, at(1), 1), Pick::None { soonest: None }));
    pool.backend(0).unwrap().addresses().replace(vec!["192.0.2.7:80".parse().unwrap()]);
    assert_eq!(attempt(pool, Tried::NONE, 2).index(), 0);
}

#[test]
fn tickets_keep_the_retry_budget() {
    let fleet = fleet(&Registry::default(), &[1, 1, 1]);
    let pool = &fleet.pools[0];
    let mut failed = 0;
    while pool.budget().grants(at(1)) {
        let mut ticket = attempt(pool, Tried::NONE.with(0), 1);
        let _ = ticket.finish(Outcome::ClientGone, None, at(1), 1);
        let mut ticket = attempt(pool, Tried::NONE.with(0), 1);
        let _ = ticket.finish(Outcome::Served, None, at(1), 1);
        let mut ticket = attempt(pool, Tried::NONE.with(0), 1);
        let _ = ticket.finish(Outcome::BrokenEarly, None, at(1), 1);
        failed += 1;
    }
    assert_eq!(failed, 30, "three a second over ten seconds; what is served or left is free");
}

#[test]
fn a_reload_keeps_what_is_known_and_forgets_what_is_gone() {
    let registry = Registry::default();
    let old = fleet(&registry, &[1, 1]);
    assert_eq!(throttle(&old.pools[0], 0, 5 * SECOND), 0);
    let held = attempt(&old.pools[0], Tried::NONE, 1);
    assert_eq!(held.index(), 1);
    let new = fleet(&registry, &[1]);
    drop(old);
    assert!(matches!(new.pools[0].pick(Tried::NONE, at(2), 1), Pick::AllThrottled { .. }), "still rests");
    assert_eq!(registry.len(), 2, "an attempt still uses b");
    drop(held);
    let again = fleet(&registry, &[1]);
    assert_eq!(registry.len(), 1);
    drop((new, again));
}
