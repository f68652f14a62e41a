//! Request bodies: every size and framing reaches the region that answers byte for byte, with its own model name in it.

use crate::common::{A, B, KIB, MIB, ladder, received_whole, regions, secs, served_by};
use harness::{Ask, Gateway, Proto, Raw, Setup, Sim, Wire, sha256};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

const LIMIT: usize = 6 * MIB;

async fn limited() -> (Sim, Sim, Gateway) {
    let (a, b) = regions().await;
    let gateway = ladder(&a, &b).top("limits: { body_size_max: 6MiB }").start().await;
    a.status(503);
    (a, b, gateway)
}

/// With `Content-Length`, and in pieces without one.
fn framings(ask: &Ask) -> [Ask; 3] {
    [ask.again(), ask.again().pieces(10_000), ask.again().pieces(usize::MAX)]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_size_and_framing_arrives_whole_at_the_second_region() {
    let (_a, b, gateway) = limited().await;
    for proto in Proto::PLAIN {
        let client = gateway.client(proto);
        for size in [200, 64 * KIB - 1, 64 * KIB, 64 * KIB + 1, MIB, 5 * MIB, LIMIT] {
            for ask in framings(&Ask::chat("gpt").sized(size)) {
                served_by(&client.ask(&ask).await, B);
                received_whole(&b, &ask).await;
                let record = b.record(&ask.id).await;
                assert_eq!(record.header("content-length"), Some(size.to_string().as_str()), "{record:?}");
                assert_eq!(record.header("transfer-encoding"), None);
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_body_and_one_byte_arrive_whole_at_the_second_region() {
    let (_a, b, gateway) = limited().await;
    for proto in Proto::PLAIN {
        let client = gateway.client(proto);
        for body in ["", "x"] {
            let post = Ask::new("POST", "/openai/v1/something/else");
            for ask in [post.again().body(body), post.again().body(body).pieces(1), post.again().header("x", "y")] {
                let answer = client.ask(&ask).await;
                assert_eq!((answer.status, answer.header("x-served-by")), (404, B), "{answer}");
                received_whole(&b, &ask).await;
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_body_over_the_limit_is_refused_and_no_region_hears_of_it() {
    let (a, b, gateway) = limited().await;
    for proto in Proto::PLAIN {
        let client = gateway.client(proto);
        for ask in framings(&Ask::chat("gpt").sized(LIMIT + 1)) {
            let answer = client.ask(&ask).await;
            assert_eq!((answer.status, answer.code().as_str()), (413, "body_too_large"), "{proto:?} {answer}");
        }
        // The gateway is none the worse.
        served_by(&client.ask(&Ask::chat("gpt")).await, B);
    }
    assert_eq!((a.requests(), b.requests()), (2, 2));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_reads_only_after_its_upload_gets_the_refusal_too() {
    let (_a, _b, gateway) = limited().await;
    let body = vec![b'x'; 2 * LIMIT];
    let stated = format!("content-length: {}\r\n\r\n", body.len()).into_bytes();
    let chunk = format!("transfer-encoding: chunked\r\n\r\n{:x}\r\n", body.len()).into_bytes();
    for framing in [stated, chunk] {
        for _ in 0..5 {
            let mut raw = Raw::connect(gateway.address()).await;
            raw.send("POST /openai/v1/chat/completions HTTP/1.1\r\nhost: x\r\n").await;
            raw.send(&framing).await;
            raw.send(&body).await;
            raw.send("\r\n0\r\n\r\n").await;
            let answer = raw.answer().await;
            assert_eq!((answer.status, answer.code().as_str()), (413, "body_too_large"), "{answer:?}");
            assert_eq!(answer.header("connection"), "close");
            // A library that gives up when it cannot send.
            let ask = Ask::json("/openai/v1/chat/completions", body.clone());
            assert_eq!(gateway.ask(&ask).await.status, 413);
            assert_eq!(gateway.ask(&ask.again().pieces(100_000)).await.status, 413);
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn forms_arrive_whole_at_the_second_region() {
    let (_a, b, gateway) = limited().await;
    let file: Vec<u8> = (0..=250).cycle().take(5 * MIB).collect();
    for proto in Proto::PLAIN {
        for path in [
            "/openai/deployments/whisper/audio/transcriptions?api-version=2024-10-21",
            "/openai/v1/audio/transcriptions",
        ] {
            for size in [0, 1, 64 * KIB, 5 * MIB] {
                for ask in framings(&Ask::transcription(path, "whisper", &file[..size])) {
                    served_by(&gateway.client(proto).ask(&ask).await, B);
                    received_whole(&b, &ask).await;
                }
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_waits_for_100_continue_is_told_to_go_on() {
    let (_a, b, gateway) = limited().await;
    let ask = Ask::chat("gpt").sized(100_000);
    let head = |length: usize| {
        format!(
            "POST {} HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\nx-request-id: {}\r\n\
             expect: 100-continue\r\ncontent-length: {length}\r\n\r\n",
            ask.path, ask.id
        )
    };
    let mut raw = Raw::connect(gateway.address()).await;
    raw.send(head(100_000)).await;
    assert_eq!(raw.answer().await.status, 100);
    raw.send(ask.bytes()).await;
    let answer = raw.answer().await;
    assert_eq!((answer.status, answer.header("x-served-by")), (200, B), "{answer:?}");
    received_whole(&b, &ask).await;
    assert_eq!(b.record(&ask.id).await.header("expect"), None);
    // One that is over the limit hears so at once instead.
    let mut raw = Raw::connect(gateway.address()).await;
    raw.send(head(LIMIT + 1)).await;
    assert_eq!(raw.answer().await.status, 413);
    // One that does not wait is served all the same.
    let hasty = Ask::chat("gpt").sized(100_000).header("expect", "100-continue");
    served_by(&gateway.ask(&hasty).await, B);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_body_that_stops_coming_is_refused_in_time() {
    let (a, b) = regions().await;
    let gateway = ladder(&a, &b).top("limits: { body_idle_timeout: 500ms, body_timeout: 2s }").start().await;
    let mut raw = Raw::connect(gateway.address()).await;
    raw.send("POST /openai/v1/chat/completions HTTP/1.1\r\nhost: x\r\ncontent-length: 100\r\n\r\n{\"mod").await;
    let answer = raw.answer().await;
    assert_eq!((answer.status, answer.code().as_str()), (408, "body_timeout"), "{answer:?}");
    // Dripping, never idle, is cut at the limit of the whole.
    let slow = Ask::chat("gpt").sized(1000).slow(10, std::time::Duration::from_millis(100));
    let answer = gateway.client(Proto::H2c).ask(&slow).await;
    assert_eq!((answer.status, answer.code().as_str()), (408, "body_timeout"), "{answer}");
    assert!(answer.head < secs(4), "{:?}", answer.head);
    assert_eq!((a.requests(), b.requests()), (0, 0));
}

/// `a` calls the deployment `gpt-a`, `b` something longer.
async fn renamed() -> (Sim, Sim, Gateway) {
    let (a, b) = regions().await;
    let gateway = ladder(&a, &b)
        .backend("a", &a, "priority: 1, deployment: gpt-a, api_version: 2024-06-01")
        .backend("b", &b, "priority: 2, deployment: gpt-4o-mini-france, api_version: 2025-03-01-preview")
        .start()
        .await;
    (a, b, gateway)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_model_in_the_body_is_each_regions_own_with_the_right_length() {
    let (a, b, gateway) = renamed().await;
    let texts = [
        r#"{"model":"gpt","messages":[{"role":"user","content":"hi"}]}"#,
        r#"{"messages":[{"role":"user","content":"\"model\":\"gpt\"","model":"gpt"}] , "model" : "gpt" }"#,
        "{\n\t\"temperature\": 1.0,\r\n \"model\":\"g\\u0070t\",\"messages\":[{\"role\":\"user\",\"content\":\"ä€😀\"}]}",
    ];
    let own = ["\"model\":\"gpt\"", "\"model\" : \"gpt\" }", "\"model\":\"g\\u0070t\""];
    for (text, model) in texts.iter().zip(own) {
        for proto in Proto::PLAIN {
            for ask in framings(&Ask::json("/openai/v1/chat/completions", *text)) {
                a.clear();
                served_by(&gateway.client(proto).ask(&ask).await, A);
                a.status(503);
                let second = ask.again();
                served_by(&gateway.client(proto).ask(&second).await, B);
                for (sim, ask, name) in [(&a, &ask, "gpt-a"), (&b, &second, "gpt-4o-mini-france")] {
                    let mine = model.replace("g\\u0070t", "gpt").replace("\"gpt\"", &format!("\"{name}\""));
                    let at = text.rfind(model).unwrap();
                    let expected = format!("{}{mine}{}", &text[..at], &text[at + model.len()..]);
                    let record = sim.record(&ask.id).await;
                    assert_eq!(record.body_sha256, sha256(expected.as_bytes()), "{expected}");
                    assert_eq!(record.header("content-length"), Some(expected.len().to_string().as_str()));
                }
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_model_of_a_form_is_each_regions_own() {
    let (a, b, gateway) = renamed().await;
    a.status(503);
    let ask = Ask::transcription("/openai/v1/audio/transcriptions", "gpt", b"RIFF....WAVE");
    served_by(&gateway.ask(&ask).await, B);
    let theirs = Ask::transcription("/", "gpt-4o-mini-france", b"RIFF....WAVE").bytes();
    assert_eq!(b.record(&ask.id).await.body_sha256, sha256(&theirs));
    let theirs = Ask::transcription("/", "gpt-a", b"RIFF....WAVE").bytes();
    assert_eq!(a.record(&ask.id).await.body_sha256, sha256(&theirs));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_path_and_api_version_are_each_regions_own() {
    let (a, b, gateway) = renamed().await;
    let first = Ask::chat("gpt");
    served_by(&gateway.ask(&first).await, A);
    a.status(503);
    let mut second = Ask::chat("gpt");
    second.path.push_str("&x=%2Fy");
    served_by(&gateway.ask(&second).await, B);
    let path = |region: &Sim, ask: &Ask| region.find(&ask.id).unwrap().path_and_query;
    assert_eq!(path(&a, &first), "/openai/deployments/gpt-a/chat/completions?api-version=2024-06-01");
    assert_eq!(
        path(&b, &second),
        "/openai/deployments/gpt-4o-mini-france/chat/completions?api-version=2025-03-01-preview&x=%2Fy"
    );
    // v1 has no api-version of ours.
    let v1 = Ask::v1("gpt");
    served_by(&gateway.ask(&v1).await, B);
    assert_eq!(path(&b, &v1), "/openai/v1/chat/completions");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_operation_finds_its_way() {
    let (a, _b, gateway) = renamed().await;
    a.status(503);
    let classic = |tail: &str| format!("/openai/deployments/gpt/{tail}?api-version=2024-10-21");
    for (tail, body) in [
        ("completions", r#"{"model":"gpt","prompt":"hi"}"#),
        ("embeddings", r#"{"model":"gpt","input":["hi"]}"#),
        ("images/generations", r#"{"model":"gpt","prompt":"a cat"}"#),
        ("audio/speech", r#"{"model":"gpt","input":"hi","voice":"alloy"}"#),
    ] {
        for path in [classic(tail), format!("/openai/v1/{tail}")] {
            let answer = gateway.ask(&Ask::json(&path, body)).await;
            served_by(&answer, B);
            assert!(!answer.body.is_empty(), "{path}");
        }
    }
    for path in ["/openai/v1/responses", "/openai/responses?api-version=2025-03-01-preview"] {
        let answer = gateway.ask(&Ask::json(path, r#"{"model":"gpt","input":"hi","store":false}"#)).await;
        served_by(&answer, B);
    }
    let speech = Ask::transcription(&classic("audio/translations"), "gpt", b"RIFF");
    served_by(&gateway.ask(&speech).await, B);
    for path in ["/openai/v1/models", "/openai/models?api-version=2024-10-21"] {
        assert_eq!(gateway.ask(&Ask::new("GET", path)).await.status, 200, "{path}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_memory_for_bodies_has_a_limit_and_is_given_back() {
    let (a, b) = regions().await;
    let gateway = ladder(&a, &b).top("limits: { body_size_max: 8MiB, body_memory_max: 16MiB }").start().await;
    a.first_token(secs(2));
    let ask = Ask::chat("gpt").sized(7 * MIB);
    let mut asked = tokio::task::JoinSet::new();
    for _ in 0..5 {
        let (client, ask) = (gateway.client(Proto::H1), ask.again());
        asked.spawn(async move { client.ask(&ask).await });
    }
    let answers = asked.join_all().await;
    let refused: Vec<_> = answers.iter().filter(|answer| answer.status == 503).collect();
    // Two fit; of five that come at once, growing side by side, one may be all that is left.
    let served = answers.iter().filter(|answer| answer.status == 200).count();
    assert!((1..=2).contains(&served) && refused.len() == 5 - served, "{served} served, {} refused", refused.len());
    assert!(refused.iter().all(|r| r.code() == "overloaded" && !r.header("retry-after").is_empty()));
    gateway.until_metric("tidegate_body_memory_bytes", &[], |bytes| bytes < 1.0).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_small_body_leaves_together_with_its_header() {
    let wire = Wire::serve(async |mut connection| {
        let mut request = vec![0; 64 * KIB];
        while let Ok(length @ 1..) = connection.read(&mut request).await {
            let first = request[..length].to_vec();
            let whole = first.ends_with(b"}");
            // The next request on this connection begins with its own first byte.
            if !whole && !matches!(connection.read(&mut request).await, Ok(1..)) {
                return;
            }
            let answer = format!("HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\ncontent-length: 5\r\n\r\n{whole:<5}");
            if connection.write_all(answer.as_bytes()).await.is_err() {
                return;
            }
        }
    })
    .await;
    let gateway = Setup::new().backend_at("a", "swedencentral", &wire.url(), "").start().await;
    for proto in Proto::PLAIN {
        let client = gateway.client(proto);
        for size in [100, 4 * KIB, 15 * KIB] {
            for _ in 0..5 {
                let answer = client.ask(&Ask::chat("gpt").sized(size)).await;
                assert_eq!((answer.status, answer.text().trim()), (200, "true"), "{proto:?} {size}");
            }
        }
    }
    assert!(wire.accepted() < 10, "connections are kept and used again: {}", wire.accepted());
}
