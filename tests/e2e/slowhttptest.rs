//! The shapes of slowhttptest, by the tool itself: each of its connections is ended by its limit, and honest clients beside it
//! are served as ever.

use crate::common::{A, ms, secs, served_by};
use harness::{Ask, Gateway, Proto, Setup, Sim, Wire, eventually, tool, within};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::process::Command;

/// Connections of an attack, all within its first second.
const CONNECTIONS: &str = "100";
const EACH: f64 = 99.5;
/// More than the buffers of two sockets hold.
const LARGE: usize = 16 << 20;

/// Answers every request with more than a slow reader takes.
async fn pour(mut stream: TcpStream) {
    let mut head = [0; 4096];
    while stream.read(&mut head).await.is_ok_and(|count| count > 0) {
        let answer = format!("HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {LARGE}\r\n\r\n");
        if stream.write_all(answer.as_bytes()).await.is_err() {
            return;
        }
        let part = vec![b' '; 64 * 1024];
        for _ in 0..LARGE / part.len() {
            if stream.write_all(&part).await.is_err() {
                return;
            }
        }
    }
}

/// Runs the attack beside honest clients over both versions of HTTP, until it has ended.
async fn attack(gateway: &Gateway, path: &str, shape: &[&str]) {
    let url = format!("http://{}{path}", gateway.address());
    let mut command = Command::new(tool("slowhttptest"));
    command.args(["-c", CONNECTIONS, "-r", CONNECTIONS, "-l", "8", "-p", "5", "-u", &url]).args(shape);
    let running = within("slowhttptest", secs(20), command.kill_on_drop(true).output());
    let honest = async {
        loop {
            for proto in Proto::PLAIN {
                let answer = gateway.client(proto).ask(&Ask::chat("gpt")).await;
                served_by(&answer, A);
                assert!(answer.total < secs(3), "{shape:?}: an honest client waited {:?}", answer.total);
            }
            tokio::time::sleep(ms(20)).await;
        }
    };
    let output = tokio::select! {
        output = running => output.expect("slowhttptest starts"),
        never = honest => never,
    };
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(!said.contains("service available:   NO"), "{shape:?}: {said}");
}

async fn ended(gateway: &Gateway, metric: &str, label: (&str, &str)) {
    let limit = Duration::from_secs(10);
    eventually(format!("{metric} {label:?} counts them all"), limit, async || {
        (gateway.metrics().await.sum(metric, &[label]) > EACH).then_some(())
    })
    .await;
    eventually("no connection is left", limit, async || {
        (gateway.metrics().await.sum("tidegate_connections_open", &[]) < 3.0).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn slow_headers_bodies_and_readers_end_by_their_limits_and_nobody_else_notices() {
    let (sim, wire) = (Sim::start("swedencentral").await, Wire::serve(pour).await);
    let gateway = Setup::new()
        .top(
            "limits: { body_timeout: 2s, connections: { first_byte_timeout: 2s, header_timeout: 2s, write_timeout: 2s } }",
        )
        .backend("a", &sim, "")
        .more(&format!(
            "  - name: large\n    probe: off\n    backends: [ {{ name: wire, region: francecentral, url: \"{}\" }} ]\n\
             routes:\n  - {{ name: large, match: {{ path: /openai/v1/models }}, pool: large }}\n\
             \x20 - {{ name: rest, pool: chat }}\n",
            wire.url()
        ))
        .start()
        .await;
    let chat = "/openai/v1/chat/completions";
    attack(&gateway, chat, &["-H", "-i", "1", "-x", "24"]).await;
    ended(&gateway, "tidegate_connections_cut_off_total", ("reason", "header_timeout")).await;
    attack(&gateway, chat, &["-B", "-i", "1", "-s", "8192", "-x", "10"]).await;
    ended(&gateway, "tidegate_denials_total", ("code", "body_timeout")).await;
    attack(&gateway, "/openai/v1/models", &["-X", "-n", "1", "-w", "512", "-y", "1024", "-z", "5"]).await;
    ended(&gateway, "tidegate_connections_cut_off_total", ("reason", "write_timeout")).await;
}
