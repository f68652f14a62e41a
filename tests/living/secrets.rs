//! Canaries: secrets and prompts are sent through every way a request can end, then searched for wherever people look.

use crate::common::{is_ok, ladder, ms, paced, regions};
use harness::{Ask, Gateway, Proto, Setup, Sim, binary};
use std::process::Command;
use tidegate::simulator::{FaultKind, FaultRule};

/// Distinct in every letter, so that no prefix of one is found by chance.
const CANARIES: [(&str, &str); 9] = [
    ("the client's api-key", "canary-client-key-7f3a"),
    ("the client's bearer token", "canary-client-bearer-91bd"),
    ("the client's subscription key", "canary-client-apim-c44e"),
    ("the client's cookie", "canary-client-cookie-05f2"),
    ("the key in the query", "canary-query-key-3e88"),
    ("the prompt", "canary prompt text 6d10"),
    ("the backend's key from a file", "canary-backend-file-a2c7"),
    ("the backend's key from the environment", "canary-backend-env-58e1"),
    ("the backend's secret header", "canary-backend-header-b96f"),
];

fn canary(what: &str) -> &'static str {
    CANARIES.iter().find(|(name, _)| *name == what).expect("a canary").1
}

fn setup(a: &Sim, b: &Sim, levels: &str) -> Setup {
    ladder(a, b)
        .env("RUST_LOG", levels)
        .env("B_KEY", canary("the backend's key from the environment"))
        .file("a.key", canary("the backend's key from a file"))
        .file("header.key", canary("the backend's secret header"))
        .pool("ejection: { failures: 0, failure_share: 0%, misconfigured: 50ms, base: 50ms, max: 50ms, jitter: 0%, advised_default: 1s, advised_max: 1s }")
        .pool("failover: { deadline: 600ms, first_byte_timeout: 250ms, stream_first_byte_timeout: 250ms }")
        .pool("probe: { interval: 300ms, unhealthy_after: 100, http: { path: /openai/v1/models, credential: true } }")
        .backend("a", a, "priority: 1, auth: { api_key: { file: a.key } }")
        .backend("b", b, "priority: 2, auth: { bearer: { env: B_KEY } }, headers: { x-gate: { file: header.key } }")
}

