//! The unmodified official `openai` package, both of its classes, and curl, through the gateway while regions fail.

use crate::common::{ladder, ms, regions, secs};
use harness::{Gateway, Setup, Sim, venv_python, within, workspace_file};
use serde_json::{Value, json};
use std::process::Stdio;
use tidegate::simulator::{FaultKind, FaultRule, StatusFault};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};

/// Every call of the script that a region answers.
const CALLS: [&str; 11] = [
    "chat",
    "chat_stream",
    "chat_stream_helper",
    "chat_large",
    "completion",
    "embeddings",
    "responses",
    "responses_stream",
    "transcription",
    "image",
    "chat_async",
];
/// This one sends three requests.
const ASYNC: &str = "chat_async";

/// One Python process with one client object, as an application has it.
struct Sdk {
    _child: Child,
    input: ChildStdin,
    output: Lines<BufReader<ChildStdout>>,
}

impl Sdk {
    fn start(class: &str, gateway: &Gateway) -> Self {
        let mut child = Command::new(venv_python())
            .arg(workspace_file("tests/sdk/calls.py"))
            .args([class, &format!("http://{}", gateway.address())])
            .env("NO_PROXY", "*")
            .env_remove("OPENAI_LOG")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .expect("Python starts");
        let input = child.stdin.take().expect("piped");
        let output = BufReader::new(child.stdout.take().expect("piped")).lines();
        Self { _child: child, input, output }
    }

    async fn call(&mut self, call: &str) -> Value {
        let line = format!("{}\n", json!({"call": call, "model": "gpt"}));
        self.input.write_all(line.as_bytes()).await.expect("the script reads");
        let answer = within(format!("the SDK's {call}"), secs(60), self.output.next_line()).await;
        let answer = answer.expect("the script writes").unwrap_or_else(|| panic!("the script died in {call}"));
        serde_json::from_str(&answer).expect("JSON")
    }
}

fn setup(a: &Sim, b: &Sim) -> Setup {
    ladder(a, b)
        .pool("ejection: { failures: 0, failure_share: 0%, advised_default: 100ms, advised_max: 100ms, jitter: 0% }")
        .pool(
            "failover: { first_byte_timeout: 400ms, stream_first_byte_timeout: 400ms, budget: 100%, budget_min: 1000 }",
        )
}

/// The access log's records of the SDK since `from`, once there are `count`.
async fn http_calls(gateway: &Gateway, from: usize, count: usize) -> Vec<Value> {
    harness::eventually(format!("{count} HTTP calls in the access log"), secs(5), async || {
        (gateway.access_log().len() >= from + count).then_some(())
    })
    .await;
    gateway.access_log().split_off(from)
}

/// Every call is answered whole by `region`, in exactly one HTTP call each, with `attempts` attempts.
async fn all_served(gateway: &Gateway, sdk: &mut Sdk, region: &str, attempts: usize) {
    for call in CALLS {
        let from = gateway.access_log().len();
        let answer = sdk.call(call).await;
        let text = answer["text"].as_str().unwrap_or_default();
        assert!(answer.get("error").is_none(), "{call}: {answer}");
        assert!(text.contains(&format!("[{region}/gpt]")), "{call} was answered by another region: {answer}");
        let count = if call == ASYNC { 3 } else { 1 };
        let records = http_calls(gateway, from, count).await;
        assert_eq!(records.len(), count, "{call}: the SDK repeated what the gateway had to do: {records:#?}");
        for record in records {
            let tried = record["attempts"].as_array().map_or(0, Vec::len);
            // Of several at once only one may try a backend that has yet to prove itself.
            assert!(tried == attempts || (call == ASYNC && tried < attempts), "{call}: {record}");
            let zero = (record["sdk_retry_count"].as_u64(), record["status"].as_u64());
            assert_eq!(zero, (Some(0), Some(200)), "{call}: {record}");
            assert!(record["user_agent"].as_str().is_some_and(|agent| agent.contains("OpenAI/Python")), "{record}");
        }
    }
}

