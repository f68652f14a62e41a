//! Every kind of fault, through a socket.

use super::super::{FaultKind, FaultRule, StatusFault};
use super::*;

async fn struck(rule: FaultRule) -> Region {
    let region = sweden().await;
    region.control().add_fault(rule).unwrap();
    region
}

#[tokio::test]
async fn a_status_fault_is_used_up() {
    let status = StatusFault::preset("429_tokens").retry_after_ms(1500);
    let region = struck(FaultRule::new(FaultKind::Status(status)).times(1)).await;
    let answer = send(&region, chat(false)).await.unwrap();
    assert_eq!(answer.status, 429);
    assert_eq!((answer.header("retry-after-ms"), answer.header("retry-after")), ("1500", "2"));
    assert!(answer.text().contains("ChatCompletions_Create Operation under Azure OpenAI API version 2024-10-21"));
    assert_eq!(send(&region, chat(false)).await.unwrap().status, 200);
    let stats = region.control().stats();
    assert_eq!((stats.by_status[&429], stats.by_status[&200], stats.faulted), (1, 1, 1));
    region.stop().await;
}

#[tokio::test]
async fn a_status_fault_over_the_control_path() {
    let region = sweden().await;
    let rule = json!({"kind": "status", "status": 503, "body": "no", "retry_after": "Wed, 21 Oct 2099 07:28:00 GMT",
        "headers": {"x-a": "b", "x-ms-region": ""}, "match": {"stream": true}});
    assert_eq!(send(&region, post("/_sim/fault", &rule)).await.unwrap().status, 200);
    assert_eq!(send(&region, chat(false)).await.unwrap().status, 200);
    let answer = send(&region, chat(true)).await.unwrap();
    assert_eq!((answer.status, answer.text().as_str(), answer.header("x-a")), (503, "no", "b"));
    assert_eq!(answer.header("retry-after"), "Wed, 21 Oct 2099 07:28:00 GMT");
    assert_eq!((answer.header("retry-after-ms"), answer.header("x-ms-region")), ("", ""));
    let delete = Request::delete("/_sim/fault").header("host", "x").body(Full::default()).unwrap();
    assert_eq!(send(&region, delete).await.unwrap().status, 200);
    assert_eq!(send(&region, chat(true)).await.unwrap().status, 200);
    let bad = send(&region, post("/_sim/fault", &json!({"kind": "nonsense"}))).await.unwrap();
    assert_eq!(bad.status, 400);
    region.stop().await;
}

#[tokio::test]
async fn a_hang_ends_with_the_client_or_its_time() {
    let region = struck(FaultRule::new(FaultKind::HangBeforeHeaders { for_ms: None }).times(1)).await;
    let waiting = tokio::time::timeout(Duration::from_millis(50), send(&region, chat(false))).await;
    assert!(waiting.is_err());
    let stats = until(region.control(), |stats| stats.aborted == 1).await;
    assert!(stats.records[0].aborted && stats.records[0].status == 0 && stats.in_flight == 0);
    let rule = FaultRule::new(FaultKind::HangBeforeHeaders { for_ms: Some(60) }).times(1);
    region.control().add_fault(rule).unwrap();
    let start = Instant::now();
    assert_eq!(send(&region, chat(false)).await.unwrap().status, 200);
    assert!(start.elapsed() >= Duration::from_millis(60));
    region.stop().await;
}

#[tokio::test]
async fn reset_and_close_before_headers_differ() {
    let region = struck(FaultRule::new(FaultKind::ResetBeforeHeaders {}).times(1)).await;
    let error = send(&region, chat(false)).await.err().unwrap();
    assert!(error.contains("ConnectionReset"), "{error}");
    region.control().add_fault(FaultRule::new(FaultKind::CloseBeforeHeaders {}).times(1)).unwrap();
    let error = send(&region, chat(false)).await.err().unwrap();
    assert!(error.contains("IncompleteMessage"), "{error}");
    region.control().add_fault(FaultRule::new(FaultKind::ResetBeforeHeaders {}).times(1)).unwrap();
    let mut request = chat(false);
    *request.uri_mut() = format!("http://x{CHAT}").parse().unwrap();
    assert!(send_h2(&region, request).await.is_err());
    let stats = until(region.control(), |stats| stats.connections_open == 0).await;
    assert_eq!((stats.aborted, stats.in_flight, stats.faulted), (0, 0, 3));
    region.stop().await;
}

