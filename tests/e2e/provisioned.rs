//! Deployments of provisioned throughput: how full they are, and back as soon as they say.

use crate::common::{A, B, ladder, ms, regions, secs, served_by};
use harness::{Ask, Load, Proto, Setup, Sim, eventually};
use tidegate::simulator::{DeploymentOptions, FaultKind, FaultRule, Quota, RegionOptions, StatusFault};

const UTILIZATION: &str = "tidegate_backend_utilization";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn load_a_full_provisioned_deployment_is_back_within_a_second_of_recovery() {
    let (a, b) = regions().await;
    // The jitter that other rests have would be up to three seconds.
    let gateway = ladder(&a, &b).pool("ejection: { jitter: 100% }").start().await;
    let full = StatusFault::preset("429_ptu").retry_after_ms(2740);
    a.fault(FaultRule::new(FaultKind::Status(full)).times(1));
    let load = Load::new(gateway.client(Proto::H1).keeping(), 30, secs(8), &[Ask::chat("gpt")]).start();
    eventually("the second hit of a", secs(8), async || (a.requests() >= 2).then_some(())).await;
    let report = load.stop().await;
    assert!(report.failed().is_empty(), "nobody sees the 429\n{report}");
    let calls = a.stats().calls_ms;
    let rest = ms(calls[1] - calls[0]);
    assert!((ms(2700)..ms(3740)).contains(&rest), "{rest:?}");
    let labels = [("backend", "a"), ("kind", "provisioned")];
    assert_eq!(gateway.metrics().await.count("tidegate_throttles_total", &labels), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn utilization_is_above_one_while_a_provisioned_deployment_refuses() {
    let quota = Quota::Provisioned { tokens_per_second: 5, burst_tokens: 30 };
    let deployments = vec![DeploymentOptions::new("gpt", quota)];
    let a = Sim::with(RegionOptions { deployments, ..RegionOptions::new("swedencentral") }).await;
    let b = Sim::start("francecentral").await;
    let gateway =
        Setup::new().backend("a", &a, "priority: 1, deployment: gpt").backend("b", &b, "priority: 2").start().await;
    let utilization = async || gateway.metrics().await.sum(UTILIZATION, &[("backend", "a")]);
    assert!(utilization().await.abs() < 1e-9, "nothing is known yet");
    let body = r#"{"model":"gpt","max_tokens":450,"messages":[{"role":"user","content":"Is there room?"}]}"#;
    let mut refused = false;
    for _ in 0..20 {
        let answer = gateway.ask(&Ask::chat("gpt").body(body)).await;
        assert_eq!(answer.status, 200, "{answer}");
        refused = answer.header("x-served-by") == B;
        if refused {
            break;
        }
    }
    assert!(refused, "it was never full");
    let full = utilization().await;
    assert!(full > 1.0, "{full}");
    gateway.until_metric(UTILIZATION, &[("backend", "a")], |share| share <= 1.0).await;
    assert_eq!(gateway.metrics().await.sum(UTILIZATION, &[("backend", "b")]).to_string(), "0");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_header_that_tells_the_utilization_is_believed() {
    let (a, b) = regions().await;
    let gateway = ladder(&a, &b).start().await;
    for (value, want) in [("61.4%", 0.614), ("1e300", 0.614), ("140%", 1.4)] {
        a.clear();
        let headers = [("azure-openai-deployment-utilization".to_owned(), value.to_owned())].into();
        a.fault(FaultRule::new(FaultKind::Status(StatusFault { headers, ..StatusFault::status(200) })));
        served_by(&gateway.ask(&Ask::chat("gpt")).await, A);
        let share = gateway.metrics().await.sum(UTILIZATION, &[("backend", "a")]);
        assert!((share - want).abs() < 1e-6, "{value}: {share}");
    }
    let report = gateway.backends().await;
    assert!(report["backends"][0]["utilization"].as_f64().is_some_and(|share| share > 1.0), "{report}");
}
