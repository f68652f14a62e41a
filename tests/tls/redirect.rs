//! The listener that only redirects to HTTPS.

use harness::{Ask, RawAnswer};
use harness::{Proto, Raw, Setup, Sim};

async fn exchange(address: std::net::SocketAddr, request: &str) -> RawAnswer {
    let mut raw = Raw::connect(address).await;
    raw.send(request).await;
    raw.answer().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_redirecting_listener_sends_every_request_to_https_on_the_same_host() {
    let sim = Sim::start("swedencentral").await;
    let gateway = Setup::new()
        .text(&format!(
            "version: 1
home_region: swedencentral
listeners:
  - {{ name: public, address: \"127.0.0.1:{{port}}\", redirect_to_https: true }}
  - {{ name: open, address: \"127.0.0.1:{{secure}}\" }}
admin: {{ address: \"127.0.0.1:{{admin}}\" }}
process: {{ threads: 2, pre_drain: 0s, drain: 20s, upgrade_socket: {{dir}}/upgrade/upgrade.sock }}
access_log: {{ file: access.jsonl }}
pools:
  - {{ name: chat, probe: off, backends: [ {{ name: a, region: swedencentral, url: \"{}\" }} ] }}
",
            sim.url()
        ))
        .start()
        .await;
    for (request, wanted) in [
        ("GET /a?b=c HTTP/1.1\r\nhost: edge.example\r\n\r\n", "https://edge.example/a?b=c"),
        (
            "POST /openai/v1/responses HTTP/1.1\r\nhost: edge.example:8080\r\ncontent-length: 2\r\n\r\n{}",
            "https://edge.example/openai/v1/responses",
        ),
        ("GET / HTTP/1.0\r\nhost: [2001:db8::1]\r\n\r\n", "https://[2001:db8::1]/"),
    ] {
        let answer = exchange(gateway.address(), request).await;
        assert_eq!((answer.status, answer.header("location")), (308, wanted), "{request:?}");
        assert!(answer.body.is_empty());
    }
    let answer = exchange(gateway.address(), "GET / HTTP/1.1\r\nhost: edge.example@evil.example\r\n\r\n").await;
    assert_eq!((answer.status, answer.header("location")), (400, ""), "{}", answer.head);
    let http2 = gateway.client(Proto::H2c).ask(&Ask::v1("gpt")).await;
    assert_eq!(http2.status, 308, "{http2}");
    assert_eq!(sim.requests(), 0, "nothing has passed");
    let other = exchange(gateway.secure(), "GET /openai/v1/models HTTP/1.1\r\nhost: edge.example\r\n\r\n").await;
    assert_eq!(other.status, 200, "the other listener serves: {}", other.head);
}
