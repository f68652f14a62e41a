//! A backend that refuses *us* is set aside with an alarm; what the client caused goes back to the client.

use crate::common::{A, B, ladder, regions, served_by};
use harness::{Ask, Proto};
use tidegate::simulator::FaultRule;

/// `a` refuses our credential or deployment: `b` answers, `a` is marked and left alone.
async fn is_set_aside(preset: &str, reason: &str) {
    let (a, b) = regions().await;
    let gateway = ladder(&a, &b).backend("a", &a, "priority: 1, deployment: gpt-a").start().await;
    a.fault(FaultRule::preset(preset));
    let answer = gateway.ask(&Ask::chat("gpt")).await;
    served_by(&answer, B);
    assert_eq!(answer.header("x-tidegate-attempts"), format!("{A}={reason}, {B}=served"));
    for proto in Proto::PLAIN {
        served_by(&gateway.client(proto).ask(&Ask::stream("gpt")).await, B);
    }
    assert_eq!(a.requests(), 1, "it is left alone once it has refused");
    let metrics = gateway.metrics().await;
    assert_eq!(metrics.count("tidegate_backend_eligible", &[("backend", "a")]), 0);
    assert_eq!(metrics.count("tidegate_backend_eligible", &[("backend", "b")]), 1);
    assert_eq!(metrics.count("tidegate_ejections_total", &[("backend", "a"), ("reason", "misconfigured")]), 1);
    let state = gateway.backends().await.to_string();
    assert!(state.contains("misconfigured"), "{state}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backend_that_denies_our_key_is_set_aside() {
    is_set_aside("401_key", "backend_denied").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backend_that_denies_our_identity_is_set_aside() {
    is_set_aside("401_entra", "backend_denied").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backend_that_denies_our_network_is_set_aside() {
    is_set_aside("403_network", "backend_denied").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backend_without_our_deployment_is_set_aside() {
    is_set_aside("404_deployment", "deployment_missing").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn when_every_backend_refuses_us_the_client_gets_502_without_their_text() {
    for (preset, theirs) in
        [("401_key", "subscription key"), ("403_network", "private endpoint"), ("404_deployment", "does not exist")]
    {
        let (a, b) = regions().await;
        let gateway = ladder(&a, &b)
            .backend("a", &a, "priority: 1, deployment: gpt-a")
            .backend("b", &b, "priority: 2, deployment: gpt-b")
            .start()
            .await;
        a.fault(FaultRule::preset(preset));
        b.fault(FaultRule::preset(preset));
        let answer = gateway.ask(&Ask::chat("gpt")).await;
        assert_eq!((answer.status, answer.code().as_str()), (502, "backend_misconfigured"), "{answer}");
        assert!(!answer.text().contains(theirs), "{answer}");
        assert_eq!(answer.header("x-should-retry"), "false");
        assert_eq!((a.requests(), b.requests()), (1, 1));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_the_client_caused_goes_back_to_the_client() {
    let (a, b) = regions().await;
    let gateway = ladder(&a, &b).top("stateful: { ids: raw }").start().await;
    for (preset, status, text) in
        [("400_filter", 400, "ResponsibleAIPolicyViolation"), ("404_route", 404, "Resource not found")]
    {
        a.fault(FaultRule::preset(preset));
        for _ in 0..30 {
            let answer = gateway.ask(&Ask::chat("gpt")).await;
            assert_eq!((answer.status, answer.header("x-served-by")), (status, A), "{answer}");
            assert!(answer.text().contains(text), "{answer}");
        }
        a.clear();
    }
    let stored = gateway.ask(&Ask::new("GET", "/openai/v1/responses/resp_unknown")).await;
    assert_eq!((stored.status, stored.header("x-served-by")), (404, A), "{stored}");
    assert_eq!(b.requests(), 0);
    assert_eq!(gateway.metrics().await.count("tidegate_backend_eligible", &[("backend", "a")]), 1);
    served_by(&gateway.ask(&Ask::chat("gpt")).await, A);
}
