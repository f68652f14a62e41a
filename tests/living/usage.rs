//! Tokens are counted to the last one: as the backend tells them, and where it does not, as they were relayed.

use crate::common::{index, is_whole, ladder, regions, secs, single};
use harness::{Ask, Event, Gateway, Proto, Setup, Sim, node_modules, venv_python, within, workspace_file};
use serde_json::{Value, json};
use std::process::Stdio;
use tidegate::simulator::{FaultKind, FaultRule};
use tokio::io::AsyncWriteExt;
use tokio::process::Command;

/// 2.50 and 10.00 per million: 2500 and 10000 billionths per token.
const PRICES: &str = "prices: { currency: USD, models: [ { model: gpt, input: 2.5, output: 10 } ] }\n";
const V1: &str = "/openai/v1/chat/completions";
const BODY: &str = r#"{"model":"gpt","stream":true,"messages":[{"role":"user","content":"hello world"}]}"#;
/// Tokens of that prompt: 3 around the message, its role, its two words, 3 of priming.
const PROMPT: u64 = 9;

/// A limit that counts and never holds anybody up.
const LIMITS: &str = "usage_limits: [ { name: all, everywhere: true, tokens: { max: 4000000, per: 1h } } ]\n";

fn priced(a: &Sim) -> Setup {
    single(a).more(PRICES)
}

/// A stream of so many one-token words, not asking for its usage.
fn words(path: &str, tokens: u64) -> Ask {
    let ask = Ask::json(path, BODY).header("x-sim-tokens", &tokens.to_string()).header("x-sim-words", "1");
    Ask { streams: true, ..ask }
}

/// Two SDKs, two classes each.
const SDKS: [(&str, &str); 4] = [("python", "azure"), ("python", "openai"), ("node", "azure"), ("node", "openai")];
const STREAMS: usize = 40;

/// Forty streams of every kind: 30 % are left midway, half of the others ask for their usage.
fn jobs(sdk: &str, class: &str) -> Vec<Value> {
    let job = |number: usize| {
        // Events before the first word.
        let (call, head) = [("chat", 2), ("completions", 1), ("responses", 4)][number % 3];
        let tokens = 5 + 3 * number;
        let leave = (number % 10 < 3).then_some(1 + (tokens - 1) * (number / 10) / 4);
        json!({
            "id": format!("{sdk}-{class}-{number}"), "call": call, "tokens": tokens, "ask": number.is_multiple_of(2),
            "leave_after": leave, "stall_after": leave.map(|after| after + head),
        })
    };
    (0..STREAMS).map(job).collect()
}

/// What each stream of an SDK saw.
async fn run(sdk: &str, class: &str, gateway: &Gateway, jobs: &[Value]) -> Vec<Value> {
    let base = format!("http://{}", gateway.address());
    let mut command = match sdk {
        "python" => Command::new(venv_python()),
        _ => Command::new("node"),
    };
    match sdk {
        "python" => command.arg(workspace_file("tests/sdk/usage.py")).args([class, &base]),
        _ => command.arg(workspace_file("tests/sdk/usage.mjs")).args([class, &base]).arg(node_modules()),
    };
    let mut child = command
        .env("NO_PROXY", "*")
        .env_remove("OPENAI_LOG")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .expect("the SDK starts");
    let lines: String = jobs.iter().map(|job| format!("{job}\n")).collect();
    let mut input = child.stdin.take().expect("piped");
    input.write_all(lines.as_bytes()).await.expect("the script reads");
    drop(input);
    let output = within(format!("{sdk}'s streams"), secs(60), child.wait_with_output()).await.expect("output");
    let text = String::from_utf8(output.stdout).expect("UTF-8");
    text.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect()
}

