//! A client that leaves: its backend is told at once, nothing stays behind, and it is nobody's failure.

use crate::common::{begun, ms, secs, single, stream, until_idle};
use harness::{Ask, Client, Gateway, Proto, Raw, Sim, eventually};
use std::time::{Duration, Instant};
use tidegate::simulator::{FaultKind, FaultRule};

/// How long the backend may go on after its client has left.
const NOTICE: Duration = Duration::from_secs(1);

/// The region sees the end of all calls, the client's doing, within [`NOTICE`] of `left`.
async fn until_aborted(sim: &Sim, count: u64, left: Instant) {
    eventually(format!("{count} calls aborted at the region"), secs(5), async || {
        let stats = sim.stats();
        (stats.aborted >= count && stats.in_flight == 0).then_some(())
    })
    .await;
    assert!(left.elapsed() < NOTICE, "the backend worked on for {:?}", left.elapsed());
}

/// Opens, waits until the region has the request, and leaves before any answer.
async fn leave_before_the_first_byte(client: &Client, sim: &Sim, ask: &Ask) -> Instant {
    let pending = client.try_open(ask);
    tokio::select! {
        answer = pending => panic!("the region was meant to hang: {answer:?}"),
        () = eventually("the request at the region", secs(5), async || sim.find(&ask.id).map(drop)) => {}
    }
    Instant::now()
}

async fn was_nobodys_failure(gateway: &Gateway, count: u64) {
    gateway
        .until_metric("tidegate_requests_total", &[("ending", "client_gone")], |value| value >= count as f64 - 0.5)
        .await;
    until_idle(gateway).await;
    let metrics = gateway.metrics().await;
    assert_eq!(metrics.count("tidegate_requests_total", &[("ending", "client_gone")]), count);
    assert_eq!(metrics.count("tidegate_attempts_total", &[("outcome", "client_gone")]), count);
    assert_eq!(metrics.count("tidegate_ejections_total", &[]), 0);
    assert_eq!(metrics.count("tidegate_failovers_total", &[]), 0);
    assert_eq!(metrics.count("tidegate_backend_eligible", &[("backend", "a")]), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn leaving_before_the_first_byte_ends_the_attempt_at_once() {
    for proto in Proto::PLAIN {
        let a = Sim::start("swedencentral").await;
        let gateway = single(&a).pool("ejection: { failures: 1 }").start().await;
        a.fault(FaultRule::new(FaultKind::HangBeforeHeaders { for_ms: None }));
        for (number, ask) in (1..).zip([Ask::chat("gpt"), Ask::stream("gpt"), Ask::chat("gpt").sized(2_000_000)]) {
            let left = leave_before_the_first_byte(&gateway.client(proto), &a, &ask).await;
            until_aborted(&a, number, left).await;
            let record = gateway.record(&ask.id).await;
            assert_eq!((&record["ending"], &record["status"]), (&"client_gone".into(), &serde_json::Value::Null));
        }
        was_nobodys_failure(&gateway, 3).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn leaving_mid_stream_ends_the_attempt_at_once() {
    for proto in Proto::PLAIN {
        let a = Sim::start("swedencentral").await;
        let gateway = single(&a).pool("ejection: { failures: 1 }").start().await;
        for number in 1..=3 {
            let ask = stream(5000, ms(10));
            drop(begun(gateway.client(proto).open(&ask).await).await);
            until_aborted(&a, number, Instant::now()).await;
            let record = gateway.record(&ask.id).await;
            assert_eq!((&record["ending"], record["status"].as_u64()), (&"client_gone".into(), Some(200)), "{record}");
        }
        was_nobodys_failure(&gateway, 3).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_stream_that_leaves_does_not_disturb_its_connection() {
    let a = Sim::start("swedencentral").await;
    let gateway = single(&a).start().await;
    let client = gateway.client(Proto::H2c).keeping();
    let staying = begun(client.open(&stream(60, ms(10))).await).await;
    drop(begun(client.open(&stream(5000, ms(10))).await).await);
    until_aborted(&a, 1, Instant::now()).await;
    let (events, _) = staying.rest().await;
    assert_eq!(events.iter().filter_map(crate::common::index).next_back(), Some(60));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn leaving_while_the_body_is_sent_reaches_no_backend() {
    let a = Sim::start("swedencentral").await;
    let gateway = single(&a).start().await;
    for _ in 0..5 {
        let mut raw = Raw::connect(gateway.address()).await;
        raw.send("POST /openai/v1/chat/completions HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n").await;
        raw.send("content-length: 1000\r\n\r\n{\"model\":\"gpt\"").await;
        tokio::time::sleep(ms(20)).await;
        drop(raw);
    }
    let gone = [("ending", "client_gone")];
    gateway.until_metric("tidegate_requests_total", &gone, |value| value >= 4.5).await;
    until_idle(&gateway).await;
    assert_eq!(a.requests(), 0);
}

/// Row 21 of the fault matrix: 500 clients leave, half of them before the first byte, half in the middle of a stream.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn load_five_hundred_clients_leave_and_nothing_stays_behind() {
    let a = Sim::start("swedencentral").await;
    let gateway = single(&a).pool("ejection: { failures: 5 }").start().await;
    a.fault(FaultRule::new(FaultKind::HangBeforeHeaders { for_ms: None }).stream(false));
    let warm = stream(20, ms(0));
    for _ in 0..20 {
        gateway.ask(&warm.again()).await;
    }
    let (before, files) = (gateway.resident_kib(), open_files(&gateway));
    for number in 0..500_u64 {
        let started = Instant::now();
        let client = gateway.client(Proto::PLAIN[(number / 2 % 2) as usize]);
        if number % 2 == 0 {
            leave_before_the_first_byte(&client, &a, &Ask::chat("gpt")).await;
        } else {
            drop(begun(client.open(&stream(5000, ms(10))).await).await);
        }
        // At most 50 a second.
        tokio::time::sleep(ms(20).saturating_sub(started.elapsed())).await;
    }
    until_aborted(&a, 500, Instant::now()).await;
    was_nobodys_failure(&gateway, 500).await;
    eventually("the connections are closed", secs(5), async || (open_files(&gateway) <= files + 8).then_some(())).await;
    let after = gateway.resident_kib();
    assert!(after < before + 8 * 1024, "from {before} KiB to {after} KiB");
    a.clear();
    crate::common::is_ok(&gateway.ask(&Ask::chat("gpt")).await);
}

fn open_files(gateway: &Gateway) -> usize {
    std::fs::read_dir(format!("/proc/{}/fd", gateway.id())).expect("it runs").count()
}
