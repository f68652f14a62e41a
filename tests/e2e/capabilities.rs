//! What a backend cannot do it is not asked for: not first, not in a failover, not in need.

use crate::common::{A, B, regions, secs, served_by};
use harness::{Ask, Gateway, Proto, Setup, Sim};
use tidegate::simulator::{DeploymentOptions, FaultKind, FaultRule, Quota, RegionOptions, StatusFault};

const PATH: &str = "/openai/v1/chat/completions";

fn with(more: &str) -> Ask {
    Ask::json(PATH, format!(r#"{{"model":"gpt","messages":[{{"role":"user","content":"hi"}}]{more}}}"#))
}

fn image() -> Ask {
    let part = r#"{"type":"image_url","image_url":{"url":"data:image/png;base64,AAAA"}}"#;
    Ask::json(PATH, format!(r#"{{"model":"gpt","messages":[{{"role":"user","content":[{part}]}}]}}"#))
}

async fn refused(gateway: &Gateway, ask: &Ask, code: &str, words: &str) {
    let answer = gateway.client(Proto::H1).ask(ask).await;
    let error = answer.json()["error"].clone();
    assert_eq!((answer.status, &error["code"]), (400, &code.into()), "{answer}");
    assert!(error["message"].as_str().is_some_and(|text| text.contains(words)), "{answer}");
    assert_eq!(answer.header("x-should-retry"), "false");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_goes_only_where_it_can_be_done() {
    let (a, b) = regions().await;
    let gateway = Setup::new()
        .pool("ejection: { failures: 0, failure_share: 0%, jitter: 0% }")
        .backend(
            "a",
            &a,
            "priority: 1, capabilities: { vision: false, tools: false, structured_outputs: false, audio: false }",
        )
        .backend("b", &b, "priority: 2, capabilities: { audio: false }")
        .start()
        .await;
    let client = gateway.client(Proto::H1);
    let schema = r#","response_format":{"type":"json_schema","json_schema":{"name":"x","schema":{}}}"#;
    let needy = [image(), with(r#","tools":[{"type":"function","function":{"name":"f"}}]"#), with(schema)];
    served_by(&client.ask(&with("")).await, A);
    for ask in &needy {
        served_by(&client.ask(&ask.again()).await, B);
    }
    // Not even in need: `a` would answer, and could not do it.
    b.fault(FaultRule::new(FaultKind::Status(StatusFault::status(503))));
    let at_a = a.requests();
    for ask in &needy {
        assert_eq!(client.ask(&ask.again()).await.status, 503);
    }
    assert_eq!(a.requests(), at_a);
    b.clear();
    b.throttle(secs(60));
    for ask in &needy {
        assert_eq!(client.ask(&ask.again()).await.status, 429);
    }
    assert_eq!(a.requests(), at_a);
    // What no backend can do is no outage.
    refused(&gateway, &with(r#","modalities":["text","audio"]"#), "unsupported_by_backends", "take or make sound")
        .await;
    assert_eq!(a.requests(), at_a);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_prompt_goes_only_where_it_fits() {
    let (a, b) = regions().await;
    let gateway = Setup::new()
        .backend("a", &a, "priority: 1, capabilities: { context_tokens: 1000 }")
        .backend("b", &b, "priority: 2, capabilities: { context_tokens: 20000 }")
        .start()
        .await;
    let client = gateway.client(Proto::H1);
    let long = |words: usize| {
        let text = "word ".repeat(words);
        Ask::json(
            PATH,
            format!(r#"{{"model":"gpt","max_tokens":100,"messages":[{{"role":"user","content":"{text}"}}]}}"#),
        )
    };
    served_by(&client.ask(&long(10)).await, A);
    served_by(&client.ask(&long(800)).await, A);
    served_by(&client.ask(&long(1000)).await, B);
    refused(&gateway, &long(21_000), "context_length_exceeded", "20000").await;
    refused(&gateway, &with(r#","max_tokens":30000"#), "context_length_exceeded", "20000").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_old_api_version_is_not_asked_for_what_it_does_not_know() {
    let (a, b) = regions().await;
    let gateway = Setup::new()
        .backend("a", &a, "priority: 1, api_version: 2024-06-01")
        .backend("b", &b, "priority: 2, api_version: 2025-04-01-preview")
        .start()
        .await;
    let client = gateway.client(Proto::H1);
    let chat = |more: &str| {
        let path = "/openai/deployments/gpt/chat/completions?api-version=2025-01-01-preview";
        Ask::json(path, format!(r#"{{"messages":[{{"role":"user","content":"hi"}}]{more}}}"#))
    };
    served_by(&client.ask(&chat("")).await, A);
    served_by(&client.ask(&chat(r#","response_format":{"type":"json_schema"}"#)).await, B);
    served_by(&client.ask(&chat(r#","stream":true,"stream_options":{"include_usage":true}"#)).await, B);
    let responses = Ask::json("/openai/responses?api-version=2025-03-01-preview", r#"{"model":"gpt","input":"hi"}"#);
    served_by(&client.ask(&responses).await, B);
    // v1 has no version: `a` can do it there.
    served_by(&client.ask(&with(r#","response_format":{"type":"json_schema"}"#)).await, A);
}

/// A provisioned deployment with a short context, and whatever else.
async fn ptu(name: &str, context_tokens: u64) -> Sim {
    let gpt =
        DeploymentOptions { context_tokens: Some(context_tokens), ..DeploymentOptions::new("gpt", Quota::Unlimited) };
    Sim::with(RegionOptions { deployments: vec![gpt], ..RegionOptions::new(name) }).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_prompt_too_long_for_ptu_is_served_by_standard() {
    let (a, b) = (ptu("swedencentral", 100).await, Sim::start("francecentral").await);
    let gateway = Setup::new()
        .pool("ejection: { failures: 1, failure_share: 0%, jitter: 0% }")
        .backend("a", &a, "priority: 1, provisioned: true")
        .backend("b", &b, "priority: 2")
        .start()
        .await;
    for proto in Proto::PLAIN {
        let client = gateway.client(proto);
        for ask in [Ask::chat("gpt").sized(2000), Ask::stream("gpt").sized(2000)] {
            let answer = client.ask(&ask).await;
            served_by(&answer, B);
            let trail = answer.header("x-tidegate-attempts");
            assert_eq!(trail, "swedencentral/a=context_exceeded, francecentral/b=served");
            assert!(
                answer.text().contains("[francecentral/gpt]") && !answer.text().contains("context_length"),
                "{answer}"
            );
            // It is no failure of the backend's.
            served_by(&client.ask(&Ask::chat("gpt")).await, A);
        }
    }
    let failovers = gateway.metrics().await.count("tidegate_failovers_total", &[("reason", "context_exceeded")]);
    assert_eq!(failovers, 4);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_prompt_too_long_for_all_is_told_by_the_backend_itself() {
    let (a, b) = (ptu("swedencentral", 100).await, ptu("francecentral", 100).await);
    for (first, second, attempts) in [
        // Nothing says that there is more room elsewhere.
        ("", "", 1),
        ("provisioned: true, ", "provisioned: true, ", 1),
        ("capabilities: { context_tokens: 9000 }, ", "capabilities: { context_tokens: 9000 }, ", 1),
        // More is promised than there is: the second's own words.
        ("provisioned: true, ", "", 2),
    ] {
        let gateway = Setup::new()
            .backend("a", &a, &format!("{first}priority: 1"))
            .backend("b", &b, &format!("{second}priority: 2"))
            .start()
            .await;
        let answer = gateway.client(Proto::H1).ask(&Ask::chat("gpt").sized(2000)).await;
        assert_eq!(
            (answer.status, &answer.json()["error"]["code"]),
            (400, &"context_length_exceeded".into()),
            "{answer}"
        );
        assert!(answer.text().contains("maximum context length is 100 tokens"), "{answer}");
        assert_eq!(answer.header("x-tidegate-attempts").split(", ").count(), attempts, "{answer}");
    }
}