/// A request that carries every canary of a client.
fn laden(ask: Ask) -> Ask {
    let body = String::from_utf8(ask.bytes().to_vec()).unwrap();
    let body = body.replace(r#""content":"""#, &format!(r#""content":"{}""#, canary("the prompt")));
    let gap = if ask.path.contains('?') { '&' } else { '?' };
    let key = canary("the key in the query");
    let path = format!("{}{gap}api-key={key}&subscription-key={key}&sig={key}", ask.path);
    Ask { path, ..ask }
        .body(body)
        .header("api-key", canary("the client's api-key"))
        .header("authorization", &format!("Bearer {}", canary("the client's bearer token")))
        .header("ocp-apim-subscription-key", canary("the client's subscription key"))
        .header("cookie", &format!("session={}", canary("the client's cookie")))
}

/// Nothing of a client or a backend is in `text`.
#[track_caller]
fn is_clean(place: &str, text: &str) {
    for (what, canary) in CANARIES {
        let found = text.find(canary).map(|at| text[..at].rsplit('\n').next().unwrap_or_default().to_owned());
        assert_eq!(found, None, "{what} is in {place}");
    }
}

/// Every kind of end; gives all headers and bodies that clients got.
async fn through_every_end(gateway: &Gateway, a: &Sim, b: &Sim) -> String {
    let mut seen = String::new();
    let faults = [
        None,
        Some(FaultRule::preset("400_filter")),
        Some(FaultRule::preset("401_key")),
        Some(FaultRule::preset("403_network")),
        Some(FaultRule::preset("404_deployment")),
        Some(FaultRule::preset("500")),
        Some(FaultRule::new(FaultKind::ResetBeforeHeaders {})),
        Some(FaultRule::new(FaultKind::HangBeforeHeaders { for_ms: None })),
        Some(FaultRule::new(FaultKind::ResetAfter { chunks: 3 })),
        Some(FaultRule::new(FaultKind::Refuse { keep_connections: false, for_ms: None })),
        Some(FaultRule::preset("429_tokens")),
    ];
    for fault in faults {
        for proto in Proto::PLAIN {
            [a, b].iter().for_each(|sim| sim.clear());
            for name in ["a", "b"] {
                gateway.until_eligible(name, true).await;
            }
            for sim in [a, b] {
                fault.iter().for_each(|rule| sim.fault(rule.clone()));
            }
            for ask in [
                laden(Ask::chat("gpt")),
                laden(paced(Ask::v1_stream("gpt"), 5, ms(1))),
                laden(Ask::chat("bad/../name")),
                laden(Ask::v1("gpt")).body(format!("{{\"model\":\"gpt\", {}", canary("the prompt"))),
                laden(Ask::chat("gpt")).header("x-api-key-2", canary("the client's api-key")),
            ] {
                if let Ok(answer) = gateway.client(proto).try_ask(&ask).await {
                    seen.push_str(&format!("{answer}\n{}\n", answer.text()));
                }
            }
        }
    }
    seen
}

async fn no_secret_leaks(levels: &str) {
    let (a, b) = regions().await;
    let gateway = setup(&a, &b, levels).start().await;
    is_ok(&gateway.ask(&laden(Ask::chat("gpt"))).await);
    let record = a.records().pop().expect("the request");
    let key = canary("the backend's key from a file");
    assert_eq!(record.header("api-key"), Some(key), "the backend gets its own key, and the test its canary");
    is_clean("what clients see", &through_every_end(&gateway, &a, &b).await);
    assert!(gateway.reload().await);
    std::fs::write(gateway.file("a.key"), format!("{} with a\nbreak", canary("the backend's key from a file")))
        .unwrap();
    assert!(!gateway.reload().await, "a secret with a line break in it is refused");
    for path in ["/metrics", "/backends", "/readyz", "/version", "/livez"] {
        is_clean(path, &gateway.admin(path).await.text());
    }
    let ends = gateway.access_log();
    assert!(ends.len() > 100, "{} lines", ends.len());
    is_clean("the access log", &std::fs::read_to_string(gateway.file("access.jsonl")).unwrap());
    is_clean("the process log", &gateway.log());
    for sim in [&a, &b] {
        for record in sim.records() {
            let headers: String = record.headers.iter().map(|(name, value)| format!("{name}: {value}\n")).collect();
            for what in ["the client's api-key", "the client's bearer token", "the client's subscription key"] {
                let found =
                    headers.lines().find(|line| line.contains(canary(what)) && !line.starts_with("x-api-key-2"));
                assert_eq!(found, None, "{what} reached a backend");
            }
        }
    }
    gateway.signal("TERM");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_secret_leaks_at_the_usual_levels() {
    no_secret_leaks("").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_secret_leaks_from_our_own_debug_levels() {
    no_secret_leaks("info,tidegate=trace").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_secret_leaks_at_debug() {
    no_secret_leaks("debug").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_secret_is_printed_by_check_or_explain() {
    let (a, b) = regions().await;
    let gateway = setup(&a, &b, "").start().await;
    let config = gateway.config().display().to_string();
    let path = "/openai/deployments/gpt/chat/completions";
    for args in [vec!["check"], vec!["check", "--print"], vec!["explain", "--path", path]] {
        let output = Command::new(binary())
            .args(&args)
            .args(["--config", &config])
            .env("B_KEY", canary("the backend's key from the environment"))
            .output()
            .expect("the binary runs");
        let text = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
        assert_eq!(output.status.code(), Some(0), "{args:?}: {text}");
        is_clean(&format!("{args:?}"), &text);
    }
}
