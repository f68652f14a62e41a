//! Cross-origin use by browsers: preflights end at the edge, and every answer carries the headers of its policy.

use crate::common::{A, ladder, regions, served_by};
use harness::{Answer, Ask, Gateway, Proto, Sim};
use tidegate::simulator::{FaultKind, FaultRule};

const APP: &str = "https://app.example.com";
const POLICY: &str =
    "cors: { origins: [\"https://app.example.com\", \"https://*.example.org\"], credentials: true, max_age: 2m }";

fn preflight(path: &str, origin: &str, method: &str, headers: &str) -> Ask {
    let ask = Ask::new("OPTIONS", path).header("origin", origin).header("access-control-request-method", method);
    if headers.is_empty() { ask } else { ask.header("access-control-request-headers", headers) }
}

async fn gateway(policy: &str, more: &str) -> (Sim, Sim, Gateway) {
    let (a, b) = regions().await;
    let gateway = ladder(&a, &b).top(policy).more(more).start().await;
    (a, b, gateway)
}

fn allowed(answer: &Answer) -> (&str, &str) {
    (answer.header("access-control-allow-origin"), answer.header("access-control-allow-credentials"))
}

fn varies(answer: &Answer) -> bool {
    answer.headers.get_all("vary").iter().any(|value| value.to_str().unwrap().split(", ").any(|name| name == "origin"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_preflight_is_answered_without_any_backend() {
    let (a, b, gateway) = gateway(POLICY, "").await;
    for proto in Proto::PLAIN {
        // Kept connections: a preflight and its request share one.
        let client = gateway.client(proto).keeping();
        for path in [Ask::chat("gpt").path, "/openai/v1/chat/completions".to_owned(), "/%zz".to_owned()] {
            let ask = preflight(&path, APP, "POST", "authorization,content-type,x-stainless-lang");
            let answer = client.ask(&ask).await;
            assert_eq!((answer.status, allowed(&answer)), (204, (APP, "true")), "{path} {answer}");
            assert_eq!(answer.header("access-control-allow-methods"), "GET, HEAD, POST");
            assert!(answer.header("access-control-allow-headers").contains("authorization"), "{answer}");
            assert_eq!(answer.header("access-control-max-age"), "120");
            assert!(varies(&answer) && answer.body.is_empty(), "{answer}");
            assert_eq!((answer.header("x-request-id"), answer.header("content-length")), (ask.id.as_str(), ""));
            let record = gateway.record(&ask.id).await;
            assert_eq!((&record["ending"], &record["status"]), (&"answered".into(), &204.into()), "{record}");
        }
        served_by(&client.ask(&Ask::chat("gpt").header("origin", APP)).await, A);
    }
    assert_eq!((a.requests(), b.requests()), (2, 0));
    let answered = gateway.metrics().await.sum("tidegate_requests_total", &[("ending", "answered")]);
    assert!((answered - 6.0).abs() < 0.1, "{answered}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_preflight_for_more_than_is_allowed_is_refused() {
    let (a, b, gateway) = gateway(POLICY, "").await;
    let path = Ask::chat("gpt").path;
    for (origin, method, headers, allow_origin) in [
        ("https://evil.example", "POST", "", ""),
        ("http://app.example.com", "POST", "", ""),
        ("https://example.org", "POST", "", ""),
        ("null", "POST", "", ""),
        (APP, "DELETE", "", APP),
        (APP, "POST", "x-other", APP),
        ("https://a.example.org", "PUT", "", "https://a.example.org"),
    ] {
        let answer = gateway.ask(&preflight(&path, origin, method, headers)).await;
        assert_eq!((answer.status, answer.code()), (403, "cors_refused".to_owned()), "{origin} {method} {answer}");
        assert_eq!(allowed(&answer).0, allow_origin, "{answer}");
        assert!(varies(&answer) && answer.header("access-control-allow-methods").is_empty(), "{answer}");
    }
    let answer = gateway.ask(&preflight(&path, "https://a.b.example.org", "GET", "")).await;
    assert_eq!((answer.status, allowed(&answer).0), (204, "https://a.b.example.org"));
    assert_eq!((a.requests(), b.requests()), (0, 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_answer_carries_the_headers_of_its_policy() {
    let (a, b, gateway) = gateway(POLICY, "").await;
    for ask in [Ask::chat("gpt"), Ask::stream("gpt"), Ask::new("GET", "/openai/v1/models")] {
        let answer = gateway.ask(&ask.header("origin", APP)).await;
        assert_eq!((answer.status, allowed(&answer)), (200, (APP, "true")), "{answer}");
        assert!(answer.header("access-control-expose-headers").contains("x-request-id") && varies(&answer), "{answer}");
    }
    // Served all the same, but the page does not get to see it.
    for ask in [Ask::chat("gpt"), Ask::chat("gpt").header("origin", "https://evil.example")] {
        let answer = gateway.ask(&ask).await;
        assert_eq!((answer.status, allowed(&answer), varies(&answer)), (200, ("", ""), true), "{answer}");
    }
    // Our own refusals, from before and after the route, and faults.
    let too_large = Ask::new("GET", &format!("/{}", "x".repeat(9000)));
    for (ask, status) in [
        (Ask::new("TRACE", "/openai/v1/models"), 405),
        (too_large, 414),
        (Ask::json("/openai/v1/chat/completions", "{"), 400),
        (Ask::new("GET", "/a//b"), 400),
    ] {
        let answer = gateway.ask(&ask.header("origin", APP)).await;
        assert_eq!((answer.status, allowed(&answer).0), (status, APP), "{answer}");
    }
    a.refuse();
    b.refuse();
    let answer = gateway.ask(&Ask::chat("gpt").header("origin", APP)).await;
    assert_eq!((answer.status, allowed(&answer).0), (502, APP), "{answer}");
    assert!(answer.header("access-control-expose-headers").contains("retry-after"), "{answer}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backends_own_words_are_replaced_only_where_a_policy_speaks() {
    let says = "HTTP/1.1 200 OK\r\naccess-control-allow-origin: *\r\naccess-control-max-age: 9\r\nvary: accept\r\n\
                content-type: text/plain\r\ncontent-length: 2\r\n\r\nok";
    let wire = harness::Wire::serve(move |mut stream| async move {
        use tokio::io::{AsyncReadExt, AsyncWriteExt};
        let mut buffer = [0; 4096];
        while stream.read(&mut buffer).await.is_ok_and(|count| count > 0) {
            let _ = stream.write_all(says.as_bytes()).await;
        }
    })
    .await;
    let more = "routes:\n  - { name: own, match: { path: /own }, pool: chat, cors: { origins: [\"*\"], headers: [\"*\"] } }\n  \
                - { name: none, match: { path: /none }, pool: chat, cors: off }\n  - { name: rest, pool: chat }\n";
    let gateway =
        harness::Setup::new().backend_at("wire", "swedencentral", &wire.url(), "").top(POLICY).more(more).start().await;
    let ask = |path: &str| Ask::new("GET", path).header("origin", "https://evil.example");
    let answer = gateway.ask(&ask("/rest")).await;
    assert_eq!(
        (allowed(&answer).0, answer.header("access-control-max-age"), varies(&answer)),
        ("", "", true),
        "{answer}"
    );
    assert_eq!(answer.header("vary"), "accept", "the backend's own Vary stays: {answer}");
    let answer = gateway.ask(&ask("/own")).await;
    assert_eq!(
        (allowed(&answer).0, answer.header("access-control-max-age"), varies(&answer)),
        ("*", "", false),
        "{answer}"
    );
    let answer = gateway.ask(&ask("/none")).await;
    assert_eq!((allowed(&answer).0, answer.header("access-control-max-age")), ("*", "9"), "{answer}");
    let answer = gateway.ask(&preflight("/own", "https://evil.example", "POST", "x-any, authorization")).await;
    assert_eq!((answer.status, answer.header("access-control-allow-headers")), (204, "x-any, authorization"));
    // Without a policy a preflight is a request like any other.
    let ask = preflight("/none", "https://evil.example", "POST", "");
    assert_eq!(gateway.ask(&ask).await.status, 200);
    assert_eq!(gateway.record(&ask.id).await["route"], "none");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_policy_nothing_is_added_or_taken_away() {
    let (a, b) = regions().await;
    let gateway = ladder(&a, &b).start().await;
    a.fault(FaultRule::new(FaultKind::Status(tidegate::simulator::StatusFault::status(400))));
    let answer = gateway.ask(&Ask::chat("gpt").header("origin", APP)).await;
    assert_eq!((answer.status, allowed(&answer), varies(&answer)), (400, ("", ""), false), "{answer}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn curl_sees_what_a_browser_would() {
    let (_a, _b, gateway) = gateway(POLICY, "").await;
    let url = format!("http://{}/openai/v1/chat/completions", gateway.address());
    let output = std::process::Command::new("curl")
        .args([
            "--silent",
            "--max-time",
            "20",
            "--include",
            "--request",
            "OPTIONS",
            "--header",
            "Origin: https://x.example.org",
        ])
        .args([
            "--header",
            "Access-Control-Request-Method: POST",
            "--header",
            "Access-Control-Request-Headers: api-key",
        ])
        .arg(&url)
        .output()
        .unwrap();
    let text = String::from_utf8(output.stdout).unwrap().to_lowercase();
    assert!(text.starts_with("http/1.1 204 "), "{text}");
    assert!(text.contains("access-control-allow-origin: https://x.example.org\r\n"), "{text}");
    assert!(text.contains("access-control-allow-methods: get, head, post\r\n"), "{text}");
}
