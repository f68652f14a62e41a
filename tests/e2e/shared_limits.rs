//! Limits that several gateways share over a real Redis: together they hold one limit, and whatever becomes of the server
//! costs no request.

use crate::common::{ms, secs};
use futures::future::join_all;
use harness::{Ask, Gateway, Load, Proto, Redis, Report, Setup, Sim, eventually};
use std::time::Duration;

/// As many as share a limit.
pub(crate) const GATEWAYS: usize = 3;

/// Gateways that share these limits, once the server has answered each.
pub(crate) async fn gateways(redis: &Redis, sim: &Sim, limits: &str) -> Vec<Gateway> {
    let start = || {
        Setup::new()
            .top(&format!("usage_limits: [ {limits} ]"))
            .top(&format!("shared_limits: {{ redis: {{ urls: [ \"{}\" ] }}, gateways: {GATEWAYS} }}", redis.url()))
            .backend("a", sim, "")
            .start()
    };
    let gateways = join_all((0..GATEWAYS).map(|_| start())).await;
    for gateway in &gateways {
        connected(gateway, 1.0).await;
    }
    gateways
}

/// Waits until the gateway says that the server is there (1), or away (0).
pub(crate) async fn connected(gateway: &Gateway, wanted: f64) {
    gateway.until_metric("tidegate_shared_limits_connected", &[], |value| value == wanted).await;
}

/// `rate` requests a second on each gateway.
async fn load(gateways: &[Gateway], rate: u32, duration: Duration) -> Report {
    let run = |gateway: &Gateway| Load::new(gateway.client(Proto::H1).keeping(), rate, duration, &[Ask::chat("gpt")]);
    let reports = join_all(gateways.iter().map(|gateway| run(gateway).run())).await;
    Report { shots: reports.into_iter().flat_map(|report| report.shots).collect() }
}

/// Nobody has got anything but an answer or a limit's 429.
#[track_caller]
fn no_failure(report: &Report) {
    let strange: Vec<_> = report.shots.iter().filter(|shot| !shot.is_ok() && shot.status != 429).collect();
    assert!(strange.is_empty(), "{strange:?}");
}

/// The most that any stretch of `window` holds.
fn densest(times: &[u64], window: u64) -> usize {
    times.iter().map(|from| times.iter().filter(|at| (*from..from + window).contains(at)).count()).max().unwrap_or(0)
}

fn calls(sim: &Sim) -> Vec<u64> {
    let mut calls: Vec<u64> = sim.stats().calls_ms.iter().copied().collect();
    calls.sort_unstable();
    calls
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn load_three_gateways_together_hold_one_limit() {
    const MAX: u32 = 150;
    let (redis, sim) = (Redis::start().await, Sim::start("swedencentral").await);
    let limit = format!("{{ name: all, everywhere: true, requests: {{ max: {MAX}, per: 5s }} }}");
    let gateways = gateways(&redis, &sim, &limit).await;
    // Twice the limit: 60 a second.
    let report = load(&gateways, 20, secs(25)).await;
    no_failure(&report);
    let calls = calls(&sim);
    let densest = densest(&calls, 5000);
    let served = calls.len();
    println!("served {served}, densest window {densest}");
    assert!(densest as f64 <= f64::from(MAX) * 1.02, "a window of five seconds holds {densest}");
    // Twice the limit, from an empty window: the last of five windows is served within half of its time.
    assert!(served as f64 >= f64::from(MAX) * 5.0 * 0.95, "{served} of {}", MAX * 5);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_busy_gateway_may_use_what_the_others_leave() {
    let (redis, sim) = (Redis::start().await, Sim::start("swedencentral").await);
    let limits =
        "{ name: all, everywhere: true, requests: { max: 300, per: 1h }, quota: { requests: 200, per: month } }";
    let gateways = gateways(&redis, &sim, limits).await;
    let report = load(&gateways[..1], 40, secs(8)).await;
    no_failure_but_quota(&report);
    let served = sim.requests();
    assert!((190..=204).contains(&served), "{served} of 200");
    let answer = gateways[1].ask(&Ask::chat("gpt")).await;
    eventually("the others know", secs(5), async || {
        (gateways[1].ask(&Ask::chat("gpt")).await.status == 403).then_some(())
    })
    .await;
    assert!(answer.status == 200 || answer.status == 403, "{answer}");
}

#[track_caller]
fn no_failure_but_quota(report: &Report) {
    let strange: Vec<_> = report.shots.iter().filter(|shot| !matches!(shot.status, 200 | 403)).collect();
    assert!(strange.is_empty(), "{strange:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn load_a_server_that_is_paused_killed_or_emptied_costs_no_request() {
    let (mut redis, sim) = (Redis::start().await, Sim::start("swedencentral").await);
    let limits =
        "{ name: all, everywhere: true, requests: { max: 100000, per: 1h }, tokens: { max: 4000000000, per: 1h } }";
    let gateways = gateways(&redis, &sim, limits).await;
    let quiet = load(&gateways, 10, secs(3)).await;
    let runs: Vec<_> = gateways
        .iter()
        .map(|gateway| Load::new(gateway.client(Proto::H1).keeping(), 10, secs(60), &[Ask::chat("gpt")]).start())
        .collect();
    redis.signal("STOP");
    tokio::time::sleep(secs(3)).await;
    for gateway in &gateways {
        connected(gateway, 0.0).await;
    }
    redis.signal("CONT");
    for gateway in &gateways {
        connected(gateway, 1.0).await;
    }
    redis.command("FLUSHALL").await.expect("an answer");
    tokio::time::sleep(secs(1)).await;
    redis.signal("KILL");
    for gateway in &gateways {
        connected(gateway, 0.0).await;
    }
    tokio::time::sleep(secs(1)).await;
    redis.start_again().await;
    for gateway in &gateways {
        connected(gateway, 1.0).await;
    }
    tokio::time::sleep(secs(1)).await;
    let reports = join_all(runs.into_iter().map(|run| run.stop())).await;
    let report = Report { shots: reports.into_iter().flat_map(|report| report.shots).collect() };
    let strange: Vec<_> = report.shots.iter().filter(|shot| !shot.is_ok()).collect();
    assert!(strange.is_empty(), "{strange:?}");
    let median = |report: &Report| {
        let mut times: Vec<_> = report.shots.iter().map(|shot| shot.total).collect();
        times.sort_unstable();
        times[times.len() / 2]
    };
    let (before, during) = (median(&quiet), median(&report));
    assert!(during < before * 2 + ms(5), "{before:?} before, {during:?} while the server is away");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_the_server_each_gateway_keeps_to_its_fair_share() {
    let (redis, sim) = (Redis::start().await, Sim::start("swedencentral").await);
    let gateways = gateways(&redis, &sim, "{ name: all, everywhere: true, requests: { max: 30, per: 1h } }").await;
    redis.signal("STOP");
    connected(&gateways[0], 0.0).await;
    let mut served = 0;
    for _ in 0..20 {
        served += usize::from(gateways[0].ask(&Ask::chat("gpt")).await.status == 200);
    }
    assert_eq!(served, 10);
    redis.signal("CONT");
    connected(&gateways[0], 1.0).await;
    for gateway in &gateways {
        for _ in 0..30 {
            served += usize::from(gateway.ask(&Ask::chat("gpt")).await.status == 200);
            tokio::time::sleep(ms(20)).await;
        }
    }
    assert!((29..=32).contains(&served), "{served} of 30");
}
