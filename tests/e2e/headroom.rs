//! Quotas: requests go where there is room before a backend has to refuse.

use crate::common::{A, B};
use harness::{Ask, Gateway, Setup, Sim};
use tidegate::simulator::{DeploymentOptions, Quota, RegionOptions};

/// Tokens per minute of `a`: about ten requests.
const TPM: u64 = 5_000;

/// `a` with its quota before `b` that has none; `more` of `a`'s entry.
async fn start(more: &str) -> (Sim, Sim, Gateway) {
    let quota = Quota::Standard { tpm: TPM, rpm: 60_000 };
    let deployments = vec![DeploymentOptions::new("gpt", quota)];
    let a = Sim::with(RegionOptions { deployments, ..RegionOptions::new("swedencentral") }).await;
    let b = Sim::start("francecentral").await;
    let gateway = Setup::new()
        .backend("a", &a, &format!("priority: 1, deployment: gpt{more}"))
        .backend("b", &b, "priority: 2")
        .start()
        .await;
    (a, b, gateway)
}

fn ask() -> Ask {
    let body = r#"{"model":"gpt","max_tokens":450,"messages":[{"role":"user","content":"What is left?"}]}"#;
    Ask::chat("gpt").body(body)
}

/// All of 40 requests are served, most by `b`, and `a` has to refuse none of them.
async fn spills(more: &str) {
    let (a, b, gateway) = start(more).await;
    for _ in 0..40 {
        let answer = gateway.ask(&ask().again()).await;
        assert_eq!(answer.status, 200, "{answer}");
        assert!([A, B].contains(&answer.header("x-served-by")), "{answer}");
    }
    let metrics = gateway.metrics().await;
    assert_eq!(metrics.count("tidegate_attempts_total", &[("outcome", "rate_limited")]), 0, "nothing was wasted");
    assert_eq!(a.requests() + b.requests(), 40);
    // A minute of the region may have begun in between.
    assert!((8..=22).contains(&a.requests()), "what `a` has is used: {}", a.requests());
    let left = metrics.sum("tidegate_backend_headroom", &[("backend", "a"), ("quota", "tokens")]);
    assert!(left < 0.9, "{left}");
    let told = &gateway.backends().await["backends"][0]["quota"];
    assert_eq!(told["tokens_limit"], TPM, "{told}");
    assert!(told["tokens_left"].as_u64().is_some_and(|left| left < TPM), "{told}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_configured_quota_spills_before_its_backend_refuses() {
    spills(", quota: { tokens_per_minute: 5000 }").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_quota_that_answers_tell_spills_before_its_backend_refuses() {
    spills("").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_quota_below_the_configured_one_is_told() {
    let (_a, _b, gateway) = start(", quota: { tokens_per_minute: 9000 }").await;
    let cut = async || gateway.metrics().await.count("tidegate_backend_quota_cut", &[("backend", "a")]);
    assert_eq!(cut().await, 0);
    assert_eq!(gateway.ask(&ask()).await.header("x-served-by"), A);
    assert_eq!(cut().await, 1);
    assert_eq!(gateway.backends().await["backends"][0]["quota"]["tokens_limit"], TPM);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_that_fits_nowhere_is_sent_all_the_same() {
    let (a, b, gateway) = start(", quota: { tokens_per_minute: 100 }").await;
    b.refuse();
    let answer = gateway.ask(&ask()).await;
    assert_eq!((answer.status, answer.header("x-served-by"), a.requests()), (200, A, 1), "{answer}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_429_is_told_by_what_it_is_about() {
    let (a, _b, gateway) = start("").await;
    let large = r#"{"model":"gpt","max_tokens":9000,"messages":[{"role":"user","content":"All of it."}]}"#;
    let ask = Ask::chat("gpt").body(large);
    let answer = gateway.ask(&ask).await;
    assert_eq!((answer.status, answer.header("x-served-by"), a.requests()), (200, B, 1), "{answer}");
    let labels = [("backend", "a"), ("kind", "token_rate")];
    assert_eq!(gateway.metrics().await.count("tidegate_throttles_total", &labels), 1);
    let attempts = &gateway.record(&ask.id).await["attempts"];
    assert_eq!(attempts[0]["throttle"], "token_rate", "{attempts}");
    assert!(attempts[1].get("throttle").is_none(), "{attempts}");
}
