//! The first-event gate: what a 200 stream tells before its first delta is an outcome of the attempt, not the client's trouble.

use crate::common::{A, B, index, is_whole, ladder, ms, regions, secs, single, stream, until_idle};
use harness::{Ask, End, Event, Gateway, Proto, Setup, Sim, Wire, eventually, sha256, within};
use serde_json::Value;
use std::sync::Arc;
use std::time::Instant;
use tidegate::simulator::{FaultKind, FaultRule};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::Notify;

const NEVER_EJECTED: &str = "ejection: { failures: 0, failure_share: 0%, jitter: 0%, advised_default: 100ms }";
const LARGE: usize = 5 << 20;
pub(crate) const ROLE: &str = "data: {\"choices\":[{\"delta\":{\"role\":\"assistant\",\"content\":\"\"}}]}\n\n";
const CAPACITY: &str =
    "data: {\"error\":{\"type\":\"too_many_requests\",\"code\":\"no_capacity\",\"message\":\"x\"}}\n\n";

fn error(after_chunks: u64, preset: &str) -> FaultRule {
    FaultRule::new(FaultKind::ErrorInStream { after_chunks, preset: preset.to_owned() })
}

/// What of each event is the same whenever the region is asked.
fn lasting(events: &[Event]) -> Vec<String> {
    let lasting = |event: &Event| {
        let mut json = event.json();
        if let Some(fields) = json.as_object_mut() {
            fields.retain(|field, _| !["id", "created", "x_sim_at_us"].contains(&field.as_str()));
        }
        if json.is_null() { event.data.clone() } else { json.to_string() }
    };
    events.iter().map(lasting).collect()
}

/// Opens a stream through the gateway, which must be `b`'s whole one, and nothing else.
async fn is_served_by_b(gateway: &Gateway, proto: Proto, ask: &Ask, b: &Sim, outcome: &str) {
    let opened = gateway.client(proto).open(ask).await;
    let trail = format!("{A}={outcome}, {B}=served");
    assert_eq!((opened.header("x-served-by"), opened.header("x-tidegate-attempts")), (B, trail.as_str()), "{opened:?}");
    let (events, end) = opened.events().rest().await;
    is_whole(&events, 5);
    assert_eq!(end, End::Whole);
    assert!(!events.iter().any(|event| event.data.contains("swedencentral")), "{events:?}");
    let record = b.record(&ask.id).await;
    assert_eq!(record.body_sha256, sha256(&ask.bytes()), "{record:?}");
    let direct = harness::Client::new(b.url().trim_start_matches("http://").parse().unwrap(), Proto::H1);
    let (alone, _) = direct.open(&ask.again()).await.events().rest().await;
    assert_eq!(lasting(&events), lasting(&alone));
}

