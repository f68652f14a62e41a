//! Streams pass through as they come: every chunk, in its own time, metered on the way, at the reader's own speed.

use crate::common::{A, B, MIB, answer_of, begun, index, is_ok, is_whole, ladder, ms, paced, regions, secs, single};
use crate::common::{stream, until_idle};
use harness::{Ask, Authority, End, Event, Gateway, Opened, Proto, Raw, Sim, within};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tidegate::simulator::{FaultKind, FaultRule};

/// How much later than made each content event arrived at the client, and how many reads brought them. The region's clock
/// and ours are the same one; the request's own way to the region counts as delay, which is on the safe side.
async fn delays(sim: &Sim, ask: &Ask, opened: Opened) -> (Vec<Event>, Vec<Duration>, usize) {
    let mut events = opened.events();
    let mut seen = Vec::new();
    while let Some(event) = within("the next event", secs(20), events.next()).await {
        seen.push(event);
    }
    let reads = events.reads;
    let arrived = sim.find(&ask.id).expect("the region remembers it").at_us;
    let delays = seen.iter().filter_map(|event| {
        let made = event.json()["x_sim_at_us"].as_u64()?;
        Some(event.at.saturating_sub(Duration::from_micros(made - arrived)))
    });
    let delays = delays.collect();
    (seen, delays, reads)
}

