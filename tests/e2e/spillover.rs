//! Provisioned throughput first: what it has no room for goes to standard deployments at once, and it is back as soon as it has
//! room. And what Azure itself spills over.

use crate::common::{A, B, ms, secs, served_by};
use harness::{Ask, Client, Proto, Setup, Sim, eventually};
use std::time::Instant;
use tidegate::simulator::{DeploymentOptions, Quota, RegionOptions};

const PTU: Quota = Quota::Provisioned { tokens_per_second: 1000, burst_tokens: 1000 };

async fn region(name: &str, deployments: &[(&str, Quota)]) -> Sim {
    let deployments = deployments.iter().map(|(name, quota)| DeploymentOptions::new(name, *quota)).collect();
    Sim::with(RegionOptions { deployments, ..RegionOptions::new(name) }).await
}

/// So many tokens, as PTU counts them at admission.
fn ask(tokens: usize) -> Ask {
    let path = "/openai/v1/chat/completions";
    Ask::json(path, format!(r#"{{"model":"gpt","max_tokens":{tokens},"messages":[{{"role":"user","content":"hi"}}]}}"#))
}

/// Fills the bucket until `a` says that it is full: that very request is answered by `b`.
async fn fill(client: &Client) -> Instant {
    for _ in 0..20 {
        let asked = Instant::now();
        let answer = client.ask(&ask(400).header("x-sim-tokens", "400")).await;
        if answer.header("x-served-by") == B {
            served_by(&answer, B);
            assert_eq!(answer.header("x-tidegate-attempts"), "swedencentral/a=rate_limited, francecentral/b=served");
            assert!(answer.total < ms(1000), "it spills at once: {:?}", answer.total);
            return asked;
        }
        served_by(&answer, A);
    }
    panic!("the bucket is never full");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_ptu_spills_at_once_and_is_first_again_within_a_second_of_its_word() {
    let (a, b) = (region("swedencentral", &[("gpt", PTU)]).await, Sim::start("francecentral").await);
    let gateway =
        Setup::new().backend("a", &a, "priority: 1, provisioned: true").backend("b", &b, "priority: 2").start().await;
    let client = gateway.client(Proto::H1);
    for _ in 0..3 {
        let full = fill(&client).await;
        let refused = a.records().into_iter().rev().find(|record| record.status == 429).unwrap();
        // While it rests it is not asked, and nobody is refused.
        let calls = a.requests();
        served_by(&client.ask(&ask(16)).await, B);
        assert_eq!(a.requests(), calls, "{refused:?}");
        eventually("PTU is first again", secs(5), async || {
            (client.ask(&ask(16)).await.header("x-served-by") == A).then_some(())
        })
        .await;
        // 400 tokens over 1000 a second, and a second.
        assert!(full.elapsed() < ms(2200), "{:?}", full.elapsed());
    }
    let labels = [("backend", "a"), ("kind", "provisioned")];
    assert_eq!(gateway.metrics().await.count("tidegate_throttles_total", &labels), 3);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_azure_spills_over_is_asked_for_passed_on_and_told() {
    let full = Quota::Provisioned { tokens_per_second: 1, burst_tokens: 1 };
    let a = region("swedencentral", &[("gpt", full), ("spill", Quota::Unlimited), ("other", Quota::Unlimited)]).await;
    for (keys, own, served) in [
        ("spillover_deployment: spill", None, "spill"),
        ("spillover_deployment: spill", Some("other"), "spill"),
        ("provisioned: true", Some("other"), "other"),
    ] {
        let gateway = Setup::new().backend("a", &a, keys).start().await;
        let client = gateway.client(Proto::H1);
        let with = |ask: Ask| own.map_or(ask.clone(), |own| ask.header("x-ms-spillover-deployment", own));
        // The first fills it.
        client.ask(&with(ask(100))).await;
        let asked = with(ask(100));
        let answer = client.ask(&asked).await;
        served_by(&answer, A);
        assert_eq!(answer.header("x-ms-spillover-from-deployment"), "gpt");
        let record = gateway.record(&asked.id).await;
        let azure = serde_json::json!({ "from": "gpt", "deployment": served, "error": null });
        assert_eq!(record["attempts"][0]["azure"], azure, "{record}");
        let labels = [("backend", "a"), ("result", "served")];
        assert!(gateway.metrics().await.count("tidegate_azure_spillovers_total", &labels) >= 1);
    }
}
