//! Reloads under load: nothing fails, no stream is cut, memory stays.

use crate::common::{index, ladder, ms, regions, secs, stream, until_idle};
use harness::{Ask, End, Event, Gateway, Load, Proto, Setup, Sim};
use std::time::{Duration, Instant};
use tokio::task::JoinSet;

const TOKENS: u64 = 1100;
/// Reloads before the first look at the memory.
const WARM: u32 = 50;

/// Streams that live through all of the reloads, half of them over each protocol.
async fn long_streams(gateway: &Gateway, count: usize) -> JoinSet<(Vec<Event>, End)> {
    let mut streams = JoinSet::new();
    let shared = gateway.client(Proto::H2c).keeping();
    for number in 0..count {
        let ask = stream(TOKENS, ms(25));
        let opened = match number % 2 {
            0 => gateway.client(Proto::H1).open(&ask).await,
            _ => shared.open(&ask).await,
        };
        assert_eq!(opened.status, 200);
        streams.spawn(opened.events().rest());
    }
    streams
}

async fn all_whole(mut streams: JoinSet<(Vec<Event>, End)>) -> usize {
    let mut count = 0;
    while let Some(done) = streams.join_next().await {
        let (events, end) = done.expect("no panic");
        let last = events.iter().filter_map(index).next_back();
        assert_eq!((last, end), (Some(TOKENS), End::Whole), "{:?}", events.last());
        crate::common::is_whole(&events, TOKENS);
        count += 1;
    }
    count
}

/// What the configuration goes through: weights, a backend that comes and goes, timeouts, routes.
fn variant(a: &Sim, b: &Sim, number: u32) -> Setup {
    let setup = ladder(a, b).pool("selection: { slow_start: 0s, explore: 0%, latency_band: 10s }");
    let setup = setup.backend("a", a, "").backend("b", b, &format!("weight: {}", 10 + number % 7 * 30));
    match number % 4 {
        0 => setup,
        1 => setup.backend("c", b, "weight: 20"),
        2 => setup.pool("timeouts: { idle: 20s }").without_backend("b"),
        _ => setup
            .more("routes:\n  - { name: all, pool: chat }\n  - { name: g, match: { path: /openai/* }, pool: chat }\n"),
    }
}

/// Row 15 of the fault matrix.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn load_a_hundred_reloads_fail_nothing_and_cut_no_stream() {
    let (a, b) = regions().await;
    let mut gateway = variant(&a, &b, 0).start().await;
    let mix = [Ask::chat("gpt"), Ask::v1("gpt").sized(2000), stream(10, ms(2))];
    let streams = long_streams(&gateway, 60).await;
    let load = Load::new(gateway.client(Proto::H1), 60, secs(120), &mix).start();
    let kept = Load::new(gateway.client(Proto::H2c).keeping(), 40, secs(120), &mix).start();
    let started = Instant::now();
    let mut before = 0;
    for number in 1..=WARM + 100 {
        if number == WARM + 1 {
            // What load and reloads need is there: from here on every further byte is too many.
            before = gateway.resident_kib();
        }
        assert!(gateway.apply(variant(&a, &b, number)).await, "{}", gateway.log());
        tokio::time::sleep((started + ms(120) * number).saturating_duration_since(Instant::now())).await;
    }
    let took = started.elapsed();
    let after = gateway.resident_kib();
    for report in [load.stop().await, kept.stop().await] {
        assert!(report.failed().is_empty(), "{report}");
        assert!(report.shots.len() > 400, "{report}");
        assert!(report.head(0.99) < Duration::from_millis(500), "{report}");
    }
    assert!(took < secs(24), "the streams are meant to live through it all: {took:?}");
    assert_eq!(all_whole(streams).await, 60);
    assert!(after < before + before / 10 + 2048, "from {before} KiB to {after} KiB by 100 reloads");
    let metrics = gateway.metrics().await;
    assert_eq!(metrics.count("tidegate_config_generation", &[]), u64::from(WARM) + 101);
    assert_eq!(metrics.count("tidegate_faults_total", &[]) + metrics.count("tidegate_denials_total", &[]), 0);
    until_idle(&gateway).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_signals_at_once_are_all_taken_as_at_least_one_reload() {
    let (a, b) = regions().await;
    let gateway = ladder(&a, &b).start().await;
    for _ in 0..50 {
        gateway.signal("HUP");
    }
    gateway.until_metric("tidegate_config_generation", &[], |generation| generation > 1.5).await;
    // The last signal is never lost: what it announces comes into force.
    let text = std::fs::read_to_string(gateway.config()).unwrap().replace("attempts: true", "attempts: false");
    std::fs::write(gateway.config(), text).unwrap();
    gateway.signal("HUP");
    harness::eventually("the last file is in force", secs(10), async || {
        let answer = gateway.ask(&Ask::chat("gpt")).await;
        answer.header("x-tidegate-attempts").is_empty().then_some(())
    })
    .await;
}