async fn as_sent(proto: Proto) {
    let a = Sim::start("swedencentral").await;
    let gateway = single(&a).tls(&Arc::new(Authority::new())).start().await;
    let client = gateway.client(proto);
    for ask in [stream(40, ms(25)), paced(Ask::v1_stream("gpt"), 40, ms(25))] {
        let (events, delays, reads) = delays(&a, &ask, client.open(&ask).await).await;
        is_whole(&events, 40);
        let mut sorted = delays.clone();
        sorted.sort_unstable();
        assert!(sorted[20] < ms(25), "half of the chunks came more than {:?} late: {delays:?}", sorted[20]);
        assert!(sorted[39] < ms(400), "a chunk was held back: {delays:?}");
        // The first two events and the first token leave together, and so do the last three; all others on their own.
        assert!(reads >= 36, "{} events in {reads} reads: chunks were merged", events.len());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn chunks_arrive_as_they_were_sent_over_http1() {
    as_sent(Proto::H1).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn chunks_arrive_as_they_were_sent_over_h2c() {
    as_sent(Proto::H2c).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn chunks_arrive_as_they_were_sent_over_tls() {
    as_sent(Proto::H1Tls).await;
    as_sent(Proto::H2Tls).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn chunks_of_single_bytes_arrive_whole() {
    let a = Sim::start("swedencentral").await;
    let gateway = single(&a).start().await;
    a.fault(FaultRule::new(FaultKind::Drip { byte_ms: 0 }));
    for proto in Proto::PLAIN {
        let (events, end) = gateway.client(proto).open(&stream(3, ms(0))).await.events().rest().await;
        is_whole(&events, 3);
        assert_eq!(end, End::Whole);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_is_announced_as_one_and_not_compressed() {
    let a = Sim::start("swedencentral").await;
    let gateway = single(&a).start().await;
    for proto in Proto::PLAIN {
        let ask = stream(2, ms(0)).header("accept-encoding", "gzip, br");
        let answer = gateway.client(proto).ask(&ask).await;
        is_ok(&answer);
        assert!(answer.header("content-type").starts_with("text/event-stream"), "{answer}");
        for absent in ["content-encoding", "content-length"] {
            assert_eq!(answer.header(absent), "", "{absent}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_header_of_a_stream_comes_before_its_first_token() {
    let a = Sim::start("swedencentral").await;
    let gateway = single(&a).start().await;
    for proto in Proto::PLAIN {
        // Events at once, then a second between tokens: the first ones must not wait for the next.
        let opened = gateway.client(proto).open(&stream(2, ms(1000))).await;
        let sent = opened.sent;
        let events = begun(opened).await;
        assert!(sent.elapsed() < ms(800), "the first token waited for the second: {:?}", sent.elapsed());
        let (rest, _) = events.rest().await;
        assert_eq!(rest.iter().find_map(index), Some(2));
    }
}

/// Reads a big answer slowly, then at full speed; meanwhile the gateway must not store it.
async fn slowly(gateway: &Gateway, proto: Proto) {
    const SIZE: u64 = 192 * MIB;
    let mut opened = gateway.client(proto).open(&answer_of(SIZE)).await;
    let before = gateway.resident_kib();
    let mut got = 0;
    let started = Instant::now();
    let mut peak = before;
    while started.elapsed() < secs(2) {
        got += within("a piece", secs(5), opened.piece()).await.expect("the answer goes on").len() as u64;
        tokio::time::sleep(ms(20)).await;
        peak = peak.max(gateway.resident_kib());
    }
    assert!(got < SIZE / 2, "the reader is meant to be slow");
    while let Some(piece) = within("a piece", secs(20), opened.piece()).await {
        got += piece.len() as u64;
        if got % (16 * MIB) < piece.len() as u64 {
            peak = peak.max(gateway.resident_kib());
        }
    }
    assert_eq!(got, SIZE, "{proto:?}");
    assert!(peak < before + 24 * 1024, "{proto:?}: from {before} KiB to {peak} KiB");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn load_a_slow_reader_slows_the_backend_and_not_the_memory() {
    let a = Sim::start("swedencentral").await;
    let gateway = single(&a).start().await;
    for proto in Proto::PLAIN {
        slowly(&gateway, proto).await;
    }
    until_idle(&gateway).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slow_reader_does_not_hold_up_other_streams_of_its_connection() {
    let a = Sim::start("swedencentral").await;
    let gateway = single(&a).start().await;
    let client = gateway.client(Proto::H2c).keeping();
    let _unread = client.open(&answer_of(64 * MIB)).await;
    let (events, end) = client.open(&stream(20, ms(5))).await.events().rest().await;
    is_whole(&events, 20);
    assert_eq!(end, End::Whole);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn usage_is_read_on_the_fly_into_log_and_metric() {
    let a = Sim::start("swedencentral").await;
    let gateway = single(&a).start().await;
    let kind = |kind: &'static str| [("backend", "a"), ("kind", kind)];
    let (mut prompt, mut completion) = (0, 0);
    for proto in Proto::PLAIN {
        for ask in [
            stream(7, ms(1)).header("x-of", "a stream with include_usage"),
            Ask::chat("gpt").sized(4096).header("x-sim-tokens", "9"),
            Ask::embeddings("gpt"),
            Ask::v1("gpt").sized(900),
        ] {
            let answer = gateway.client(proto).ask(&ask).await;
            is_ok(&answer);
            let tokens = gateway.record(&ask.id).await["tokens"].clone();
            let usage = usage_of(&answer.text());
            let said = |name: &str| usage[name].as_u64().unwrap_or(0);
            assert_eq!(tokens["prompt"], said("prompt_tokens"), "{ask:?} {tokens}");
            assert_eq!(tokens["completion"], said("completion_tokens"), "{tokens}");
            prompt += said("prompt_tokens");
            completion += said("completion_tokens");
        }
    }
    assert!(prompt > 2000 && completion > 30);
    gateway.until_metric("tidegate_tokens_total", &kind("prompt"), |value| value >= prompt as f64).await;
    let metrics = gateway.metrics().await;
    assert_eq!(metrics.count("tidegate_tokens_total", &kind("prompt")), prompt);
    assert_eq!(metrics.count("tidegate_tokens_total", &kind("completion")), completion);
}

/// The last `usage` of a JSON answer or of a stream.
fn usage_of(text: &str) -> serde_json::Value {
    let documents = text.lines().map(|line| line.strip_prefix("data: ").unwrap_or(line));
    let usages = documents.filter_map(|json| serde_json::from_str::<serde_json::Value>(json).ok());
    usages.map(|json| json["usage"].clone()).rfind(serde_json::Value::is_object).expect("a usage")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn absent_or_absurd_usage_is_no_usage() {
    let a = Sim::start("swedencentral").await;
    let gateway = single(&a).start().await;
    let silent = Ask::json(
        &stream(1, ms(0)).path,
        r#"{"model":"gpt","stream":true,"messages":[{"role":"user","content":"hi"}]}"#,
    );
    is_ok(&gateway.ask(&silent).await);
    assert!(gateway.record(&silent.id).await.get("tokens").is_none());
    a.fault(FaultRule::new(FaultKind::BadUsage {}));
    for ask in [Ask::chat("gpt"), stream(2, ms(0)), Ask::embeddings("gpt")] {
        is_ok(&gateway.ask(&ask).await);
        let record = gateway.record(&ask.id).await;
        assert_eq!(record["ending"], "served", "{record}");
        let completion = record["tokens"]["completion"].as_u64().unwrap_or(0);
        assert_eq!(completion, 0, "{record}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_error_in_the_middle_is_relayed_as_the_backend_sent_it() {
    let (a, b) = regions().await;
    let gateway = ladder(&a, &b).pool("ejection: { failures: 0, advised_default: 100ms, jitter: 0% }").start().await;
    a.fault(FaultRule::new(FaultKind::ErrorInStream { after_chunks: 6, preset: "no_capacity".to_owned() }));
    for proto in Proto::PLAIN {
        let ask = stream(20, ms(2));
        let opened = gateway.client(proto).open(&ask).await;
        assert_eq!(opened.header("x-served-by"), A);
        let (events, end) = opened.events().rest().await;
        assert_eq!(events.iter().filter_map(index).collect::<Vec<_>>(), [1, 2, 3, 4]);
        let last = events.last().expect("an event");
        assert_eq!(last.json()["error"]["code"], "no_capacity", "{events:?}");
        assert_eq!(events.iter().filter(|event| event.is_error()).count(), 1, "ours is not added to theirs");
        assert_eq!(end, End::Whole);
        let record = gateway.record(&ask.id).await;
        assert_eq!(record["ending"], "stream_failed", "{record}");
        assert_eq!(record["attempts"][0]["outcome"], "stream_throttled", "the backend rests: {record}");
        gateway.until_eligible("a", true).await;
    }
    assert_eq!(b.requests(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn load_two_hundred_streams_at_once_are_all_whole() {
    let (a, b) = regions().await;
    let gateway = Arc::new(
        ladder(&a, &b).backend("a", &a, "").backend("b", &b, "").pool("selection: { latency_band: 10s }").start().await,
    );
    let mut streams = tokio::task::JoinSet::new();
    for number in 0..200 {
        let gateway = Arc::clone(&gateway);
        let proto = Proto::PLAIN[number % 2];
        streams.spawn(async move { gateway.client(proto).open(&stream(50, ms(40))).await.events().rest().await });
    }
    while let Some(done) = streams.join_next().await {
        let (events, end) = done.expect("no panic");
        is_whole(&events, 50);
        assert_eq!(end, End::Whole);
    }
    assert_eq!(a.requests() + b.requests(), 200);
    until_idle(&gateway).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_there_is_relayed_while_the_stream_pauses() {
    let a = Sim::start("swedencentral").await;
    let gateway = single(&a).start().await;
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
async fn a_client_connection_serves_one_request_after_the_other() {
    let (a, b) = regions().await;
    let gateway = ladder(&a, &b).pool("ejection: { failures: 0, failure_share: 0% }").start().await;
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
    assert!(!raw.ends_within(ms(200)).await);
}
