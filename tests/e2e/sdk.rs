//! The unmodified official `openai` package and curl, through the gateway, while regions fail.

use crate::common::{A, B, ladder, pair, regions, secs};
use harness::{Gateway, venv_python, workspace_file};
use serde_json::Value;
use tidegate::simulator::{FaultKind, FaultRule};
use tokio::process::Command;

/// Runs a script of `tests/sdk` against the gateway; gives the JSON lines it printed.
async fn python(gateway: &Gateway, script: &str, args: &[&str]) -> Vec<Value> {
    let run = Command::new(venv_python())
        .arg(workspace_file("tests/sdk").join(script))
        .arg(format!("http://{}", gateway.address()))
        .args(args)
        .kill_on_drop(true)
        .output();
    let output = tokio::time::timeout(secs(60), run).await.expect("a minute is enough").expect("python starts");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{script} {args:?}: {errors}");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    text.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|e| panic!("{e}: {line}"))).collect()
}

/// Every call of `calls.py` succeeds, is served by `backend`, and needs one HTTP call.
async fn all_calls_succeed(gateway: &Gateway, backend: &str) {
    let before = gateway.access_log().len();
    let calls = python(gateway, "calls.py", &[]).await;
    assert!(calls.len() >= 16, "{calls:?}");
    for call in &calls {
        assert_eq!(call["ok"], true, "{call}");
        assert_eq!(call["served_by"], backend, "{call}");
    }
    let last = calls.last().unwrap()["request_id"].as_str().unwrap().to_owned();
    gateway.record(&last).await;
    let made = gateway.access_log().len() - before;
    assert_eq!(made, calls.len(), "one HTTP call each: the SDK had nothing to retry");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_official_sdk_works_through_the_gateway() {
    let (a, b) = regions().await;
    let gateway = ladder(&a, &b).start().await;
    all_calls_succeed(&gateway, A).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_official_sdk_notices_nothing_while_a_region_fails() {
    let (a, b) = regions().await;
    let gateway = ladder(&a, &b).start().await;
    a.status(503);
    all_calls_succeed(&gateway, B).await;
    for fault in [FaultKind::ResetBeforeHeaders {}, FaultKind::Refuse { keep_connections: false, for_ms: None }] {
        a.clear();
        a.fault(FaultRule::new(fault));
        all_calls_succeed(&gateway, B).await;
    }
    a.clear();
    a.throttle(secs(60));
    all_calls_succeed(&gateway, B).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_sdk_makes_one_call_when_retrying_is_hopeless() {
    let (a, b) = regions().await;
    let gateway = pair(&a, &b).start().await;
    a.throttle(secs(60));
    b.throttle(secs(60));
    for client in ["azure", "openai"] {
        let before = gateway.access_log().len();
        let calls = python(&gateway, "exhausted.py", &[client]).await;
        assert_eq!(calls[0]["error"], "RateLimitError", "{calls:?}");
        assert_eq!(calls[0]["status"], 429);
        gateway.record(calls[0]["request_id"].as_str().unwrap()).await;
        assert_eq!(gateway.access_log().len() - before, 1, "x-should-retry: false was obeyed");
    }
    assert_eq!((a.requests(), b.requests()), (1, 1));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_sdk_waits_as_told_and_is_served_by_its_second_call() {
    let (a, b) = regions().await;
    let gateway = pair(&a, &b).pool("ejection: { jitter: 0% }").start().await;
    for sim in [&a, &b] {
        let throttle = tidegate::simulator::StatusFault::preset("429_tokens").retry_after_ms(1500);
        sim.fault(FaultRule::new(FaultKind::Status(throttle)).times(1));
    }
    let calls = python(&gateway, "exhausted.py", &["azure"]).await;
    assert_eq!(calls[0]["ok"], true, "{calls:?}");
    gateway.record(calls[0]["request_id"].as_str().unwrap()).await;
    let log = gateway.access_log();
    assert_eq!(log.len(), 2, "{log:#?}");
    assert_eq!((&log[0]["ending"], &log[1]["sdk_retry_count"]), (&"rate_limited".into(), &1.into()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_sdk_raises_on_a_stream_that_breaks_late() {
    let (a, b) = regions().await;
    let gateway = ladder(&a, &b).start().await;
    a.fault(FaultRule::new(FaultKind::ResetAfter { chunks: 6 }));
    let calls = python(&gateway, "broken_stream.py", &[]).await;
    for call in &calls {
        assert_eq!(call["error"], "APIError", "{call}");
        assert!(call["chunks"].as_u64().is_some_and(|count| count >= 2), "{call}");
    }
    assert_eq!(calls.len(), 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn curl_works_through_the_gateway_while_a_region_fails() {
    let (a, b) = regions().await;
    let gateway = ladder(&a, &b).start().await;
    a.status(503);
    let body = r#"{"model":"gpt","stream":true,"messages":[{"role":"user","content":"hi"}]}"#;
    for more in [&["--http1.1"][..], &["--http2-prior-knowledge"], &["--http1.1", "-H", "Expect: 100-continue"]] {
        let output = Command::new("curl")
            .args(["-sS", "-N", "-i", "--max-time", "20", "-H", "content-type: application/json", "-d", body])
            .args(more)
            .arg(format!("http://{}/openai/v1/chat/completions", gateway.address()))
            .output()
            .await
            .expect("curl");
        let text = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success(), "{more:?} {output:?}");
        assert!(text.to_lowercase().contains(&format!("x-served-by: {B}")), "{text}");
        assert!(text.trim_end().ends_with("data: [DONE]"), "{text}");
    }
}
