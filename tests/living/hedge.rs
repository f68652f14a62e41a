//! The hedge: a second attempt beside one that is slow to begin. What begins first is the client's, the other is given up.

use crate::common::{A, B, MIB, index, is_whole, ladder, ms, regions, secs, stream, until_idle};
use harness::{Ask, End, Event, Gateway, Metrics, Proto, Setup, Sim, eventually, sha256, within};
use serde_json::Value;
use std::time::{Duration, Instant};
use tidegate::simulator::{FaultKind, FaultRule, StatusFault};

const NEVER_EJECTED: &str = "ejection: { failures: 0, failure_share: 0%, jitter: 0%, advised_default: 100ms }";
/// More than the times that the usual one needs, and enough requests for two hedges.
const WARM: u64 = 110;
/// How long a region may go on after it was given up.
const NOTICE: Duration = Duration::from_secs(1);

fn whole_ms(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap()
}

/// Says nothing, for so long.
fn silent(time: Option<Duration>) -> FaultRule {
    FaultRule::new(FaultKind::HangBeforeHeaders { for_ms: time.map(whole_ms) })
}

/// Answers so after a while.
fn late(status: u16, after: Duration) -> FaultRule {
    let delay_ms = Some(whole_ms(after));
    FaultRule::new(FaultKind::Status(StatusFault { delay_ms, ..StatusFault::status(status) }))
}

fn hedged(a: &Sim, b: &Sim) -> Setup {
    ladder(a, b).pool(NEVER_EJECTED).pool("hedge: { budget: 2% }")
}

/// Afterwards the pool knows how fast it is, and has saved up two hedges.
async fn warm(gateway: &Gateway, ask: &Ask) {
    let client = gateway.client(Proto::H1).keeping();
    for _ in 0..WARM {
        let answer = within("a quick answer", secs(10), client.ask(&ask.again())).await;
        assert_eq!((answer.status, answer.header("x-served-by")), (200, A), "{answer}");
    }
}

/// Two regions and a gateway that is warm for this kind of request.
async fn ready(ask: &Ask) -> (Sim, Sim, Gateway) {
    let (a, b) = regions().await;
    let gateway = hedged(&a, &b).start().await;
    warm(&gateway, ask).await;
    (a, b, gateway)
}

fn hedges(metrics: &Metrics, result: &str) -> u64 {
    metrics.count("tidegate_hedges_total", &[("result", result)])
}

/// What one request has come to, by its line in the access log: ending, hedge and the outcome of each attempt in order.
fn story(record: &Value) -> (String, String, Vec<String>) {
    let text = |value: &Value| value.as_str().unwrap_or("-").to_owned();
    let attempt = |one: &Value| {
        let mark = if one["hedge"] == true { "+" } else { "" };
        format!("{mark}{}={}", text(&one["backend"]), text(&one["outcome"]))
    };
    (
        text(&record["ending"]),
        text(&record["hedge"]),
        record["attempts"].as_array().unwrap().iter().map(attempt).collect(),
    )
}

#[track_caller]
fn tells(record: &Value, ending: &str, hedge: &str, attempts: &[&str]) {
    let (told_ending, told_hedge, told_attempts) = story(record);
    assert_eq!((told_ending.as_str(), told_hedge.as_str()), (ending, hedge), "{record}");
    assert_eq!(told_attempts, attempts, "{record}");
}

