//! The load: chats whole and streamed, in both URL styles, and embeddings, at a steady rate. Judges every answer as a client
//! would: status, whole body, `[DONE]`.

use super::http::{Answer, Client, HttpError};
use super::story::{API_VERSION, CHAT, EMBEDDINGS};
use super::tally::{Seen, Tally, read_trail, region_of};
use crate::telemetry::now;
use bytes::Bytes;
use http::{HeaderMap, Method, Request, StatusCode, header};
use http_body_util::Full;
use parking_lot::Mutex;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tokio::time::timeout;

/// Requests under way at once; more are held back.
const IN_FLIGHT_MAX: usize = 2000;
/// Nobody waits longer than this for an answer.
const PATIENCE: Duration = Duration::from_secs(30);

/// A kind of request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Chat,
    ChatV1,
    Stream,
    StreamV1,
    Embeddings,
}

/// The mix, ten requests long.
const MIX: [Kind; 10] = [
    Kind::Chat,
    Kind::Stream,
    Kind::Embeddings,
    Kind::ChatV1,
    Kind::StreamV1,
    Kind::Chat,
    Kind::Stream,
    Kind::Chat,
    Kind::Embeddings,
    Kind::Stream,
];

/// Sends requests and counts what comes of them.
#[derive(Debug)]
pub(super) struct Load {
    client: Client,
    rate: u32,
    sent: Mutex<u64>,
    in_flight: AtomicUsize,
    pub(super) tally: Mutex<Tally>,
}

impl Load {
    /// A load of `rate` requests per second on `address`.
    pub(super) fn new(address: &str, rate: u32) -> Arc<Self> {
        Arc::new(Self {
            client: Client::new(address),
            rate,
            sent: Mutex::new(0),
            in_flight: AtomicUsize::new(0),
            tally: Mutex::default(),
        })
    }

    /// Sends what is due `elapsed` after the start.
    pub(super) fn send_due(self: &Arc<Self>, elapsed: Duration) {
        let due = u64::try_from(elapsed.as_millis() * u128::from(self.rate) / 1000).unwrap_or(u64::MAX);
        let mut sent = self.sent.lock();
        while *sent < due {
            let number = *sent;
            *sent += 1;
            if self.in_flight.load(Ordering::Relaxed) >= IN_FLIGHT_MAX {
                self.tally.lock().held_back += 1;
                continue;
            }
            self.in_flight.fetch_add(1, Ordering::Relaxed);
            let load = Arc::clone(self);
            tokio::spawn(async move {
                let seen = load.one(number).await;
                load.tally.lock().add(&seen);
                load.in_flight.fetch_sub(1, Ordering::Relaxed);
            });
        }
    }

    /// Requests that have not ended.
    pub(super) fn in_flight(&self) -> usize {
        self.in_flight.load(Ordering::Relaxed)
    }

    async fn one(&self, number: u64) -> Seen {
        let at = usize::try_from(number % 10).unwrap_or(0);
        let kind = MIX.get(at).copied().unwrap_or(Kind::Chat);
        let start = now();
        let mut seen = Seen::default();
        let exchange = async {
            let answer = self.client.send(request(kind, number)).await?;
            seen.first_byte = now().since(start);
            let status = read_head(answer.head.headers(), answer.head.status(), &mut seen);
            self.judge(kind, status, answer).await
        };
        let verdict = timeout(PATIENCE, exchange).await;
        seen.error = match verdict {
            Ok(Ok(error)) => error,
            Ok(Err(HttpError::Broken(error))) => Some(format!("connection broke: {error}")),
            Ok(Err(error)) => Some(error.to_string()),
            Err(_late) => Some(format!("no answer within {} s", PATIENCE.as_secs())),
        };
        seen
    }

    /// What a client would complain about.
    async fn judge(&self, kind: Kind, status: StatusCode, answer: Answer) -> Result<Option<String>, HttpError> {
        let body = self.client.body(answer).await?;
        Ok(complaint(kind, status, &body))
    }
}

