//! Behind a load balancer that speaks the PROXY protocol the client is whom it names: in the log, towards backends, for
//! caps. Who has to speak it and does not, or speaks it badly, is turned away.

use crate::common::secs;
use harness::{Ask, Authority, Gateway, Proto, Raw, Setup, Sim};
use std::sync::Arc;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

const CUT_OFF: &str = "tidegate_connections_cut_off_total";
const SIGNATURE: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";

async fn behind(listener: &str, limits: &str) -> (Sim, Gateway) {
    secured(listener, limits, &Arc::new(Authority::new())).await
}

async fn secured(listener: &str, limits: &str, authority: &Arc<Authority>) -> (Sim, Gateway) {
    let sim = Sim::start("swedencentral").await;
    let gateway = Setup::new()
        .top(&format!("limits: {{ connections: {{ {limits} }} }}"))
        .listeners(listener)
        .tls(authority)
        .backend("a", &sim, "")
        .start()
        .await;
    (sim, gateway)
}

const LOOPBACK: &str = "proxy_protocol: { from: [\"127.0.0.0/8\"] }";

fn version_two(command: u8, family: u8, payload: &[u8]) -> Vec<u8> {
    let length = u16::try_from(payload.len()).unwrap().to_be_bytes();
    [SIGNATURE, &[command, family], &length, payload].concat()
}

fn four(last: u8) -> Vec<u8> {
    version_two(0x21, 0x11, &[198, 51, 100, last, 127, 0, 0, 1, 0x30, 0x39, 0x01, 0xBB])
}

fn chat(ask: &Ask) -> Vec<u8> {
    let body = ask.bytes();
    let head = format!(
        "POST {} HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\nx-request-id: {}\r\ncontent-length: {}\r\n\r\n",
        ask.path,
        ask.id,
        body.len()
    );
    [head.as_bytes(), &body].concat()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_client_is_whom_the_load_balancer_names() {
    let (sim, gateway) = behind(LOOPBACK, "").await;
    let six = version_two(
        0x21,
        0x21,
        &[&[0x20, 1, 0xD, 0xB8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 7][..], &[0; 15], &[1, 0x30, 0x39, 1, 0xBB]].concat(),
    );
    for (header, client) in [
        (b"PROXY TCP4 198.51.100.7 127.0.0.1 12345 443\r\n".to_vec(), "198.51.100.7"),
        (b"PROXY TCP6 2001:db8::7 ::1 12345 443\r\n".to_vec(), "2001:db8::7"),
        (four(8), "198.51.100.8"),
        (six, "2001:db8::7"),
        (b"PROXY UNKNOWN\r\n".to_vec(), "127.0.0.1"),
        (version_two(0x20, 0, &[]), "127.0.0.1"),
    ] {
        let mut raw = Raw::connect(gateway.address()).await;
        // Once in one piece with the request, once byte for byte, and the connection is kept.
        let (one, two) = (Ask::chat("gpt"), Ask::chat("gpt"));
        raw.send([header.as_slice(), &chat(&one)].concat()).await;
        assert_eq!(raw.answer().await.status, 200, "{client}");
        raw.send(chat(&two)).await;
        assert_eq!(raw.answer().await.status, 200, "{client}");
        for ask in [one, two] {
            let record = gateway.record(&ask.id).await;
            assert!(record["client"].as_str().unwrap().contains(client), "{record}");
            let seen = sim.record(&ask.id).await;
            assert_eq!(seen.header("x-forwarded-for"), Some(client), "{seen:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_header_comes_before_tls() {
    let authority = Arc::new(Authority::new());
    let (_sim, gateway) = secured(LOOPBACK, "", &authority).await;
    let mut tcp = TcpStream::connect(gateway.secure()).await.unwrap();
    for byte in four(9) {
        tcp.write_all(&[byte]).await.unwrap();
        tokio::task::yield_now().await;
    }
    let name = rustls::pki_types::ServerName::try_from("localhost").unwrap();
    let mut tls = authority.connector(&[b"http/1.1"]).connect(name, tcp).await.unwrap();
    let ask = Ask::chat("gpt");
    tls.write_all(&chat(&ask)).await.unwrap();
    let mut begun = [0; 12];
    tls.read_exact(&mut begun).await.unwrap();
    assert_eq!(&begun, b"HTTP/1.1 200");
    let record = gateway.record(&ask.id).await;
    assert!(record["client"].as_str().unwrap().contains("198.51.100.9"), "{record}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn caps_count_the_named_client_and_not_the_load_balancer() {
    let (_sim, gateway) = behind(LOOPBACK, "per_address_max: 1").await;
    let mut held = Vec::new();
    for last in 1..=4 {
        let mut raw = Raw::connect(gateway.address()).await;
        raw.send([four(last).as_slice(), &chat(&Ask::chat("gpt"))].concat()).await;
        assert_eq!(raw.answer().await.status, 200);
        held.push(raw);
    }
    let mut again = Raw::connect(gateway.address()).await;
    again.send(four(1)).await;
    assert!(again.ends_within(secs(10)).await);
    gateway.until_metric(CUT_OFF, &[("reason", "address_full")], |count| count > 0.5).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_header_or_a_bad_one_or_half_of_one_ends_the_connection() {
    let (_sim, gateway) = behind(LOOPBACK, "header_timeout: 500ms").await;
    let long = format!("PROXY UNKNOWN {}\r\n", "x".repeat(200));
    let bad: [&[u8]; 6] = [
        b"GET / HTTP/1.1\r\nhost: a\r\n\r\n",
        b"PROXY TCP4 198.51.100.7 127.0.0.1 12345\r\n",
        b"PROXY TCP4 nobody 127.0.0.1 12345 443\r\n",
        long.as_bytes(),
        b"\r\n\r\n\0\r\nQUIT\n\x21\x11\xff\xff",
        b"\r\n\r\n\0\r\nQUIT\n\x31\x11\x00\x0c............",
    ];
    for bytes in bad {
        let mut raw = Raw::connect(gateway.address()).await;
        raw.send(bytes).await;
        assert!(raw.ends_within(secs(10)).await, "{}", String::from_utf8_lossy(bytes));
    }
    gateway.until_metric(CUT_OFF, &[("reason", "proxy_header_bad")], |count| count > 5.5).await;
    for begun in [&b""[..], b"PROXY TCP4 198.51", &SIGNATURE[..5]] {
        let mut raw = Raw::connect(gateway.address()).await;
        raw.send(begun).await;
        assert!(raw.ends_within(secs(10)).await);
    }
    gateway.until_metric(CUT_OFF, &[("reason", "proxy_header_timeout")], |count| count > 2.5).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn from_anybody_else_the_header_is_refused() {
    let (_sim, gateway) = behind("proxy_protocol: { from: [\"192.0.2.0/24\"] }", "").await;
    for header in [b"PROXY TCP4 198.51.100.7 127.0.0.1 12345 443\r\n".to_vec(), four(7)] {
        let mut raw = Raw::connect(gateway.address()).await;
        raw.send([header.as_slice(), &chat(&Ask::chat("gpt"))].concat()).await;
        let answer = raw.answer().await;
        assert_eq!((answer.status, answer.code().as_str()), (400, "bad_framing"));
    }
    for proto in [Proto::H1, Proto::H2c] {
        assert_eq!(gateway.client(proto).ask(&Ask::chat("gpt")).await.status, 200);
    }
}
