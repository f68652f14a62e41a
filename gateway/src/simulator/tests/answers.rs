//! What a healthy region answers.

use super::super::{DeploymentOptions, Quota, RegionOptions};
use super::*;

#[tokio::test]
async fn a_chat_names_who_served_and_carries_azures_headers() {
    let region = sweden().await;
    let answer = send(&region, chat(false)).await.unwrap();
    assert_eq!(answer.status, 200);
    let json = answer.json();
    let text = json["choices"][0]["message"]["content"].as_str().unwrap();
    assert!(text.starts_with("[swedencentral/gpt-prod] token1 token2"), "{text}");
    assert_eq!(json["usage"]["prompt_tokens"], 2);
    assert_eq!(json["usage"]["completion_tokens"], 16);
    assert_eq!(answer.header("x-ms-region"), "Sweden Central");
    assert_eq!(answer.header("x-ms-deployment-name"), "gpt-prod");
    assert_eq!(answer.header("x-ratelimit-limit-tokens"), "");
    assert_eq!(answer.header("apim-request-id").len(), 36);
    let other = send(&region, chat(false)).await.unwrap();
    assert_ne!(answer.header("apim-request-id"), other.header("apim-request-id"));
    region.stop().await;
}

#[tokio::test]
async fn a_chat_stream_has_azures_first_and_last_events() {
    let region = sweden().await;
    let body = json!({"messages": [{"role": "user", "content": "x"}], "stream": true, "max_tokens": 3,
        "stream_options": {"include_usage": true}});
    let answer = send(&region, with(post(CHAT, &body), "x-sim-stamp", "1")).await.unwrap();
    assert_eq!(answer.header("content-type"), "text/event-stream; charset=utf-8");
    let events = events(&answer.text());
    let parsed: Vec<Value> = events.iter().filter_map(|event| serde_json::from_str(event).ok()).collect();
    assert!(parsed[0]["prompt_filter_results"].is_array());
    assert_eq!(parsed[1]["choices"][0]["delta"]["role"], "assistant");
    assert_eq!(parsed[2]["choices"][0]["delta"]["content"], "[swedencentral/gpt-prod] token1");
    assert_eq!(parsed[4]["choices"][0]["delta"]["content"], " token3");
    assert_eq!(parsed[4]["x_sim_index"], 3);
    assert!(parsed[4]["x_sim_at_us"].as_u64().unwrap() > 0);
    assert_eq!(parsed[5]["choices"][0]["finish_reason"], "length");
    assert_eq!(parsed[6]["usage"]["completion_tokens"], 3);
    assert_eq!(events.last().unwrap(), "[DONE]");
    assert_eq!(events.len(), 8);
    region.stop().await;
}

#[tokio::test]
async fn http2_and_v1_paths_are_served() {
    let region = sweden().await;
    let body = json!({"model": "gpt-v1", "messages": [{"role": "user", "content": "x"}]});
    let request = post("http://x/openai/v1/chat/completions", &body);
    let answer = send_h2(&region, request).await.unwrap();
    assert!(answer.text().contains("[swedencentral/gpt-v1]"));
    let stats = region.control().stats();
    assert_eq!((stats.by_deployment["gpt-v1"], stats.records[0].version.as_str()), (1, "HTTP/2.0"));
    region.stop().await;
}

#[tokio::test]
async fn embeddings_take_every_shape_of_input() {
    let region = sweden().await;
    let path = "/openai/deployments/emb/embeddings?api-version=2024-10-21";
    for (input, count) in [(json!("a"), 1), (json!(["a", "b"]), 2), (json!([1, 2, 3]), 1), (json!([[1], [2]]), 2)] {
        let answer = send(&region, post(path, &json!({"input": input, "dimensions": 4}))).await.unwrap();
        assert_eq!(answer.json()["data"].as_array().unwrap().len(), count, "{input}");
    }
    region.stop().await;
}

#[tokio::test]
async fn wrong_requests_meet_azures_refusals() {
    let options = RegionOptions {
        api_key: Some("secret".into()),
        deployments: vec![DeploymentOptions::new("gpt-prod", Quota::Unlimited)],
        ..RegionOptions::new("swedencentral")
    };
    let region = region(options).await;
    let key = |request| with(request, "api-key", "secret");
    let answer = send(&region, chat(false)).await.unwrap();
    assert_eq!((answer.status, answer.json()["error"]["code"].as_str().unwrap()), (401, "401"));
    let messages = json!({"messages": [{"role": "user", "content": "x"}]});
    let other = "/openai/deployments/other/chat/completions?api-version=1";
    let answer = send(&region, key(post(other, &messages))).await.unwrap();
    assert_eq!((answer.status, answer.json()["error"]["code"].as_str().unwrap()), (404, "DeploymentNotFound"));
    let unversioned = "/openai/deployments/gpt-prod/chat/completions";
    let answer = send(&region, key(post(unversioned, &messages))).await.unwrap();
    assert_eq!((answer.status, answer.json()["error"]["message"].as_str().unwrap()), (404, "Resource not found"));
    assert_eq!(send(&region, key(post(CHAT, &json!({})))).await.unwrap().status, 400);
    assert_eq!(send(&region, key(post(CHAT, &json!({"messages": 1})))).await.unwrap().status, 400);
    assert_eq!(send(&region, key(post(CHAT, &json!([])))).await.unwrap().status, 400);
    assert_eq!(send(&region, key(post("/openai/tides?api-version=1", &json!({})))).await.unwrap().status, 404);
    assert_eq!(send(&region, key(chat(false))).await.unwrap().status, 200);
    let bearer = with(chat(false), "authorization", "Bearer secret");
    assert_eq!(send(&region, bearer).await.unwrap().status, 200);
    region.stop().await;
}

