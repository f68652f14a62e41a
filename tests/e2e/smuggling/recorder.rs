//! A backend that records the bytes of every request, and answers each with a short 200.

use harness::Wire;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

type Seen = Arc<Mutex<Vec<Arrived>>>;

/// The backend.
pub(super) struct Recorder {
    wire: Wire,
    seen: Seen,
}

/// A request as it arrived, or what was left when the connection ended.
#[derive(Clone, Debug)]
pub(super) struct Arrived {
    pub(super) head: String,
    pub(super) body: Vec<u8>,
    /// The connection ended inside it.
    pub(super) broken: bool,
}

impl Recorder {
    pub(super) async fn start() -> Self {
        let seen = Seen::default();
        let own = Arc::clone(&seen);
        Self { wire: Wire::serve(move |stream| talk(stream, Arc::clone(&own))).await, seen }
    }

    pub(super) fn url(&self) -> String {
        self.wire.url()
    }

    /// What has arrived since the last call.
    pub(super) fn take(&self) -> Vec<Arrived> {
        std::mem::take(&mut self.seen.lock().unwrap())
    }

    /// Waits until something has arrived.
    pub(super) async fn reached(&self) {
        while self.seen.lock().unwrap().is_empty() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}

impl Arrived {
    /// Method and target.
    pub(super) fn asks(&self) -> String {
        self.head.split(" HTTP/1.1\r\n").next().unwrap_or_default().to_owned()
    }

    /// One framing: at most one `Content-Length`, no `Transfer-Encoding`, and clean lines.
    pub(super) fn plain(&self) -> Result<(), String> {
        let lines = self.head.trim_end_matches("\r\n").split("\r\n").skip(1);
        let names: Vec<_> = lines.map(|line| line.split(':').next().unwrap_or_default().to_ascii_lowercase()).collect();
        let count = |name: &str| names.iter().filter(|own| own.replace('_', "-") == name).count();
        let clean = !self.head.replace("\r\n", "").contains(['\r', '\n', '\0']);
        let framed = count("content-length") <= 1 && count("transfer-encoding") == 0 && count("host") == 1;
        if self.broken || !clean || !framed { Err(format!("not plain: {self:?}")) } else { Ok(()) }
    }
}

async fn talk(mut stream: TcpStream, seen: Seen) {
    let mut buffer = Vec::new();
    loop {
        let end = loop {
            if let Some(at) = buffer.windows(4).position(|window| window == b"\r\n\r\n") {
                break at + 4;
            }
            if stream.read_buf(&mut buffer).await.unwrap_or(0) == 0 {
                if !buffer.is_empty() {
                    note(&seen, &buffer, Vec::new(), true);
                }
                return;
            }
        };
        let head: Vec<u8> = buffer.drain(..end).collect();
        let length = stated(&head);
        while buffer.len() < length {
            if stream.read_buf(&mut buffer).await.unwrap_or(0) == 0 {
                note(&seen, &head, std::mem::take(&mut buffer), true);
                return;
            }
        }
        note(&seen, &head, buffer.drain(..length).collect(), false);
        let bodiless = head.starts_with(b"HEAD ");
        let answer = format!("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}", if bodiless { "" } else { "{}" });
        if stream.write_all(answer.as_bytes()).await.is_err() {
            return;
        }
    }
}

fn note(seen: &Seen, head: &[u8], body: Vec<u8>, broken: bool) {
    seen.lock().unwrap().push(Arrived { head: String::from_utf8_lossy(head).into_owned(), body, broken });
}

fn stated(head: &[u8]) -> usize {
    let head = String::from_utf8_lossy(head).to_ascii_lowercase();
    let lines = head.split("\r\n");
    lines.filter_map(|line| line.strip_prefix("content-length:")).find_map(|v| v.trim().parse().ok()).unwrap_or(0)
}
