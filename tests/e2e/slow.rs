//! Clients that are slow on purpose are shown the door, with an answer where they can read one, and others do not notice.

use crate::common::{A, ms, secs, served_by};
use harness::{Ask, Authority, Gateway, Proto, Raw, Setup, Sim, within};
use std::sync::Arc;
use std::time::{Duration, Instant};

const CUT_OFF: &str = "tidegate_connections_cut_off_total";

/// One backend behind short deadlines.
async fn strict(limits: &str) -> (Sim, Gateway) {
    let sim = Sim::start("swedencentral").await;
    let gateway = Setup::new()
        .top(&format!("limits: {{ {limits} }}"))
        .tls(&Arc::new(Authority::new()))
        .backend("a", &sim, "")
        .start()
        .await;
    (sim, gateway)
}

const SHORT: &str = "connections: { first_byte_timeout: 700ms, header_timeout: 700ms }";

/// Sends `bytes` one by one, a byte each 50 ms, and reads what comes back.
async fn drip(raw: &mut Raw, bytes: &[u8]) -> (u16, String, Duration) {
    let start = Instant::now();
    for byte in bytes {
        raw.send([*byte]).await;
        if start.elapsed() > secs(3) {
            break;
        }
        tokio::time::sleep(ms(50)).await;
    }
    let answer = raw.answer().await;
    (answer.status, answer.code(), start.elapsed())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_header_that_drips_is_answered_408_however_steadily_it_drips() {
    let (_sim, gateway) = strict(SHORT).await;
    let mut slow: Vec<Raw> = Vec::new();
    for _ in 0..20 {
        slow.push(Raw::connect(gateway.address()).await);
    }
    let dripping = slow.iter_mut().map(|raw| {
        drip(raw, b"GET /openai/v1/models HTTP/1.1\r\nhost: localhost\r\nx-a: aaaaaaaaaaaaaaaaaaaaaaaaaaaaaa")
    });
    let others = async {
        for proto in [Proto::H1, Proto::H2c, Proto::H1Tls, Proto::H2Tls] {
            for _ in 0..5 {
                served_by(&gateway.client(proto).ask(&Ask::chat("gpt")).await, A);
            }
        }
    };
    let (answers, ()) = tokio::join!(futures::future::join_all(dripping), others);
    for (status, code, _) in answers {
        assert_eq!((status, code.as_str()), (408, "header_timeout"));
    }
    for raw in &mut slow {
        assert!(raw.ends_within(secs(5)).await);
    }
    gateway.until_metric(CUT_OFF, &[("reason", "header_timeout")], |count| count > 19.5).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_header_that_drips_is_answered_too_and_an_idle_connection_is_not_cut_off() {
    let (_sim, gateway) = strict(SHORT).await;
    let mut raw = Raw::connect(gateway.address()).await;
    for _ in 0..2 {
        raw.send("GET /nowhere HTTP/1.1\r\nhost: localhost\r\n\r\n").await;
        assert_eq!(raw.answer().await.status, 404);
        // Idle for longer than the deadlines of first byte and header.
        tokio::time::sleep(ms(1200)).await;
    }
    let (status, code, _) = drip(&mut raw, b"POST /openai/v1/chat/completions HTTP/1.1\r\nhost: localhost").await;
    assert_eq!((status, code.as_str()), (408, "header_timeout"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_silent_connection_and_half_a_preface_end_without_a_word() {
    let (_sim, gateway) = strict(SHORT).await;
    let mut silent = Raw::connect(gateway.address()).await;
    let mut preface = Raw::connect(gateway.address()).await;
    preface.send("PRI * HTTP/2.0\r\n").await;
    assert!(silent.ends_within(secs(10)).await);
    gateway.until_metric(CUT_OFF, &[("reason", "first_byte_timeout")], |count| count > 0.5).await;
    // Nobody can know whether it would have been HTTP/2: the answer is HTTP/1.1's.
    assert_eq!(preface.answer().await.status, 408);
    // A request shorter than the preface is answered at once.
    let mut short = Raw::connect(gateway.address()).await;
    short.send("GET / HTTP/1.1\r\n\r\n").await;
    let answer = short.answer().await;
    assert_eq!((answer.status, answer.code().as_str()), (400, "host_missing"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_body_below_the_least_rate_is_answered_408_and_a_slow_honest_one_is_served() {
    let (_sim, gateway) = strict("body_rate_min: 1KiB, body_rate_window: 1s").await;
    let mut slow = Raw::connect(gateway.address()).await;
    slow.send("POST /openai/v1/chat/completions HTTP/1.1\r\nhost: localhost\r\ncontent-length: 4000\r\n\r\n{").await;
    let (status, code, took) = drip(&mut slow, &[b' '; 100]).await;
    assert_eq!((status, code.as_str()), (408, "body_timeout"));
    assert!(took < secs(10), "{took:?}");
    for proto in [Proto::H1, Proto::H2c] {
        let ask = Ask::chat("gpt").sized(40 * 1024).slow(4 * 1024, ms(200));
        served_by(&gateway.client(proto).ask(&ask).await, A);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_has_only_so_many_requests() {
    let (_sim, gateway) = strict("connections: { requests_max: 3 }").await;
    let mut raw = Raw::connect(gateway.address()).await;
    for count in 1..=3 {
        raw.send("GET /nowhere HTTP/1.1\r\nhost: localhost\r\n\r\n").await;
        let answer = raw.answer().await;
        let kept = !answer.header("connection").eq_ignore_ascii_case("close");
        assert_eq!((answer.status, kept), (404, count < 3), "{count}: {}", answer.head);
    }
    assert!(raw.ends_within(secs(10)).await);
    let before = gateway.metrics().await.sum("tidegate_connections_total", &[]);
    for proto in [Proto::H1, Proto::H1Tls, Proto::H2c, Proto::H2Tls] {
        let client = gateway.client(proto).keeping();
        for _ in 0..9 {
            served_by(&client.ask(&Ask::chat("gpt")).await, A);
        }
    }
    let opened = gateway.metrics().await.sum("tidegate_connections_total", &[]) - before;
    assert!((11.5..24.5).contains(&opened), "{opened} connections for four times nine requests");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_no_http_is_answered_in_the_shape_of_an_error() {
    let (_sim, gateway) = strict("").await;
    for (bytes, status, code) in [
        ("GET / HTTP/1.1\r\nhost: a\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\nx", 400, "bad_framing"),
        ("GET / HTTP/1.1\r\nhost : a\r\n\r\n", 400, "bad_framing"),
        ("hello there\r\n\r\n", 400, "bad_framing"),
        ("CONNECT a:443 HTTP/1.1\r\nhost: a:443\r\n\r\n", 405, "method_not_allowed"),
    ] {
        let mut raw = Raw::connect(gateway.address()).await;
        raw.send(bytes).await;
        let answer = within("an answer", secs(10), raw.answer()).await;
        assert_eq!((answer.status, answer.code().as_str()), (status, code), "{bytes:?}\n{}", answer.head);
        assert!(raw.ends_within(secs(10)).await, "{bytes:?}");
    }
    gateway.until_metric(CUT_OFF, &[("reason", "bad_request")], |count| count > 3.5).await;
}