async fn errors_fail_over(preset: &str, outcome: &str) {
    let (a, b) = regions().await;
    let gateway = ladder(&a, &b).pool(NEVER_EJECTED).start().await;
    for proto in Proto::PLAIN {
        for after_chunks in [0, 1, 2] {
            for ask in [stream(5, ms(2)), stream(5, ms(2)).sized(LARGE)] {
                a.clear();
                a.fault(error(after_chunks, preset));
                gateway.until_eligible("a", true).await;
                is_served_by_b(&gateway, proto, &ask, &b, outcome).await;
                let record = gateway.record(&ask.id).await;
                assert_eq!((&record["ending"], &record["attempts"][0]["outcome"]), (&"served".into(), &outcome.into()));
            }
        }
    }
    let metrics = gateway.metrics().await;
    assert_eq!(metrics.count("tidegate_attempts_total", &[("backend", "a"), ("outcome", outcome)]), 12);
    assert_eq!(metrics.count("tidegate_failovers_total", &[("reason", outcome)]), 12);
    assert_eq!(metrics.count("tidegate_tokens_total", &[("backend", "a")]), 0, "tokens are charged once");
    assert!(metrics.count("tidegate_tokens_total", &[("backend", "b")]) > 0);
    until_idle(&gateway).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_429_inside_a_stream_is_answered_by_the_next_region() {
    errors_fail_over("no_capacity", "stream_throttled").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_500_inside_a_stream_is_answered_by_the_next_region() {
    errors_fail_over("server_error", "stream_failed").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_error_event_inside_a_responses_stream_is_answered_by_the_next_region() {
    let (a, b) = regions().await;
    let gateway = ladder(&a, &b).pool(NEVER_EJECTED).start().await;
    a.fault(error(1, "event_error"));
    let ask = Ask::json("/openai/v1/responses", r#"{"model":"gpt","stream":true,"input":"hi"}"#);
    let answer = gateway.ask(&ask).await;
    assert_eq!((answer.status, answer.header("x-served-by")), (200, B), "{answer}");
    assert!(answer.text().contains("response.completed") && !answer.text().contains("swedencentral"), "{answer}");
    assert_eq!(answer.text().matches("event: response.created").count(), 1, "{answer}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_that_breaks_before_its_first_delta_is_answered_by_the_next_region() {
    let (a, b) = regions().await;
    let gateway = ladder(&a, &b).pool(NEVER_EJECTED).start().await;
    for kind in [FaultKind::Truncate { after_chunks: 1 }, FaultKind::ResetAfter { chunks: 2 }] {
        a.clear();
        a.fault(FaultRule::new(kind));
        for proto in Proto::PLAIN {
            is_served_by_b(&gateway, proto, &stream(5, ms(2)), &b, "stream_broken").await;
        }
    }
}

/// A region that answers every request with this 200 stream, then does `after`.
pub(crate) async fn scripted<F, T>(events: &'static str, more: &'static str, after: F) -> Wire
where
    F: Fn(TcpStream) -> T + Clone + Send + 'static,
    T: Future<Output = ()> + Send + 'static,
{
    Wire::serve(move |mut connection| {
        let after = after.clone();
        async move {
            let mut request = Vec::new();
            // To the end of its JSON; a probe sends nothing.
            while !request.ends_with(b"}") {
                if !connection.read_buf(&mut request).await.is_ok_and(|length| length > 0) {
                    return;
                }
            }
            let head = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n";
            if connection.write_all(format!("{head}{more}\r\n{events}").as_bytes()).await.is_ok() {
                after(connection).await;
            }
        }
    })
    .await
}

fn behind(wire: &Wire, b: &Sim) -> Setup {
    Setup::new().pool(NEVER_EJECTED).backend_at("a", "swedencentral", &wire.url(), "priority: 1").backend(
        "b",
        b,
        "priority: 2",
    )
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_that_ends_before_its_first_delta_is_answered_by_the_next_region() {
    let b = Sim::start("francecentral").await;
    for events in ["", ROLE, ": alive\n\n"] {
        let wire = scripted(events, "", async |_| ()).await;
        let gateway = behind(&wire, &b).start().await;
        is_served_by_b(&gateway, Proto::H1, &stream(5, ms(2)), &b, "stream_broken").await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn when_all_regions_are_throttled_inside_their_streams_the_client_gets_a_429() {
    let (a, b) = regions().await;
    for proto in Proto::PLAIN {
        let gateway = ladder(&a, &b).pool("ejection: { jitter: 0%, advised_default: 10s }").start().await;
        a.fault(error(1, "no_capacity"));
        b.fault(error(2, "no_capacity"));
        let ask = stream(5, ms(2));
        let answer = gateway.client(proto).ask(&ask).await;
        assert_eq!((answer.status, answer.code().as_str()), (429, "all_backends_throttled"), "{answer}");
        let wait: u64 = answer.header("retry-after-ms").parse().unwrap();
        assert!((8_000..=10_000).contains(&wait), "{answer}");
        let record = gateway.record(&ask.id).await;
        assert_eq!(record["ending"], "all_throttled", "{record}");
        assert_eq!(record["attempts"].as_array().map(Vec::len), Some(2), "{record}");
        assert!(record.get("tokens").is_none(), "nothing was served: {record}");
        until_idle(&gateway).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn when_all_regions_fail_inside_their_streams_the_client_gets_a_503() {
    let (a, b) = regions().await;
    let gateway = ladder(&a, &b).pool(NEVER_EJECTED).start().await;
    a.fault(error(0, "server_error"));
    b.fault(error(2, "overload"));
    for proto in Proto::PLAIN {
        let ask = stream(5, ms(2));
        let answer = gateway.client(proto).ask(&ask).await;
        assert_eq!((answer.status, answer.code().as_str()), (503, "no_backend_available"), "{answer}");
        assert!(answer.header("content-type").starts_with("application/json"), "{answer}");
        assert_ne!(answer.header("retry-after"), "", "{answer}");
        let record = gateway.record(&ask.id).await;
        assert_eq!(
            (&record["ending"], &record["attempts"][1]["outcome"]),
            (&"unreachable".into(), &"stream_failed".into())
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_429_inside_a_stream_rests_as_its_header_advises() {
    let wire = scripted(CAPACITY, "retry-after-ms: 3000\r\nx-ratelimit-reset-tokens: 59\r\n", async |_| ()).await;
    let setup = Setup::new().pool("ejection: { jitter: 0% }").backend_at("a", "swedencentral", &wire.url(), "");
    let gateway = setup.start().await;
    let answer = gateway.ask(&stream(5, ms(2))).await;
    assert_eq!(answer.status, 429, "{answer}");
    let wait: u64 = answer.header("retry-after-ms").parse().unwrap();
    assert!((2_000..=3_000).contains(&wait), "{answer}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backend_that_fails_inside_its_streams_is_ejected() {
    let (a, b) = regions().await;
    let setup = ladder(&a, &b).pool("ejection: { failures: 2, base: 1m, jitter: 0% }");
    let gateway = setup.pool("selection: { explore: 0% }").start().await;
    a.fault(error(1, "server_error"));
    for _ in 0..5 {
        assert_eq!(gateway.ask(&stream(5, ms(1))).await.header("x-served-by"), B);
    }
    assert_eq!(a.requests(), 2, "its 200 is no success");
    assert_eq!(gateway.metrics().await.count("tidegate_ejections_total", &[("reason", "consecutive_failures")]), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_the_request_itself_has_caused_is_passed_on() {
    let (a, b) = regions().await;
    let gateway = ladder(&a, &b).start().await;
    for (proto, after_chunks) in [(Proto::H1, 0), (Proto::H2c, 2)] {
        a.clear();
        a.fault(error(after_chunks, "user_error"));
        let ask = stream(5, ms(2));
        let opened = gateway.client(proto).open(&ask).await;
        assert_eq!((opened.status, opened.header("x-served-by")), (200, A));
        let (events, end) = opened.events().rest().await;
        assert_eq!((events.len() as u64, end), (after_chunks + 1, End::Whole));
        assert_eq!(events.last().unwrap().json()["error"]["code"], "content_filter");
        let record = gateway.record(&ask.id).await;
        let filtered = "content_filtered";
        assert_eq!((&record["ending"], &record["attempts"][0]["outcome"]), (&filtered.into(), &filtered.into()));
    }
    assert_eq!(b.requests(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_first_delta_leaves_before_the_backend_sends_the_next() {
    for proto in Proto::PLAIN {
        let seen = Arc::new(Notify::new());
        let next = Arc::clone(&seen);
        let start =
            "data: {\"choices\":[],\"usage\":null}\n\ndata: {\"choices\":[{\"delta\":{\"role\":\"assistant\"}}]}\n\n";
        let wire = scripted(start, "", move |mut connection| {
            let next = Arc::clone(&next);
            async move {
                tokio::time::sleep(ms(50)).await;
                let _ = connection.write_all(b"data: {\"choices\":[{\"delta\":{\"content\":\"one\"}}]}\n\n").await;
                next.notified().await;
                let _ = connection
                    .write_all(b"data: {\"choices\":[{\"delta\":{\"content\":\"two\"}}]}\n\ndata: [DONE]\n\n")
                    .await;
            }
        })
        .await;
        let gateway = Setup::new().backend_at("a", "swedencentral", &wire.url(), "").start().await;
        let mut events = gateway.client(proto).open(&Ask::stream("gpt")).await.events();
        for wanted in ["usage", "assistant", "one"] {
            let event = within(wanted, secs(4), events.next()).await.expect("an event");
            assert!(event.data.contains(wanted), "{event:?}");
        }
        seen.notify_one();
        let (rest, _) = within("the rest", secs(4), events.rest()).await;
        assert!(rest[0].data.contains("two") && rest.last().unwrap().is_done(), "{rest:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keep_alives_hold_a_stream_no_longer_than_its_gate() {
    let wire = scripted(ROLE, "", async |mut connection| {
        while connection.write_all(b": alive\n\n").await.is_ok() {
            tokio::time::sleep(ms(20)).await;
        }
    })
    .await;
    let b = Sim::start("francecentral").await;
    let gateway = behind(&wire, &b).pool("streams: { gate: { time: 300ms } }").start().await;
    for proto in Proto::PLAIN {
        let opened = within("the header", secs(4), gateway.client(proto).open(&Ask::stream("gpt"))).await;
        assert_eq!((opened.status, opened.header("x-served-by")), (200, "swedencentral/a"));
        assert!(opened.sent.elapsed() >= ms(250), "keep-alives are no progress");
        let mut opened = opened;
        let piece = within("what was held", secs(4), opened.piece()).await.expect("bytes");
        assert!(piece.starts_with(ROLE.as_bytes()), "{piece:?}");
    }
    assert_eq!(b.requests(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn silence_holds_a_stream_no_longer_than_its_gate() {
    let (a, b) = regions().await;
    let gateway = ladder(&a, &b).pool("streams: { gate: { time: 200ms } }").start().await;
    for proto in Proto::PLAIN {
        a.clear();
        a.fault(FaultRule::new(FaultKind::StallMidStream { after_chunks: 2, for_ms: None }));
        let opened = within("the header", secs(4), gateway.client(proto).open(&stream(5, ms(2)))).await;
        assert_eq!((opened.status, opened.header("x-served-by")), (200, A));
        drop(opened);
        a.clear();
        a.fault(FaultRule::new(FaultKind::StallMidStream { after_chunks: 2, for_ms: Some(600) }));
        let opened = gateway.client(proto).open(&stream(5, ms(2))).await;
        assert!(opened.sent.elapsed() < ms(600), "the header came before the backend went on");
        let (events, end) = opened.events().rest().await;
        is_whole(&events, 5);
        assert_eq!((events.iter().position(|event| index(event).is_some()), end), (Some(2), End::Whole));
    }
    assert_eq!(b.requests(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_leaves_while_its_stream_is_held_ends_the_attempt() {
    for (count, proto) in (1..).zip(Proto::PLAIN) {
        let a = Sim::start("swedencentral").await;
        let gateway = single(&a).pool("streams: { gate: { time: 1m } }").start().await;
        a.fault(FaultRule::new(FaultKind::StallMidStream { after_chunks: 1, for_ms: None }));
        let ask = stream(5, ms(2));
        let client = gateway.client(proto);
        let held = tokio::time::timeout(ms(300), client.try_open(&ask)).await;
        assert!(held.is_err(), "nothing is relayed yet ({count}): {held:?}");
        let left = Instant::now();
        eventually("the end of the call at the region", secs(5), async || {
            let stats = a.stats();
            (stats.aborted == 1 && stats.in_flight == 0).then_some(())
        })
        .await;
        assert!(left.elapsed() < secs(1), "the backend worked on for {:?}", left.elapsed());
        let record = gateway.record(&ask.id).await;
        assert_eq!((&record["ending"], &record["status"]), (&"client_gone".into(), &Value::Null), "{record}");
        until_idle(&gateway).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_gate_a_stream_is_relayed_as_it_comes() {
    let (a, b) = regions().await;
    let gateway = ladder(&a, &b).pool("streams: { gate: off }").pool(NEVER_EJECTED).start().await;
    a.fault(error(0, "server_error"));
    for proto in Proto::PLAIN {
        let opened = gateway.client(proto).open(&stream(5, ms(5))).await;
        assert_eq!((opened.status, opened.header("x-served-by")), (200, A));
        let (events, end) = opened.events().rest().await;
        assert_eq!((events.len(), end), (1, End::Whole));
        assert!(events[0].data.contains("Sorry about that!"), "{events:?}");
    }
    assert_eq!(b.requests(), 0);
}
