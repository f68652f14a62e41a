//! A gate whose time ends while the backend is silent: what was held leaves at once over both versions of HTTP, and nothing of
//! it is lost or doubled, however little a client takes.

use crate::common::{ms, secs, until_idle};
use crate::gate::{ROLE, scripted};
use bytes::Bytes;
use harness::{Ask, Gateway, Proto, Setup, Wire, within};
use std::sync::Arc;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::sync::Notify;

const REST: &str = "data: {\"choices\":[{\"delta\":{\"content\":\"one\"}}]}\n\ndata: [DONE]\n\n";
/// More than the window of a client that takes little.
const HELD: &str = concat!(
    ": a comment that is held, and long enough for a window of a few bytes to be full in the middle of it\n\n",
    "data: {\"choices\":[{\"delta\":{\"role\":\"assistant\",\"content\":\"\"}}]}\n\n"
);
const WINDOW: u32 = 30;

/// A gateway before a region that sends this, and the rest when told.
async fn before(held: &'static str) -> (Gateway, Wire, Arc<Notify>) {
    let go = Arc::new(Notify::new());
    let told = Arc::clone(&go);
    let wire = scripted(held, "", move |mut connection: TcpStream| {
        let told = Arc::clone(&told);
        async move {
            told.notified().await;
            let _ = connection.write_all(REST.as_bytes()).await;
        }
    })
    .await;
    let setup = Setup::new().pool("streams: { gate: { time: 200ms } }");
    (setup.backend_at("a", "swedencentral", &wire.url(), "").start().await, wire, go)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_held_leaves_while_the_backend_is_still_silent() {
    let (gateway, _wire, go) = before(ROLE).await;
    for proto in Proto::PLAIN {
        let ask = Ask::stream("gpt");
        let mut opened = within("the header", secs(4), gateway.client(proto).open(&ask)).await;
        let first = within("what was held", secs(4), opened.piece()).await.expect("bytes");
        assert_eq!(first, ROLE.as_bytes(), "{proto:?}");
        assert!(tokio::time::timeout(ms(100), opened.piece()).await.is_err(), "the backend is silent");
        go.notify_one();
        let rest = within("the rest", secs(4), opened.read()).await;
        assert_eq!((rest.text().as_str(), rest.cut), (REST, None), "{proto:?}");
        let record = gateway.record(&ask.id).await;
        let sent = (ROLE.len() + REST.len()) as u64;
        assert_eq!((&record["ending"], record["bytes_out"].as_u64()), (&"served".into(), Some(sent)), "{record}");
    }
}

/// A chat of a client that takes no more than it says, and the task that drives its connection.
async fn sparing(gateway: &Gateway, ask: &Ask) -> (h2::RecvStream, tokio::task::JoinHandle<()>) {
    let tcp = TcpStream::connect(gateway.address()).await.unwrap();
    let (mut sender, connection) =
        h2::client::Builder::new().initial_window_size(WINDOW).handshake::<_, Bytes>(tcp).await.unwrap();
    let driven = tokio::spawn(async move {
        let _ = connection.await;
    });
    let mut request = http::Request::post(format!("http://localhost{}", ask.path));
    for (name, value) in &ask.headers {
        request = request.header(name, value);
    }
    let (response, mut body) = sender.send_request(request.body(()).unwrap(), false).unwrap();
    body.send_data(ask.bytes(), true).unwrap();
    let response = within("the header", secs(4), response).await.unwrap();
    assert_eq!(response.status(), 200);
    (response.into_body(), driven)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_lost_or_doubled_for_a_client_that_takes_a_few_bytes_at_a_time() {
    let (gateway, _wire, go) = before(HELD).await;
    let (mut body, _driven) = sparing(&gateway, &Ask::stream("gpt")).await;
    let mut seen = within("what fits", secs(4), body.data()).await.unwrap().unwrap().to_vec();
    assert!(!seen.is_empty() && seen.len() <= WINDOW as usize, "{} bytes", seen.len());
    // The backend speaks while the client's window is full: Pingora drops the future that writes.
    go.notify_one();
    tokio::time::sleep(ms(200)).await;
    body.flow_control().release_capacity(seen.len()).unwrap();
    while let Some(part) = within("the next bytes", secs(4), body.data()).await {
        let part = part.unwrap();
        body.flow_control().release_capacity(part.len()).unwrap();
        seen.extend_from_slice(&part);
    }
    assert_eq!(String::from_utf8(seen).unwrap(), [HELD, REST].concat());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_leaves_after_the_gate_opened_in_silence_ends_the_attempt() {
    let (gateway, _wire, _go) = before(HELD).await;
    for full in [false, true] {
        let ask = Ask::stream("gpt");
        if full {
            let (body, driven) = sparing(&gateway, &ask).await;
            drop(body);
            driven.abort();
        } else {
            drop(gateway.client(Proto::H2c).open(&ask).await);
        }
        assert_eq!(gateway.record(&ask.id).await["ending"], "client_gone", "full: {full}");
        until_idle(&gateway).await;
    }
}
