//! Ending well: SIGTERM says "not ready" first, goes on serving, then lets what is in flight end; it always exits 0.

use crate::common::{begun, index, is_ok, is_whole, ladder, ms, regions, secs, single, stream};
use harness::{Ask, Client, End, Event, Gateway, Load, Proto, Setup, Sim, eventually};
use std::time::{Duration, Instant};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

fn draining(setup: Setup, pre_drain: &str, drain: &str) -> Setup {
    let socket = "upgrade_socket: {dir}/upgrade/upgrade.sock";
    setup.top(&format!("process: {{ threads: 2, pre_drain: {pre_drain}, drain: {drain}, {socket} }}"))
}

/// Ends with exit code 0 within `limit` from `since`.
async fn exits_well(gateway: &mut Gateway, since: Instant, limit: Duration) -> String {
    let exit = gateway.ended(limit.saturating_sub(since.elapsed()) + secs(5)).await;
    assert_eq!(exit.status.code(), Some(0), "{}", exit.log);
    assert!(since.elapsed() < limit, "{:?}\n{}", since.elapsed(), exit.log);
    assert!(!exit.log.contains("panicked"), "{}", exit.log);
    exit.log
}

async fn accepts(gateway: &Gateway) -> bool {
    TcpStream::connect(gateway.address()).await.is_ok()
}

