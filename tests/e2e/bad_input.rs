//! Whatever a client sends: a stable code in OpenAI's shape that says what and where, and no region hears of it.

use crate::common::{A, ladder, regions, secs, served_by};
use harness::{Ask, Gateway, Proto, Raw, RawAnswer, Sim};

const ROUTES: &str = "routes:\n  - { name: chat, match: { path: \"/openai/*\", deployment: \"gpt*\" }, pool: chat }\n";

async fn gateway() -> (Sim, Sim, Gateway) {
    let (a, b) = regions().await;
    let gateway = ladder(&a, &b).more(ROUTES).start().await;
    (a, b, gateway)
}

/// No region was asked, and the gateway serves on.
async fn unharmed(a: &Sim, b: &Sim, gateway: &Gateway) {
    assert_eq!((a.requests(), b.requests()), (0, 0), "{:?}", a.records());
    for proto in Proto::PLAIN {
        served_by(&gateway.client(proto).ask(&Ask::chat("gpt")).await, A);
    }
}

const V1: &str = "/openai/v1/chat/completions";
const CLASSIC: &str = "/openai/deployments/gpt/chat/completions?api-version=2024-10-21";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bad_bodies_are_refused_with_a_stable_code() {
    let (a, b, gateway) = gateway().await;
    let cases: &[(&str, &str, &str)] = &[
        (V1, "", "bad_json"),
        (V1, "{", "bad_json"),
        (V1, r#"{"model":"gpt","messages":[}"#, "bad_json"),
        (V1, r#"{"model":"gpt"} trailing"#, "bad_json"),
        (V1, r#"{"model":"gpt",}"#, "bad_json"),
        (V1, r#"["model","gpt"]"#, "bad_json"),
        (V1, r#""gpt""#, "bad_json"),
        (V1, "null", "bad_json"),
        (V1, "model=gpt&stream=true", "bad_json"),
        (V1, r"{'model':'gpt'}", "bad_json"),
        (V1, r#"{"messages":[]}"#, "invalid_value"),
        (V1, r#"{"model":null,"messages":[]}"#, "invalid_value"),
        (V1, r#"{"model":5,"messages":[]}"#, "invalid_value"),
        (V1, r#"{"model":["gpt"],"messages":[]}"#, "invalid_value"),
        (V1, r#"{"model":"","messages":[]}"#, "invalid_value"),
        (V1, r#"{"model":"gpt","stream":"yes"}"#, "invalid_value"),
        (V1, r#"{"model":"gpt","stream":1}"#, "invalid_value"),
        (V1, r#"{"model":"gpt","model":"gpt-2"}"#, "invalid_value"),
        (CLASSIC, "{", "bad_json"),
        (CLASSIC, "", "bad_json"),
        (CLASSIC, r#"{"stream":"no"}"#, "invalid_value"),
        ("/openai/v1/embeddings", "[1,2]", "bad_json"),
        ("/openai/v1/responses", r#"{"input":"x"}"#, "invalid_value"),
    ];
    for proto in Proto::PLAIN {
        for (path, body, code) in cases {
            let ask = Ask::json(path, *body);
            let answer = gateway.client(proto).ask(&ask).await;
            assert_eq!((answer.status, answer.code().as_str()), (400, *code), "{body} {answer}");
            let error = &answer.json()["error"];
            assert_eq!(error["type"], "invalid_request_error");
            assert!(error["message"].as_str().is_some_and(|text| text.len() > 10), "{answer}");
            assert_eq!((answer.header("x-should-retry"), answer.header("content-type")), ("false", "application/json"));
            assert_eq!(answer.header("x-request-id"), ask.id);
        }
    }
    unharmed(&a, &b, &gateway).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bodies_that_are_no_text_are_refused() {
    let (a, b, gateway) = gateway().await;
    let deep = [br#"{"model":"gpt","x":"#.to_vec(), vec![b'['; 200_000]].concat();
    let cases: [&[u8]; 4] = [b"\xff\xfe{\"model\":\"gpt\"}", b"{\"model\":\"gpt\",\"x\":\"\xff\"}", b"\0\0\0\0", &deep];
    for body in cases {
        let answer = gateway.ask(&Ask::json(V1, body.to_vec())).await;
        assert_eq!((answer.status, answer.code().as_str()), (400, "bad_json"), "{answer}");
    }
    unharmed(&a, &b, &gateway).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bad_forms_are_refused() {
    let (a, b, gateway) = gateway().await;
    let path = "/openai/v1/audio/transcriptions";
    let good = Ask::transcription(path, "gpt", b"RIFF").bytes();
    let without_model = b"--frontier\r\nContent-Disposition: form-data; name=\"file\"\r\n\r\nRIFF\r\n--frontier--\r\n";
    for (kind, body, code) in [
        ("multipart/form-data", &good[..], "bad_multipart"),
        ("multipart/form-data; boundary=", &good[..], "bad_multipart"),
        ("multipart/form-data; boundary=other", &good[..], "bad_multipart"),
        ("multipart/form-data; boundary=frontier", &without_model[..], "invalid_value"),
        ("multipart/form-data; boundary=frontier", b"--frontier\r\nno end", "bad_multipart"),
        ("multipart/form-data; boundary=frontier", b"", "bad_multipart"),
    ] {
        let ask = Ask::new("POST", path).header("content-type", kind).body(body.to_vec());
        let answer = gateway.ask(&ask).await;
        assert_eq!((answer.status, answer.code().as_str()), (400, code), "{kind} {answer}");
    }
    unharmed(&a, &b, &gateway).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn unknown_routes_and_deployments_are_told_apart() {
    let (a, b, gateway) = gateway().await;
    for proto in Proto::PLAIN {
        let client = gateway.client(proto);
        for ask in [Ask::chat("llama"), Ask::v1("llama"), Ask::v1_stream("llama")] {
            let answer = client.ask(&ask).await;
            assert_eq!((answer.status, answer.code().as_str()), (404, "deployment_not_found"), "{answer}");
            assert!(answer.text().contains("llama"), "{answer}");
            assert_eq!(answer.json()["error"]["param"], "model");
        }
        for path in ["/", "/v2/chat", "/favicon.ico"] {
            let answer = client.ask(&Ask::new("GET", path)).await;
            assert_eq!((answer.status, answer.code().as_str()), (404, "route_not_found"), "{answer}");
        }
    }
    unharmed(&a, &b, &gateway).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn paths_with_two_meanings_are_refused() {
    let (a, b, gateway) = gateway().await;
    for path in [
        "/openai/deployments/%zz/chat/completions",
        "/openai/deployments/gpt%/chat/completions",
        "/openai/deployments/%ff%fe/chat/completions",
        "/openai/deployments/gpt%00/chat/completions",
        "/openai/deployments/a%2fb/chat/completions",
        "/openai/deployments//chat/completions",
        "/openai/deployments/../chat/completions",
        "/openai/deployments/%2e%2e/chat/completions",
        "/openai/./v1/chat/completions",
        "//openai/v1/chat/completions",
        "/openai/v1/chat/%0d%0acompletions",
    ] {
        let mut raw = Raw::connect(gateway.address()).await;
        raw.send(format!("POST {path} HTTP/1.1\r\nhost: x\r\ncontent-length: 2\r\n\r\n{{}}")).await;
        let answer = raw.answer().await;
        assert_eq!((answer.status, answer.code().as_str()), (400, "bad_path"), "{path} {answer:?}");
    }
    let mut raw = Raw::connect(gateway.address()).await;
    raw.send(b"POST /openai/deployments/\xff\xfe/chat/completions HTTP/1.1\r\nhost: x\r\ncontent-length: 2\r\n\r\n{}")
        .await;
    let answer = raw.answer().await;
    assert_eq!(answer.status, 400, "{answer:?}");
    unharmed(&a, &b, &gateway).await;
}

async fn raw(gateway: &Gateway, text: &str) -> RawAnswer {
    let mut raw = Raw::connect(gateway.address()).await;
    raw.send(text).await;
    raw.answer().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn envelopes_beyond_their_limits_are_refused() {
    let (a, b, gateway) = gateway().await;
    let long = "x".repeat(9000);
    let fat = format!("x-fat: {}\r\n", "y".repeat(7000)).repeat(10);
    let many: String = (0..110).map(|n| format!("x-{n}: 1\r\n")).collect();
    for (request, status, code) in [
        (format!("GET /openai/v1/models?{long} HTTP/1.1\r\nhost: x\r\n\r\n"), 414, "uri_too_long"),
        (format!("GET /openai/v1/models HTTP/1.1\r\nhost: x\r\n{fat}\r\n"), 431, "headers_too_large"),
        (format!("GET /openai/v1/models HTTP/1.1\r\nhost: x\r\n{many}\r\n"), 431, "headers_too_large"),
        ("GET /openai/v1/models HTTP/1.1\r\n\r\n".to_owned(), 400, "host_missing"),
        ("GET /openai/v1/models HTTP/1.1\r\nhost:\r\n\r\n".to_owned(), 400, "host_missing"),
        ("TRACE /openai/v1/models HTTP/1.1\r\nhost: x\r\n\r\n".to_owned(), 405, "method_not_allowed"),
    ] {
        let answer = raw(&gateway, &request).await;
        assert_eq!((answer.status, answer.code().as_str()), (status, code), "{answer:?}");
    }
    // Over HTTP/2 too, where the frames allow it.
    let h2 = gateway.client(Proto::H2c);
    let answer = h2.ask(&Ask::new("GET", &format!("/openai/v1/models?{long}"))).await;
    assert_eq!((answer.status, answer.code().as_str()), (414, "uri_too_long"), "{answer}");
    let many = (0..110).fold(Ask::new("GET", "/openai/v1/models"), |ask, n| ask.header(&format!("x-{n}"), "1"));
    let answer = h2.ask(&many).await;
    assert_eq!((answer.status, answer.code().as_str()), (431, "headers_too_large"), "{answer}");
    unharmed(&a, &b, &gateway).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn framing_with_two_meanings_is_refused_and_the_connection_closed() {
    let (a, b, gateway) = gateway().await;
    let chunked = "7\r\n{\"a\":1}\r\n0\r\n\r\n";
    for (headers, body) in [
        ("content-length: 5\r\ncontent-length: 5\r\n", "{\"a\":"),
        ("content-length: 5\r\ncontent-length: 6\r\n", "{\"a\":1"),
        ("content-length: 5,5\r\n", "{\"a\":"),
        ("content-length: +5\r\n", "{\"a\":"),
        ("content-length: 0x5\r\n", "{\"a\":"),
        ("content-length: -1\r\n", ""),
        ("content-length: 7\r\ntransfer-encoding: chunked\r\n", chunked),
        ("transfer-encoding: chunked, chunked\r\n", chunked),
        ("transfer-encoding: chunked\r\ntransfer-encoding: chunked\r\n", chunked),
        ("transfer-encoding: gzip, chunked\r\n", chunked),
        ("transfer-encoding: xchunked\r\n", chunked),
        ("content-encoding: gzip\r\ncontent-length: 4\r\n", "\x1f\x08\x08\x08"),
    ] {
        let mut raw = Raw::connect(gateway.address()).await;
        raw.send(format!("POST {V1} HTTP/1.1\r\nhost: x\r\n{headers}\r\n{body}")).await;
        let answer = raw.answer().await;
        assert_eq!((answer.status, answer.code().as_str()), (400, "bad_framing"), "{headers} {answer:?}");
        assert!(raw.ends_within(secs(2)).await, "{headers}: what follows cannot be trusted");
    }
    unharmed(&a, &b, &gateway).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_no_http_is_refused_or_dropped() {
    let (a, b, gateway) = gateway().await;
    for bytes in [
        &b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03 hello"[..],
        b"GET\r\n\r\n",
        b"hello there, general\r\n\r\n",
        b"GET /openai/v1/models HTTP/9.9\r\nhost: x\r\n\r\n",
        b"POST /openai/v1/chat/completions HTTP/1.1\r\nhost: x\r\nbad header\r\n\r\n",
        b"POST /openai/v1/chat/completions HTTP/1.1\r\nhost: x\r\n: empty\r\n\r\n",
        b"POST /openai/v1/chat/completions HTTP/1.1\r\nhost: x\r\ncontent-length : 5\r\n\r\n{\"a\":",
        b"POST /openai/v1/chat/completions HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\nZZ\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff",
        b"\0\0\0\0\0\0\0\0\0\0\0\0\r\n\r\n",
    ] {
        let mut raw = Raw::connect(gateway.address()).await;
        raw.send(bytes).await;
        raw.finish().await;
        let status = raw.answer().await.status;
        assert!(status == 0 || (400..500).contains(&status), "{status} for {:?}", String::from_utf8_lossy(bytes));
    }
    unharmed(&a, &b, &gateway).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_body_that_breaks_off_reaches_no_region() {
    let (a, b, gateway) = gateway().await;
    for framing in
        ["content-length: 1000\r\n\r\n{\"model\":\"gpt\"", "transfer-encoding: chunked\r\n\r\n5\r\n{\"mod\r\n"]
    {
        let mut raw = Raw::connect(gateway.address()).await;
        raw.send(format!("POST {V1} HTTP/1.1\r\nhost: x\r\n{framing}")).await;
        raw.finish().await;
        let answer = raw.answer().await;
        assert!(answer.status == 0 || answer.status == 400, "{answer:?}");
    }
    gateway.until_metric("tidegate_body_memory_bytes", &[], |bytes| bytes < 1.0).await;
    unharmed(&a, &b, &gateway).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requests_in_one_go_are_answered_in_order() {
    let (a, _b, gateway) = gateway().await;
    let body = Ask::chat("gpt").bytes();
    let one = format!(
        "POST {CLASSIC} HTTP/1.1\r\nhost: x\r\ncontent-length: {}\r\n\r\n{}",
        body.len(),
        String::from_utf8_lossy(&body)
    );
    let mut raw = Raw::connect(gateway.address()).await;
    raw.send(one.clone() + &one).await;
    let answer = raw.answer().await;
    assert_eq!(answer.status, 200, "{answer:?}");
    // Pipelining is not promised; a second answer, or the connection's end, is.
    let second = raw.answer().await;
    assert!(second.status == 200 || second.status == 0, "{second:?}");
    assert!(a.requests() <= 2);
}
