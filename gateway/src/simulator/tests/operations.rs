//! The operations besides chat, and the ways to a region: TLS, `Expect`, `tidegate simulate`.

use std::sync::Arc;

use super::super::{FaultKind, FaultRule, SimulateOptions, TlsOptions};
use super::*;

const COMPLETIONS: &str = "/openai/deployments/old/completions?api-version=2024-10-21";

#[tokio::test]
async fn completions_stream_and_do_not() {
    let region = sweden().await;
    let answer = send(&region, post(COMPLETIONS, &json!({"prompt": "x"}))).await.unwrap();
    assert!(answer.json()["choices"][0]["text"].as_str().unwrap().starts_with("[swedencentral/old] token1"));
    let body = json!({"prompt": "x", "stream": true, "max_tokens": 2, "stream_options": {"include_usage": true}});
    let list = events(&send(&region, post(COMPLETIONS, &body)).await.unwrap().text());
    assert_eq!(list.len(), 6);
    let third: Value = serde_json::from_str(&list[2]).unwrap();
    assert_eq!((third["choices"][0]["text"].as_str(), third["x_sim_index"].as_u64()), (Some(" token2"), Some(2)));
    assert_eq!(serde_json::from_str::<Value>(&list[4]).unwrap()["usage"]["completion_tokens"], 2);
    region.stop().await;
}

#[tokio::test]
async fn responses_are_kept_by_id() {
    let region = sweden().await;
    let body = json!({"model": "gpt", "input": [{"role": "user", "content": "12345"}]});
    let made = send(&region, post("/openai/v1/responses", &body)).await.unwrap().json();
    assert_eq!((made["usage"]["input_tokens"].as_u64(), made["status"].as_str()), (Some(2), Some("completed")));
    let text = made["output"][0]["content"][0]["text"].as_str().unwrap();
    assert!(text.starts_with("[swedencentral/gpt] token1"));
    let id = made["id"].as_str().unwrap();
    let path = format!("/openai/v1/responses/{id}");
    assert_eq!(send(&region, get(&path)).await.unwrap().json(), made);
    let follow = json!({"model": "gpt", "input": "x", "previous_response_id": id});
    assert_eq!(send(&region, post("/openai/v1/responses", &follow)).await.unwrap().status, 200);
    let unknown = json!({"model": "gpt", "input": "x", "previous_response_id": "resp_no"});
    let answer = send(&region, post("/openai/responses?api-version=1", &unknown)).await.unwrap();
    assert_eq!((answer.status, answer.json()["error"]["code"].as_str()), (400, Some("previous_response_not_found")));
    let delete = Request::delete(&path).header("host", "x").body(Full::default()).unwrap();
    assert_eq!(send(&region, delete).await.unwrap().json()["deleted"], true);
    assert_eq!(send(&region, get(&path)).await.unwrap().status, 404);
    region.stop().await;
}

#[tokio::test]
async fn response_streams_have_named_and_numbered_events() {
    let region = sweden().await;
    let body = json!({"model": "gpt", "input": "x", "stream": true, "max_output_tokens": 3, "store": false});
    let answer = send(&region, post("/openai/v1/responses", &body)).await.unwrap();
    let text = answer.text();
    let names: Vec<_> = text.lines().filter_map(|line| line.strip_prefix("event: ")).collect();
    let list: Vec<Value> = events(&text).iter().map(|event| serde_json::from_str(event).unwrap()).collect();
    assert_eq!(
        (names[0], names[4], *names.last().unwrap()),
        ("response.created", "response.output_text.delta", "response.incomplete")
    );
    for (number, (event, name)) in list.iter().zip(&names).enumerate() {
        assert_eq!(
            (event["sequence_number"].as_u64().unwrap(), event["type"].as_str().unwrap()),
            (number as u64, *name)
        );
    }
    let whole: String = list.iter().filter_map(|event| event["delta"].as_str()).collect();
    assert_eq!(whole, "[swedencentral/gpt] token1 token2 token3");
    assert_eq!(list.last().unwrap()["response"]["output"][0]["content"][0]["text"], whole);
    let id = list[0]["response"]["id"].as_str().unwrap();
    assert_eq!(send(&region, get(&format!("/openai/v1/responses/{id}"))).await.unwrap().status, 404);
    region.stop().await;
}

#[tokio::test]
async fn images_and_audio() {
    let region = sweden().await;
    let images = post("/openai/deployments/pic/images/generations?api-version=1", &json!({"prompt": "x", "n": 2}));
    assert_eq!(send(&region, images).await.unwrap().json()["data"].as_array().unwrap().len(), 2);
    let form = "--b\r\nContent-Disposition: form-data; name=\"model\"\r\n\r\nwhisper\r\n--b\r\nContent-Disposition: \
                form-data; name=\"file\"; filename=\"a.wav\"\r\n\r\nRIFF\r\n--b--\r\n";
    for path in ["/openai/v1/audio/transcriptions", "/openai/deployments/whisper/audio/translations?api-version=1"] {
        let builder = Request::post(path).header("host", "x").header("content-type", "multipart/form-data; boundary=b");
        let answer = send(&region, builder.body(Full::from(form)).unwrap()).await.unwrap();
        assert!(answer.json()["text"].as_str().unwrap().starts_with("[swedencentral/whisper] token1"));
    }
    assert_eq!(region.control().stats().body_bytes as usize, 2 * form.len() + r#"{"n":2,"prompt":"x"}"#.len());
    let speech = post("/openai/deployments/tts/audio/speech?api-version=1", &json!({"input": "x", "voice": "alloy"}));
    let answer = send(&region, speech).await.unwrap();
    assert_eq!((answer.header("content-type"), answer.body.starts_with(b"ID3[swe")), ("audio/mpeg", true));
    region.stop().await;
}

#[tokio::test]
async fn truncation_over_http2_resets_only_its_stream() {
    let region = sweden().await;
    region.control().add_fault(FaultRule::new(FaultKind::Truncate { after_chunks: 2 }).times(1)).unwrap();
    let absolute = |mut request: Request<Full<Bytes>>| {
        *request.uri_mut() = format!("http://x{CHAT}").parse().unwrap();
        request
    };
    let stream = TcpStream::connect(region.address()).await.unwrap();
    let handshake = hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream));
    let (mut sender, connection) = handshake.await.unwrap();
    tokio::spawn(connection);
    let answer = read(sender.send_request(absolute(chat(true))).await.unwrap()).await;
    assert!(answer.broken && events(&answer.text()).len() == 2);
    let answer = read(sender.send_request(absolute(chat(true))).await.unwrap()).await;
    assert!(!answer.broken);
    region.stop().await;
}

