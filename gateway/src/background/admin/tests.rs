//! Tests of the admin listener: pages by call, the protocol over a socket.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests may panic")]

use super::*;
use crate::background::tests::{Site, shared, until};
use crate::policy::health::Thresholds;
use pingora::services::Service as _;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

fn admin(site: &Site<'_>) -> Admin {
    Admin { shared: shared(site) }
}

fn get(admin: &Admin, path: &str) -> (u16, Value) {
    let response = admin.answer(&Method::GET, path);
    (response.status().as_u16(), serde_json::from_slice(response.body()).unwrap_or_default())
}

#[tokio::test]
async fn readiness_follows_required_pools_and_the_drain() {
    let admin = admin(&Site::default());
    assert_eq!(get(&admin, "/readyz").0, 200);
    let state = admin.shared.fleets.load().pools[0].backend(0).cloned().unwrap();
    let thresholds = Thresholds { healthy_after: 1, unhealthy_after: 1 };
    state.probed(false, None, thresholds, clock::now());
    let (status, body) = get(&admin, "/readyz");
    assert_eq!((status, &body["lacking"][0]["pool"]), (503, &Value::from("chat")));
    state.probed(true, None, thresholds, clock::now());
    admin.shared.listening.store(false, Ordering::Release);
    let (status, body) = get(&admin, "/readyz");
    assert_eq!((status, &body["starting"]), (503, &Value::from(true)));
    admin.shared.listening.store(true, Ordering::Release);
    admin.shared.draining.store(true, Ordering::Release);
    let (status, body) = get(&admin, "/readyz");
    assert_eq!((status, &body["draining"]), (503, &Value::from(true)));
    assert_eq!(get(&admin, "/livez").0, 200);
}

#[tokio::test]
async fn a_name_without_address_is_not_ready() {
    let admin = admin(&Site { urls: &["http://no-such-name.invalid"], ..Site::default() });
    let (status, body) = get(&admin, "/readyz");
    assert_eq!((status, &body["lacking"][0]["unresolved"]), (503, &Value::from(1)));
}

#[tokio::test]
async fn pages_show_state_and_no_secret() {
    let admin = admin(&Site::default());
    let (status, body) = get(&admin, "/backends");
    assert_eq!((status, &body["backends"][0]["backend"]), (200, &Value::from("b0")));
    assert_eq!(body["backends"][0]["state"], "in_service");
    assert_eq!(get(&admin, "/version").1["version"], env!("CARGO_PKG_VERSION"));
    assert_eq!(get(&admin, "/").0, 404);
    let metrics = admin.answer(&Method::GET, "/metrics");
    assert_eq!(metrics.headers()[CONTENT_TYPE], "text/plain; version=0.0.4");
    let text = String::from_utf8(metrics.into_body()).unwrap();
    let eligible = "tidegate_backend_eligible{backend=\"b0\",pool=\"chat\",region=\"swedencentral\"} 1";
    assert!(text.contains(eligible), "{text}");
    assert!(text.contains("tidegate_pool_backends_eligible{pool=\"chat\"} 1"), "{text}");
    for page in ["/backends", "/version", "/metrics", "/readyz"] {
        let body = admin.answer(&Method::GET, page).into_body();
        assert!(!String::from_utf8(body).unwrap().contains("CANARY"), "{page}");
    }
}

async fn ask(address: SocketAddr, request: &str) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    tokio::time::timeout(Duration::from_secs(20), stream.read_to_string(&mut answer)).await.unwrap().unwrap();
    answer
}

#[tokio::test]
async fn the_listener_speaks_http() {
    let free = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = free.local_addr().unwrap();
    drop(free);
    let mut service = service(shared(&Site::default()), address);
    let (_stop, shutdown) = tokio::sync::watch::channel(false);
    tokio::spawn(async move { service.start_service(None, shutdown, 1).await });
    let up = || std::net::TcpStream::connect(address).is_ok();
    until("it listens", up).await;
    let answer = ask(address, "GET /livez HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").await;
    assert!(answer.starts_with("HTTP/1.1 200") && answer.ends_with("\r\n\r\nok\n"), "{answer}");
    let answer = ask(address, "HEAD /livez HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").await;
    assert!(answer.starts_with("HTTP/1.1 200") && answer.ends_with("\r\n\r\n"), "{answer}");
    assert!(answer.to_ascii_lowercase().contains("content-length: 3"), "{answer}");
    let answer = ask(address, "POST /livez HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\nbody").await;
    assert!(answer.starts_with("HTTP/1.1 405") && answer.contains("GET, HEAD"), "{answer}");
}
