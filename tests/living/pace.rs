//! Streams that are slow: late with their first delta, silent behind it, or crawling.

use crate::common::{A, B, index, is_whole, ladder, ms, regions, secs, single, stream, until_idle};
use harness::{Ask, End, Gateway, Proto, Sim, within};
use tidegate::simulator::{FaultKind, FaultRule};

const NEVER_EJECTED: &str = "ejection: { failures: 0, failure_share: 0%, jitter: 0% }";
const FIRST: &str = "streams: { first_token: { base: 400ms, per_1000_tokens: 200ms } }";

fn stall(after_chunks: u64) -> FaultRule {
    FaultRule::new(FaultKind::StallMidStream { after_chunks, for_ms: None })
}

/// A whole stream of `backend`, and what became of the attempts at `a`.
async fn is_whole_by(gateway: &Gateway, proto: Proto, ask: &Ask, backend: &str, trail: &str) {
    let opened = within("the header", secs(10), gateway.client(proto).open(ask)).await;
    assert_eq!((opened.header("x-served-by"), opened.header("x-tidegate-attempts")), (backend, trail), "{opened:?}");
    let (events, end) = opened.events().rest().await;
    is_whole(&events, 5);
    assert_eq!(end, End::Whole);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_that_is_late_with_its_first_delta_is_answered_by_the_next_region() {
    let (a, b) = regions().await;
    let gateway = ladder(&a, &b).pool(NEVER_EJECTED).pool(FIRST).start().await;
    let stalled = format!("{A}=stream_stalled, {B}=served");
    let silent = format!("{A}=timed_out, {B}=served");
    for (fault, trail) in [
        (stall(0), &stalled),
        (stall(2), &stalled),
        (FaultRule::new(FaultKind::SlowFirstByte { ms: 60_000 }), &stalled),
        (FaultRule::new(FaultKind::HangBeforeHeaders { for_ms: None }), &silent),
    ] {
        a.clear();
        a.fault(fault);
        for proto in Proto::PLAIN {
            let ask = stream(5, ms(1));
            is_whole_by(&gateway, proto, &ask, B, trail).await;
            let record = gateway.record(&ask.id).await;
            let took = record["attempts"][0]["ms"].as_f64().unwrap();
            assert!((390.0..1500.0).contains(&took), "{record}");
            assert_eq!(record["ending"], "served", "{record}");
        }
    }
    until_idle(&gateway).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_long_prompt_has_more_time_for_its_first_delta() {
    let (a, b) = regions().await;
    let gateway = ladder(&a, &b).pool(NEVER_EJECTED).pool(FIRST).start().await;
    a.fault(FaultRule::new(FaultKind::StallMidStream { after_chunks: 2, for_ms: Some(900) }));
    is_whole_by(&gateway, Proto::H1, &stream(5, ms(1)), B, &format!("{A}=stream_stalled, {B}=served")).await;
    // 40 000 bytes are ten thousand tokens: two seconds more.
    is_whole_by(&gateway, Proto::H1, &stream(5, ms(1)).sized(40_000), A, &format!("{A}=served")).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn when_no_region_is_in_time_the_client_gets_a_504() {
    let (a, b) = regions().await;
    let gateway = ladder(&a, &b).pool(NEVER_EJECTED).pool(FIRST).start().await;
    a.fault(stall(1));
    b.fault(stall(2));
    let ask = stream(5, ms(1));
    let answer = within("an answer", secs(10), gateway.ask(&ask)).await;
    assert_eq!((answer.status, answer.code().as_str()), (504, "deadline_passed"), "{answer}");
    assert_eq!(gateway.record(&ask.id).await["ending"], "timed_out");
}

/// Behind its first delta a stream is ended with an error event of ours, which names the request, and no `[DONE]`.
async fn is_ended_honestly(gateway: &Gateway, proto: Proto, ask: &Ask) {
    let opened = gateway.client(proto).open(ask).await;
    assert_eq!((opened.status, opened.header("x-served-by")), (200, A));
    let (events, _end) = within("the end", secs(10), opened.events().rest()).await;
    assert!(events.iter().any(|event| index(event) == Some(1)), "{events:?}");
    let last = events.last().unwrap();
    let text = last.json()["error"]["message"].to_string();
    assert_eq!(last.json()["error"]["code"], "stream_stalled", "{last:?}");
    assert!(last.data.contains(&ask.id) && text.contains("too slow"), "{last:?}");
    let record = gateway.record(&ask.id).await;
    let outcome = &record["attempts"][0]["outcome"];
    assert_eq!((&record["ending"], outcome), (&"stream_stalled".into(), &"stream_stalled".into()), "{record}");
}

async fn both_protocols(a: &Sim, streams: &str, fault: FaultRule) {
    let gateway = single(a).pool(streams).start().await;
    a.clear();
    a.fault(fault);
    for proto in Proto::PLAIN {
        is_ended_honestly(&gateway, proto, &stream(50, ms(1))).await;
    }
    let metrics = gateway.metrics().await;
    assert_eq!(metrics.count("tidegate_requests_total", &[("ending", "stream_stalled")]), 2);
    assert_eq!(metrics.count("tidegate_attempts_total", &[("outcome", "stream_stalled")]), 2);
    until_idle(&gateway).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_that_falls_silent_is_ended_honestly() {
    let a = Sim::start("swedencentral").await;
    both_protocols(&a, "streams: { stall: 300ms }", stall(6)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_that_crawls_is_ended_honestly() {
    let a = Sim::start("swedencentral").await;
    // At most a thousand bytes a second, and never a pause.
    let crawl = FaultRule::new(FaultKind::Drip { byte_ms: 1 });
    both_protocols(&a, "streams: { stall: 2s, rate_min: 4KiB, rate_window: 500ms }", crawl).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_that_keeps_to_its_limits_is_relayed_whole() {
    let (a, b) = regions().await;
    let gateway = ladder(&a, &b)
        .pool("streams: { first_token: { base: 2s }, stall: 1s, rate_min: 200B, rate_window: 1s }")
        .start()
        .await;
    for proto in Proto::PLAIN {
        is_whole_by(&gateway, proto, &stream(5, ms(300)), A, &format!("{A}=served")).await;
    }
    assert_eq!(b.requests(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_that_failed_over_behind_the_gate_is_charged_once() {
    let (a, b) = regions().await;
    let limits = "usage_limits: [ { name: all, everywhere: true, tokens: { max: 100000, per: 1h } } ]\n";
    let gateway = ladder(&a, &b).pool(NEVER_EJECTED).pool(FIRST).more(limits).start().await;
    let told = async |id: &str| {
        let tokens = &gateway.record(id).await["tokens"];
        tokens["prompt"].as_u64().unwrap() + tokens["completion"].as_u64().unwrap()
    };
    let mut sum = 0;
    let error = |preset: &str| FaultRule::new(FaultKind::ErrorInStream { after_chunks: 2, preset: preset.to_owned() });
    for fault in [error("server_error"), stall(2), FaultRule::new(FaultKind::Truncate { after_chunks: 2 })] {
        a.clear();
        a.fault(fault);
        for proto in Proto::PLAIN {
            let ask = stream(5, ms(1));
            let opened = gateway.client(proto).open(&ask).await;
            assert_eq!(opened.header("x-served-by"), B);
            let (events, _) = opened.events().rest().await;
            is_whole(&events, 5);
            sum += told(&ask.id).await;
        }
    }
    let metrics = gateway.metrics().await;
    assert!(sum > 0);
    assert_eq!(metrics.count("tidegate_limit_tokens_total", &[("limit", "all")]), sum);
    assert_eq!(metrics.count("tidegate_limit_requests_total", &[("limit", "all"), ("result", "passed")]), 6);
    // What was reserved is given back: the next one is told what is left of the whole, less what was charged.
    a.clear();
    let answer = gateway.ask(&Ask::chat("gpt")).await;
    let left: u64 = answer.header("x-ratelimit-remaining-tokens").parse().unwrap();
    let reserved = 100_000 - sum - left;
    assert!((1024..1200).contains(&reserved), "the request's own reservation alone is out: {reserved}");
}
