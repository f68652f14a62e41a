//! The promise of the product: a region that fails before its first byte costs the client nothing but time.

use crate::common::{B, MIB, ladder, ms, received_whole, regions, served_by};
use harness::{Answer, Ask, Authority, BlackHole, Client, Gateway, Proto, Setup, Sim, Wire};
use std::sync::Arc;
use tidegate::simulator::{FaultKind, FaultRule, StatusFault};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

const LARGE: usize = 5 * MIB;

/// Streaming and not, small and 5 MiB, over every protocol: the answer is `b`'s, and `b` got the client's bytes.
async fn everything_is_served_by_b(gateway: &Gateway, b: &Sim, reason: &str) {
    for proto in [Proto::H1, Proto::H2c, Proto::H1Tls, Proto::H2Tls] {
        let client = gateway.client(proto);
        for ask in [
            Ask::chat("gpt"),
            Ask::stream("gpt"),
            Ask::chat("gpt").sized(LARGE),
            Ask::stream("gpt").sized(LARGE),
            Ask::v1("gpt").sized(LARGE).pieces(60_000),
        ] {
            one_is_served_by_b(gateway, &client, &ask, b, reason).await;
        }
    }
}

async fn one_is_served_by_b(gateway: &Gateway, client: &Client, ask: &Ask, b: &Sim, reason: &str) {
    let answer = client.ask(ask).await;
    served_by(&answer, B);
    complete(&answer, ask.streams);
    received_whole(b, ask).await;
    let trail = answer.header("x-tidegate-attempts");
    assert_eq!(trail, format!("swedencentral/a={reason}, francecentral/b=served"), "{client:?} {}", ask.path);
    if reason == "rate_limited" {
        gateway.until_eligible("a", true).await;
    }
}

fn complete(answer: &Answer, stream: bool) {
    let text = answer.text();
    assert!(text.contains("[francecentral/gpt]"), "{answer}");
    assert!(!text.contains("[swedencentral/gpt]"), "{answer}");
    assert_eq!(text.matches("[DONE]").count(), usize::from(stream), "{answer}");
}

async fn with_a_failing(fault: FaultRule, reason: &str, pool: &[&str]) {
    let (a, b) = regions().await;
    let authority = Arc::new(Authority::new());
    let setup = pool.iter().fold(ladder(&a, &b).tls(&authority), |setup, line| setup.pool(line));
    let gateway = setup.start().await;
    a.fault(fault);
    everything_is_served_by_b(&gateway, &b, reason).await;
    let failovers = gateway.metrics().await.count("tidegate_failovers_total", &[("reason", reason)]);
    assert_eq!(failovers, 20);
}

