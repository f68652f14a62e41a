//! A client of bytes: whatever a well-behaved HTTP library would not send.

use std::net::SocketAddr;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// Longest wait for an answer.
const LIMIT: Duration = Duration::from_secs(20);

/// One connection.
#[derive(Debug)]
pub struct Raw {
    stream: TcpStream,
    buffer: Vec<u8>,
}

/// An HTTP/1.1 answer.
#[derive(Clone, Debug, Default)]
pub struct RawAnswer {
    /// Status; 0 when the connection ended without an answer.
    pub status: u16,
    /// Header block.
    pub head: String,
    /// Body, as far as it came.
    pub body: Vec<u8>,
}

impl RawAnswer {
    /// The first value of a header, by its name in any case; empty when absent.
    #[must_use]
    pub fn header(&self, name: &str) -> &str {
        let mut fields = self.head.lines().filter_map(|line| line.split_once(':'));
        fields.find(|(own, _)| own.eq_ignore_ascii_case(name)).map_or("", |(_, value)| value.trim())
    }

    /// `error.code` of an OpenAI-shaped body; empty when it is none.
    #[must_use]
    pub fn code(&self) -> String {
        let body: serde_json::Value = serde_json::from_slice(&self.body).unwrap_or_default();
        body["error"]["code"].as_str().unwrap_or_default().to_owned()
    }
}

impl Raw {
    /// Connects.
    ///
    /// # Panics
    /// When that fails.
    pub async fn connect(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).await.expect("the gateway accepts connections");
        stream.set_nodelay(true).unwrap();
        Self { stream, buffer: Vec::new() }
    }

    /// Sends bytes; a connection that the other side has closed takes them to nowhere.
    pub async fn send(&mut self, bytes: impl AsRef<[u8]>) {
        let _ = self.stream.write_all(bytes.as_ref()).await;
    }

    /// Ends our direction.
    pub async fn finish(&mut self) {
        let _ = self.stream.shutdown().await;
    }

    /// Reads one answer.
    ///
    /// # Panics
    /// When it takes longer than 20 s.
    pub async fn answer(&mut self) -> RawAnswer {
        tokio::time::timeout(LIMIT, self.read_answer()).await.expect("an answer, or the connection's end, within 20 s")
    }

    /// Whether the connection has ended, or ends within `limit`, with nothing more to read.
    pub async fn ends_within(&mut self, limit: Duration) -> bool {
        let mut byte = [0; 64];
        matches!(tokio::time::timeout(limit, self.stream.read(&mut byte)).await, Ok(Ok(0) | Err(_)))
    }

    async fn read_answer(&mut self) -> RawAnswer {
        let Some(end) = self.until(b"\r\n\r\n").await else { return RawAnswer::default() };
        let head = String::from_utf8_lossy(&self.buffer[..end]).into_owned();
        self.buffer.drain(..end);
        let status = head.split(' ').nth(1).and_then(|text| text.parse().ok()).unwrap_or(0);
        let mut answer = RawAnswer { status, head, body: Vec::new() };
        if (100..200).contains(&status) {
            return answer;
        }
        if answer.header("transfer-encoding").eq_ignore_ascii_case("chunked") {
            answer.body = self.chunks().await;
        } else {
            let length: usize = answer.header("content-length").parse().unwrap_or(usize::MAX);
            while self.buffer.len() < length && self.more().await {}
            answer.body = self.buffer.drain(..length.min(self.buffer.len())).collect();
        }
        answer
    }

    async fn chunks(&mut self) -> Vec<u8> {
        let mut body = Vec::new();
        while let Some(end) = self.until(b"\r\n").await {
            let line = String::from_utf8_lossy(&self.buffer[..end]).trim().to_owned();
            self.buffer.drain(..end);
            let Ok(length) = usize::from_str_radix(&line, 16) else { break };
            while self.buffer.len() < length + 2 && self.more().await {}
            body.extend(self.buffer.drain(..length.min(self.buffer.len())));
            self.buffer.drain(..2.min(self.buffer.len()));
            if length == 0 {
                break;
            }
        }
        body
    }

    async fn until(&mut self, mark: &[u8]) -> Option<usize> {
        loop {
            if let Some(at) = self.buffer.windows(mark.len()).position(|window| window == mark) {
                return Some(at + mark.len());
            }
            if !self.more().await {
                return None;
            }
        }
    }

    async fn more(&mut self) -> bool {
        let mut part = vec![0; 16 * 1024];
        match self.stream.read(&mut part).await {
            Ok(0) | Err(_) => false,
            Ok(count) => {
                self.buffer.extend_from_slice(&part[..count]);
                true
            }
        }
    }
}