/// One stream, in the region's, the SDK's and the gateway's books. Prompt and completion tokens as they are charged.
async fn compare(a: &Sim, gateway: &Gateway, job: &Value, seen: &Value) -> (u64, u64) {
    let id = job["id"].as_str().unwrap();
    assert_eq!(seen["id"], id);
    let line = gateway.record(id).await;
    let record =
        harness::eventually(format!("the end of {id}"), secs(10), async || a.find(id).filter(|record| record.ended))
            .await;
    let left = !job["leave_after"].is_null();
    assert_eq!(record.aborted, left, "{id}: {line}");
    let charged = |kind: &str| line["tokens"][kind].as_u64().unwrap_or_else(|| panic!("{id}: {line}"));
    assert_eq!(charged("completion"), record.tokens_sent, "{id}: the region sent others than were charged: {line}");
    assert_eq!(seen["seen"].as_u64(), Some(record.tokens_sent), "{id}: the SDK saw others: {seen}");
    assert_eq!(line["tokens"]["counted"].as_bool().unwrap_or(false), left, "{id}: {line}");
    assert_eq!(line["ending"], if left { "client_gone" } else { "served" }, "{id}");
    let usages = seen["usages"].as_array().unwrap();
    let told = !left && (job["ask"] == true || job["call"] == "responses");
    assert_eq!(usages.len(), usize::from(told), "{id}: usage chunks: {seen}");
    for usage in usages {
        assert_eq!(
            (usage["prompt"].as_u64(), usage["completion"].as_u64()),
            (Some(charged("prompt")), job["tokens"].as_u64())
        );
    }
    (charged("prompt"), charged("completion"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn streams_of_the_official_sdks_are_charged_to_the_token_also_when_they_are_left() {
    let a = Sim::start("swedencentral").await;
    let gateway = single(&a).more(&format!("{PRICES}{LIMITS}")).start().await;
    let (mut prompt, mut completion) = (0, 0);
    for (sdk, class) in SDKS {
        let jobs = jobs(sdk, class);
        let seen = run(sdk, class, &gateway, &jobs).await;
        assert_eq!(seen.len(), STREAMS, "{sdk} {class}");
        for (job, seen) in jobs.iter().zip(&seen) {
            let charged = compare(&a, &gateway, job, seen).await;
            prompt += charged.0;
            completion += charged.1;
        }
    }
    let metrics = gateway.metrics().await;
    assert_eq!(metrics.count("tidegate_tokens_total", &[("kind", "completion")]), completion);
    assert_eq!(metrics.count("tidegate_tokens_total", &[("kind", "prompt")]), prompt);
    let labels = [("consumer", "(none)"), ("model", "gpt"), ("region", "swedencentral"), ("currency", "USD")];
    assert_eq!(metrics.count("tidegate_cost_billionths_total", &labels), 2500 * prompt + 10_000 * completion);
    assert_eq!(metrics.count("tidegate_limit_tokens_total", &[("limit", "all")]), prompt + completion);
    let page = gateway.admin("/usage").await.json();
    let used = &page["limits"][0]["used"][0];
    assert_eq!(used["remaining"].as_u64(), Some(4_000_000 - prompt - completion), "nothing stays reserved: {page}");
    assert_eq!(page["spent"][0]["billionths"].as_u64(), Some(2500 * prompt + 10_000 * completion), "{page}");
    told_by_the_command(&gateway, prompt + completion).await;
}

/// `tidegate usage` says the same.
async fn told_by_the_command(gateway: &Gateway, tokens: u64) {
    let admin = format!("http://{}", gateway.admin_address());
    let told = Command::new(harness::binary()).args(["usage", "--admin", &admin]).output().await.expect("it runs");
    let text = String::from_utf8(told.stdout).expect("UTF-8");
    let row = text.lines().find(|line| line.starts_with("all ")).unwrap_or_else(|| panic!("{text}"));
    let cells: Vec<&str> = row.split_whitespace().collect();
    assert_eq!(cells[..5], ["all", "(all)", "tokens", &tokens.to_string(), "4000000"], "{text}");
    assert!(text.contains("(none)    gpt    swedencentral"), "{text}");
}

/// Every event of a stream.
async fn all(gateway: &Gateway, proto: Proto, ask: &Ask) -> Vec<Event> {
    gateway.client(proto).open(ask).await.events().rest().await.0
}

fn usage_of(event: &Event) -> bool {
    event.data != "[DONE]" && event.json()["usage"].is_object()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_does_not_ask_sees_everything_but_the_usage_chunk() {
    let a = Sim::start("swedencentral").await;
    let gateway = priced(&a).start().await;
    let classic = "/openai/deployments/gpt/chat/completions?api-version=2024-10-21";
    for proto in [Proto::H1, Proto::H2c] {
        for path in [V1, classic] {
            let ask = Ask::json(path, BODY).header("x-sim-tokens", "30").header("x-sim-chunk-ms", "2");
            let events = all(&gateway, proto, &ask).await;
            is_whole(&events, 30);
            assert!(!events.iter().any(usage_of), "{path}");
            assert_eq!(events.len(), 2 + 30 + 1 + 1, "role, filter, content, finish, done: {path}");
            let line = gateway.record(&ask.id).await;
            assert_eq!(line["tokens"]["completion"], 30, "{line}");
            assert_eq!(line["cost"].as_f64(), Some(1e-9 * (2500.0 * prompt(&line) + 300_000.0)), "{line}");
            let asked = ask
                .again()
                .body(BODY.replace("\"stream\":true", "\"stream\":true,\"stream_options\":{\"include_usage\":true}"));
            let asked = asked.header("x-sim-tokens", "30");
            let events = all(&gateway, proto, &asked).await;
            assert_eq!(events.iter().filter(|event| usage_of(event)).count(), 1, "{path}");
            assert_eq!(events.iter().filter_map(index).count(), 30);
        }
    }
}

#[allow(clippy::cast_precision_loss, reason = "small")]
fn prompt(line: &Value) -> f64 {
    line["tokens"]["prompt"].as_u64().unwrap() as f64
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_does_not_take_the_option_is_not_asked_and_counted_all_the_same() {
    let a = Sim::start("swedencentral").await;
    let gateway = priced(&a).start().await;
    let never = single(&a).more(&format!("{PRICES}usage: {{ inject: never }}\n")).start().await;
    let old = "/openai/deployments/gpt/chat/completions?api-version=2024-06-01";
    for (gateway, path) in [(&gateway, old), (&never, V1)] {
        let ask = words(path, 25);
        gateway.ask(&ask).await;
        let record = a.record(&ask.id).await;
        assert_eq!(record.body_sha256, harness::sha256(&ask.bytes()), "{path}: the body goes as it came");
        let line = gateway.record(&ask.id).await;
        let want = json!({"prompt": PROMPT, "completion": 25, "cached": 0, "reasoning": 0, "counted": true});
        assert_eq!(line["tokens"], want, "{path}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn usage_that_cannot_be_believed_is_counted() {
    let a = Sim::start("swedencentral").await;
    let gateway = priced(&a).start().await;
    a.fault(FaultRule::new(FaultKind::BadUsage {}));
    let ask = words(V1, 25);
    gateway.ask(&ask).await;
    let line = gateway.record(&ask.id).await;
    assert_eq!((&line["tokens"]["prompt"], &line["tokens"]["completion"]), (&PROMPT.into(), &25.into()), "{line}");
    // A whole answer: by its length.
    let ask = Ask::json(V1, BODY.replace("true", "false"));
    let answer = gateway.ask(&ask).await;
    let line = gateway.record(&ask.id).await;
    let length = (2 * answer.body.len() as u64).div_ceil(7);
    assert_eq!((&line["tokens"]["prompt"], &line["tokens"]["completion"]), (&PROMPT.into(), &length.into()), "{line}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn attempts_that_failed_over_are_not_charged() {
    let (a, b) = regions().await;
    let gateway = ladder(&a, &b).more(PRICES).start().await;
    a.fault(FaultRule::new(FaultKind::ResetBeforeHeaders {}).times(1));
    let ask = words(V1, 25);
    gateway.ask(&ask).await;
    let line = gateway.record(&ask.id).await;
    assert_eq!((&line["served_by"], &line["tokens"]["completion"]), (&"francecentral/b".into(), &25.into()), "{line}");
    let metrics = gateway.metrics().await;
    assert_eq!(metrics.count("tidegate_tokens_total", &[("kind", "completion")]), 25);
    assert_eq!(metrics.count("tidegate_tokens_total", &[("backend", "a")]), 0);
    // Refused by everybody: nothing.
    a.status(503);
    b.status(503);
    let ask = words(V1, 25);
    gateway.ask(&ask).await;
    let line = gateway.record(&ask.id).await;
    assert!(line.get("tokens").is_none() && line.get("cost").is_none(), "{line}");
    assert_eq!(gateway.metrics().await.count("tidegate_tokens_total", &[("kind", "completion")]), 25);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_that_breaks_is_charged_with_what_came() {
    let a = Sim::start("swedencentral").await;
    let gateway = priced(&a).start().await;
    a.fault(FaultRule::new(FaultKind::ResetAfter { chunks: 2 + 17 }));
    let ask = words(V1, 25).header("x-sim-chunk-ms", "2");
    let events = all(&gateway, Proto::H1, &ask).await;
    assert_eq!(events.iter().filter(|event| index(event).is_some()).count(), 17);
    let line = gateway.record(&ask.id).await;
    assert_eq!((&line["ending"], &line["tokens"]["completion"]), (&"broken_late".into(), &17.into()), "{line}");
}
