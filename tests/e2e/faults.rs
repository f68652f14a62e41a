//! The fault matrix under an open-loop load, rows 1 to 10; those from 14 on are in `tests/living`.
//! Rates are what a debug build on two cores carries with room to spare.

use crate::common::{A, ladder, ms, pair, regions, secs};
use harness::{Ask, BlackHole, Gateway, Load, Proto, Report, Setup, Shot, Sim};
use std::time::Duration;
use tidegate::simulator::{FaultKind, FaultRule, StatusFault};

fn mix() -> Vec<Ask> {
    vec![Ask::chat("gpt"), Ask::stream("gpt"), Ask::chat("gpt").sized(20_000)]
}

async fn load(gateway: &Gateway, rate: u32, duration: Duration) -> Report {
    Load::new(gateway.client(Proto::H1).keeping(), rate, duration, &mix()).run().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn load_row_01_a_refused_connection_costs_no_client_anything() {
    let (a, b) = regions().await;
    let gateway = ladder(&a, &b).pool("ejection: { failures: 5, base: 1s, jitter: 0% }").start().await;
    let calm = load(&gateway, 150, secs(3)).await;
    a.refuse();
    let report = load(&gateway, 150, secs(8)).await;
    assert!(report.failed().is_empty(), "{report}");
    let added = report.head(0.99).saturating_sub(calm.head(0.99));
    // A release build on a quiet machine adds less than 5 ms; this is a debug build beside its own clients.
    assert!(added < ms(60) + calm.head(0.99), "p99 {:?} after {:?}", report.head(0.99), calm.head(0.99));
    // Five failures eject; then at most one trial each period: 1, 2, 4 s.
    let tried = gateway.metrics().await.count("tidegate_attempts_total", &[("outcome", "connect_failed")]);
    assert!((5..=10).contains(&tried), "{tried} attempts at a closed port");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn load_row_02_a_black_hole_has_few_victims_and_they_wait_for_the_connect_timeout_only() {
    let b = Sim::start("francecentral").await;
    let hole = BlackHole::open().await;
    let gateway = Setup::new()
        .pool("ejection: { failures: 5, base: 30s }")
        .backend_at("a", "swedencentral", &hole.url(), "")
        .backend("b", &b, "")
        .start()
        .await;
    let report = load(&gateway, 50, secs(6)).await;
    assert!(report.failed().is_empty(), "{report}");
    assert!(report.head(1.0) < ms(1300), "{report}");
    let victims = report.shots.iter().filter(|shot| shot.head > ms(900)).count();
    // Five failures eject; a few more may be under way when the fifth comes to light.
    assert!(victims <= 6, "{victims} victims\n{report}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn load_row_03_a_dripping_backend_is_cut_by_the_gap_and_harms_nobody_else() {
    let (a, b) = regions().await;
    let gateway = ladder(&a, &b)
        .pool("timeouts: { idle: 2s }")
        .pool("failover: { stream_first_byte_timeout: 2s, budget: 100%, budget_min: 1000 }")
        .start()
        .await;
    // One byte a second keeps within a gap of 2 s; silence does not.
    a.fault(FaultRule::new(FaultKind::Drip { byte_ms: 1000 }).times(1));
    let dripping = Ask::stream("gpt");
    let opened = gateway.client(Proto::H1).open(&dripping).await;
    assert_eq!(opened.status, 200);
    let drip = tokio::spawn(opened.events().rest());
    a.fault(FaultRule::new(FaultKind::StallMidStream { after_chunks: 5, for_ms: None }).times(1));
    let stalled = gateway.client(Proto::H2c).open(&Ask::stream("gpt")).await;
    let before = gateway.resident_kib();
    let (events, _end) = tokio::time::timeout(secs(5), stalled.events().rest()).await.expect("cut after 2 s");
    assert!(events.last().is_some_and(harness::Event::is_error), "{events:?}");
    let report = load(&gateway, 100, secs(4)).await;
    assert!(report.failed().is_empty(), "{report}");
    assert!(!drip.is_finished());
    assert!(gateway.resident_kib() < before + 16 * 1024, "memory stays flat");
    drip.abort();
}

/// Rows 4 and 5: breaks inside the body, under load: none looks whole, all are counted.
async fn breaks_under_load(fault: FaultKind) {
    let (a, b) = regions().await;
    let gateway = ladder(&a, &b).start().await;
    a.fault(FaultRule::new(fault).share(0.3));
    let report = load(&gateway, 100, secs(5)).await;
    let broken = report.failed();
    assert!(broken.len() * 10 > report.shots.len(), "{report}");
    for shot in &broken {
        assert!(shot.status == 200 && shot.served_by == A, "{shot:?}");
    }
    let metrics = gateway.metrics().await;
    let counted = metrics.count("tidegate_requests_total", &[("ending", "broken_late")]);
    assert_eq!(counted, broken.len() as u64, "every break is counted, and nothing else");
    assert_eq!(b.requests(), metrics.count("tidegate_failovers_total", &[]), "what was relayed is not repeated");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn load_row_04_a_reset_inside_the_body_is_never_a_clean_end() {
    breaks_under_load(FaultKind::ResetAfter { chunks: 3 }).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn load_row_05_a_truncated_body_is_never_a_clean_end() {
    breaks_under_load(FaultKind::Truncate { after_chunks: 3 }).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn load_row_06_a_throttled_backend_gets_nothing_until_its_time() {
    let (a, b) = regions().await;
    let gateway = pair(&a, &b).pool("ejection: { jitter: 0% }").start().await;
    let throttle = StatusFault::preset("429_tokens").retry_after_ms(2000);
    a.fault(FaultRule::new(FaultKind::Status(throttle)).times(3));
    let report = load(&gateway, 150, secs(10)).await;
    assert!(report.failed().is_empty(), "no client sees a 429 while b has room\n{report}");
    // Three throttled windows, each begun by one request; the requests of the first instant may overlap.
    let calls: Vec<u64> = a.stats().calls_ms.iter().copied().collect();
    let gaps: Vec<u64> = calls.windows(2).take(3).map(|pair| pair[1] - pair[0]).collect();
    assert!(gaps.iter().all(|gap| (2000..=2400).contains(gap)), "{gaps:?}");
    let metrics = gateway.metrics().await;
    assert_eq!(metrics.count("tidegate_ejections_total", &[("reason", "consecutive_failures")]), 0);
    assert!(report.between(secs(8), secs(10)).served_by(A) > 50, "it is back\n{report}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn load_row_07_when_all_throttle_upstream_calls_fall_to_one_per_window() {
    let (a, b) = regions().await;
    let gateway = pair(&a, &b).pool("ejection: { jitter: 0% }").start().await;
    a.throttle(ms(2000));
    b.throttle(ms(2000));
    let report = load(&gateway, 150, secs(8)).await;
    let told = |shot: &&Shot| shot.status != 429 || shot.retry_after_ms.is_none_or(|wait| wait > 2000);
    let misled: Vec<&Shot> = report.shots.iter().filter(told).collect();
    assert!(misled.is_empty(), "{misled:?}");
    // 8 s are four windows; the very first requests may meet both backends at once.
    for sim in [&a, &b] {
        assert!((4..=8).contains(&sim.requests()), "{} {}", sim.name(), sim.requests());
    }
    assert!(report.head(0.99) < ms(100), "our own answers are quick\n{report}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn load_row_08_a_brown_out_of_30_percent_is_invisible() {
    let sims = [Sim::start("swedencentral").await, Sim::start("francecentral").await, Sim::start("uksouth").await];
    let gateway = Setup::new()
        .pool("selection: { slow_start: 0s, latency_band: 10s, explore: 0% }")
        .pool("failover: {}")
        .backend("a", &sims[0], "")
        .backend("b", &sims[1], "")
        .backend("c", &sims[2], "")
        .start()
        .await;
    sims[0].fault(FaultRule::preset("503").share(0.3));
    let report = load(&gateway, 200, secs(10)).await;
    let failed = report.failed().len();
    assert!(failed * 1000 <= report.shots.len(), "{failed} of {}\n{report}", report.shots.len());
    let attempts: u64 = sims.iter().map(Sim::requests).sum();
    let retries = attempts - report.shots.len() as u64;
    assert!(retries <= report.shots.len() as u64 / 5 + 33, "{retries} failovers");
    let fair = report.shots.len() as f64 * 2.0 / 3.0;
    let others = (sims[1].requests() + sims[2].requests()) as f64;
    assert!(others <= fair * 1.6, "{others} requests at b and c, {fair} is their share");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn load_row_09_after_an_outage_of_everything_the_goodput_is_back_within_5_s() {
    let sims = [Sim::start("swedencentral").await, Sim::start("francecentral").await, Sim::start("uksouth").await];
    let gateway = Setup::new()
        .pool("failover: {}")
        .pool("selection: { latency_band: 10s }")
        .backend("a", &sims[0], "")
        .backend("b", &sims[1], "")
        .backend("c", &sims[2], "")
        .start()
        .await;
    load(&gateway, 100, secs(2)).await;
    sims.iter().for_each(Sim::reset);
    sims.iter().for_each(|sim| sim.status(503));
    let outage = load(&gateway, 200, secs(8)).await;
    let attempts: u64 = sims.iter().map(Sim::requests).sum();
    let sent = outage.shots.len() as u64;
    // The budget looks back 10 s: at the 200 requests before the outage, too.
    assert!(attempts <= sent + (sent + 200) / 5 + 3 * 9, "{attempts} attempts for {sent} requests");
    sims.iter().for_each(Sim::clear);
    let after = load(&gateway, 200, secs(8)).await;
    let last = after.between(secs(5), secs(8));
    assert!(last.failed().len() * 20 < last.shots.len(), "goodput after 5 s\n{last}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn load_row_10_a_slow_first_byte_moves_90_percent_away_within_2_s() {
    let (a, b) = regions().await;
    let gateway = pair(&a, &b).start().await;
    load(&gateway, 100, secs(2)).await;
    a.first_token(secs(5));
    let report = load(&gateway, 100, secs(8)).await;
    assert!(report.failed().is_empty(), "{report}");
    let later = report.between(secs(2), secs(8));
    let share = later.served_by(A) as f64 / later.shots.len() as f64;
    assert!(share < 0.1, "{share} still wait\n{report}");
}