#[tokio::test]
async fn a_client_that_leaves_a_stream_is_seen_at_once() {
    let region = sweden().await;
    let request = with(with(chat(true), "x-sim-chunk-ms", "5000"), "x-sim-tokens", "5");
    let stream = TcpStream::connect(region.address()).await.unwrap();
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.unwrap();
    let driver = tokio::spawn(connection);
    let response = sender.send_request(request).await.unwrap();
    assert_eq!(region.control().stats().in_flight, 1);
    driver.abort();
    drop((response, sender));
    let start = Instant::now();
    let stats = until(region.control(), |stats| stats.aborted == 1).await;
    assert!(start.elapsed() < Duration::from_secs(1) && stats.in_flight == 0);
    region.stop().await;
}

#[tokio::test]
async fn tls_agrees_on_both_protocols() {
    let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    let tls = TlsOptions { certificate: made.cert.pem(), key: made.signing_key.serialize_pem() };
    let region = region(RegionOptions { tls: Some(tls), ..RegionOptions::new("uksouth") }).await;
    let mut roots = rustls::RootCertStore::empty();
    roots.add(made.cert.der().clone()).unwrap();
    for alpn in ["h2", "http/1.1"] {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = rustls::ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
        let mut config = builder.unwrap().with_root_certificates(roots.clone()).with_no_client_auth();
        config.alpn_protocols = vec![alpn.as_bytes().to_vec()];
        let stream = TcpStream::connect(region.address()).await.unwrap();
        let connector = tokio_rustls::TlsConnector::from(Arc::new(config));
        let stream = connector.connect("localhost".try_into().unwrap(), stream).await.unwrap();
        assert_eq!(stream.get_ref().1.alpn_protocol(), Some(alpn.as_bytes()));
        let answer = if alpn == "h2" {
            let handshake = hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream));
            let (mut sender, connection) = handshake.await.unwrap();
            tokio::spawn(connection);
            let mut request = chat(false);
            *request.uri_mut() = format!("https://localhost{CHAT}").parse().unwrap();
            read(sender.send_request(request).await.unwrap()).await
        } else {
            let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.unwrap();
            tokio::spawn(connection);
            read(sender.send_request(chat(false)).await.unwrap()).await
        };
        assert!(answer.text().contains("[uksouth/gpt-prod]"));
    }
    region.stop().await;
}

#[tokio::test]
async fn a_client_that_expects_100_gets_it_unless_refused_early() {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let region = sweden().await;
    let body = json!({"messages": [{"role": "user", "content": "x"}]}).to_string();
    let head =
        format!("POST {CHAT} HTTP/1.1\r\nhost: x\r\nexpect: 100-continue\r\ncontent-length: {}\r\n\r\n", body.len());
    for early in [false, true] {
        if early {
            let fault = FaultKind::EarlyAnswer(super::super::StatusFault::preset("503"));
            region.control().add_fault(FaultRule::new(fault).times(1)).unwrap();
        }
        let mut stream = TcpStream::connect(region.address()).await.unwrap();
        stream.write_all(head.as_bytes()).await.unwrap();
        let mut answer = vec![0; 25];
        tokio::time::timeout(PATIENCE, stream.read_exact(&mut answer)).await.unwrap().unwrap();
        if !early {
            assert_eq!(answer, b"HTTP/1.1 100 Continue\r\n\r\n");
            stream.write_all(body.as_bytes()).await.unwrap();
            answer.resize(12, 0);
            stream.read_exact(&mut answer).await.unwrap();
            assert!(answer.starts_with(b"HTTP/1.1 200"));
        }
    }
    region.stop().await;
}

#[tokio::test]
async fn simulate_tells_its_addresses_and_serves() {
    let (tell, told) = tokio::sync::oneshot::channel();
    let options = SimulateOptions {
        regions: vec!["swedencentral=127.0.0.1:0".into(), "westeurope=127.0.0.1:0".into()],
        ..SimulateOptions::default()
    };
    let running = tokio::spawn(super::super::run(options, |started| tell.send(started.to_vec()).unwrap()));
    let started = tokio::time::timeout(PATIENCE, told).await.unwrap().unwrap();
    assert_eq!(started.iter().map(|one| one.region.as_str()).collect::<Vec<_>>(), ["swedencentral", "westeurope"]);
    for one in &started {
        assert!(TcpStream::connect(one.address).await.is_ok());
    }
    running.abort();
    assert!(running.await.is_err());
    assert!(TcpStream::connect(started[0].address).await.is_err());
}
