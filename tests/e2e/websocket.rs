//! WebSockets (the realtime API) with a real client library: failover until the 101, then one backend to the end.

use crate::common::{A, B, ladder, ms, regions, secs};
use harness::{Ask, Gateway, Setup, Sim, eventually, venv_python, within, workspace_file};
use serde_json::{Value, json};
use std::process::Stdio;
use std::time::Instant;
use tidegate::simulator::{FaultKind, FaultRule, StatusFault};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};

const PATH: &str = "/openai/v1/realtime?model=gpt";
const CLIENT_KEY: &str = "canary-client-5f1d";

/// Python's `websockets`, told what to do line by line.
struct Python {
    _child: Child,
    input: ChildStdin,
    output: Lines<BufReader<ChildStdout>>,
    gateway: String,
}

impl Python {
    fn start(gateway: &Gateway) -> Self {
        let mut child = Command::new(venv_python())
            .arg(workspace_file("tests/sdk/realtime.py"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .expect("Python starts");
        let input = child.stdin.take().expect("piped");
        let output = BufReader::new(child.stdout.take().expect("piped")).lines();
        Self { _child: child, input, output, gateway: format!("ws://{}", gateway.address()) }
    }

    async fn tell(&mut self, command: Value) {
        self.input.write_all(format!("{command}\n").as_bytes()).await.expect("the script reads");
    }

    async fn hear(&mut self) -> Value {
        let answer = within("the client's answer", secs(90), self.output.next_line()).await;
        serde_json::from_str(&answer.expect("the script writes").expect("the script lives")).expect("JSON")
    }

    async fn call(&mut self, command: Value) -> Value {
        self.tell(command).await;
        self.hear().await
    }

    /// Opens a socket; its name is its request id.
    async fn open(&mut self, name: &str) -> Value {
        self.open_with(name, PATH, json!({})).await
    }

    async fn open_with(&mut self, name: &str, path: &str, more: Value) -> Value {
        let mut command =
            json!({ "do": "open", "name": name, "url": format!("{}{path}", self.gateway), "headers": {} });
        for (key, value) in more.as_object().expect("a map") {
            command[key] = value.clone();
        }
        command["headers"]["x-request-id"] = name.into();
        self.call(command).await
    }

    async fn echo(&mut self, name: &str, text: &str) {
        let answer = self.call(json!({ "do": "echo", "name": name, "text": text })).await;
        assert_eq!(answer, json!({ "same": true }), "{name}");
    }

    async fn close(&mut self, name: &str) {
        assert_eq!(self.call(json!({ "do": "close", "name": name })).await["code"], 1000, "{name}");
    }
}

#[track_caller]
fn opened(answer: &Value, backend: &str) {
    assert_eq!((&answer["status"], &answer["served_by"]), (&101.into(), &backend.into()), "{answer}");
    assert_eq!(answer["greeting"]["type"], "session.created", "{answer}");
}

async fn open_now(gateway: &Gateway, count: f64) {
    gateway.until_metric("tidegate_websockets_open", &[], |open| (open - count).abs() < 0.5).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_sees_only_the_101_of_the_region_that_takes_it() {
    let (a, b) = regions().await;
    let gateway = ladder(&a, &b)
        .pool("failover: { stream_first_byte_timeout: 400ms, budget: 100%, budget_min: 1000 }")
        .start()
        .await;
    let mut python = Python::start(&gateway);
    opened(&python.open("plain").await, A);
    python.echo("plain", "hello").await;
    let event = json!({ "type": "response.create" });
    let answer = python.call(json!({ "do": "ask", "name": "plain", "event": event, "count": 5 })).await;
    assert_eq!(answer["types"][4], "response.done", "{answer}");
    python.close("plain").await;
    for (name, fault) in [
        ("throttled", FaultKind::Status(StatusFault::preset("429_tokens").retry_after_ms(1))),
        ("broken", FaultKind::Status(StatusFault::preset("503"))),
        ("hanging", FaultKind::HangBeforeHeaders { for_ms: None }),
        ("reset", FaultKind::ResetBeforeHeaders {}),
        ("refusing", FaultKind::Refuse { keep_connections: false, for_ms: None }),
    ] {
        gateway.until_eligible("a", true).await;
        a.fault(FaultRule::new(fault));
        opened(&python.open(name).await, B);
        python.echo(name, "over there").await;
        let record = b.find(name).expect("b has seen it");
        assert!(record.path_and_query.starts_with("/openai/v1/realtime?model=gpt"), "{record:?}");
        a.clear();
        python.close(name).await;
        let record = gateway.record(name).await;
        let attempts = record["attempts"].as_array().map_or(0, Vec::len);
        assert_eq!((attempts, &record["status"], &record["ending"]), (2, &101.into(), &"served".into()), "{record}");
        assert_eq!(record["operation"], "realtime", "{record}");
    }
    open_now(&gateway, 0.0).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_the_last_region_refuses_is_relayed() {
    let (a, b) = regions().await;
    let gateway = ladder(&a, &b).start().await;
    let mut python = Python::start(&gateway);
    let refusal = StatusFault { body: Some("{\"error\":{\"code\":\"no\"}}".into()), ..StatusFault::status(400) };
    a.fault(FaultRule::new(FaultKind::Status(refusal)));
    let answer = python.open("refused").await;
    assert_eq!(
        (&answer["status"], &answer["body"]),
        (&400.into(), &"{\"error\":{\"code\":\"no\"}}".into()),
        "{answer}"
    );
    assert_eq!(b.requests(), 0, "what the client did wrong is not tried elsewhere");
    assert_eq!(gateway.record("refused").await["ending"], "client_error");
    // Every region throttled: the last 429 is relayed; then we answer ourselves.
    a.clear();
    a.throttle(secs(60));
    b.throttle(secs(60));
    for name in ["last", "none"] {
        assert_eq!(python.open(name).await["status"], 429);
        assert_eq!(gateway.record(name).await["status"], 429);
    }
    open_now(&gateway, 0.0).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_credential_goes_through_a_websocket() {
    let (a, b) = regions().await;
    let key = "canary-backend-a-77c2";
    let gateway = ladder(&a, &b)
        .env("KEY_A", key)
        .backend("a", &a, "priority: 1, deployment: own, auth: { api_key: { env: KEY_A } }")
        .start()
        .await;
    let mut python = Python::start(&gateway);
    let more = json!({
        "headers": { "authorization": format!("Bearer {CLIENT_KEY}"), "api-key": CLIENT_KEY },
        "subprotocols": ["realtime", format!("openai-insecure-api-key.{CLIENT_KEY}")],
    });
    let path = format!("/openai/realtime?api-version=2025-04-01-preview&deployment=gpt&api-key={CLIENT_KEY}");
    let answer = python.open_with("keyed", &path, more).await;
    opened(&answer, A);
    assert_eq!(
        (&answer["subprotocol"], &answer["greeting"]["session"]["model"]),
        (&"realtime".into(), &"swedencentral/own".into())
    );
    let record = a.find("keyed").expect("a has seen it");
    assert_eq!(record.path_and_query, "/openai/realtime?api-version=2025-04-01-preview&deployment=own");
    assert_eq!((record.header("api-key"), record.header("authorization")), (Some(key), None));
    assert_eq!(record.header("sec-websocket-protocol"), Some("realtime"));
    assert!(!format!("{record:?}").contains(CLIENT_KEY), "{record:?}");
    python.close("keyed").await;
    assert!(!gateway.record("keyed").await.to_string().contains("canary"));
    assert!(!gateway.log().contains("canary"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn large_messages_pass_whole_and_are_counted() {
    const BYTES: u64 = 5 * 1024 * 1024;
    let (a, b) = regions().await;
    let gateway = ladder(&a, &b).start().await;
    let mut python = Python::start(&gateway);
    opened(&python.open("large").await, A);
    for _ in 0..3 {
        assert_eq!(python.call(json!({ "do": "echo", "name": "large", "bytes": BYTES })).await["same"], true);
    }
    open_now(&gateway, 1.0).await;
    python.close("large").await;
    let record = gateway.record("large").await;
    for count in ["bytes_in", "bytes_out"] {
        assert!(record[count].as_u64().is_some_and(|bytes| (3 * BYTES..3 * BYTES + 4096).contains(&bytes)), "{record}");
    }
    open_now(&gateway, 0.0).await;
    gateway.until_metric("tidegate_response_bytes_total", &[], |bytes| bytes >= 15e6).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_silent_websocket_lives_until_its_own_timeout() {
    let (a, b) = regions().await;
    let short = "timeouts: { idle: 500ms, total: 1s, websocket_idle: 3s }";
    let gateway = ladder(&a, &b).pool(short).start().await;
    let mut python = Python::start(&gateway);
    opened(&python.open("silent").await, A);
    tokio::time::sleep(ms(2000)).await;
    python.echo("silent", "still here").await;
    tokio::time::sleep(ms(2000)).await;
    python.echo("silent", "the silence counts from the last message").await;
    let since = Instant::now();
    let end = python.call(json!({ "do": "end", "name": "silent" })).await;
    assert_eq!(end["code"], 1001, "{end}");
    assert!((ms(2500)..secs(8)).contains(&since.elapsed()), "{:?}", since.elapsed());
    let record = gateway.record("silent").await;
    assert!(record["ending"] == "served" && record["total_ms"].as_f64().is_some_and(|ms| ms > 6500.0), "{record}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reload_leaves_open_websockets_alone() {
    let (a, b) = regions().await;
    let mut gateway = ladder(&a, &b).start().await;
    let mut python = Python::start(&gateway);
    opened(&python.open("before").await, A);
    assert!(gateway.apply(ladder(&a, &b).without_backend("a")).await);
    python.echo("before", "still with a").await;
    opened(&python.open("after").await, B);
    python.echo("before", "and on").await;
    for name in ["before", "after"] {
        python.close(name).await;
    }
    assert_eq!(gateway.record("before").await["served_by"], A);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backend_that_dies_ends_its_websockets_cleanly_and_no_other() {
    let (a, b) = regions().await;
    let gateway = ladder(&a, &b).start().await;
    let mut python = Python::start(&gateway);
    for (name, fault, ending) in [
        ("reset", FaultKind::ResetAfter { chunks: 2 }, "broken_late"),
        ("cut", FaultKind::Truncate { after_chunks: 2 }, "served"),
    ] {
        a.fault(FaultRule::new(fault));
        opened(&python.open(name).await, A);
        a.clear();
        python.echo(name, "one").await;
        // The third message strikes.
        let answer = python.call(json!({ "do": "echo", "name": name, "text": "two" })).await;
        assert!(answer["error"].as_str().is_some_and(|error| error.starts_with("ConnectionClosed")), "{answer}");
        let end = python.call(json!({ "do": "end", "name": name })).await;
        assert_eq!(end["code"], 1014, "{name}: {end}");
        assert_eq!(gateway.record(name).await["ending"], ending, "{name}");
    }
    opened(&python.open("whole").await, A);
    let attempts = b.requests();
    a.end_connections();
    assert_eq!(python.call(json!({ "do": "end", "name": "whole" })).await["code"], 1014);
    assert_eq!(b.requests(), attempts, "after the 101 nothing is tried elsewhere");
    open_now(&gateway, 0.0).await;
}

fn draining(setup: Setup, drain: &str) -> Setup {
    let socket = "upgrade_socket: {dir}/upgrade/upgrade.sock";
    setup.top(&format!("process: {{ threads: 2, pre_drain: 0s, drain: {drain}, {socket} }}"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_drain_waits_for_websockets_and_closes_the_rest_at_its_deadline() {
    let (a, b) = regions().await;
    let mut gateway = draining(ladder(&a, &b), "3s").start().await;
    let mut python = Python::start(&gateway);
    for name in ["leaves", "stays"] {
        opened(&python.open(name).await, A);
    }
    gateway.signal("TERM");
    let since = Instant::now();
    eventually("new connections are refused", secs(5), async || {
        tokio::net::TcpStream::connect(gateway.address()).await.is_err().then_some(())
    })
    .await;
    python.echo("leaves", "the drain does not disturb").await;
    python.echo("stays", "the drain does not disturb").await;
    python.close("leaves").await;
    let end = python.call(json!({ "do": "end", "name": "stays" })).await;
    assert_eq!(end["code"], 1001, "{end}");
    assert!(since.elapsed() >= ms(2800), "not before the deadline: {:?}", since.elapsed());
    let exit = gateway.ended(secs(10)).await;
    assert_eq!(exit.status.code(), Some(0), "{}", exit.log);
    assert!(exit.log.contains("drained; stopping") && !exit.log.contains("panicked"), "{}", exit.log);
    let record = gateway.record("stays").await;
    assert!(record["ending"] == "served" && record["status"] == 101, "{record}");
    let closed = eventually("the region sees the end", secs(5), async || a.find("stays").filter(|r| r.ended)).await;
    assert_eq!(closed.status, 101);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_gateway_whose_websockets_leave_ends_before_its_deadline() {
    let (a, b) = regions().await;
    let mut gateway = draining(ladder(&a, &b), "30s").start().await;
    let mut python = Python::start(&gateway);
    opened(&python.open("leaves").await, A);
    gateway.signal("TERM");
    let since = Instant::now();
    gateway.until_log("SIGTERM").await;
    python.echo("leaves", "goodbye").await;
    python.close("leaves").await;
    gateway.ended(secs(10)).await;
    assert!(since.elapsed() < secs(8), "{:?}", since.elapsed());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn any_other_upgrade_is_answered_as_a_plain_request() {
    let a = Sim::start("swedencentral").await;
    let gateway = Setup::new().backend("a", &a, "").start().await;
    let ask = Ask::chat("gpt");
    let ask = ask
        .header("upgrade", "h2c")
        .header("connection", "Upgrade, HTTP2-Settings")
        .header("http2-settings", "AAMAAABk");
    let answer = gateway.ask(&ask).await;
    assert_eq!((answer.status, answer.header("x-served-by")), (200, A), "{answer}");
    assert_eq!(a.record(&ask.id).await.header("upgrade"), None);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_realtime_client_never_gets_a_backend_whose_events_it_does_not_know() {
    const PREVIEW: &str = "/openai/realtime?api-version=2025-04-01-preview&deployment=gpt";
    let (a, b) = regions().await;
    let classic = "style: classic, api_version: 2025-04-01-preview";
    for (style_a, style_b) in [("style: v1", classic), ("realtime: v1", "realtime: classic")] {
        let setup = Setup::new().pool("ejection: { failures: 0, failure_share: 0% }");
        let setup = setup.backend("a", &a, &format!("priority: 1, {style_a}"));
        let gateway = setup.backend("b", &b, &format!("priority: 2, {style_b}")).start().await;
        let mut python = Python::start(&gateway);
        opened(&python.open("ga").await, A);
        opened(&python.open_with("preview", PREVIEW, json!({})).await, B);
        python.close("ga").await;
        python.close("preview").await;
        // Not even where its own is down: `a` would open a session.
        let at_a = a.requests();
        b.refuse();
        let answer = python.open_with("down", PREVIEW, json!({})).await;
        assert!(matches!(answer["status"].as_u64(), Some(502 | 503)), "{answer}");
        b.clear();
        assert_eq!(a.requests(), at_a);
    }
    let gateway = Setup::new().backend("a", &a, "style: v1").start().await;
    let mut python = Python::start(&gateway);
    let answer = python.open_with("none", PREVIEW, json!({})).await;
    assert_eq!(answer["status"], 400, "{answer}");
    let body: Value = serde_json::from_str(answer["body"].as_str().unwrap()).unwrap();
    assert_eq!(body["error"]["code"], "unsupported_by_backends", "{body}");
    assert!(body["error"]["message"].as_str().unwrap().contains("realtime session"), "{body}");
    let gateway = Setup::new().backend("a", &a, "style: v1, realtime: same").start().await;
    opened(&Python::start(&gateway).open_with("both", PREVIEW, json!({})).await, A);
    assert!(a.find("both").expect("a has seen it").path_and_query.starts_with("/openai/realtime?"));
}
