//! Ending well: SIGTERM under load, and the upgrade to a new binary with nothing dropped.

use crate::common::{A, ladder, ms, pair, regions, secs, served_by};
use harness::{Ask, End, Event, Gateway, Load, Proto, Raw, eventually};
use std::sync::Arc;
use tokio::task::JoinSet;

fn process(pre_drain: &str) -> String {
    format!(
        "process: {{ threads: 2, pre_drain: {pre_drain}, drain: 30s, upgrade_socket: {{dir}}/upgrade/upgrade.sock }}"
    )
}

/// Opens `count` streams of `seconds` each, over HTTP/1.1 and HTTP/2; each must end whole.
async fn streams(gateway: &Gateway, count: usize, seconds: usize) -> JoinSet<(Vec<Event>, End)> {
    let ask = Ask::stream("gpt").header("x-sim-tokens", &(seconds * 10).to_string()).header("x-sim-chunk-ms", "100");
    let (h1, h2) = (Arc::new(gateway.client(Proto::H1)), Arc::new(gateway.client(Proto::H2c).keeping()));
    let mut set = JoinSet::new();
    for number in 0..count {
        let client = Arc::clone(if number % 2 == 0 { &h1 } else { &h2 });
        let ask = ask.again();
        set.spawn(async move { client.open(&ask).await.events().rest().await });
    }
    let wanted = count as f64 - 0.5;
    gateway.until_metric("tidegate_streams_open", &[], |open| open > wanted).await;
    set
}

async fn all_whole(streams: JoinSet<(Vec<Event>, End)>, tokens: usize) {
    for (events, end) in streams.join_all().await {
        let count = events.iter().filter(|event| event.json()["x_sim_index"].is_u64()).count();
        assert!(end == End::Whole && count == tokens, "{count} of {tokens} events, {end:?}");
        assert!(events.last().is_some_and(Event::is_done));
    }
}

/// Row 16 of the fault matrix.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn load_sigterm_under_load_fails_nothing_before_and_after_the_listeners_close() {
    let (a, b) = regions().await;
    let mut gateway = pair(&a, &b).top(&process("3s")).start().await;
    let open = streams(&gateway, 100, 7).await;
    let mix = [Ask::chat("gpt"), Ask::stream("gpt"), Ask::chat("gpt").sized(100_000)];
    let load = Load::new(gateway.client(Proto::H1), 60, secs(30), &mix).start();
    let h2 = Load::new(gateway.client(Proto::H2c), 20, secs(30), &mix).start();
    tokio::time::sleep(ms(500)).await;
    gateway.signal("TERM");
    let signalled = std::time::Instant::now();
    eventually("/readyz says 503", ms(700), async || (gateway.admin("/readyz").await.status == 503).then_some(()))
        .await;
    assert_eq!(gateway.metrics().await.count("tidegate_draining", &[]), 1);
    // New connections are still taken for the pre-drain time: here up to shortly before its end.
    tokio::time::sleep(ms(2300).saturating_sub(signalled.elapsed())).await;
    let (report, report_h2) = tokio::join!(load.stop(), h2.stop());
    assert!(report.failed().is_empty() && report_h2.failed().is_empty(), "{report}\n{report_h2}");
    assert!(signalled.elapsed() < ms(2900), "this machine is too slow for the test: {:?}", signalled.elapsed());
    all_whole(open, 70).await;
    let exit = gateway.ended(secs(10)).await;
    assert_eq!(exit.status.code(), Some(0), "{}", exit.log);
    assert!(signalled.elapsed() < secs(20), "it ends as soon as nothing is in flight");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_idle_gateway_ends_at_once_on_sigterm() {
    let (a, b) = regions().await;
    let mut gateway = ladder(&a, &b).start().await;
    served_by(&gateway.ask(&Ask::chat("gpt")).await, A);
    let _idle = Raw::connect(gateway.address()).await;
    gateway.signal("TERM");
    assert_eq!(gateway.ended(secs(5)).await.status.code(), Some(0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_drain_has_a_deadline() {
    let (a, b) = regions().await;
    let short = "process: { threads: 2, pre_drain: 0s, drain: 2s, upgrade_socket: {dir}/upgrade/upgrade.sock }";
    let mut gateway = ladder(&a, &b).top(short).start().await;
    let open = streams(&gateway, 2, 600).await;
    gateway.signal("TERM");
    let exit = gateway.ended(secs(8)).await;
    assert_eq!(exit.status.code(), Some(0), "{}", exit.log);
    assert!(exit.log.contains("in flight"), "{}", exit.log);
    for (events, _end) in open.join_all().await {
        assert!(!events.iter().any(Event::is_done), "a stream that was cut must not look whole");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_sigterm_ends_the_drain() {
    let (a, b) = regions().await;
    let mut gateway = ladder(&a, &b).start().await;
    let open = streams(&gateway, 2, 600).await;
    gateway.signal("TERM");
    gateway.until_log("draining").await;
    tokio::time::sleep(ms(300)).await;
    gateway.signal("TERM");
    assert_eq!(gateway.ended(secs(5)).await.status.code(), Some(0));
    drop(open);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_last_lines_of_the_access_log_are_written() {
    let (a, b) = regions().await;
    let mut gateway = ladder(&a, &b).start().await;
    let mut ids = Vec::new();
    for _ in 0..50 {
        let ask = Ask::chat("gpt");
        gateway.ask(&ask).await;
        ids.push(ask.id);
    }
    gateway.signal("TERM");
    gateway.ended(secs(5)).await;
    let log = std::fs::read_to_string(gateway.file("access.jsonl")).unwrap();
    assert!(ids.iter().all(|id| log.contains(id)), "{} of 50 lines", log.lines().count());
}

/// Row 17 of the fault matrix: every request opens its own connection, so that each could be dropped.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn load_an_upgrade_under_load_drops_nothing() {
    let (a, b) = regions().await;
    let mut old = pair(&a, &b).top(&process("0s")).start().await;
    let open = streams(&old, 40, 8).await;
    let mix = [Ask::chat("gpt"), Ask::stream("gpt"), Ask::chat("gpt").sized(100_000)];
    let load = Load::new(old.client(Proto::H1), 100, secs(30), &mix).start();
    let h2 = Load::new(old.client(Proto::H2c), 30, secs(30), &mix).start();
    tokio::time::sleep(ms(500)).await;
    let mut new = old.upgrade().await;
    let exit = old.ended(secs(40)).await;
    assert_eq!(exit.status.code(), Some(0), "{}", exit.log);
    tokio::time::sleep(ms(1000)).await;
    let (report, report_h2) = tokio::join!(load.stop(), h2.stop());
    assert!(report.failed().is_empty() && report_h2.failed().is_empty(), "{report}\n{report_h2}");
    all_whole(open, 80).await;
    // The new process serves, and its admin listener with it.
    assert_eq!(new.ask(&Ask::chat("gpt")).await.status, 200);
    eventually("the new admin listener", secs(10), async || {
        (new.metrics().await.has("tidegate_build_info", &[])).then_some(())
    })
    .await;
    new.signal("TERM");
    assert_eq!(new.ended(secs(10)).await.status.code(), Some(0));
}