fn status(status: u16) -> FaultRule {
    FaultRule::new(FaultKind::Status(StatusFault::status(status).retry_after_ms(1)))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn status_408_is_answered_by_the_next_region() {
    with_a_failing(status(408), "server_error", &[]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn status_429_is_answered_by_the_next_region() {
    with_a_failing(status(429), "rate_limited", &[]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn status_500_is_answered_by_the_next_region() {
    with_a_failing(status(500), "server_error", &[]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn status_502_is_answered_by_the_next_region() {
    with_a_failing(FaultRule::preset("502_html"), "server_error", &[]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn status_503_is_answered_by_the_next_region() {
    with_a_failing(status(503), "server_error", &[]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn status_504_is_answered_by_the_next_region() {
    with_a_failing(status(504), "server_error", &[]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_status_before_the_body_is_read_is_answered_by_the_next_region() {
    let early = StatusFault::status(503);
    with_a_failing(FaultRule::new(FaultKind::EarlyAnswer(early)), "server_error", &[]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refused_connection_is_answered_by_the_next_region() {
    let refuse = FaultKind::Refuse { keep_connections: false, for_ms: None };
    with_a_failing(FaultRule::new(refuse), "connect_failed", &[]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reset_before_the_header_is_answered_by_the_next_region() {
    with_a_failing(FaultRule::new(FaultKind::ResetBeforeHeaders {}), "broken_early", &[]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_close_before_the_header_is_answered_by_the_next_region() {
    with_a_failing(FaultRule::new(FaultKind::CloseBeforeHeaders {}), "broken_early", &[]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn silence_is_answered_by_the_next_region() {
    let hang = FaultRule::new(FaultKind::HangBeforeHeaders { for_ms: None });
    let short =
        "failover: { first_byte_timeout: 300ms, stream_first_byte_timeout: 300ms, budget: 100%, budget_min: 1000 }";
    with_a_failing(hang, "timed_out", &[short]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backend_that_does_not_read_is_answered_for_by_the_next_region() {
    let (a, b) = regions().await;
    let gateway = ladder(&a, &b)
        .pool("failover: { first_byte_timeout: 1s, stream_first_byte_timeout: 1s, budget: 100%, budget_min: 1000 }")
        .start()
        .await;
    a.fault(FaultRule::new(FaultKind::NeverRead {}));
    for proto in Proto::PLAIN {
        let ask = Ask::chat("gpt").sized(20 * MIB);
        let answer = gateway.client(proto).ask(&ask).await;
        served_by(&answer, B);
        received_whole(&b, &ask).await;
        assert!(answer.head < ms(8000), "{:?}", answer.head);
    }
}

/// `a` is something that no simulated region can be; `b` is a region.
async fn with_a_at(url: &str, reason: &str, keys: &str, setup: Setup) {
    let b = Sim::start("francecentral").await;
    let authority = Arc::new(Authority::new());
    let gateway = setup
        .tls(&authority)
        .pool("ejection: { failures: 0, failure_share: 0% }")
        .backend_at("a", "swedencentral", url, &format!("priority: 1{keys}"))
        .backend("b", &b, "priority: 2")
        .start()
        .await;
    everything_is_served_by_b(&gateway, &b, reason).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_black_hole_is_answered_by_the_next_region() {
    let hole = BlackHole::open().await;
    let setup = Setup::new().pool("timeouts: { connect: 300ms, handshake: 500ms }");
    with_a_at(&hole.url(), "connect_failed", "", setup).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn garbage_instead_of_http_is_answered_by_the_next_region() {
    let garbage = Wire::serve(|mut stream| async move {
        let mut head = [0; 1024];
        let _ = stream.read(&mut head).await;
        let _ = stream.write_all(b"\x16\x03\x01 this is no HTTP at all\r\n\r\n").await;
    })
    .await;
    with_a_at(&garbage.url(), "broken_early", "", Setup::new()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn half_a_header_is_answered_by_the_next_region() {
    let half = Wire::serve(|mut stream| async move {
        let mut head = [0; 1024];
        let _ = stream.read(&mut head).await;
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-type: applica").await;
    })
    .await;
    with_a_at(&half.url(), "broken_early", "", Setup::new()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_tls_backend_with_an_unknown_ca_is_never_used_and_the_next_region_answers() {
    let stranger = Authority::new();
    let a = Sim::tls("swedencentral", &stranger).await;
    with_a_at(&a.url(), "connect_failed", ", ca_file: ca.pem, auth: none", Setup::new()).await;
    assert_eq!(a.requests(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_tls_backend_that_is_trusted_serves_over_http1_and_http2() {
    let authority = Arc::new(Authority::new());
    let (a, b) = (Sim::tls("swedencentral", &authority).await, Sim::tls("francecentral", &authority).await);
    let gateway = Setup::new()
        .tls(&authority)
        .pool("ejection: { failures: 0, failure_share: 0% }")
        .backend("a", &a, "priority: 1, ca_file: ca.pem, auth: none")
        .backend("b", &b, "priority: 2, ca_file: ca.pem, auth: none, http2: true")
        .start()
        .await;
    a.status(503);
    everything_is_served_by_b(&gateway, &b, "server_error").await;
    let versions: Vec<String> = b.records().into_iter().map(|record| record.version).collect();
    assert!(versions.iter().all(|version| version == "HTTP/2.0"), "{versions:?}");
    assert!(a.records().iter().all(|record| record.version == "HTTP/1.1"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_last_answer_is_relayed_as_received() {
    let (a, b) = regions().await;
    let gateway = ladder(&a, &b).start().await;
    a.status(503);
    b.fault(FaultRule::preset("500"));
    let answer = gateway.ask(&Ask::chat("gpt")).await;
    assert_eq!((answer.status, answer.header("x-served-by")), (500, B), "{answer}");
    assert!(answer.text().contains("Sorry about that!"), "{answer}");
    assert_eq!(answer.header("x-should-retry"), "false");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_kept_connection_that_the_backend_closed_costs_nothing() {
    let (a, b) = regions().await;
    let gateway = ladder(&a, &b).start().await;
    for _ in 0..20 {
        served_by(&gateway.ask(&Ask::chat("gpt")).await, "swedencentral/a");
        a.end_connections();
        let ask = Ask::chat("gpt").sized(LARGE);
        served_by(&gateway.ask(&ask).await, "swedencentral/a");
        received_whole(&a, &ask).await;
    }
    assert_eq!(b.requests(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn attempts_end_at_their_limit_and_never_meet_a_backend_twice() {
    let sims = [Sim::start("swedencentral").await, Sim::start("francecentral").await, Sim::start("uksouth").await];
    let gateway = Setup::new()
        .pool("failover: { attempts_max: 2, budget: 100%, budget_min: 1000 }")
        .pool("ejection: { failures: 0, failure_share: 0% }")
        .backend("a", &sims[0], "priority: 1")
        .backend("b", &sims[1], "priority: 2")
        .backend("c", &sims[2], "priority: 3")
        .start()
        .await;
    sims.iter().for_each(|sim| sim.status(503));
    let answer = gateway.ask(&Ask::chat("gpt")).await;
    assert_eq!((answer.status, answer.header("x-served-by")), (503, B), "{answer}");
    assert_eq!(sims.each_ref().map(Sim::requests), [1, 1, 0]);
    // An SDK that is itself repeating gets at most one attempt beyond the first.
    let gateway = Setup::new()
        .pool("failover: { attempts_max: 3, budget: 100%, budget_min: 1000 }")
        .pool("ejection: { failures: 0, failure_share: 0% }")
        .backend("a", &sims[0], "priority: 1")
        .backend("b", &sims[1], "priority: 2")
        .backend("c", &sims[2], "priority: 3")
        .start()
        .await;
    assert_eq!(gateway.ask(&Ask::chat("gpt")).await.header("x-served-by"), "uksouth/c");
    let again = Ask::chat("gpt").header("x-stainless-retry-count", "1");
    assert_eq!(gateway.ask(&again).await.header("x-served-by"), B);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hanging_backends_are_given_up_at_the_deadline() {
    let (a, b) = regions().await;
    let gateway = ladder(&a, &b)
        .pool("failover: { deadline: 1s, first_byte_timeout: 700ms, stream_first_byte_timeout: 700ms }")
        .start()
        .await;
    for sim in [&a, &b] {
        sim.fault(FaultRule::new(FaultKind::HangBeforeHeaders { for_ms: None }));
    }
    for ask in [Ask::chat("gpt"), Ask::stream("gpt")] {
        let answer = gateway.ask(&ask).await;
        assert_eq!((answer.status, answer.code().as_str()), (504, "deadline_passed"), "{answer}");
        assert!(answer.head > ms(900) && answer.head < ms(1800), "{:?}", answer.head);
    }
}

/// It runs on another scheduler than several do.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_gateway_of_one_thread_fails_over_like_any_other() {
    let (a, b) = regions().await;
    let authority = Arc::new(Authority::new());
    let one = "process: { threads: 1, pre_drain: 0s, drain: 20s, upgrade_socket: {dir}/upgrade/upgrade.sock }";
    let setup = ladder(&a, &b).tls(&authority).pool("ejection: { failures: 0, failure_share: 0% }").top(one);
    let gateway = setup.start().await;
    a.fault(status(503));
    everything_is_served_by_b(&gateway, &b, "server_error").await;
}
