//! Classic clients and v1 backends, v1 clients and classic backends: every call arrives in the shape that its backend takes,
//! and in no other. The simulated regions know one style each and refuse the other.

use crate::common::served_by;
use harness::{Answer, Ask, Gateway, Proto, Setup, Sim};
use tidegate::simulator::{DeploymentOptions, Quota, RegionOptions, Style};

const VERSION: &str = "2025-04-01-preview";
const FORM: &str = "multipart/form-data; boundary=frontier";
const SOUND: &[u8] = b"RIFF\r\n--frontie\r\n\xff\x00--frontierX\r\n";

/// A region that knows one style and one deployment.
async fn region(name: &str, style: Style, deployment: &str) -> Sim {
    let deployments = vec![DeploymentOptions::new(deployment, Quota::Unlimited)];
    Sim::with(RegionOptions { style, deployments, ..RegionOptions::new(name) }).await
}

/// `a` speaks classic, `b` speaks v1; each is in a pool of its own, by the deployment asked for.
async fn gateway(a: &Sim, b: &Sim, own: bool) -> Gateway {
    let named = |name: &str| if own { format!(", deployment: {name}") } else { String::new() };
    Setup::new()
        .backend("a", a, &format!("style: classic, api_version: {VERSION}{}", named("there-a")))
        .more(&format!(
            "  - name: newer\n    probe: off\n    backends:\n      - {{ name: b, region: francecentral, url: \"{}\", style: v1{} }}\n\
             routes:\n  - {{ name: a, match: {{ deployment: a }}, pool: chat }}\n  \
             - {{ name: b, match: {{ deployment: b }}, pool: newer }}\n",
            b.url(),
            named("there-b"),
        ))
        .start()
        .await
}

fn form(fields: &[(&str, &str)]) -> Vec<u8> {
    let mut body = Vec::new();
    for (name, value) in fields {
        let part = format!("--frontier\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n");
        body.extend_from_slice(part.as_bytes());
    }
    body.extend_from_slice(b"--frontier\r\nContent-Disposition: form-data; name=\"file\"; filename=\"a.wav\"\r\n\r\n");
    body.extend_from_slice(SOUND);
    body.extend_from_slice(b"\r\n--frontier--\r\n");
    body
}

