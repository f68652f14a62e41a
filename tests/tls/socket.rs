//! A listener on a Unix socket: served, protected by its permissions, handed over.

use harness::{Gateway, Setup, Sim};
use std::os::unix::fs::PermissionsExt;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;

/// The answer to a `GET` over the socket, by a connection of its own.
async fn get(gateway: &Gateway, id: &str) -> std::io::Result<String> {
    let mut stream = UnixStream::connect(gateway.file("edge.sock")).await?;
    let request = format!(
        "GET /openai/v1/models HTTP/1.1\r\nhost: edge.example\r\nx-request-id: {id}\r\nconnection: close\r\n\r\n"
    );
    stream.write_all(request.as_bytes()).await?;
    let mut answer = String::new();
    let read = tokio::time::timeout(Duration::from_secs(20), stream.read_to_string(&mut answer));
    read.await.expect("an answer within 20 s")?;
    Ok(answer)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_unix_socket_serves_keeps_strangers_out_and_survives_an_upgrade() {
    let sim = Sim::start("swedencentral").await;
    let gateway = Setup::new()
        .text(&format!(
            "version: 1
home_region: swedencentral
listeners:
  - {{ name: local, address: \"unix:edge.sock\", socket_mode: \"0600\" }}
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
    let answer = get(&gateway, "before").await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    let record = gateway.record("before").await;
    assert_eq!((&record["listener"], &record["client"]), (&"local".into(), &serde_json::Value::Null), "{record}");
    let mode = std::fs::metadata(gateway.file("edge.sock")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let mut old = gateway;
    let new = old.upgrade().await;
    for round in 0..50 {
        let answer = get(&new, &format!("round-{round}")).await.expect("no connection is refused");
        assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    old.ended(Duration::from_secs(40)).await;
    assert!(get(&new, "after").await.unwrap().starts_with("HTTP/1.1 200 "));
}
