//! What is counted: the figures of a known handful of requests and probes, and who may read them.

use crate::common::{A, ladder, regions, single, until_idle};
use harness::{Ask, Client, Proto, Sim};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_request_is_counted_by_route_pool_backend_region_outcome_and_ending() {
    let (a, b) = regions().await;
    let gateway = ladder(&a, &b).start().await;
    gateway.ask(&Ask::chat("gpt")).await;
    a.status(503);
    gateway.ask(&Ask::stream("gpt").sized(10_000)).await;
    gateway.ask(&Ask::json("/openai/v1/chat/completions", "{")).await;
    gateway.ask(&Ask::chat("gpt")).await;
    until_idle(&gateway).await;
    let metrics = gateway.metrics().await;
    for (name, labels, count) in [
        ("tidegate_requests_total", &[("pool", "chat"), ("ending", "served")][..], 3),
        ("tidegate_requests_total", &[("ending", "denied")], 1),
        ("tidegate_denials_total", &[("code", "bad_json")], 1),
        ("tidegate_responses_total", &[("backend", "a"), ("region", "swedencentral"), ("ending", "served")], 1),
        ("tidegate_responses_total", &[("backend", "b"), ("region", "francecentral"), ("ending", "served")], 2),
        ("tidegate_attempts_total", &[("backend", "a"), ("outcome", "server_error")], 2),
        ("tidegate_attempts_total", &[("outcome", "served")], 3),
        ("tidegate_failovers_total", &[("pool", "chat"), ("reason", "server_error")], 2),
        ("tidegate_request_duration_seconds_count", &[("pool", "chat")], 3),
        ("tidegate_first_byte_duration_seconds_count", &[("backend", "b")], 2),
        ("tidegate_requests_in_flight", &[], 0),
        ("tidegate_backend_attempts_in_flight", &[], 0),
        ("tidegate_streams_open", &[], 0),
        ("tidegate_config_generation", &[], 1),
        ("tidegate_backend_eligible", &[], 2),
        ("tidegate_pool_backends_eligible", &[("pool", "chat")], 2),
        ("tidegate_access_log_dropped_total", &[], 0),
        ("tidegate_draining", &[], 0),
        ("tidegate_build_info", &[], 1),
    ] {
        assert_eq!(metrics.count(name, labels), count, "{name} {labels:?}");
    }
    assert!(metrics.count("tidegate_request_bytes_total", &[]) > 10_000);
    assert!(metrics.count("tidegate_response_bytes_total", &[]) > 100);
    assert!(metrics.sum("tidegate_process_resident_memory_bytes", &[]) > 1e6);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn probes_are_counted_and_timed() {
    let (a, b) = regions().await;
    let gateway = ladder(&a, &b).pool("probe: { path: /openai/v1/models, interval: 200ms, timeout: 1s }").start().await;
    gateway.until_metric("tidegate_probes_total", &[("backend", "a")], |count| count > 2.0).await;
    b.refuse();
    gateway.until_eligible("b", false).await;
    let metrics = gateway.metrics().await;
    assert!(metrics.count("tidegate_probe_duration_seconds_count", &[("backend", "a")]) > 0);
    assert_eq!(metrics.count("tidegate_health_changes_total", &[("backend", "b"), ("to", "unhealthy")]), 1);
    assert!(a.stats().probes > 0 && a.requests() == 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_admin_listener_is_its_own() {
    let a = Sim::start("swedencentral").await;
    let gateway = single(&a).start().await;
    let public = Client::new(gateway.address(), Proto::H1);
    for path in ["/metrics", "/readyz", "/livez", "/backends"] {
        let answer = public.ask(&Ask::new("GET", path)).await;
        assert!(answer.status == 404 && !answer.text().contains("tidegate_"), "{path} {answer}");
    }
    assert_eq!(gateway.admin("/openai/v1/models").await.status, 404);
    assert_eq!(gateway.ask(&Ask::chat("gpt")).await.header("x-served-by"), A);
}
