//! An answer that breaks after its first byte is ended honestly: an error event, or a cut body, and never a fake end.

use crate::common::{MIB, answer_of, index, ladder, ms, regions, secs, single, stream, until_idle};
use harness::{Ask, End, Event, Gateway, Proto, Setup, Sim, Wire, within};
use std::time::{Duration, Instant};
use tidegate::simulator::{FaultKind, FaultRule};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// Content up to `last`, then our error event, then the end as the protocol tells a break; in log and metric too.
async fn ends_with_an_error_event(gateway: &Gateway, proto: Proto, ask: &Ask, last: u64) -> Duration {
    let opened = gateway.client(proto).open(ask).await;
    assert_eq!(opened.status, 200);
    let sent = opened.sent;
    let (events, end) = within("the end of a broken stream", secs(15), opened.events().rest()).await;
    let took = sent.elapsed();
    assert_eq!(events.iter().filter_map(index).collect::<Vec<_>>(), (1..=last).collect::<Vec<_>>());
    assert!(!events.iter().any(Event::is_done), "a broken stream never says [DONE]: {events:?}");
    let error = events.last().expect("an event").json()["error"].clone();
    assert_eq!(error["code"], "stream_broken", "{events:?}");
    assert_eq!((error["type"].as_str(), error["request_id"].as_str()), (Some("server_error"), Some(ask.id.as_str())));
    match proto {
        // The missing last chunk tells a client that does not read events.
        Proto::H1 => assert!(matches!(end, End::Cut(_)), "{end:?}"),
        _ => assert_eq!(end, End::Whole, "a reset would drop the error event"),
    }
    let record = gateway.record(&ask.id).await;
    assert_eq!((record["ending"].as_str(), record["status"].as_u64()), (Some("broken_late"), Some(200)), "{record}");
    let attempts = record["attempts"].as_array().expect("attempts");
    assert_eq!((attempts.len(), &attempts[0]["outcome"]), (1, &"broken_late".into()), "{record}");
    took
}

