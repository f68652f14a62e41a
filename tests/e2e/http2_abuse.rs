//! HTTP/2 clients that misbehave frame by frame (`tests/h2/abuse.py`): each ends within its limit, and others are served on.

use crate::common::{A, ladder, ms, regions, secs, served_by};
use harness::{Ask, Gateway, Proto, Setup, Wire, eventually, venv_python, within, workspace_file};
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::process::Command;

/// GOAWAY and RST_STREAM carry these.
const CALM: u64 = 11;
const CUT_OFF: &str = "tidegate_connections_cut_off_total";
const REFUSED_STREAM: &str = "7";

/// What one misbehaving connection has seen.
async fn attack(gateway: &Gateway, name: &str) -> Value {
    let address = gateway.address();
    let output = Command::new(venv_python())
        .arg(workspace_file("tests/h2/abuse.py"))
        .args([name, &address.ip().to_string(), &address.port().to_string()])
        .kill_on_drop(true)
        .output();
    let output = within(format!("the attack {name}"), secs(60), output).await.expect("Python starts");
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    serde_json::from_str(&out).unwrap_or_else(|error| panic!("{name}: {error}: {out}{err}"))
}

/// An attack while honest clients are served, over both versions of HTTP.
async fn beside_others(gateway: &Gateway, name: &str) -> Value {
    let honest = async {
        let mut served = 0;
        loop {
            for proto in Proto::PLAIN {
                let answer = gateway.client(proto).ask(&Ask::chat("gpt")).await;
                served_by(&answer, A);
                assert!(answer.total < secs(5), "{name}: an honest client waited {:?}", answer.total);
                served += 1;
            }
            tokio::time::sleep(ms(20)).await;
            if served > 10_000 {
                return served;
            }
        }
    };
    tokio::select! {
        seen = attack(gateway, name) => seen,
        served = honest => panic!("{name} never ends ({served} served)"),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn floods_end_their_connection_and_nobody_elses() {
    let (a, b) = regions().await;
    let gateway = ladder(&a, &b).start().await;
    let mut floods = 0.0;
    for name in ["rapid_reset", "forced_resets", "continuation", "empty_data"] {
        let seen = beside_others(&gateway, name).await;
        // Bytes that a flood sends after the close reset the connection, and a reset may overtake the GOAWAY: the metric tells why.
        assert_eq!(seen["closed"], true, "{name}: {seen}");
        assert!(seen["goaway"].is_null() || seen["goaway"].as_u64() == Some(CALM), "{name}: {seen}");
        floods += 1.0;
        gateway.until_metric(CUT_OFF, &[("reason", "http2_flood")], |count| count > floods - 0.5).await;
    }
    let seen = beside_others(&gateway, "header_block").await;
    assert!(seen["goaway"].as_u64() == Some(CALM) || seen["statuses"]["431"] == 1, "{seen}");
    let seen = beside_others(&gateway, "too_many_streams").await;
    assert_eq!(seen["resets"][REFUSED_STREAM], 40, "{seen}");
    assert_eq!((&seen["goaway"], &seen["settings"]["3"]), (&Value::Null, &Value::from(100)), "{seen}");
    assert!(gateway.resident_kib() < 300 * 1024, "{} KiB", gateway.resident_kib());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn limits_are_those_of_the_configuration() {
    let (a, b) = regions().await;
    let gateway = ladder(&a, &b)
        .top("http2: { streams_max: 10, stream_window: 2MiB, connection_window: 8MiB, header_list_max: 8KiB }")
        .start()
        .await;
    let seen = attack(&gateway, "too_many_streams").await;
    // It looks no longer than it takes to count 40, which a hundred streams would not have given.
    assert!(seen["resets"][REFUSED_STREAM].as_u64() > Some(40), "{seen}");
    let settings = &seen["settings"];
    assert_eq!(
        (&settings["3"], &settings["4"], &settings["6"]),
        (&10.into(), &(2 << 20).into(), &8192.into()),
        "{seen}"
    );
    // An upload larger than a window flows all the same.
    let ask = Ask::chat("gpt").sized(3 << 20);
    served_by(&gateway.client(Proto::H2c).ask(&ask).await, A);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pings_and_settings_do_not_keep_a_connection_alive() {
    let (a, b) = regions().await;
    let gateway = ladder(&a, &b).top("limits: { keepalive_timeout: 2s }").start().await;
    for name in ["ping", "settings"] {
        let seen = beside_others(&gateway, name).await;
        assert_eq!(seen["closed"], true, "{name}: {seen}");
    }
    assert!(gateway.resident_kib() < 300 * 1024, "{} KiB", gateway.resident_kib());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_without_a_window_holds_its_streams_for_the_timeout_only() {
    let backend = Wire::serve(|mut stream| async move {
        let mut buffer = vec![0; 4096];
        while stream.read(&mut buffer).await.is_ok_and(|count| count > 0) {
            let body = "x".repeat(10_000);
            let answer = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{body}", body.len());
            let _ = stream.write_all(answer.as_bytes()).await;
        }
    })
    .await;
    let gateway = Setup::new()
        .top("http2: { stalled_timeout: 1s }")
        .backend_at("a", "swedencentral", &backend.url(), "")
        .start()
        .await;
    let seen = attack(&gateway, "zero_window").await;
    let resets: u64 = seen["resets"].as_object().unwrap().values().filter_map(Value::as_u64).sum();
    assert_eq!(resets, 10, "{seen}");
    eventually("nothing is in flight".to_owned(), secs(10), async || {
        (gateway.metrics().await.sum("tidegate_requests_in_flight", &[]) == 0.0).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn flaws_of_http2_requests_reach_no_backend() {
    let (a, b) = regions().await;
    let gateway = ladder(&a, &b).start().await;
    let seen = attack(&gateway, "flaws").await;
    let cases = seen.as_object().expect("a table");
    assert!(cases.len() >= 25, "{}", cases.len());
    for (name, seen) in cases {
        let reset = seen["resets"].as_object().is_some_and(|resets| !resets.is_empty());
        let refused = seen["statuses"].as_object().is_some_and(|s| s.len() == 1 && s.contains_key("400"));
        assert!(reset || refused || seen["goaway"] == 1, "{name}: {seen}");
    }
    assert_eq!((a.requests(), b.requests()), (0, 0), "{:?}", a.records());
}
