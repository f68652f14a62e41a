//! Strict limits over a real Redis: several gateways admit exactly what one would, and without the server nobody waits long.

use crate::common::{ms, secs};
use crate::shared_limits::{GATEWAYS, connected, gateways};
use futures::future::join_all;
use harness::{Ask, Gateway, Load, Proto, Redis, Sim};
use std::time::Instant;

/// Admissions that the server was asked about: with an answer in time, and without.
async fn asked(gateways: &[Gateway]) -> [u64; 2] {
    let mut counts = [0; 2];
    for gateway in gateways {
        let metrics = gateway.metrics().await;
        for (count, result) in counts.iter_mut().zip(["ok", "failed"]) {
            *count += metrics.count("tidegate_limit_strict_total", &[("limit", "all"), ("result", result)]);
        }
    }
    counts
}

async fn served(gateway: &Gateway) -> bool {
    let answer = gateway.ask(&Ask::chat("gpt")).await;
    assert!(matches!(answer.status, 200 | 403 | 429), "{answer}");
    answer.status == 200
}

fn asking_for(tokens: u32) -> Ask {
    let body = format!(r#"{{"messages":[{{"role":"user","content":"Hi."}}],"max_tokens":{tokens}}}"#);
    Ask::chat("gpt").body(body)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn load_three_gateways_at_twice_a_strict_limit_admit_exactly_the_limit() {
    const MAX: u64 = 150;
    let (redis, sim) = (Redis::start().await, Sim::start("swedencentral").await);
    let limit = format!("{{ name: all, everywhere: true, strict: true, requests: {{ max: {MAX}, per: 1h }} }}");
    let gateways = gateways(&redis, &sim, &limit).await;
    let run = |gateway: &Gateway| Load::new(gateway.client(Proto::H1).keeping(), 20, secs(5), &[Ask::chat("gpt")]);
    let reports = join_all(gateways.iter().map(|gateway| run(gateway).run())).await;
    let strange: Vec<_> =
        reports.iter().flat_map(|report| &report.shots).filter(|s| !s.is_ok() && s.status != 429).collect();
    assert!(strange.is_empty(), "{strange:?}");
    let [answered, failed] = asked(&gateways).await;
    let served = sim.requests();
    println!("served {served}; {answered} answers in time, {failed} not");
    assert!(failed * 10 <= answered, "the server decides: {answered} answers in time, {failed} not");
    // Only what a gateway had to decide alone can come on top.
    assert!((MAX..=MAX + failed).contains(&served), "{served} of {MAX}, {failed} decided alone");
    if failed == 0 {
        assert_eq!(served, MAX);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_strict_limit_gave_to_a_request_that_is_refused_is_given_back() {
    let (redis, sim) = (Redis::start().await, Sim::start("swedencentral").await);
    let limits = "{ name: all, everywhere: true, strict: true, quota: { requests: 5, per: month } }, \
                  { name: small, everywhere: true, request: { max_tokens: 10 } }";
    let gateways = gateways(&redis, &sim, limits).await;
    let large = asking_for(11);
    for _ in 0..4 {
        assert_eq!(gateways[0].ask(&large).await.status, 400);
    }
    tokio::time::sleep(ms(500)).await;
    let small = asking_for(10);
    let mut statuses = Vec::new();
    for turn in 0..7 {
        statuses.push(gateways[turn % GATEWAYS].ask(&small).await.status);
    }
    assert_eq!(statuses, [200, 200, 200, 200, 200, 403, 403]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_strict_limit_without_its_server_waits_a_moment_and_keeps_to_the_fair_share() {
    let (redis, sim) = (Redis::start().await, Sim::start("swedencentral").await);
    let limit = "{ name: all, everywhere: true, strict: true, requests: { max: 30, per: 1h } }";
    let gateways = gateways(&redis, &sim, limit).await;
    redis.signal("STOP");
    let began = Instant::now();
    let mut first = u64::from(served(&gateways[0]).await);
    assert_eq!(first, 1, "the fair share is ten");
    assert!(began.elapsed() < ms(250), "{:?}: 5 ms for the server, the rest for the answer", began.elapsed());
    assert!(asked(&gateways).await[1] >= 1);
    connected(&gateways[0], 0.0).await;
    for _ in 0..20 {
        first += u64::from(served(&gateways[0]).await);
    }
    assert_eq!(first, 10);
    redis.signal("CONT");
    for gateway in &gateways {
        connected(gateway, 1.0).await;
    }
    tokio::time::sleep(ms(500)).await;
    let mut all = first;
    for gateway in &gateways {
        for _ in 0..30 {
            all += u64::from(served(gateway).await);
        }
    }
    // What the server was asked while it stood still it may have counted as well; nothing is ever given twice.
    assert!((28..=30).contains(&all), "{all} of 30");
}