/// Path below the deployment, and its body without a `model`.
const JSON_CALLS: [(&str, &str); 5] = [
    ("/chat/completions", r#"{"messages":[{"role":"user","content":"hi"}]}"#),
    ("/completions", r#"{ "prompt" : "hi" }"#),
    ("/embeddings", r#"{"input":"hi"}"#),
    ("/images/generations", r#"{"prompt":"hi","response_format":"b64_json"}"#),
    ("/audio/speech", r#"{"input":"hi","voice":"alloy"}"#),
];
const FORM_CALLS: [&str; 3] = ["/audio/transcriptions", "/audio/translations", "/images/edits"];

async fn ask(gateway: &Gateway, ask: &Ask, backend: &str) -> Answer {
    let answer = gateway.client(Proto::H1).ask(ask).await;
    served_by(&answer, backend);
    answer
}

fn classic(deployment: &str, call: &str) -> String {
    format!("/openai/deployments/{deployment}{call}?api-version=2024-10-21")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_classic_client_is_served_by_a_v1_backend() {
    for (own, there) in [(true, "there-b"), (false, "b")] {
        let (a, b) =
            (region("swedencentral", Style::Classic, "a").await, region("francecentral", Style::V1, there).await);
        let gateway = gateway(&a, &b, own).await;
        for (call, body) in JSON_CALLS {
            for body in [body.to_owned(), body.replacen('{', r#"{"model":"b","#, 1)] {
                let asked = Ask::json(&classic("b", call), body);
                ask(&gateway, &asked, "francecentral/b").await;
                let record = b.record(&asked.id).await;
                assert_eq!(record.path_and_query, format!("/openai/v1{call}"), "{record:?}");
            }
        }
        for call in FORM_CALLS {
            for fields in [&[][..], &[("model", "b")], &[("prompt", "x"), ("model", "something else")]] {
                let asked = Ask::new("POST", &classic("b", call)).header("content-type", FORM).body(form(fields));
                ask(&gateway, &asked, "francecentral/b").await;
                let record = b.record(&asked.id).await;
                assert_eq!(record.path_and_query, format!("/openai/v1{call}"), "{record:?}");
                // Every byte but those of the model is the client's own.
                let mut sent: Vec<(&str, &str)> = fields.iter().copied().filter(|(name, _)| *name != "model").collect();
                sent.insert(if fields.len() > 1 { 1 } else { 0 }, ("model", there));
                assert_eq!(record.body_sha256, harness::sha256(&form(&sent)), "{call} {fields:?}");
            }
        }
        let body = r#"{"model":"b","input":"hi"}"#;
        let asked = Ask::json("/openai/responses?api-version=2025-03-01-preview", body);
        ask(&gateway, &asked, "francecentral/b").await;
        assert_eq!(b.record(&asked.id).await.path_and_query, "/openai/v1/responses");
        let asked = Ask { streams: true, ..Ask::json(&classic("b", "/chat/completions"), STREAM) };
        let answer = ask(&gateway, &asked, "francecentral/b").await;
        assert!(answer.text().ends_with("data: [DONE]\n\n"), "{answer}");
        assert_eq!(a.requests(), 0);
    }
}

const STREAM: &str = r#"{"stream":true,"messages":[{"role":"user","content":"hi"}]}"#;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_v1_client_is_served_by_a_classic_backend() {
    for (own, there) in [(true, "there-a"), (false, "a")] {
        let (a, b) =
            (region("swedencentral", Style::Classic, there).await, region("francecentral", Style::V1, "b").await);
        let gateway = gateway(&a, &b, own).await;
        for (call, body) in JSON_CALLS {
            let asked = Ask::json(&format!("/openai/v1{call}"), body.replacen('{', r#"{"model":"a","#, 1));
            ask(&gateway, &asked, "swedencentral/a").await;
            let want = format!("/openai/deployments/{there}{call}?api-version={VERSION}");
            assert_eq!(a.record(&asked.id).await.path_and_query, want);
        }
        for call in FORM_CALLS {
            let body = form(&[("language", "fr"), ("model", "a")]);
            let asked = Ask::new("POST", &format!("/v1{call}")).header("content-type", FORM).body(body);
            ask(&gateway, &asked, "swedencentral/a").await;
            let record = a.record(&asked.id).await;
            let want = format!("/openai/deployments/{there}{call}?api-version={VERSION}");
            assert_eq!(record.path_and_query, want);
            assert_eq!(record.body_sha256, harness::sha256(&form(&[("language", "fr"), ("model", there)])), "{call}");
        }
        let asked = Ask::json("/openai/v1/responses?api-version=preview", r#"{"model":"a","input":"hi"}"#);
        ask(&gateway, &asked, "swedencentral/a").await;
        assert_eq!(a.record(&asked.id).await.path_and_query, format!("/openai/responses?api-version={VERSION}"));
        assert_eq!(b.requests(), 0);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_pool_of_both_styles_fails_over_between_them() {
    let (a, b) =
        (region("swedencentral", Style::Classic, "there-a").await, region("francecentral", Style::V1, "there-b").await);
    let gateway = Setup::new()
        .pool("ejection: { failures: 0, failure_share: 0%, jitter: 0% }")
        .backend("a", &a, &format!("style: classic, api_version: {VERSION}, deployment: there-a, priority: 1"))
        .backend("b", &b, "style: v1, deployment: there-b, priority: 2")
        .start()
        .await;
    for asked in [Ask::chat("gpt"), Ask::v1("gpt"), Ask::stream("gpt"), Ask::v1_stream("gpt"), Ask::embeddings("gpt")] {
        ask(&gateway, &asked.again(), "swedencentral/a").await;
        a.status(503);
        let answer = ask(&gateway, &asked, "francecentral/b").await;
        assert!(asked.path.contains("embeddings") || answer.text().contains("[francecentral/there-b]"), "{answer}");
        a.clear();
    }
    // What a style does not have reaches no backend of it.
    for (path, backend) in
        [("/openai/assistants?api-version=2024-10-21", "swedencentral/a"), ("/openai/v1/containers", "")]
    {
        let (at_a, at_b) = (a.requests(), b.requests());
        let answer = gateway.client(Proto::H1).ask(&Ask::json(path, "{}")).await;
        if backend.is_empty() {
            assert_eq!((b.requests() - at_b, a.requests() - at_a), (1, 0), "{answer}");
        } else {
            assert_eq!((answer.header("x-served-by"), b.requests() - at_b), (backend, 0), "{answer}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_that_no_backend_has_is_refused_by_name() {
    let b = region("francecentral", Style::V1, "gpt").await;
    let gateway = Setup::new().backend("b", &b, "style: v1").start().await;
    let answer = gateway.client(Proto::H1).ask(&Ask::json("/openai/assistants?api-version=2024-10-21", "{}")).await;
    let error = answer.json()["error"].clone();
    assert_eq!((answer.status, &error["code"]), (400, &"unsupported_by_backends".into()), "{answer}");
    assert_eq!(error["message"], "No backend of this deployment can take this call.");
    assert_eq!(b.requests(), 0);
}