#[tokio::test]
async fn refused_connections_come_back() {
    let region = sweden().await;
    let live = TcpStream::connect(region.address()).await.unwrap();
    until(region.control(), |stats| stats.connections_open == 1).await;
    region.control().add_fault(FaultRule::new(FaultKind::Refuse { keep_connections: false, for_ms: None })).unwrap();
    for _ in 0..3 {
        let error = send(&region, chat(false)).await.err().unwrap();
        assert!(error.contains("refused"), "{error}");
    }
    until(region.control(), |stats| stats.connections_open == 0).await;
    drop(live);
    region.control().clear_faults();
    assert_eq!(send(&region, chat(false)).await.unwrap().status, 200);
    let timed = FaultKind::Refuse { keep_connections: true, for_ms: Some(50) };
    region.control().add_fault(FaultRule::new(timed)).unwrap();
    assert!(send(&region, chat(false)).await.is_err());
    until(region.control(), |_| region.control().faults().is_empty()).await;
    assert_eq!(send(&region, chat(false)).await.unwrap().status, 200);
    region.stop().await;
}

#[tokio::test]
async fn faults_inside_a_body() {
    let region = struck(FaultRule::new(FaultKind::Truncate { after_chunks: 3 }).times(2)).await;
    let answer = send(&region, chat(true)).await.unwrap();
    assert!(answer.broken && events(&answer.text()).len() == 3, "{}", answer.text());
    let answer = send(&region, chat(false)).await.unwrap();
    let length: usize = answer.header("content-length").parse().unwrap();
    assert!(answer.broken && answer.body.len() < length && !answer.body.is_empty());
    region.control().add_fault(FaultRule::new(FaultKind::ResetAfter { chunks: 4 }).times(1)).unwrap();
    let answer = send(&region, chat(true)).await.unwrap();
    assert!(answer.broken && events(&answer.text()).len() == 4);
    let error = FaultKind::ErrorInStream { after_chunks: 0, preset: "no_capacity".into() };
    region.control().add_fault(FaultRule::new(error).times(1)).unwrap();
    let answer = send(&region, chat(true)).await.unwrap();
    let list = events(&answer.text());
    assert!(!answer.broken && list.len() == 1 && list[0].contains("no_capacity"));
    region.control().add_fault(FaultRule::new(FaultKind::Drip { byte_ms: 0 }).times(1)).unwrap();
    let answer = send(&region, chat(false)).await.unwrap();
    assert!(answer.json()["usage"].is_object());
    assert_eq!(region.control().stats().aborted, 0);
    region.stop().await;
}

#[tokio::test]
async fn silence_inside_a_body() {
    let region = struck(FaultRule::new(FaultKind::StallMidStream { after_chunks: 3, for_ms: Some(80) }).times(1)).await;
    let start = Instant::now();
    let answer = send(&region, chat(true)).await.unwrap();
    assert!(start.elapsed() >= Duration::from_millis(80) && answer.text().ends_with("data: [DONE]\n\n"));
    let rule = FaultRule::new(FaultKind::StallMidStream { after_chunks: 3, for_ms: None }).times(1);
    region.control().add_fault(rule).unwrap();
    assert!(tokio::time::timeout(Duration::from_millis(60), send(&region, chat(true))).await.is_err());
    until(region.control(), |stats| stats.aborted == 1).await;
    region.control().add_fault(FaultRule::new(FaultKind::SlowFirstByte { ms: 70 }).times(1)).unwrap();
    let start = Instant::now();
    assert_eq!(send(&region, chat(true)).await.unwrap().status, 200);
    assert!(start.elapsed() >= Duration::from_millis(70));
    region.stop().await;
}

#[tokio::test]
async fn odd_answers() {
    let region = struck(FaultRule::new(FaultKind::Html200 {}).times(1)).await;
    let answer = send(&region, chat(false)).await.unwrap();
    assert!(answer.status == 200 && answer.text().starts_with("<!DOCTYPE html>"));
    region.control().add_fault(FaultRule::new(FaultKind::BadUsage {}).times(1)).unwrap();
    assert_eq!(send(&region, chat(false)).await.unwrap().json()["usage"]["prompt_tokens"], -1);
    region.control().add_fault(FaultRule::new(FaultKind::Goaway {}).times(1)).unwrap();
    let answer = send(&region, chat(false)).await.unwrap();
    assert_eq!((answer.status, answer.header("connection")), (200, "close"));
    region.stop().await;
}

#[tokio::test]
async fn answers_before_the_body_and_bodies_never_read() {
    let rule = FaultKind::EarlyAnswer(StatusFault::preset("429_requests"));
    let region = struck(FaultRule::new(rule).times(1)).await;
    let big = json!({"messages": [{"role": "user", "content": "x".repeat(8_000_000)}]});
    assert_eq!(send(&region, post(CHAT, &big)).await.unwrap().status, 429);
    region.control().add_fault(FaultRule::new(FaultKind::NeverRead {}).times(1)).unwrap();
    assert!(tokio::time::timeout(Duration::from_millis(60), send(&region, post(CHAT, &big))).await.is_err());
    let stats = region.control().stats();
    assert_eq!((stats.requests, stats.body_bytes), (2, 0));
    region.stop().await;
}
