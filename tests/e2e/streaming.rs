//! Streams: relayed as they come, ended honestly, and given up at once when nobody listens.

use crate::common::{A, B, MIB, ladder, ms, regions, secs, served_by};
use harness::{Ask, End, Event, Gateway, Proto, Raw, Sim, eventually, within};
use std::time::Duration;
use tidegate::simulator::{FaultKind, FaultRule};

fn indexes(events: &[Event]) -> Vec<u64> {
    events.iter().filter_map(|event| event.json()["x_sim_index"].as_u64()).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn load_chunks_come_as_they_are_made() {
    let (a, b) = regions().await;
    let gateway = ladder(&a, &b).start().await;
    for proto in Proto::PLAIN {
        let ask =
            Ask::stream("gpt").header("x-sim-tokens", "50").header("x-sim-chunk-ms", "20").header("x-sim-stamp", "1");
        let opened = gateway.client(proto).open(&ask).await;
        assert_eq!(opened.header("content-type"), "text/event-stream; charset=utf-8");
        let sent = opened.sent;
        let mut stream = opened.events();
        let mut events = Vec::new();
        while let Some(event) = stream.next().await {
            events.push(event);
        }
        assert_eq!(indexes(&events), (1..=50).collect::<Vec<_>>(), "none dropped, none mixed up");
        assert!(stream.reads >= 50, "{} reads for {} events: chunks were merged", stream.reads, events.len());
        assert!(sent.elapsed() > ms(900));
        // The clocks differ by a constant; what varies is delay.
        let delays: Vec<i64> = events
            .iter()
            .filter_map(|event| Some((event.at, event.json()["x_sim_at_us"].as_i64()?)))
            .map(|(at, made)| i64::try_from(at.as_micros()).unwrap() - made)
            .collect();
        assert_eq!(delays.len(), 50);
        let spread = delays.iter().max().unwrap() - delays.iter().min().unwrap();
        assert!(spread < 60_000, "a chunk came {spread} µs later than the fastest");
        assert!(events.last().unwrap().is_done());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_there_is_relayed_while_the_stream_pauses() {
    let (a, b) = regions().await;
    let gateway = ladder(&a, &b).start().await;
    a.fault(FaultRule::new(FaultKind::StallMidStream { after_chunks: 4, for_ms: None }));
    for proto in Proto::PLAIN {
        let mut events = gateway.client(proto).open(&Ask::stream("gpt")).await.events();
        for number in 0..4 {
            within(format!("event {number}"), secs(5), events.next()).await.expect("an event");
        }
        assert!(tokio::time::timeout(ms(300), events.next()).await.is_err(), "the rest is not there yet");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_with_large_chunks_is_byte_for_byte_the_backends() {
    let (a, b) = regions().await;
    let gateway = ladder(&a, &b).start().await;
    for proto in Proto::PLAIN {
        let answer = gateway.client(proto).ask(&Ask::chat("gpt").header("x-sim-size", "9000000")).await;
        served_by(&answer, A);
        assert_eq!(answer.body.len(), 9_000_000);
    }
}

/// A stream that breaks after `fault`: an error event, no `[DONE]`, counted and logged.
async fn breaks_honestly(fault: FaultKind, code: &str, pool: &str) {
    let (a, b) = regions().await;
    let gateway = ladder(&a, &b).pool(pool).start().await;
    a.fault(FaultRule::new(fault));
    for (count, proto) in (1..).zip(Proto::PLAIN) {
        let ask = Ask::v1_stream("gpt").header("x-sim-chunk-ms", "5");
        let opened = gateway.client(proto).open(&ask).await;
        assert_eq!(opened.status, 200);
        let (events, end) = within("the end of the stream", secs(10), opened.events().rest()).await;
        assert!(!events.iter().any(Event::is_done), "a broken stream must not look whole: {events:?}");
        let last = events.last().expect("events");
        assert!(last.is_error(), "{proto:?} {events:?} {end:?}");
        assert_eq!(last.json()["error"]["code"], code, "{last:?}");
        assert!(indexes(&events).iter().eq((1..).take(indexes(&events).len()).collect::<Vec<u64>>().iter()));
        if proto == Proto::H1 {
            assert!(matches!(end, End::Cut(_)), "HTTP/1.1 must show the break in its framing, too");
        }
        let record = gateway.record(&ask.id).await;
        assert_eq!(
            (record["ending"].as_str(), record["status"].as_u64()),
            (Some("broken_late"), Some(200)),
            "{record}"
        );
        let metrics = gateway.metrics().await;
        assert_eq!(metrics.count("tidegate_requests_total", &[("ending", "broken_late")]), count);
        assert_eq!(metrics.count("tidegate_attempts_total", &[("outcome", "broken_late"), ("backend", "a")]), count);
    }
    assert_eq!(b.requests(), 0, "what was relayed is never repeated");
}

const NORMAL: &str = "timeouts: {}";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_that_is_reset_ends_with_an_error_event_and_no_done() {
    breaks_honestly(FaultKind::ResetAfter { chunks: 6 }, "stream_broken", NORMAL).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_that_is_truncated_ends_with_an_error_event_and_no_done() {
    breaks_honestly(FaultKind::Truncate { after_chunks: 6 }, "stream_broken", NORMAL).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_that_falls_silent_ends_with_an_error_event_after_the_idle_timeout() {
    let stall = FaultKind::StallMidStream { after_chunks: 6, for_ms: None };
    breaks_honestly(stall, "stream_broken", "timeouts: { idle: 500ms }").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_whole_answer_that_breaks_off_is_never_presented_as_whole() {
    let (a, b) = regions().await;
    let gateway = ladder(&a, &b).start().await;
    for fault in [FaultKind::ResetAfter { chunks: 3 }, FaultKind::Truncate { after_chunks: 3 }] {
        a.clear();
        a.fault(FaultRule::new(fault));
        for proto in Proto::PLAIN {
            let ask = Ask::chat("gpt").header("x-sim-size", "200000");
            let answer = gateway.client(proto).ask(&ask).await;
            assert!(answer.status == 200 && answer.cut.is_some(), "{proto:?} {answer}");
            assert_eq!(gateway.record(&ask.id).await["ending"], "broken_late");
        }
    }
    assert_eq!(b.requests(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_error_event_of_the_backend_is_passed_on_as_it_is() {
    let (a, b) = regions().await;
    let gateway = ladder(&a, &b).start().await;
    a.fault(FaultRule::new(FaultKind::ErrorInStream { after_chunks: 5, preset: "server_error".to_owned() }));
    let (events, end) = gateway.client(Proto::H1).open(&Ask::stream("gpt")).await.events().rest().await;
    assert_eq!(end, End::Whole);
    assert_eq!(events.iter().filter(|event| event.is_error()).count(), 1, "{events:?}");
    assert!(events.last().unwrap().data.contains("Sorry about that!"));
}

/// The backend sees that the client left.
async fn sees_the_client_leave(gateway: &Gateway, sim: &Sim, id: &str) {
    eventually(format!("{} sees that {id} left", sim.name()), secs(1), async || {
        sim.find(id).filter(|record| record.aborted)
    })
    .await;
    gateway.until_metric("tidegate_requests_in_flight", &[], |count| count < 0.5).await;
    gateway.until_metric("tidegate_backend_attempts_in_flight", &[], |count| count < 0.5).await;
    assert_eq!(gateway.record(id).await["ending"], "client_gone");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_leaves_in_mid_stream_ends_the_backends_work_within_a_second() {
    let (a, b) = regions().await;
    let gateway = ladder(&a, &b).start().await;
    for proto in Proto::PLAIN {
        let ask = Ask::stream("gpt").header("x-sim-tokens", "5000").header("x-sim-chunk-ms", "20");
        let mut events = gateway.client(proto).open(&ask).await.events();
        for _ in 0..5 {
            events.next().await.expect("an event");
        }
        drop(events);
        sees_the_client_leave(&gateway, &a, &ask.id).await;
    }
    let metrics = gateway.metrics().await;
    assert_eq!(metrics.count("tidegate_requests_total", &[("ending", "client_gone")]), 2);
    assert_eq!(metrics.count("tidegate_streams_open", &[]), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_leaves_before_the_first_byte_ends_the_backends_work_within_a_second() {
    let (a, b) = regions().await;
    let gateway = ladder(&a, &b).start().await;
    a.fault(FaultRule::new(FaultKind::HangBeforeHeaders { for_ms: None }));
    for proto in Proto::PLAIN {
        for ask in [Ask::stream("gpt"), Ask::chat("gpt").sized(MIB)] {
            let (client, asked) = (gateway.client(proto), ask.clone());
            let waiting = tokio::spawn(async move { client.try_ask(&asked).await.map(|answer| answer.status) });
            eventually("the request is at a", secs(5), async || a.find(&ask.id).filter(|r| r.body_len > 0)).await;
            waiting.abort();
            sees_the_client_leave(&gateway, &a, &ask.id).await;
        }
    }
    assert_eq!(b.requests(), 0, "a client that leaves is no reason to try another region");
    assert_eq!(gateway.metrics().await.count("tidegate_backend_eligible", &[("backend", "a")]), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tokens_are_read_on_the_fly_and_logged() {
    let (a, b) = regions().await;
    let gateway = ladder(&a, &b).start().await;
    let chat = Ask::chat("gpt").header("x-sim-tokens", "7");
    let stream = Ask::stream("gpt").header("x-sim-tokens", "9");
    let response = r#"{"model":"gpt","input":"hello there","stream":true,"store":false}"#;
    let response = Ask::json("/openai/v1/responses", response).header("x-sim-tokens", "11");
    let embeddings = Ask::embeddings("gpt");
    for (ask, completion) in [(chat, 7), (stream, 9), (response, 11), (embeddings, 0)] {
        let answer = gateway.ask(&ask).await;
        assert_eq!(answer.status, 200, "{answer}");
        let tokens = &gateway.record(&ask.id).await["tokens"];
        assert_eq!(tokens["completion"].as_u64(), Some(completion), "{} {tokens}", ask.path);
        assert!(tokens["prompt"].as_u64().is_some(), "{tokens}");
    }
    let metrics = gateway.metrics().await;
    assert_eq!(metrics.count("tidegate_tokens_total", &[("kind", "completion"), ("backend", "a")]), 27);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn usage_full_of_nonsense_does_no_harm() {
    let (a, b) = regions().await;
    let gateway = ladder(&a, &b).start().await;
    a.fault(FaultRule::new(FaultKind::BadUsage {}));
    for ask in [Ask::chat("gpt"), Ask::stream("gpt")] {
        let answer = gateway.ask(&ask).await;
        served_by(&answer, A);
        assert_eq!(gateway.record(&ask.id).await["ending"], "served");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn load_a_slow_reader_holds_the_backend_back_and_not_the_gateways_memory() {
    let (a, b) = regions().await;
    let gateway = ladder(&a, &b).start().await;
    served_by(&gateway.ask(&Ask::chat("gpt")).await, A);
    let before = gateway.resident_kib();
    for proto in Proto::PLAIN {
        let ask = Ask::chat("gpt").header("x-sim-size", "300000000");
        let mut opened = gateway.client(proto).open(&ask).await;
        let mut read = 0;
        for _ in 0..20 {
            read += opened.piece().await.expect("more").len();
            tokio::time::sleep(ms(50)).await;
        }
        let grown = gateway.resident_kib().saturating_sub(before);
        assert!(grown < 32 * 1024, "{proto:?}: {grown} KiB for a reader that took {read} bytes");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_that_never_ends_is_cut_at_its_total_timeout() {
    let (a, b) = regions().await;
    let gateway = ladder(&a, &b).pool("timeouts: { total: 1s }").start().await;
    let ask = Ask::stream("gpt").header("x-sim-tokens", "100000").header("x-sim-chunk-ms", "10");
    let opened = gateway.client(Proto::H1).open(&ask).await;
    let (events, _end) = within("the end", secs(5), opened.events().rest()).await;
    let last = events.last().unwrap();
    assert!(last.is_error() && last.at > ms(900) && last.at < ms(2500), "{last:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_compressed_on_the_way() {
    let (a, b) = regions().await;
    let gateway = ladder(&a, &b).start().await;
    for ask in [Ask::chat("gpt"), Ask::stream("gpt")] {
        let ask = ask.header("accept-encoding", "gzip, br");
        let answer = gateway.ask(&ask).await;
        served_by(&answer, A);
        assert_eq!(answer.header("content-encoding"), "");
        assert!(answer.text().contains("[swedencentral/gpt]"));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_connection_serves_one_request_after_the_other() {
    let (a, b) = regions().await;
    let gateway = ladder(&a, &b).start().await;
    let mut raw = Raw::connect(gateway.address()).await;
    for round in 0..6 {
        if round % 2 == 0 {
            a.clear()
        } else {
            a.status(503)
        }
        for ask in [Ask::chat("gpt"), Ask::stream("gpt")] {
            let body = ask.bytes();
            let head = format!("POST {} HTTP/1.1\r\nhost: x\r\ncontent-length: {}\r\n\r\n", ask.path, body.len());
            raw.send(head).await;
            raw.send(body).await;
            let answer = raw.answer().await;
            let who = if round % 2 == 0 { A } else { B };
            assert_eq!((answer.status, answer.header("x-served-by")), (200, who), "{answer:?}");
        }
    }
    assert!(!raw.ends_within(Duration::from_millis(200)).await);
}