/// The region sees the end of so many calls, the gateway's doing, within a moment from now.
async fn until_given_up(sim: &Sim, count: u64) {
    let since = Instant::now();
    eventually(format!("{count} calls given up at the region"), secs(5), async || {
        let stats = sim.stats();
        (stats.aborted >= count && stats.in_flight == 0).then_some(())
    })
    .await;
    assert!(since.elapsed() < NOTICE, "the region worked on for {:?}", since.elapsed());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_that_is_slow_to_begin_is_the_other_regions_and_the_slow_one_is_given_up_at_once() {
    let (a, b, gateway) = ready(&stream(1, ms(0))).await;
    a.fault(silent(None));
    for (number, proto, ask) in [(1, Proto::H1, stream(20, ms(5))), (2, Proto::H2c, stream(20, ms(5)).sized(5 << 20))] {
        let opened = within("the header", secs(5), gateway.client(proto).open(&ask)).await;
        until_given_up(&a, number).await;
        let trail = format!("{A}=outraced, {B}=served");
        assert_eq!(
            (opened.header("x-served-by"), opened.header("x-tidegate-attempts")),
            (B, trail.as_str()),
            "{opened:?}"
        );
        assert_eq!(opened.header("x-request-id"), ask.id);
        let (events, end) = opened.events().rest().await;
        is_whole(&events, 20);
        assert_eq!(end, End::Whole);
        assert_eq!(b.record(&ask.id).await.body_sha256, sha256(&ask.bytes()));
        let record = gateway.record(&ask.id).await;
        tells(&record, "served", "won", &["a=outraced", "+b=served"]);
        assert_eq!((&record["served_by"], &record["tokens"]["completion"]), (&B.into(), &20.into()), "{record}");
    }
    until_idle(&gateway).await;
    let metrics = gateway.metrics().await;
    assert_eq!((hedges(&metrics, "won"), metrics.count("tidegate_hedges_total", &[])), (2, 2));
    assert_eq!(metrics.count("tidegate_attempts_total", &[("backend", "a"), ("outcome", "outraced")]), 2);
    assert_eq!(metrics.count("tidegate_attempts_total", &[("backend", "b"), ("outcome", "served")]), 2);
    assert_eq!(metrics.count("tidegate_responses_total", &[("backend", "b"), ("ending", "served")]), 2);
    assert_eq!(metrics.count("tidegate_tokens_total", &[("backend", "b"), ("kind", "completion")]), 40);
    assert!(metrics.count("tidegate_hedge_prompt_tokens_total", &[]) > MIB / 4);
    assert_eq!(metrics.count("tidegate_requests_total", &[]), WARM + 2);
    assert_eq!(metrics.count("tidegate_failovers_total", &[]) + metrics.count("tidegate_ejections_total", &[]), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_begins_first_wins_and_the_hedge_is_given_up_at_once() {
    let (a, b, gateway) = ready(&stream(1, ms(0))).await;
    // Header and role come at once, the first delta later: a stream begins with that.
    a.fault(FaultRule::new(FaultKind::StallMidStream { after_chunks: 2, for_ms: Some(400) }));
    b.fault(silent(None));
    for (number, proto) in [(1, Proto::H1), (2, Proto::H2c)] {
        let ask = stream(20, ms(5));
        let opened = within("the header", secs(5), gateway.client(proto).open(&ask)).await;
        until_given_up(&b, number).await;
        assert_eq!(opened.header("x-served-by"), A, "{opened:?}");
        let (events, end) = opened.events().rest().await;
        is_whole(&events, 20);
        assert_eq!(end, End::Whole);
        tells(&gateway.record(&ask.id).await, "served", "lost", &["+b=outraced", "a=served"]);
    }
    until_idle(&gateway).await;
    let metrics = gateway.metrics().await;
    assert_eq!((hedges(&metrics, "lost"), metrics.count("tidegate_hedges_total", &[])), (2, 2));
    assert_eq!(metrics.count("tidegate_attempts_total", &[("backend", "b"), ("outcome", "outraced")]), 2);
    assert_eq!(metrics.count("tidegate_attempts_total", &[("backend", "a"), ("outcome", "served")]), WARM + 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_that_comes_whole_is_hedged_until_its_header() {
    let (a, b, gateway) = ready(&Ask::chat("gpt")).await;
    a.fault(silent(None));
    for (number, proto) in [(1, Proto::H1), (2, Proto::H2c)] {
        let ask = Ask::chat("gpt").header("x-sim-size", "100000");
        let answer = within("the answer", secs(5), gateway.client(proto).ask(&ask)).await;
        until_given_up(&a, number).await;
        assert_eq!((answer.status, answer.header("x-served-by"), answer.body.len()), (200, B, 100_000), "{answer}");
        tells(&gateway.record(&ask.id).await, "served", "won", &["a=outraced", "+b=served"]);
    }
    assert_eq!(b.requests(), 2);
    until_idle(&gateway).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hedge_that_fails_is_never_seen() {
    let (a, b, gateway) = ready(&stream(1, ms(0))).await;
    a.fault(silent(Some(ms(500))));
    for (fault, outcome) in [
        (FaultRule::new(FaultKind::ResetBeforeHeaders {}), "broken_early"),
        (FaultRule::new(FaultKind::Status(StatusFault::preset("429_tokens").retry_after_ms(200))), "rate_limited"),
    ] {
        b.clear();
        b.fault(fault);
        let ask = stream(5, ms(1));
        let opened = within("the header", secs(5), gateway.client(Proto::H1).open(&ask)).await;
        assert_eq!((opened.status, opened.header("x-served-by")), (200, A), "{opened:?}");
        is_whole(&opened.events().rest().await.0, 5);
        tells(&gateway.record(&ask.id).await, "served", "failed", &[&format!("+b={outcome}"), "a=served"]);
        let metrics = gateway.metrics().await;
        assert_eq!(metrics.count("tidegate_attempts_total", &[("backend", "b"), ("outcome", outcome)]), 1);
    }
    until_idle(&gateway).await;
    assert_eq!(hedges(&gateway.metrics().await, "failed"), 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_attempt_that_fails_beside_its_hedge_waits_for_it_and_goes_on_only_after_it() {
    let (a, b) = regions().await;
    let c = Sim::start("northcentralus").await;
    let gateway = hedged(&a, &b).backend("c", &c, "priority: 3").start().await;
    warm(&gateway, &stream(1, ms(0))).await;
    // The first fails, by its header or in its stream; the second answers a while later.
    b.fault(silent(Some(ms(700))));
    a.first_token(ms(300));
    let event = FaultKind::ErrorInStream { after_chunks: 1, preset: "server_error".to_owned() };
    for (fault, outcome) in [(late(500, ms(300)), "server_error"), (FaultRule::new(event), "stream_failed")] {
        a.clear();
        a.fault(fault);
        let ask = stream(5, ms(1));
        let opened = within("the header", secs(5), gateway.client(Proto::H1).open(&ask)).await;
        assert_eq!((opened.status, opened.header("x-served-by")), (200, B), "{opened:?}");
        is_whole(&opened.events().rest().await.0, 5);
        tells(&gateway.record(&ask.id).await, "served", "won", &[&format!("a={outcome}"), "+b=served"]);
    }
    assert_eq!(c.requests(), 0);
    // Both fail: the third is asked, and the second one not again.
    a.clear();
    b.clear();
    a.first_token(ms(0));
    warm(&gateway, &stream(1, ms(0))).await;
    a.fault(late(500, ms(300)));
    b.fault(late(503, ms(400)));
    let ask = stream(5, ms(1));
    let opened = within("the header", secs(5), gateway.client(Proto::H1).open(&ask)).await;
    assert_eq!((opened.status, opened.header("x-served-by")), (200, "northcentralus/c"), "{opened:?}");
    is_whole(&opened.events().rest().await.0, 5);
    tells(&gateway.record(&ask.id).await, "served", "failed", &["a=server_error", "+b=server_error", "c=served"]);
    until_idle(&gateway).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_leaves_ends_both() {
    let (a, b, gateway) = ready(&stream(1, ms(0))).await;
    a.fault(silent(None));
    b.fault(silent(None));
    let ask = stream(20, ms(5));
    let client = gateway.client(Proto::H1);
    tokio::select! {
        answer = client.try_open(&ask) => panic!("both regions were meant to hang: {answer:?}"),
        () = eventually("the hedge", secs(5), async || b.find(&ask.id).map(drop)) => {}
    }
    until_given_up(&a, 1).await;
    until_given_up(&b, 1).await;
    tells(&gateway.record(&ask.id).await, "client_gone", "abandoned", &["+b=client_gone", "a=client_gone"]);
    // And where the hedge is what it reads.
    b.clear();
    let ask = stream(5000, ms(10));
    for proto in [Proto::H2c] {
        let mut events = gateway.client(proto).open(&ask).await.events();
        while events.next().await.is_some_and(|event| index(&event) != Some(3)) {}
        drop(events);
        until_given_up(&b, 2).await;
    }
    tells(&gateway.record(&ask.id).await, "client_gone", "won", &["a=outraced", "+b=client_gone"]);
    until_idle(&gateway).await;
    assert_eq!(gateway.metrics().await.count("tidegate_ejections_total", &[]), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hedge_that_breaks_behind_its_beginning_is_ended_honestly() {
    let (a, b, gateway) = ready(&stream(1, ms(0))).await;
    a.fault(silent(None));
    b.fault(FaultRule::new(FaultKind::ResetAfter { chunks: 7 }));
    for proto in [Proto::H1, Proto::H2c] {
        let ask = stream(400, ms(5));
        let opened = within("the header", secs(5), gateway.client(proto).open(&ask)).await;
        let (events, end) = within("the end", secs(10), opened.events().rest()).await;
        assert_eq!(events.iter().filter_map(index).collect::<Vec<_>>(), [1, 2, 3, 4, 5]);
        assert!(!events.iter().any(Event::is_done), "{events:?}");
        assert_eq!(events.last().unwrap().json()["error"]["code"], "stream_broken", "{events:?}");
        assert_eq!(matches!(end, End::Whole), proto == Proto::H2c, "{end:?}");
        tells(&gateway.record(&ask.id).await, "broken_late", "won", &["a=outraced", "+b=broken_late"]);
    }
    until_idle(&gateway).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_budget_holds_however_many_are_slow() {
    let (a, b) = regions().await;
    let gateway = hedged(&a, &b).start().await;
    warm(&gateway, &stream(1, ms(0))).await;
    a.fault(silent(Some(ms(300))));
    let mut running = tokio::task::JoinSet::new();
    for _ in 0..15 {
        let client = gateway.client(Proto::H1);
        running.spawn(async move {
            for _ in 0..20 {
                assert_eq!(within("an answer", secs(20), client.ask(&stream(1, ms(0)))).await.status, 200);
            }
        });
    }
    while let Some(done) = running.join_next().await {
        done.unwrap();
    }
    let metrics = gateway.metrics().await;
    let made: u64 = ["won", "lost", "failed", "abandoned"].iter().map(|result| hedges(&metrics, result)).sum();
    assert_eq!(b.requests(), made);
    assert!((2..=8).contains(&made), "{made} of {} requests", WARM + 300);
    assert!(hedges(&metrics, "over_budget") > 0);
}

/// Slow at `a`, and answered by `a` all the same.
async fn is_never_hedged(gateway: &Gateway, ask: &Ask) {
    let answer = within("an answer", secs(10), gateway.ask(ask)).await;
    assert_eq!((answer.status, answer.header("x-served-by")), (200, A), "{answer}");
    assert!(answer.total > ms(350), "{:?}", answer.total);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_kept_or_pinned_is_never_hedged() {
    let (a, b, gateway) = ready(&Ask::chat("gpt")).await;
    let respond = |more: &str| Ask::json("/openai/v1/responses", format!(r#"{{"model":"gpt","input":"x"{more}}}"#));
    let kept = gateway.ask(&respond("")).await;
    let id = kept.json()["id"].as_str().unwrap().to_owned();
    a.fault(silent(Some(ms(400))));
    is_never_hedged(&gateway, &respond("")).await;
    is_never_hedged(&gateway, &respond(&format!(r#","previous_response_id":"{id}","store":false"#))).await;
    let body = r#"{"model":"gpt","messages":[{"role":"user","content":"x"}],"store":true}"#;
    is_never_hedged(&gateway, &Ask::json("/openai/v1/chat/completions", body)).await;
    assert_eq!((b.requests(), gateway.metrics().await.count("tidegate_hedges_total", &[])), (0, 0));
    let answer = gateway.ask(&respond(r#","store":false"#)).await;
    assert_eq!((answer.status, answer.header("x-served-by")), (200, B), "{answer}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hedge_never_leaves_the_residency() {
    let (a, b) = regions().await;
    let gateway = Setup::new()
        .top("residency: { zones: [ { name: sweden, regions: [ swedencentral ] } ], mode: filter }")
        .top("consumers: [ { name: acme, residency: sweden } ]")
        .top("authentication: { anonymous: acme }")
        .pool(NEVER_EJECTED)
        .pool("hedge: { budget: 2% }")
        .backend("a", &a, "priority: 1, kind: regional")
        .backend("b", &b, "priority: 2, kind: regional")
        .start()
        .await;
    warm(&gateway, &Ask::chat("gpt")).await;
    a.fault(silent(Some(ms(400))));
    let ask = Ask::chat("gpt");
    is_never_hedged(&gateway, &ask).await;
    assert_eq!(gateway.record(&ask.id).await["hedge"], "no_backend");
    assert_eq!((b.requests(), hedges(&gateway.metrics().await, "no_backend")), (0, 1));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_hedged_unless_asked_for() {
    let (a, b) = regions().await;
    let gateway = ladder(&a, &b).pool(NEVER_EJECTED).start().await;
    warm(&gateway, &Ask::chat("gpt")).await;
    a.fault(silent(Some(ms(400))));
    is_never_hedged(&gateway, &Ask::chat("gpt")).await;
    assert_eq!((b.requests(), gateway.metrics().await.count("tidegate_hedges_total", &[])), (0, 0));
}