async fn broken_by(fault: FaultKind, setup: fn(Setup) -> Setup) -> Vec<Duration> {
    let (a, b) = regions().await;
    let never = "ejection: { failures: 0, failure_share: 0% }";
    let gateway = setup(ladder(&a, &b).pool(never)).start().await;
    a.fault(FaultRule::new(fault));
    let mut times = Vec::new();
    for proto in Proto::PLAIN {
        // Two events in front, five of content.
        times.push(ends_with_an_error_event(&gateway, proto, &stream(400, ms(5)), 5).await);
    }
    assert_eq!(b.requests(), 0, "a relayed stream is never replayed");
    let metrics = gateway.metrics().await;
    assert_eq!(metrics.count("tidegate_requests_total", &[("ending", "broken_late")]), 2);
    assert_eq!(metrics.count("tidegate_attempts_total", &[("backend", "a"), ("outcome", "broken_late")]), 2);
    until_idle(&gateway).await;
    times
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_that_is_reset_ends_with_an_error_event() {
    broken_by(FaultKind::ResetAfter { chunks: 7 }, |setup| setup).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_that_is_cut_short_ends_with_an_error_event() {
    broken_by(FaultKind::Truncate { after_chunks: 7 }, |setup| setup).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_that_falls_silent_ends_after_the_idle_timeout() {
    let stall = FaultKind::StallMidStream { after_chunks: 7, for_ms: None };
    let times = broken_by(stall, |setup| setup.pool("timeouts: { idle: 600ms }")).await;
    assert!(times.iter().all(|took| (ms(600)..ms(2500)).contains(took)), "{times:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pause_shorter_than_the_idle_timeout_is_no_break() {
    let a = Sim::start("swedencentral").await;
    let gateway = single(&a).pool("timeouts: { idle: 2s }").start().await;
    a.fault(FaultRule::new(FaultKind::StallMidStream { after_chunks: 4, for_ms: Some(700) }));
    for proto in Proto::PLAIN {
        let (events, end) = gateway.client(proto).open(&stream(9, ms(5))).await.events().rest().await;
        crate::common::is_whole(&events, 9);
        assert_eq!(end, End::Whole);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_that_never_ends_is_ended_at_the_total_timeout() {
    let a = Sim::start("swedencentral").await;
    let gateway = single(&a).pool("timeouts: { total: 1s, idle: 900ms }").start().await;
    for proto in Proto::PLAIN {
        let ask = stream(10_000, ms(20));
        let opened = gateway.client(proto).open(&ask).await;
        let sent = opened.sent;
        let (events, _) = within("the end", secs(10), opened.events().rest()).await;
        assert!((ms(900)..ms(2500)).contains(&sent.elapsed()), "{:?}", sent.elapsed());
        assert!(events.last().is_some_and(Event::is_error), "{:?}", events.last());
        assert!(!events.iter().any(Event::is_done));
        assert_eq!(gateway.record(&ask.id).await["ending"], "broken_late");
    }
    until_idle(&gateway).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_whole_answer_that_breaks_is_cut_and_never_looks_whole() {
    let a = Sim::start("swedencentral").await;
    let gateway = single(&a).start().await;
    for fault in [FaultKind::Truncate { after_chunks: 6 }, FaultKind::ResetAfter { chunks: 6 }] {
        a.fault(FaultRule::new(fault));
        for proto in Proto::PLAIN {
            let ask = answer_of(4 * MIB);
            let answer = gateway.client(proto).ask(&ask).await;
            assert_eq!(answer.status, 200);
            assert!(answer.cut.is_some() && (answer.body.len() as u64) < 4 * MIB, "{} bytes", answer.body.len());
            let record = gateway.record(&ask.id).await;
            assert_eq!(record["ending"], "broken_late", "{record}");
        }
        a.clear();
    }
    assert_eq!(gateway.metrics().await.count("tidegate_requests_total", &[("ending", "broken_late")]), 4);
}

/// A backend that sends a header and `chunks`, a little apart, and closes without the last chunk.
async fn scripted(media: &str, chunks: &[&str]) -> Wire {
    let mut parts = vec![format!("HTTP/1.1 200 OK\r\ncontent-type: {media}\r\ntransfer-encoding: chunked\r\n\r\n")];
    parts.extend(chunks.iter().map(|chunk| format!("{:x}\r\n{chunk}\r\n", chunk.len())));
    Wire::serve(move |mut stream| {
        let parts = parts.clone();
        async move {
            let mut head = [0; 4096];
            let _ = stream.read(&mut head).await;
            for part in parts {
                let _ = stream.write_all(part.as_bytes()).await;
                tokio::time::sleep(ms(30)).await;
            }
        }
    })
    .await
}

const EVENTS: &str = "text/event-stream";
const WHOLE: &str = "data: {\"choices\":[{\"delta\":{\"content\":\"x\"}}],\"id\":\"1\"}\n\n";

fn at(wire: &Wire) -> Setup {
    Setup::new().backend_at("a", "swedencentral", &wire.url(), "")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_break_inside_an_event_closes_it_before_the_error_event() {
    // One whole event, then half of one.
    let wire = scripted(EVENTS, &[WHOLE, "data: {\"half\":\"of o"]).await;
    let gateway = at(&wire).start().await;
    for proto in Proto::PLAIN {
        let (events, _) = gateway.client(proto).open(&Ask::stream("gpt")).await.events().rest().await;
        let texts: Vec<&str> = events.iter().map(|event| event.data.as_str()).collect();
        assert_eq!((texts.len(), texts[0], texts[1]), (3, WHOLE[6..].trim(), "{\"half\":\"of o"), "{texts:?}");
        assert_eq!(events[2].json()["error"]["code"], "stream_broken", "{texts:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_break_after_done_is_no_break_of_the_stream() {
    let wire = scripted(EVENTS, &[WHOLE, "data: [DONE]\n\n"]).await;
    let gateway = at(&wire).start().await;
    for proto in Proto::PLAIN {
        let (events, _) = gateway.client(proto).open(&Ask::stream("gpt")).await.events().rest().await;
        assert!(events.last().is_some_and(Event::is_done), "{events:?}");
        assert!(!events.iter().any(Event::is_error), "nothing is missing, nothing is added: {events:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn chunked_json_that_breaks_is_cut_without_an_event() {
    let wire = scripted("application/json", &["{\"a\":\"bc", "de"]).await;
    let gateway = at(&wire).start().await;
    for proto in Proto::PLAIN {
        let answer = gateway.client(proto).ask(&Ask::chat("gpt")).await;
        assert!(answer.cut.is_some(), "{answer}");
        assert!("{\"a\":\"bcde".starts_with(&answer.text()), "{answer}");
    }
}

/// A backend of HTTP/1.0, or one that says nothing of a length: its connection ends with its answer.
async fn unframed(version: &str, media: &str, parts: &[&str]) -> Wire {
    let mut all = vec![format!("HTTP/{version} 200 OK\r\ncontent-type: {media}\r\n\r\n")];
    all.extend(parts.iter().map(ToString::to_string));
    Wire::serve(move |mut stream| {
        let parts = all.clone();
        async move {
            let mut head = [0; 4096];
            let _ = stream.read(&mut head).await;
            for part in parts {
                let _ = stream.write_all(part.as_bytes()).await;
                tokio::time::sleep(ms(30)).await;
            }
            // Closed with the rest of the request unread, the connection would be reset.
            let _ = stream.shutdown().await;
            let _ = tokio::time::timeout(secs(5), stream.read_to_end(&mut Vec::new())).await;
        }
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_that_only_the_end_of_its_connection_ends_is_broken_without_done() {
    let broken = serde_json::json!("broken_late");
    let responses = || Ask::json("/openai/v1/responses", r#"{"model":"gpt","stream":true,"input":"hi"}"#);
    let completions = || Ask::json("/openai/v1/completions", r#"{"model":"gpt","stream":true,"prompt":"hi"}"#);
    for (version, parts) in [("1.0", &[WHOLE, WHOLE][..]), ("1.1", &[WHOLE, "data: {\"half\":\"of o"])] {
        let wire = unframed(version, EVENTS, parts).await;
        let gateway = at(&wire).pool("ejection: { failures: 0, failure_share: 0% }").start().await;
        for proto in Proto::PLAIN {
            for ask in [Ask::stream("gpt"), Ask::v1_stream("gpt"), responses(), completions()] {
                let ask = Ask { streams: true, ..ask };
                let (events, end) = gateway.client(proto).open(&ask).await.events().rest().await;
                assert_eq!(events.len(), 3, "{events:?}");
                assert_eq!(events[0].data, WHOLE[6..].trim(), "what came is passed on");
                assert_eq!(events[2].json()["error"]["code"], "stream_broken", "{events:?}");
                assert_eq!(matches!(end, End::Cut(_)), proto == Proto::H1, "{end:?}");
                let record = gateway.record(&ask.id).await;
                assert_eq!((&record["ending"], &record["attempts"][0]["outcome"]), (&broken, &broken), "{record}");
            }
        }
        let metrics = gateway.metrics().await;
        assert_eq!(metrics.count("tidegate_attempts_total", &[("outcome", "broken_late")]), 8);
        assert_eq!(metrics.count("tidegate_requests_total", &[("ending", "broken_late")]), 8);
        until_idle(&gateway).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_that_the_end_of_its_connection_ends_is_whole_where_it_says_so_or_cannot_say() {
    let completed = "event: response.completed\ndata: {\"type\":\"response.completed\"}\n\n";
    let error = "data: {\"error\":{\"type\":\"user_error\",\"code\":\"content_filter\"}}\n\n";
    for (media, parts) in [
        (EVENTS, &[WHOLE, "data: [DONE]\n\n"][..]),
        (EVENTS, &[WHOLE, "data: [DONE]"]),
        (EVENTS, &[WHOLE, completed]),
        (EVENTS, &[WHOLE, error]),
        ("application/json", &["{\"a\":", "1}"]),
    ] {
        let wire = unframed("1.0", media, parts).await;
        let gateway = at(&wire).start().await;
        for proto in Proto::PLAIN {
            let ask = Ask::stream("gpt");
            let answer = gateway.client(proto).ask(&ask).await;
            assert_eq!((answer.text(), &answer.cut), (parts.concat(), &None), "{answer}");
            let ending = if parts.contains(&error) { "content_filtered" } else { "served" };
            assert_eq!(gateway.record(&ask.id).await["ending"], ending);
        }
    }
    // An operation whose streams have no such end.
    let wire = unframed("1.0", EVENTS, &[WHOLE]).await;
    let gateway = at(&wire).start().await;
    let ask = Ask::json("/openai/v1/audio/speech", r#"{"model":"gpt","input":"hi","voice":"x","stream_format":"sse"}"#);
    let answer = gateway.ask(&ask).await;
    assert_eq!((answer.text().as_str(), &answer.cut), (WHOLE, &None), "{answer}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_whose_connection_ends_before_its_first_event_fails_over() {
    let b = Sim::start("francecentral").await;
    let wire = unframed("1.0", EVENTS, &["data: {\"half\":\"of o"]).await;
    let gateway = at(&wire).backend("b", &b, "priority: 200").start().await;
    for proto in Proto::PLAIN {
        gateway.until_eligible("a", true).await;
        let ask = stream(5, ms(1));
        let (events, end) = gateway.client(proto).open(&ask).await.events().rest().await;
        crate::common::is_whole(&events, 5);
        assert_eq!(end, End::Whole);
    }
    assert_eq!(b.requests(), 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn backends_that_break_late_are_ejected_like_others_that_fail() {
    let (a, b) = regions().await;
    let gateway =
        ladder(&a, &b).pool("ejection: { failures: 0, base: 60s, failure_share: 50%, attempts_min: 3 }").start().await;
    a.fault(FaultRule::new(FaultKind::ResetAfter { chunks: 5 }));
    for _ in 0..3 {
        let _ = gateway.client(Proto::H1).open(&stream(50, ms(2))).await.events().rest().await;
    }
    gateway.until_eligible("a", false).await;
    let started = Instant::now();
    let (events, _) = gateway.client(Proto::H1).open(&stream(5, ms(2))).await.events().rest().await;
    crate::common::is_whole(&events, 5);
    assert_eq!((a.requests(), b.requests()), (3, 1), "{:?}", started.elapsed());
}