fn read_head(headers: &HeaderMap, status: StatusCode, seen: &mut Seen) -> StatusCode {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    seen.failed = text("x-tidegate-attempts").map(read_trail).unwrap_or_default();
    if status.is_success() {
        seen.served_by = text("x-served-by").and_then(region_of);
    }
    status
}

fn complaint(kind: Kind, status: StatusCode, body: &[u8]) -> Option<String> {
    if status != StatusCode::OK {
        let code = serde_json::from_slice(body).ok().and_then(|json: serde_json::Value| {
            json.pointer("/error/code").and_then(|code| code.as_str().map(str::to_owned))
        });
        let code: String = code.unwrap_or_default().chars().filter(|c| !c.is_control()).take(64).collect();
        return Some(format!("{} {code}", status.as_u16()).trim_end().to_owned());
    }
    match kind {
        Kind::Stream | Kind::StreamV1 if !body.trim_ascii_end().ends_with(b"data: [DONE]") => {
            Some("a stream ended without [DONE]".to_owned())
        }
        Kind::Stream | Kind::StreamV1 => None,
        Kind::Chat | Kind::ChatV1 | Kind::Embeddings => {
            serde_json::from_slice::<serde::de::IgnoredAny>(body).err().map(|_broken| "an answer is no JSON".to_owned())
        }
    }
}

fn request(kind: Kind, number: u64) -> Request<Full<Bytes>> {
    let classic =
        |deployment: &str, call: &str| format!("/openai/deployments/{deployment}/{call}?api-version={API_VERSION}");
    let messages = format!("\"messages\":[{{\"role\":\"user\",\"content\":\"question {number}\"}}]");
    let (path, body) = match kind {
        Kind::Chat => (classic(CHAT, "chat/completions"), format!("{{{messages}}}")),
        Kind::Stream => (classic(CHAT, "chat/completions"), format!("{{{messages},\"stream\":true}}")),
        Kind::ChatV1 => ("/openai/v1/chat/completions".to_owned(), format!("{{\"model\":\"{CHAT}\",{messages}}}")),
        Kind::StreamV1 => {
            ("/openai/v1/chat/completions".to_owned(), format!("{{\"model\":\"{CHAT}\",{messages},\"stream\":true}}"))
        }
        Kind::Embeddings => (classic(EMBEDDINGS, "embeddings"), format!("{{\"input\":\"text {number}\"}}")),
    };
    let mut request = Request::new(Full::new(Bytes::from(body)));
    *request.method_mut() = Method::POST;
    // Paths of ours always parse.
    *request.uri_mut() = path.parse().unwrap_or_default();
    request.headers_mut().insert(header::CONTENT_TYPE, header::HeaderValue::from_static("application/json"));
    request.headers_mut().insert("api-key", header::HeaderValue::from_static("demo"));
    request
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_judged_as_a_client_would() {
        let ok = StatusCode::OK;
        assert_eq!(complaint(Kind::Chat, ok, b"{}"), None);
        assert!(complaint(Kind::Chat, ok, b"{").is_some());
        assert_eq!(complaint(Kind::Stream, ok, b"data: {}\n\ndata: [DONE]\n\n"), None);
        assert!(complaint(Kind::StreamV1, ok, b"data: {}\n\n").is_some());
        let body = br#"{"error":{"code":"no_backend_available"}}"#;
        let status = StatusCode::SERVICE_UNAVAILABLE;
        assert_eq!(complaint(Kind::Chat, status, body).as_deref(), Some("503 no_backend_available"));
        assert_eq!(complaint(Kind::Chat, StatusCode::BAD_GATEWAY, b"<html>").as_deref(), Some("502"));
    }

    #[test]
    fn every_kind_has_a_path() {
        for (number, kind) in (0..).zip(MIX) {
            assert!(request(kind, number).uri().path().starts_with("/openai/"), "{kind:?}");
        }
    }
}