/// Regions fail, one fault after the other; the SDK notices nothing.
async fn sdk_survives(class: &str) {
    let (a, b) = regions().await;
    let gateway = setup(&a, &b).start().await;
    let mut sdk = Sdk::start(class, &gateway);
    all_served(&gateway, &mut sdk, "swedencentral", 1).await;
    for fault in [
        FaultRule::new(FaultKind::Status(StatusFault::preset("429_tokens").retry_after_ms(1))),
        FaultRule::preset("503"),
        FaultRule::new(FaultKind::Refuse { keep_connections: false, for_ms: None }),
        FaultRule::new(FaultKind::HangBeforeHeaders { for_ms: None }),
        FaultRule::new(FaultKind::ResetBeforeHeaders {}),
    ] {
        let throttled = matches!(&fault.kind, FaultKind::Status(status) if status.retry_after_ms.is_some());
        a.fault(fault);
        gateway.until_eligible("a", true).await;
        if throttled {
            served_whatever_rests(&gateway, &mut sdk).await;
        } else {
            all_served(&gateway, &mut sdk, "francecentral", 2).await;
        }
        a.clear();
    }
    all_served(&gateway, &mut sdk, "swedencentral", 1).await;
}

/// As [`all_served`], while `a` rests for a moment after each 429: one attempt then, else two.
async fn served_whatever_rests(gateway: &Gateway, sdk: &mut Sdk) {
    for call in CALLS {
        gateway.until_eligible("a", true).await;
        let from = gateway.access_log().len();
        let answer = sdk.call(call).await;
        assert!(answer["text"].as_str().is_some_and(|text| text.contains("[francecentral/gpt]")), "{call}: {answer}");
        let count = if call == ASYNC { 3 } else { 1 };
        let records = http_calls(gateway, from, count).await;
        assert_eq!(records.len(), count, "{call}: {records:#?}");
        assert!(
            records.iter().any(|record| record["attempts"][0]["outcome"] == "rate_limited"),
            "{call}: {records:#?}"
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_azure_class_notices_no_failing_region() {
    sdk_survives("azure").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_openai_class_notices_no_failing_region() {
    sdk_survives("openai").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_every_region_fails_is_not_repeated_by_the_sdk() {
    let (a, b) = regions().await;
    let gateway = setup(&a, &b).pool("ejection: { failures: 0, failure_share: 0%, jitter: 0% }").start().await;
    for class in ["azure", "openai"] {
        let mut sdk = Sdk::start(class, &gateway);
        for call in ["chat", "chat_stream", "embeddings", "transcription"] {
            for sim in [&a, &b] {
                sim.status(503);
            }
            let (from, calls) = (gateway.access_log().len(), a.requests() + b.requests());
            let answer = sdk.call(call).await;
            assert_eq!((&answer["error"], &answer["status"]), (&"InternalServerError".into(), &503.into()), "{answer}");
            tokio::time::sleep(ms(100)).await;
            assert_eq!(http_calls(&gateway, from, 1).await.len(), 1, "{call}: `x-should-retry: false` is obeyed");
            assert_eq!(a.requests() + b.requests() - calls, 2, "each region was asked once");
            a.clear();
            b.clear();
        }
    }
    // All of them at their limit for long: told once, not asked again.
    a.throttle(secs(60));
    b.throttle(secs(60));
    let mut sdk = Sdk::start("azure", &gateway);
    for attempts in [2, 0] {
        let from = gateway.access_log().len();
        let answer = sdk.call("chat").await;
        assert_eq!((&answer["error"], &answer["status"]), (&"RateLimitError".into(), &429.into()), "{answer}");
        let records = http_calls(&gateway, from, 1).await;
        assert_eq!(records.len(), 1, "{records:#?}");
        assert_eq!(records[0]["attempts"].as_array().map(Vec::len), Some(attempts));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_short_throttling_of_every_region_costs_one_repetition_after_the_wait() {
    let (a, b) = regions().await;
    let gateway = setup(&a, &b).pool("ejection: { failures: 0, failure_share: 0%, jitter: 0% }").start().await;
    for class in ["azure", "openai"] {
        let mut sdk = Sdk::start(class, &gateway);
        for call in ["chat", "chat_stream"] {
            for sim in [&a, &b] {
                let busy = StatusFault::preset("429_tokens").retry_after_ms(1200);
                sim.fault(FaultRule::new(FaultKind::Status(busy)).times(1));
            }
            let from = gateway.access_log().len();
            let started = std::time::Instant::now();
            let answer = sdk.call(call).await;
            assert!(answer["text"].as_str().is_some_and(|text| text.contains("/gpt]")), "{answer}");
            assert!(started.elapsed() >= ms(1000), "it came back before its time: {:?}", started.elapsed());
            let records = http_calls(&gateway, from, 2).await;
            let statuses: Vec<_> =
                records.iter().map(|r| (r["status"].as_u64(), r["sdk_retry_count"].as_u64())).collect();
            assert_eq!(statuses, [(Some(429), Some(0)), (Some(200), Some(1))], "{records:#?}");
            for name in ["a", "b"] {
                gateway.until_eligible(name, true).await;
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_that_breaks_late_is_raised_by_the_sdk_and_never_repeated() {
    let (a, b) = regions().await;
    let gateway = setup(&a, &b).start().await;
    a.fault(FaultRule::new(FaultKind::ResetAfter { chunks: 7 }));
    for class in ["azure", "openai"] {
        let mut sdk = Sdk::start(class, &gateway);
        let from = gateway.access_log().len();
        let answer = sdk.call("chat_stream").await;
        assert_eq!(answer["error"], "APIError", "{answer}");
        assert_eq!(answer["text"], "[swedencentral/gpt] token1 token2 token3 token4 token5", "{answer}");
        let records = http_calls(&gateway, from, 1).await;
        assert_eq!((records.len(), &records[0]["ending"]), (1, &"broken_late".into()), "{records:#?}");
    }
    assert_eq!(b.requests(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_the_client_did_wrong_is_raised_once_with_its_reason() {
    let (a, b) = regions().await;
    let more = "routes:\n  - { name: other, match: { deployment: other }, pool: chat }\n";
    let gateway = setup(&a, &b).more(more).start().await;
    for class in ["azure", "openai"] {
        let mut sdk = Sdk::start(class, &gateway);
        let from = gateway.access_log().len();
        let answer = sdk.call("chat").await;
        assert_eq!(
            (&answer["error"], &answer["code"]),
            (&"NotFoundError".into(), &"deployment_not_found".into()),
            "{answer}"
        );
        assert_eq!(http_calls(&gateway, from, 1).await.len(), 1);
    }
    assert_eq!(a.requests() + b.requests(), 0);
}

/// curl, with these arguments: its exit is good, and this is what it prints.
async fn curl(args: &[&str]) -> String {
    let output = Command::new("curl").args(["-sS", "--max-time", "30", "--noproxy", "*"]).args(args).output();
    let output = output.await.expect("curl runs");
    assert!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("UTF-8")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn curl_notices_no_failing_region() {
    let (a, b) = regions().await;
    let gateway = setup(&a, &b).start().await;
    let (azure, v1) = (
        format!("http://{}/openai/deployments/gpt/chat/completions?api-version=2024-10-21", gateway.address()),
        format!("http://{}/openai/v1", gateway.address()),
    );
    let content = "content-type: application/json";
    let chat = r#"{"model":"gpt","messages":[{"role":"user","content":"hi"}]}"#;
    let stream = r#"{"model":"gpt","stream":true,"messages":[{"role":"user","content":"hi"}]}"#;
    let large = format!(r#"{{"model":"gpt","messages":[{{"role":"user","content":"{}"}}]}}"#, "x".repeat(3 << 20));
    let (large_file, sound) = (gateway.file("large.json"), gateway.file("speech.wav"));
    std::fs::write(&large_file, large).unwrap();
    std::fs::write(&sound, vec![7; 100_000]).unwrap();
    let (large, sound) = (format!("@{}", large_file.display()), format!("file=@{}", sound.display()));
    let (chats, sounds) = (format!("{v1}/chat/completions"), format!("{v1}/audio/transcriptions"));
    for fault in [FaultRule::preset("503"), FaultRule::new(FaultKind::ResetBeforeHeaders {})] {
        a.fault(fault);
        for args in [
            vec!["-H", content, "-H", "api-key: k", "-d", chat, &azure],
            vec!["-N", "-H", content, "-H", "authorization: Bearer k", "-d", stream, &chats],
            vec!["--http2-prior-knowledge", "-H", content, "-d", chat, &azure],
            // Sends `Expect: 100-continue` and waits for it.
            vec!["-H", content, "-H", "expect: 100-continue", "--data-binary", &large, &chats],
            vec!["-H", content, "-H", "transfer-encoding: chunked", "--data-binary", &large, &azure],
            vec!["-F", "model=gpt", "-F", &sound, &sounds],
        ] {
            let text = curl(&args).await;
            assert!(text.contains("[francecentral/gpt]"), "{args:?}: {text}");
            assert_eq!(text.contains("data: [DONE]"), args.contains(&"-N"), "{text}");
        }
        a.clear();
    }
    let records = http_calls(&gateway, 0, 12).await;
    assert!(records.len() == 12 && records.iter().all(|record| record["status"] == 200), "{records:#?}");
}
