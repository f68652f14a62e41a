//! Usage limits: requests, tokens and quotas by whom they are charged to, told exactly, never leaking.

use crate::common::{ms, secs};
use futures::future::join_all;
use harness::{Answer, Ask, Gateway, Proto, Setup, Sim, eventually};
use std::time::{Duration, Instant};
use tidegate::domain::KeyHash;

async fn gateway(sim: &Sim, limits: &str) -> Gateway {
    setup(sim, limits).start().await
}

fn setup(sim: &Sim, limits: &str) -> Setup {
    Setup::new().top(&format!("usage_limits: [ {limits} ]")).backend("a", sim, "")
}

fn number(answer: &Answer, name: &str) -> u64 {
    answer.header(name).parse().unwrap_or_else(|_| panic!("{name}: {answer}"))
}

#[track_caller]
fn refused(answer: &Answer, status: u16, code: &str) {
    assert_eq!((answer.status, answer.code().as_str()), (status, code), "{answer}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rate_is_told_exactly_and_coming_back_then_is_served() {
    let sim = Sim::start("swedencentral").await;
    let gateway = gateway(&sim, "{ name: all, everywhere: true, requests: { max: 3, per: 2s } }").await;
    for left in [2, 1, 0] {
        let answer = gateway.ask(&Ask::chat("gpt")).await;
        assert_eq!(answer.status, 200, "{answer}");
        assert_eq!(number(&answer, "x-ratelimit-limit-requests"), 3);
        assert_eq!(number(&answer, "x-ratelimit-remaining-requests"), left);
        assert!((1..=3).contains(&number(&answer, "x-ratelimit-reset-requests")), "{answer}");
        assert!(
            answer.headers.get("x-ratelimit-limit-tokens").is_none(),
            "the backend's own numbers are not ours: {answer}"
        );
    }
    let ask = Ask::chat("gpt");
    let answer = gateway.ask(&ask).await;
    refused(&answer, 429, "requests_limit_reached");
    assert_eq!(answer.header("x-should-retry"), "true");
    assert_eq!(number(&answer, "x-ratelimit-remaining-requests"), 0);
    let wait = number(&answer, "retry-after-ms");
    assert!((1..=2065).contains(&wait), "{answer}");
    assert_eq!(number(&answer, "retry-after"), wait.div_ceil(1000));
    let record = gateway.record(&ask.id).await;
    assert_eq!((&record["limit"], &record["code"]), (&"all".into(), &"requests_limit_reached".into()));
    tokio::time::sleep(ms(wait)).await;
    assert_eq!(gateway.ask(&Ask::chat("gpt")).await.status, 200);
    let metrics = gateway.metrics().await;
    let count = |result| metrics.count("tidegate_limit_requests_total", &[("limit", "all"), ("result", result)]);
    assert_eq!((count("passed"), count("requests")), (4, 1));
    assert_eq!(sim.requests(), 4, "what is refused reaches no backend");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tokens_are_reserved_and_settled_with_what_was_used() {
    let sim = Sim::start("swedencentral").await;
    let limit = "{ name: tokens, everywhere: true, tokens: { max: 100000, per: 1h } }";
    let gateway = gateway(&sim, limit).await;
    let mut used = 0;
    for ask in [Ask::chat("gpt"), Ask::stream("gpt"), Ask::v1("gpt"), Ask::embeddings("gpt")] {
        let answer = gateway.ask(&ask).await;
        assert_eq!(answer.status, 200, "{answer}");
        let told = number(&answer, "x-ratelimit-remaining-tokens");
        assert!(told <= 100_000 - used, "reserved: {told}");
        let record = gateway.record(&ask.id).await;
        let tokens = |kind: &str| record["tokens"][kind].as_u64().unwrap();
        used += tokens("prompt") + tokens("completion");
        eventually("the rest is given back", secs(5), async || {
            (remaining(&gateway, 0).await == 100_000 - used).then_some(())
        })
        .await;
    }
    let metrics = gateway.metrics().await;
    assert_eq!(metrics.count("tidegate_limit_tokens_total", &[("limit", "tokens")]), used);
}

/// What the admin page says is left in the first bucket of a limit.
async fn remaining(gateway: &Gateway, limit: usize) -> u64 {
    let page: serde_json::Value = serde_json::from_slice(&gateway.admin("/limits").await.body).unwrap();
    page["limits"][limit]["used"][0]["remaining"].as_u64().unwrap_or_else(|| panic!("{page}"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_no_backend_answered_costs_nothing() {
    let sim = Sim::start("swedencentral").await;
    let limits = "{ name: all, everywhere: true, requests: { max: 5, per: 1h }, tokens: { max: 50000, per: 1h }, \
         concurrent: { requests: 5 }, quota: { requests: 5, per: day } }";
    let gateway = gateway(&sim, limits).await;
    sim.refuse();
    for _ in 0..8 {
        let answer = gateway.ask(&Ask::chat("gpt")).await;
        assert!(answer.status >= 500, "{answer}");
    }
    for _ in 0..8 {
        refused(&gateway.ask(&Ask::json("/openai/v1/chat/completions", "{}")).await, 400, "invalid_value");
    }
    sim.clear();
    gateway.until_eligible("a", true).await;
    for _ in 0..5 {
        let answer = gateway.ask(&Ask::chat("gpt")).await;
        assert_eq!(answer.status, 200, "{answer}");
    }
    let answer = gateway.ask(&Ask::chat("gpt")).await;
    refused(&answer, 403, "quota_exhausted");
    assert_eq!(answer.header("x-should-retry"), "false");
    assert!((1..=86_400).contains(&number(&answer, "retry-after")), "{answer}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn concurrency_is_held_and_given_back_when_clients_leave() {
    let sim = Sim::start("swedencentral").await;
    sim.first_token(ms(600));
    let limits = "{ name: all, everywhere: true, concurrent: { requests: 3, streams: 1 } }";
    let gateway = gateway(&sim, limits).await;
    let streams = join_all((0..3).map(|_| async { gateway.client(Proto::H1).ask(&Ask::stream("gpt")).await })).await;
    let served = streams.iter().filter(|answer| answer.status == 200).count();
    assert_eq!(served, 1);
    streams.iter().filter(|answer| answer.status != 200).for_each(|a| refused(a, 429, "concurrency_limit_reached"));
    for _ in 0..4 {
        // Clients that hang up at once.
        let client = gateway.client(Proto::H1);
        let gone = tokio::time::timeout(ms(150), client.try_ask(&Ask::stream("gpt"))).await;
        assert!(gone.is_err() || gone.is_ok_and(|answer| answer.is_ok_and(|answer| answer.status == 429)));
    }
    eventually("what has ended is given back", secs(10), async || {
        (gateway.ask(&Ask::stream("gpt")).await.status == 200).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_request_asks_for_no_more_than_it_may() {
    let sim = Sim::start("swedencentral").await;
    let limits = "{ name: all, everywhere: true, request: { max_tokens: 100, n: 2, prompt_tokens: 200 } }";
    let gateway = gateway(&sim, limits).await;
    let path = "/openai/v1/chat/completions";
    let body = |more: &str| format!(r#"{{"model":"gpt","messages":[{{"role":"user","content":"hi"}}]{more}}}"#);
    for more in ["", r#","max_tokens":100,"n":2"#, r#","max_completion_tokens":100"#] {
        assert_eq!(gateway.ask(&Ask::json(path, body(more))).await.status, 200, "{more}");
    }
    let long = format!(r#","user":"{}""#, "x");
    assert_eq!(gateway.ask(&Ask::json(path, body(&long))).await.status, 200);
    for (more, param) in [
        (r#","max_tokens":101"#, "max_tokens"),
        (r#","max_completion_tokens":18446744073709551615"#, "max_tokens"),
        (r#","n":3"#, "n"),
    ] {
        let answer = gateway.ask(&Ask::json(path, body(more))).await;
        refused(&answer, 400, "invalid_value");
        assert_eq!(answer.json()["error"]["param"], param, "{answer}");
    }
    let prompt = format!(r#"{{"model":"gpt","messages":[{{"role":"user","content":"{}"}}]}}"#, "word ".repeat(400));
    let answer = gateway.ask(&Ask::json(path, prompt)).await;
    refused(&answer, 400, "invalid_value");
    assert_eq!(answer.json()["error"]["param"], "prompt");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_route_and_an_address_have_limits_of_their_own() {
    let sim = Sim::start("swedencentral").await;
    let limits = "{ name: route, by: [ route ], requests: { max: 2, per: 1h } }, \
         { name: model, by: [ deployment, address ], everywhere: true, requests: { max: 3, per: 1h } }";
    let routes = "routes:\n  - { name: one, match: { deployment: gpt-one }, pool: chat, limits: [ route ] }\n  \
         - { name: rest, pool: chat, limits: [ route ] }\n";
    let gateway = setup(&sim, limits).more(routes).start().await;
    let status = async |deployment: &str| gateway.ask(&Ask::chat(deployment)).await.status;
    assert_eq!([status("gpt-one").await, status("gpt-one").await, status("gpt-one").await], [200, 200, 429]);
    assert_eq!([status("gpt-b").await, status("gpt-c").await, status("gpt-b").await], [200, 200, 429]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_made_up_deployment_opens_no_bucket_of_its_own() {
    let sim = Sim::start("swedencentral").await;
    let limits = "{ name: model, by: [ deployment ], everywhere: true, requests: { max: 2, per: 1h } }";
    let routes = "routes:\n  - { name: one, match: { deployment: gpt-one }, pool: chat }\n  \
         - { name: some, match: { deployment: gpt-* }, pool: chat }\n  - { name: rest, pool: chat }\n";
    let renaming = Setup::new().top(&format!("usage_limits: [ {limits} ]")).more(routes);
    let gateway = renaming.backend("a", &sim, "deployment: Gpt").start().await;
    let status = async |ask: Ask| gateway.ask(&ask).await.status;
    // All of these are the backend's `Gpt`, however they are written.
    let first = [Ask::chat("gpt-invented"), Ask::v1("anything")];
    for ask in first {
        assert_eq!(status(ask).await, 200);
    }
    for name in ["gpt-invented", "gpt-other", "GPT-OTHER", "anything", "gpt", "never-heard-of", "gpt%2Dx"] {
        refused(&gateway.ask(&Ask::chat(name)).await, 429, "requests_limit_reached");
        refused(&gateway.ask(&Ask::v1(&name.replace('%', ""))).await, 429, "requests_limit_reached");
    }
    // A name that the configuration knows has its own.
    assert_eq!([status(Ask::chat("gpt-one")).await, status(Ask::v1("gpt-one")).await], [200, 200]);
    refused(&gateway.ask(&Ask::chat("gpt-one")).await, 429, "requests_limit_reached");
    let page = gateway.admin("/limits").await.json();
    assert_eq!(page["buckets"], 2, "{page}");
}

/// Addresses that were seen once.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn buckets_that_count_nothing_any_more_are_dropped() {
    let sim = Sim::start("swedencentral").await;
    let limits =
        "{ name: each, by: [ address ], everywhere: true, requests: { max: 5, per: 1s }, concurrent: { requests: 5 } }";
    let gateway = setup(&sim, limits).top("trusted_hops: { networks: [ 127.0.0.0/8 ] }").start().await;
    let client = gateway.client(Proto::H1).keeping();
    for index in 0..100 {
        let ask = Ask::chat("gpt").header("x-forwarded-for", &format!("192.0.2.{index}"));
        assert_eq!(client.ask(&ask).await.status, 200);
    }
    let buckets = async || gateway.admin("/limits").await.json()["buckets"].as_u64().unwrap();
    assert!(buckets().await >= 100, "each has its own");
    eventually("idle buckets are dropped", secs(120), async || (buckets().await == 0).then_some(())).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn counters_survive_a_reload_and_ceilings_are_the_new_ones() {
    let sim = Sim::start("swedencentral").await;
    let limit = |max: u32| format!("{{ name: all, everywhere: true, requests: {{ max: {max}, per: 1h }} }}");
    let mut gateway = gateway(&sim, &limit(2)).await;
    let ask = Ask::chat("gpt");
    assert_eq!(
        [gateway.ask(&ask).await.status, gateway.ask(&ask).await.status, gateway.ask(&ask).await.status],
        [200, 200, 429]
    );
    assert!(gateway.apply(setup(&sim, &limit(3))).await);
    assert_eq!([gateway.ask(&ask).await.status, gateway.ask(&ask).await.status], [200, 429]);
    assert!(gateway.apply(setup(&sim, &limit(1))).await);
    assert_eq!(gateway.ask(&ask).await.status, 429);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_limit_of_zero_gives_nothing() {
    let sim = Sim::start("swedencentral").await;
    let gateway = gateway(&sim, "{ name: none, everywhere: true, tokens: { max: 0, per: 1m } }").await;
    refused(&gateway.ask(&Ask::chat("gpt")).await, 429, "tokens_limit_reached");
    assert_eq!(gateway.ask(&Ask::new("GET", "/openai/models?api-version=2024-10-21")).await.status, 200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_at_once_pass_exactly_the_ceiling() {
    let sim = Sim::start("swedencentral").await;
    let gateway = gateway(&sim, "{ name: all, everywhere: true, requests: { max: 25, per: 1h } }").await;
    let begin = Instant::now();
    let answers = join_all((0..100).map(|_| async { gateway.client(Proto::H1).ask(&Ask::chat("gpt")).await })).await;
    assert!(begin.elapsed() < Duration::from_secs(60));
    assert_eq!(answers.iter().filter(|answer| answer.status == 200).count(), 25);
    assert_eq!(sim.requests(), 25);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn quotas_survive_a_restart_and_a_damaged_file_starts_empty() {
    let sim = Sim::start("swedencentral").await;
    let directory = tempfile::tempdir().expect("a directory");
    let state = directory.path().join("usage.state");
    let configured = || {
        setup(&sim, "{ name: all, everywhere: true, quota: { requests: 3, per: month } }")
            .top(&format!("usage_state: {{ file: {} }}", state.display()))
    };
    let mut first = configured().start().await;
    for _ in 0..2 {
        assert_eq!(first.ask(&Ask::chat("gpt")).await.status, 200);
    }
    first.signal("TERM");
    first.ended(secs(20)).await;
    let second = configured().start().await;
    assert_eq!(second.ask(&Ask::chat("gpt")).await.status, 200);
    refused(&second.ask(&Ask::chat("gpt")).await, 403, "quota_exhausted");
    // Killed: what was used a few seconds ago is in the file.
    let written = std::fs::metadata(&state).expect("a file").modified().expect("a time");
    eventually("the file is written", secs(10), async || {
        (std::fs::metadata(&state).is_ok_and(|now| now.modified().is_ok_and(|now| now > written))).then_some(())
    })
    .await;
    drop(second);
    let third = configured().start().await;
    refused(&third.ask(&Ask::chat("gpt")).await, 403, "quota_exhausted");
    drop(third);
    std::fs::write(&state, "tidegate-quota-1 or so").expect("written");
    let fourth = configured().start().await;
    assert_eq!(fourth.ask(&Ask::chat("gpt")).await.status, 200);
    fourth.until_log("quotas begin anew").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_limit_tells_what_is_left_of_it_in_headers_of_its_own() {
    let sim = Sim::start("swedencentral").await;
    let limit = "{ name: all, everywhere: true, requests: { max: 9, per: 1h }, tokens: { max: 5000, per: 1h }, \
         quota: { requests: 7, tokens: 100000, per: day }, remaining_headers: { requests: x-left, tokens: x-left-tokens, \
         quota_requests: x-left-today, quota_tokens: x-left-tokens-today } }";
    let gateway = gateway(&sim, limit).await;
    for (left, today) in [("8", "6"), ("7", "5")] {
        let answer = gateway.ask(&Ask::chat("gpt")).await;
        assert_eq!((answer.header("x-left"), answer.header("x-left-today")), (left, today));
        let tokens = |name: &str| answer.header(name).parse::<u64>().expect("a number");
        assert_eq!(5000 - tokens("x-left-tokens"), 100_000 - tokens("x-left-tokens-today"));
        assert!(tokens("x-left-tokens") < 5000);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_prompt_is_counted_before_it_is_sent_only_where_the_limit_may_depend_on_it() {
    let sim = Sim::start("swedencentral").await;
    // Long words: many bytes a token.
    let content = "internationalization ".repeat(100);
    let body = serde_json::json!({ "messages": [{ "role": "user", "content": content }], "max_tokens": 9 }).to_string();
    let by_length = (body.len() as u64 * 2).div_ceil(7) + 9;
    let ask = Ask::chat("gpt").body(body.clone());
    let left = async |gateway: &Gateway| {
        let answer = gateway.ask(&ask).await;
        assert_eq!(answer.status, 200, "{answer}");
        answer.header("x-ratelimit-remaining-tokens").parse::<u64>().expect("a number")
    };
    let limit = |max: u64| format!("{{ name: all, everywhere: true, tokens: {{ max: {max}, per: 1h }} }}");
    // Roomy: the second request is the first that finds a bucket. What each has used in the end is the difference of two.
    let (roomy, max) = (gateway(&sim, &limit(1_000_000)).await, 1_000_000);
    left(&roomy).await;
    let (second, third) = (left(&roomy).await, left(&roomy).await);
    assert_eq!(max - second - (second - third), by_length, "reserved by its length");
    // Tight: less than half would be left if each byte were a token.
    let (tight, max) = (gateway(&sim, &limit(3000)).await, 3000);
    left(&tight).await;
    let (second, third) = (left(&tight).await, left(&tight).await);
    let counted = max - second - (second - third);
    assert!(counted < by_length * 3 / 4, "counted: {counted}, by length: {by_length}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_end_without_a_drain_keeps_quotas_too() {
    let sim = Sim::start("swedencentral").await;
    let directory = tempfile::tempdir().expect("a directory");
    let state = directory.path().join("usage.state");
    let configured = || {
        setup(&sim, "{ name: all, everywhere: true, quota: { requests: 1, per: month } }")
            .top(&format!("usage_state: {{ file: {} }}", state.display()))
    };
    let mut first = configured().start().await;
    assert_eq!(first.ask(&Ask::chat("gpt")).await.status, 200);
    first.signal("INT");
    first.ended(secs(20)).await;
    refused(&configured().start().await.ask(&Ask::chat("gpt")).await, 403, "quota_exhausted");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_consumer_has_its_plans_limits_to_itself() {
    let sim = Sim::start("swedencentral").await;
    let key = |name: &str| format!("{name:x<32}");
    let consumer = |name: &str, plan: &str| {
        format!("{{ name: {name}, plan: {plan}, keys: [ {{ hash: \"{}\" }} ] }}", KeyHash::of(&key(name)))
    };
    let limits = "{ name: each, by: [ consumer ], requests: { max: 2, per: 1h } }, \
         { name: together, by: [ plan ], requests: { max: 3, per: 1h } }";
    let consumers = [consumer("one-of-gold", "gold"), consumer("two-of-gold", "gold"), consumer("free", "open")];
    let gateway = setup(&sim, limits)
        .top(&format!("consumers: [ {} ]", consumers.join(", ")))
        .top("plans: [ { name: gold, limits: [ each, together ] }, { name: open } ]")
        .start()
        .await;
    let status = async |name: &str| gateway.ask(&Ask::chat("gpt").header("api-key", &key(name))).await.status;
    assert_eq!(
        [status("one-of-gold").await, status("one-of-gold").await, status("one-of-gold").await],
        [200, 200, 429]
    );
    assert_eq!([status("two-of-gold").await, status("two-of-gold").await], [200, 429], "the plan's limit is shared");
    for _ in 0..4 {
        assert_eq!(status("free").await, 200, "a plan without limits has none");
    }
    assert_eq!(status("nobody").await, 401);
}
