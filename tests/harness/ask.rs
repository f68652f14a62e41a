//! [`Ask`]: one request of a client, built step by step.

use bytes::Bytes;
use sha2::{Digest, Sha256};
use std::fmt::Write;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// How a body is sent.
#[derive(Clone, Debug)]
pub enum Payload {
    /// No body, no framing header.
    None,
    /// With `Content-Length`.
    Sized(Bytes),
    /// Without a stated length: chunked, or HTTP/2 data frames, in pieces of so many bytes.
    Unsized(Bytes, usize),
    /// Without a stated length, the pieces spread over time.
    Slow(Bytes, usize, Duration),
}

/// One request.
#[derive(Clone, Debug)]
pub struct Ask {
    /// `POST`, …
    pub method: String,
    /// Path and query.
    pub path: String,
    /// Headers beside `Host` and framing.
    pub headers: Vec<(String, String)>,
    /// Body and its framing.
    pub payload: Payload,
    /// Its own id: `x-request-id`.
    pub id: String,
    /// The body asks for a stream.
    pub streams: bool,
}

/// SHA-256 in hex.
#[must_use]
pub fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

impl Ask {
    /// A request without a body.
    #[must_use]
    pub fn new(method: &str, path: &str) -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        let id = format!("ask-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        Self {
            method: method.to_owned(),
            path: path.to_owned(),
            headers: vec![("x-request-id".to_owned(), id.clone())],
            payload: Payload::None,
            id,
            streams: false,
        }
    }

    /// `POST` of a JSON text.
    #[must_use]
    pub fn json(path: &str, body: impl Into<Bytes>) -> Self {
        Self::new("POST", path).header("content-type", "application/json").body(body)
    }

    /// A chat over the classic path; `model` is in the body too, as the SDKs put it.
    #[must_use]
    pub fn chat(deployment: &str) -> Self {
        Self::json(&classic(deployment), chat(deployment, ""))
    }

    /// The same as a stream that ends with a usage chunk.
    #[must_use]
    pub fn stream(deployment: &str) -> Self {
        Self { streams: true, ..Self::json(&classic(deployment), chat(deployment, STREAM)) }
    }

    /// A chat over the v1 path.
    #[must_use]
    pub fn v1(model: &str) -> Self {
        Self::json(V1, chat(model, ""))
    }

    /// The same as a stream.
    #[must_use]
    pub fn v1_stream(model: &str) -> Self {
        Self { streams: true, ..Self::json(V1, chat(model, STREAM)) }
    }

    /// Embeddings over the classic path.
    #[must_use]
    pub fn embeddings(deployment: &str) -> Self {
        let path = format!("/openai/deployments/{deployment}/embeddings?api-version=2024-10-21");
        Self::json(&path, format!(r#"{{"model":"{deployment}","input":"hello"}}"#))
    }

    /// A file to transcribe: `multipart/form-data` with a `model` field, in front of the file.
    #[must_use]
    pub fn transcription(path: &str, model: &str, file: &[u8]) -> Self {
        let mut body = format!(
            "--frontier\r\nContent-Disposition: form-data; name=\"model\"\r\n\r\n{model}\r\n--frontier\r\n\
             Content-Disposition: form-data; name=\"file\"; filename=\"a.wav\"\r\nContent-Type: audio/wav\r\n\r\n"
        )
        .into_bytes();
        body.extend_from_slice(file);
        body.extend_from_slice(b"\r\n--frontier--\r\n");
        Self::new("POST", path).header("content-type", "multipart/form-data; boundary=frontier").body(body)
    }

    /// The chat made exactly `bytes` long by its prompt.
    ///
    /// # Panics
    /// When that is shorter than the chat without a prompt.
    #[must_use]
    pub fn sized(mut self, bytes: usize) -> Self {
        let text = String::from_utf8(self.bytes().to_vec()).unwrap();
        let more = bytes.checked_sub(text.len()).expect("longer than the bare request");
        let marker = "\"content\":\"";
        let at = text.find(marker).expect("a chat") + marker.len();
        let body = format!("{}{}{}", &text[..at], "x".repeat(more), &text[at..]);
        self.payload = Payload::Sized(body.into());
        self
    }

    /// Adds a header.
    #[must_use]
    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Takes a header out.
    #[must_use]
    pub fn without(mut self, name: &str) -> Self {
        self.headers.retain(|(own, _)| own != name);
        self
    }

    /// Sets a body with `Content-Length`.
    #[must_use]
    pub fn body(mut self, body: impl Into<Bytes>) -> Self {
        self.payload = Payload::Sized(body.into());
        self
    }

    /// Sends the body in pieces without a stated length.
    #[must_use]
    pub fn pieces(mut self, piece: usize) -> Self {
        self.payload = Payload::Unsized(self.bytes(), piece);
        self
    }

    /// Sends the body in pieces with a pause after each.
    #[must_use]
    pub fn slow(mut self, piece: usize, pause: Duration) -> Self {
        self.payload = Payload::Slow(self.bytes(), piece, pause);
        self
    }

    /// The body.
    #[must_use]
    pub fn bytes(&self) -> Bytes {
        match &self.payload {
            Payload::None => Bytes::new(),
            Payload::Sized(body) | Payload::Unsized(body, _) | Payload::Slow(body, ..) => body.clone(),
        }
    }

    /// The same request under another id.
    #[must_use]
    pub fn again(&self) -> Self {
        let mut copy = Self::new(&self.method, &self.path);
        let own = self.headers.iter().filter(|(name, _)| name != "x-request-id").cloned();
        copy.headers.extend(own);
        copy.payload = self.payload.clone();
        copy.streams = self.streams;
        copy
    }
}

const V1: &str = "/openai/v1/chat/completions";
const STREAM: &str = r#""stream":true,"stream_options":{"include_usage":true},"#;

fn classic(deployment: &str) -> String {
    format!("/openai/deployments/{deployment}/chat/completions?api-version=2024-10-21")
}

fn chat(model: &str, options: &str) -> String {
    format!(r#"{{"model":"{model}",{options}"messages":[{{"role":"user","content":""}}]}}"#)
}
