//! Tests of probes, against listeners of our own.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "tests may panic")]

use super::*;
use crate::background::tests::{Site, shared, until};
use std::sync::atomic::{AtomicU16, Ordering};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::sync::mpsc;

/// A backend that answers every connection with one status, once; zero: it never answers.
async fn backend(status: &Arc<AtomicU16>) -> (String, mpsc::UnboundedReceiver<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (heard, hearing) = mpsc::unbounded_channel();
    let status = Arc::clone(status);
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            let (heard, status) = (heard.clone(), status.load(Ordering::Relaxed));
            tokio::spawn(async move {
                let mut request = vec![0; 4096];
                let length = stream.read(&mut request).await.unwrap_or(0);
                let _ = heard.send(String::from_utf8_lossy(&request[..length]).into_owned());
                if status == 0 {
                    std::future::pending::<()>().await;
                }
                let _ =
                    stream.write_all(format!("HTTP/1.1 {status} X\r\nContent-Length: 2\r\n\r\nok").as_bytes()).await;
            });
        }
    });
    (format!("http://{address}"), hearing)
}

const FAST: &str = "{ http: { path: /openai/models, credential: true }, interval: 20ms, timeout: 100ms, healthy_after: 2, unhealthy_after: 2 }";

async fn probing(shared: &Shared) -> Arc<BackendState> {
    let fleet = shared.fleets.load_full();
    let for_task = shared.clone();
    tokio::spawn(async move {
        let (_sender, generations) = watch::channel(1);
        keep(&for_task, generations).await;
    });
    Arc::clone(fleet.pools[0].backend(0).unwrap())
}

#[tokio::test]
async fn probes_carry_the_credential_and_change_health_both_ways() {
    let status = Arc::new(AtomicU16::new(200));
    let (url, mut requests) = backend(&status).await;
    let shared = shared(&Site { urls: &[&format!("{url}/base")], probe: FAST, ..Site::default() });
    let state = probing(&shared).await;
    let request = requests.recv().await.unwrap();
    assert!(request.starts_with("GET /base/openai/models HTTP/1.1\r\n"), "{request}");
    assert!(request.to_ascii_lowercase().contains("host: 127.0.0.1:"), "{request}");
    assert!(request.contains("CANARY-KEY"), "{request}");
    until("a round trip is measured", || state.rtt().is_some()).await;
    status.store(500, Ordering::Relaxed);
    until("500 makes it unhealthy", || !state.is_probe_healthy()).await;
    status.store(0, Ordering::Relaxed);
    let text = || String::from_utf8(shared.metrics.render()).unwrap();
    until("silence is a failure", || !text().contains("result=\"timed_out\"} 0")).await;
    status.store(200, Ordering::Relaxed);
    until("200 makes it healthy", || state.is_probe_healthy()).await;
    let text = text();
    assert!(text.contains("tidegate_health_changes_total{backend=\"b0\",pool=\"chat\",to=\"unhealthy\"} 1"), "{text}");
    assert!(text.contains("tidegate_health_changes_total{backend=\"b0\",pool=\"chat\",to=\"healthy\"} 1"), "{text}");
    assert!(!text.contains("CANARY"));
}

#[tokio::test]
async fn a_tcp_probe_only_connects() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let probe = "{ tcp: {}, interval: 20ms, timeout: 500ms, healthy_after: 1, unhealthy_after: 1 }";
    let shared = shared(&Site { urls: &[&url], probe, ..Site::default() });
    let state = probing(&shared).await;
    until("it connects", || state.rtt().is_some()).await;
    assert!(state.is_probe_healthy());
    drop(listener);
    until("refused makes it unhealthy", || !state.is_probe_healthy()).await;
}

#[tokio::test]
async fn what_fails_is_said_without_what_was_sent() {
    let status = Arc::new(AtomicU16::new(503));
    let (url, _requests) = backend(&status).await;
    let shared = shared(&Site { urls: &[&url], probe: FAST, ..Site::default() });
    let fleet = shared.fleets.load_full();
    let post = posts(&fleet).into_values().next().unwrap();
    let address = post.state.addresses().address(0).unwrap();
    let (result, why) = send(&post, &mut None, address).await;
    assert_eq!((result, why.as_str()), (ProbeResult::Failed, "status 503"));
    let nobody = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let (result, why) = send(&post, &mut None, nobody).await;
    assert_eq!(result, ProbeResult::Failed);
    assert!(why.starts_with("ConnectRefused: Connection refused"), "{why}");
    let mut gone = post.clone();
    gone.url.trust.ca_file = Some("/no/such/ca.pem".into());
    let (result, why) = send(&gone, &mut None, address).await;
    assert_eq!(result, ProbeResult::Failed);
    assert!(why.contains("/no/such/ca.pem"), "{why}");
}

#[tokio::test]
async fn a_probe_without_change_goes_on_over_a_reload() {
    let site = Site { urls: &["http://127.0.0.1:9", "http://localhost:9"], probe: FAST, ..Site::default() };
    let shared = shared(&site);
    let one = posts(&shared.fleets.load());
    let again = shared.registry.bind(Arc::clone(&shared.fleets.load().snapshot));
    let two = posts(&again);
    assert_eq!(one.len(), 2);
    assert!(one.iter().all(|(id, post)| two.get(id) == Some(post)));
}