/// Row 16 of the fault matrix.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn load_sigterm_fails_nothing_and_completes_every_stream() {
    const TOKENS: u64 = 250;
    let (a, b) = regions().await;
    let mut gateway = draining(ladder(&a, &b), "3s", "30s").start().await;
    let mut streams: JoinSet<(Vec<Event>, End)> = JoinSet::new();
    let shared = gateway.client(Proto::H2c).keeping();
    for number in 0..100 {
        let ask = stream(TOKENS, ms(30));
        let opened = match number % 4 {
            0 | 1 => gateway.client(Proto::H1).open(&ask).await,
            2 => shared.open(&ask).await,
            _ => gateway.client(Proto::H2c).open(&ask).await,
        };
        streams.spawn(opened.events().rest());
    }
    let mix = [Ask::chat("gpt"), stream(10, ms(5))];
    let loads = Proto::PLAIN.map(|proto| Load::new(gateway.client(proto), 50, secs(60), &mix).start());
    tokio::time::sleep(ms(500)).await;
    assert_eq!(gateway.admin("/readyz").await.status, 200);
    gateway.signal("TERM");
    let since = Instant::now();
    eventually("/readyz says 503", ms(500), async || (gateway.admin("/readyz").await.status == 503).then_some(()))
        .await;
    assert_eq!(gateway.admin("/livez").await.status, 200);
    assert_eq!(gateway.metrics().await.count("tidegate_draining", &[]), 1);
    // Whoever is in front of us needs time to notice: until then, new connections are served as ever.
    tokio::time::sleep((since + ms(2600)).saturating_duration_since(Instant::now())).await;
    let mut requests = 100;
    for load in loads {
        let report = load.stop().await;
        assert!(report.failed().is_empty() && report.shots.len() > 100, "{report}");
        requests += report.shots.len();
    }
    assert!(since.elapsed() < secs(3), "the load was meant to end in the pre-drain time");
    eventually("new connections are refused", secs(5), async || (!accepts(&gateway).await).then_some(())).await;
    assert!(since.elapsed() >= ms(2900), "not before the pre-drain time is over");
    while let Some(done) = streams.join_next().await {
        let (events, end) = done.expect("no panic");
        is_whole(&events, TOKENS);
        assert_eq!(end, End::Whole);
    }
    let log = exits_well(&mut gateway, since, secs(30)).await;
    assert!(log.contains("drained"), "{log}");
    assert_eq!(gateway.access_log().len(), requests, "every request is in the access log");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_idle_gateway_ends_at_once_after_the_pre_drain_time() {
    let a = Sim::start("swedencentral").await;
    let mut gateway = draining(single(&a), "0s", "30s").start().await;
    let client = gateway.client(Proto::H1).keeping();
    is_ok(&client.ask(&Ask::chat("gpt")).await);
    gateway.signal("TERM");
    exits_well(&mut gateway, Instant::now(), secs(4)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn kept_connections_are_told_to_end_while_draining() {
    let a = Sim::start("swedencentral").await;
    let mut gateway = draining(single(&a), "0s", "20s").start().await;
    let holds = begun(gateway.client(Proto::H1).open(&stream(120, ms(20))).await).await;
    let one = gateway.client(Proto::H1).keeping();
    let two = gateway.client(Proto::H2c).keeping();
    let pending = [stream(60, ms(20)), stream(60, ms(20))];
    let (first, second) = (begun(one.open(&pending[0]).await).await, begun(two.open(&pending[1]).await).await);
    gateway.signal("TERM");
    let since = Instant::now();
    eventually("new connections are refused", secs(5), async || (!accepts(&gateway).await).then_some(())).await;
    for events in [first, second, holds] {
        let (rest, end) = events.rest().await;
        assert!(rest.last().is_some_and(Event::is_done) && end == End::Whole, "{end:?}");
    }
    exits_well(&mut gateway, since, secs(10)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_drain_that_takes_too_long_ends_at_its_deadline_with_exit_code_0() {
    let a = Sim::start("swedencentral").await;
    let mut gateway = draining(single(&a), "0s", "1s").start().await;
    let ask = stream(10_000, ms(20));
    let events = begun(gateway.client(Proto::H1).open(&ask).await).await;
    gateway.signal("TERM");
    let log = exits_well(&mut gateway, Instant::now(), secs(6)).await;
    assert!(log.contains("1 request"), "it says what it left behind: {log}");
    let (rest, end) = events.rest().await;
    assert!(matches!(end, End::Cut(_)) && !rest.iter().any(Event::is_done), "{end:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_sigterm_ends_the_waiting() {
    let a = Sim::start("swedencentral").await;
    let mut gateway = draining(single(&a), "60s", "60s").start().await;
    let _events = begun(gateway.client(Proto::H2c).open(&stream(10_000, ms(20))).await).await;
    gateway.signal("TERM");
    let since = Instant::now();
    gateway.until_log("SIGTERM").await;
    assert!(accepts(&gateway).await);
    gateway.signal("TERM");
    eventually("new connections are refused", secs(5), async || (!accepts(&gateway).await).then_some(())).await;
    // And a third, once it drains, ends the drain.
    eventually("the end", secs(10), async || {
        gateway.signal("TERM");
        tokio::time::sleep(ms(100)).await;
        gateway.log().contains("stopping with").then_some(())
    })
    .await;
    exits_well(&mut gateway, since, secs(15)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sigint_ends_at_once() {
    let a = Sim::start("swedencentral").await;
    for busy in [false, true] {
        let mut gateway = draining(single(&a), "60s", "60s").start().await;
        let events = match busy {
            true => Some(begun(gateway.client(Proto::H1).open(&stream(10_000, ms(20))).await).await),
            false => None,
        };
        gateway.signal("INT");
        exits_well(&mut gateway, Instant::now(), secs(4)).await;
        drop(events);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_asked_before_sigterm_is_answered_and_logged() {
    let a = Sim::start("swedencentral").await;
    let mut gateway = draining(single(&a), "0s", "20s").start().await;
    a.first_token(ms(1500));
    let asks: Vec<Ask> = (0..20).map(|_| Ask::chat("gpt")).collect();
    let mut answers = JoinSet::new();
    for (number, ask) in asks.iter().cloned().enumerate() {
        let client = gateway.client(Proto::PLAIN[number % 2]);
        answers.spawn(async move { client.ask(&ask).await });
    }
    eventually("all are at the region", secs(5), async || (a.requests() == 20).then_some(())).await;
    gateway.signal("TERM");
    let since = Instant::now();
    while let Some(answer) = answers.join_next().await {
        is_ok(&answer.expect("no panic"));
    }
    exits_well(&mut gateway, since, secs(8)).await;
    assert_eq!(gateway.access_log().len(), 20);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reload_during_the_drain_does_no_harm() {
    let a = Sim::start("swedencentral").await;
    let mut gateway = draining(single(&a), "1s", "20s").start().await;
    let events = begun(gateway.client(Proto::H1).open(&stream(100, ms(20))).await).await;
    gateway.signal("TERM");
    let since = Instant::now();
    for _ in 0..10 {
        gateway.signal("HUP");
        tokio::time::sleep(ms(150)).await;
    }
    let (rest, end) = events.rest().await;
    assert_eq!((rest.iter().filter_map(index).next_back(), end), (Some(100), End::Whole));
    exits_well(&mut gateway, since, secs(10)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_that_comes_too_late_is_refused_by_the_system_not_left_hanging() {
    let a = Sim::start("swedencentral").await;
    let mut gateway = draining(single(&a), "0s", "20s").start().await;
    let held = begun(gateway.client(Proto::H1).open(&stream(60, ms(20))).await).await;
    gateway.signal("TERM");
    let since = Instant::now();
    eventually("new connections are refused", secs(5), async || (!accepts(&gateway).await).then_some(())).await;
    let refused = Client::new(gateway.address(), Proto::H1).try_ask(&Ask::chat("gpt")).await;
    assert!(refused.is_err() && since.elapsed() < secs(6));
    drop(held);
    exits_well(&mut gateway, since, secs(8)).await;
}