#[tokio::test]
async fn quotas_answer_429_with_advice_and_budgets() {
    let standard = DeploymentOptions::new("gpt-prod", Quota::Standard { tpm: 50, rpm: 6000 });
    let ptu = DeploymentOptions::new("ptu", Quota::Provisioned { tokens_per_second: 1, burst_tokens: 10 });
    let options = RegionOptions { deployments: vec![standard, ptu], ..RegionOptions::new("francecentral") };
    let region = region(options).await;
    let (mut served, mut refused) = (0, None);
    for _ in 0..8 {
        let answer = send(&region, chat(false)).await.unwrap();
        assert_eq!(answer.header("x-ratelimit-limit-tokens"), "50");
        if answer.status == 200 { served += 1 } else { refused = Some(answer) }
    }
    let refused = refused.unwrap();
    assert!((2..=4).contains(&served), "{served}");
    assert_eq!(refused.status, 429);
    assert!(refused.json()["error"]["message"].as_str().unwrap().contains("token rate limit"));
    assert!(refused.header("retry-after").parse::<u64>().unwrap() <= 60);
    let path = "/openai/deployments/ptu/chat/completions?api-version=1";
    let body = json!({"messages": [{"role": "user", "content": "x"}], "max_tokens": 20});
    assert_eq!(send(&region, post(path, &body)).await.unwrap().status, 200);
    // 1 + 20 tokens at 1 a second, settled to 1 + 16.
    let answer = send(&region, post(path, &body)).await.unwrap();
    let wait: u64 = answer.header("retry-after-ms").parse().unwrap();
    assert!(answer.status == 429 && (1000..=11_000).contains(&wait), "{wait}");
    assert_eq!(answer.header("x-ratelimit-limit-tokens"), "");
    region.stop().await;
}

#[tokio::test]
async fn requests_steer_their_own_answers() {
    let region = sweden().await;
    let answer = send(&region, with(chat(false), "x-sim-tokens", "40")).await.unwrap();
    assert_eq!(answer.json()["usage"]["completion_tokens"], 40);
    let answer = send(&region, with(chat(false), "x-sim-size", "3000000")).await.unwrap();
    assert_eq!((answer.body.len(), answer.header("content-length")), (3_000_000, "3000000"));
    assert!(answer.json()["choices"][0]["message"]["content"].as_str().unwrap().ends_with("xxx"));
    let start = Instant::now();
    let slow = with(with(chat(true), "x-sim-chunk-ms", "20"), "x-sim-first-ms", "60");
    let answer = send(&region, with(slow, "x-sim-tokens", "5")).await.unwrap();
    assert!(start.elapsed() >= Duration::from_millis(140), "{:?}", start.elapsed());
    assert!(answer.frames >= 5);
    region.stop().await;
}

#[tokio::test]
async fn probes_records_and_bodies_are_counted() {
    let region = sweden().await;
    assert_eq!(send(&region, get("/openai/models?api-version=1")).await.unwrap().status, 200);
    let head = Request::head("/").header("host", "x").body(Full::default()).unwrap();
    assert_eq!(send(&region, head).await.unwrap().status, 200);
    drop(TcpStream::connect(region.address()).await.unwrap());
    let answer = send(&region, with(chat(false), "x-marker", "m")).await.unwrap();
    assert_eq!(answer.status, 200);
    let stats = until(region.control(), |stats| stats.bare_connections == 1 && stats.connections_open == 0).await;
    assert_eq!((stats.requests, stats.probes, stats.connections_accepted, stats.in_flight), (1, 2, 4, 0));
    let record = stats.records.back().unwrap();
    assert_eq!((record.header("x-marker"), record.status, record.ended), (Some("m"), 200, true));
    assert_eq!(record.body_len, stats.body_bytes);
    assert_eq!((record.body_sha256.len(), stats.calls_ms.len()), (64, 1));
    let seen = send(&region, get("/_sim/stats?records=1")).await.unwrap().json();
    let seen: Stats = serde_json::from_value(seen).unwrap();
    assert_eq!((seen.requests, seen.records.len()), (1, 1));
    region.control().reset();
    assert_eq!(region.control().stats().requests, 0);
    region.stop().await;
}

#[tokio::test]
async fn a_stopped_region_frees_its_port() {
    let region = sweden().await;
    let (address, control) = (region.address(), region.control().clone());
    let live = TcpStream::connect(address).await.unwrap();
    region.stop().await;
    assert!(TcpStream::connect(address).await.is_err());
    let again = Region::start(RegionOptions::new("westeurope"), address).await.unwrap();
    assert_eq!(send(&again, chat(false)).await.unwrap().status, 200);
    assert_eq!(control.stats().requests, 0);
    drop(live);
    again.stop().await;
}
