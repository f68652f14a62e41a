//! A backend that says absurd things of its usage: what is charged is what was counted here, no bucket overflows, nobody is served for
//! nothing.

use harness::{Ask, Gateway, Proto, Setup, Wire, eventually};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

const V1: &str = "/openai/v1/chat/completions";
const BODY: &str = r#"{"model":"gpt","stream":false,"messages":[{"role":"user","content":"hello world"}]}"#;
/// Tokens of that prompt, as in `usage`.
const PROMPT: u64 = 9;
const MAX: u64 = 1_000_000_000;

/// What stands in the place of the usage.
const ABSURD: [&str; 18] = [
    "null",
    "\"many\"",
    "[]",
    "{}",
    "-1",
    r#"{"prompt_tokens":-9,"completion_tokens":-5}"#,
    r#"{"prompt_tokens":9,"completion_tokens":-5}"#,
    r#"{"prompt_tokens":9.5,"completion_tokens":5.5}"#,
    r#"{"prompt_tokens":"9","completion_tokens":"5"}"#,
    r#"{"prompt_tokens":null,"completion_tokens":null}"#,
    r#"{"prompt_tokens":9,"completion_tokens":1e30}"#,
    r#"{"prompt_tokens":1e999,"completion_tokens":5}"#,
    r#"{"prompt_tokens":9,"completion_tokens":18446744073709551615}"#,
    r#"{"prompt_tokens":9,"completion_tokens":18446744073709551616}"#,
    r#"{"prompt_tokens":100000001,"completion_tokens":5}"#,
    r#"{"prompt_tokens":60000000,"completion_tokens":60000000}"#,
    r#"{"prompt_tokens":[9],"completion_tokens":{"a":5}}"#,
    r#"{"prompt_tokens":9,"prompt_tokens":9,"completion_tokens":5}"#,
];

/// Answers one request after the other with `answer`, each on a connection of its own.
async fn backend(answer: String) -> Wire {
    Wire::serve(move |mut stream| {
        let answer = answer.clone();
        async move {
            let mut request = Vec::new();
            while !request.ends_with(b"}]}") {
                match stream.read_buf(&mut request).await {
                    Ok(count) if count > 0 => {}
                    _ => return,
                }
            }
            let _ = stream.write_all(answer.as_bytes()).await;
            let _ = stream.shutdown().await;
            let _ = tokio::time::timeout(Duration::from_secs(5), stream.read_to_end(&mut Vec::new())).await;
        }
    })
    .await
}

fn framed(media: &str, body: &str) -> String {
    format!(
        "HTTP/1.1 200 OK\r\ncontent-type: {media}\r\nconnection: close\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    )
}

async fn gateway(wire: &Wire) -> Gateway {
    let limits = format!(
        "usage_limits: [ {{ name: all, everywhere: true, tokens: {{ max: {MAX}, per: 1h }}, quota: {{ tokens: {MAX}, per: month }}, \
         weights: {{ output: 2 }}, concurrent: {{ requests: 3 }} }} ]"
    );
    let prices =
        "prices: { currency: USD, models: [ { model: gpt, input: 2.5, output: 10 } ] }\nusage: { inject: never }\n";
    let setup = Setup::new().top(&limits).pool("ejection: { failures: 0, failure_share: 0% }");
    setup.more(prices).backend_at("a", "swedencentral", &wire.url(), "").start().await
}

/// Asks once: what was charged, and that every bucket says the same.
async fn charged(answer: String, ask: &Ask) -> (u64, u64) {
    let wire = backend(answer).await;
    let gateway = gateway(&wire).await;
    let told = gateway.client(Proto::H1).ask(ask).await;
    assert_eq!((told.status, &told.cut), (200, &None), "{told}");
    let line = gateway.record(&ask.id).await;
    let tokens = |kind: &str| line["tokens"][kind].as_u64().unwrap_or_else(|| panic!("{line}"));
    let (prompt, completion) = (tokens("prompt"), tokens("completion"));
    let left = MAX - prompt - 2 * completion;
    let settled = async || (gateway.metrics().await.count("tidegate_limit_tokens_total", &[]) > 0).then_some(());
    eventually("it is settled", Duration::from_secs(10), settled).await;
    let page = gateway.admin("/limits").await.json();
    let used = page["limits"][0]["used"].as_array().unwrap();
    let of = |measure: &str| used.iter().find(|bucket| bucket["measure"] == measure).unwrap();
    for measure in ["tokens", "token_quota"] {
        assert_eq!((&of(measure)["remaining"], &of(measure)["owed"]), (&left.into(), &0.into()), "{page}");
    }
    assert!(used.iter().all(|bucket| bucket["measure"] != "concurrent_requests" || bucket["remaining"] == 3), "{page}");
    let metrics = gateway.metrics().await;
    assert_eq!(metrics.count("tidegate_tokens_total", &[("kind", "completion")]), completion);
    assert_eq!(metrics.count("tidegate_limit_tokens_total", &[]), prompt + 2 * completion);
    assert_eq!(metrics.count("tidegate_cost_billionths_total", &[]), 2500 * prompt + 10_000 * completion);
    assert_eq!(line["tokens"]["counted"], true, "{line}");
    (prompt, completion)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_with_absurd_usage_is_charged_by_its_length() {
    for usage in ABSURD {
        let body = format!(r#"{{"choices":[{{"message":{{"content":"one two three"}}}}],"usage":{usage}}}"#);
        let counted = charged(framed("application/json", &body), &Ask::json(V1, BODY)).await;
        assert_eq!(counted, (PROMPT, (2 * body.len() as u64).div_ceil(7)), "{usage}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_with_absurd_usage_is_charged_with_what_it_said() {
    for usage in ABSURD {
        let word =
            |word: &str| format!("data: {{\"choices\":[{{\"index\":0,\"delta\":{{\"content\":\"{word}\"}}}}]}}\n\n");
        let body =
            format!("{}{}data: {{\"choices\":[],\"usage\":{usage}}}\n\ndata: [DONE]\n\n", word("one"), word(" two"));
        let ask = Ask { streams: true, ..Ask::json(V1, BODY.replace("false", "true")) };
        assert_eq!(charged(framed("text/event-stream", &body), &ask).await, (PROMPT, 2), "{usage}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn more_from_the_cache_than_the_prompt_has_is_the_prompt() {
    let usage = r#"{"prompt_tokens":9,"completion_tokens":5,"prompt_tokens_details":{"cached_tokens":4000},"completion_tokens_details":{"reasoning_tokens":4000}}"#;
    let body = format!(r#"{{"choices":[],"usage":{usage}}}"#);
    let wire = backend(framed("application/json", &body)).await;
    let gateway = gateway(&wire).await;
    let ask = Ask::json(V1, BODY);
    assert_eq!(gateway.ask(&ask).await.status, 200);
    gateway.record(&ask.id).await;
    let metrics = gateway.metrics().await;
    // All nine from the cache, all five for reasoning: none is counted twice or less than once.
    assert_eq!(metrics.count("tidegate_limit_tokens_total", &[]), 9 + 5);
    assert_eq!(metrics.count("tidegate_cost_billionths_total", &[]), 9 * 2500 + 5 * 10_000);
}
