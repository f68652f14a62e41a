//! Server-sent events as a client sees them, each with the time it came.

use bytes::BytesMut;
use http_body_util::BodyExt;
use hyper::body::Incoming;
use std::any::Any;
use std::fmt;
use std::time::{Duration, Instant};

/// One event.
#[derive(Clone, Debug)]
pub struct Event {
    /// From the sending of the request.
    pub at: Duration,
    /// `event:`, empty when absent.
    pub name: String,
    /// `data:`, lines joined.
    pub data: String,
}

impl Event {
    /// The data as JSON; null when it is none.
    #[must_use]
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.data).unwrap_or_default()
    }

    /// `data: [DONE]`.
    #[must_use]
    pub fn is_done(&self) -> bool {
        self.data == "[DONE]"
    }

    /// An error event: its data has a truthy `error`, or its name is `error`.
    #[must_use]
    pub fn is_error(&self) -> bool {
        self.name == "error" || self.json().get("error").is_some_and(|error| !error.is_null())
    }
}

/// Whether the events of a simulated chat stream are not one answer's, whole and in order: more than one id, or tokens
/// that do not count up from 1.
#[must_use]
pub(crate) fn is_garbled(events: &[Event]) -> bool {
    let (mut id, mut tokens) = (String::new(), 0_u64);
    for chunk in events.iter().map(Event::json) {
        match chunk["id"].as_str() {
            None | Some("") => continue,
            Some(own) if id.is_empty() => own.clone_into(&mut id),
            Some(own) if own != id => return true,
            Some(_) => {}
        }
        let Some(text) = chunk["choices"][0]["delta"]["content"].as_str() else { continue };
        for word in text.split_whitespace().filter_map(|word| word.strip_prefix("token")) {
            tokens += 1;
            if word.parse() != Ok(tokens) {
                return true;
            }
        }
    }
    false
}

/// How a stream came to its end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum End {
    /// The body ended as its framing says.
    Whole,
    /// The body broke off.
    Cut(String),
}

/// The events of one answer.
pub struct Events {
    body: Incoming,
    sent: Instant,
    pending: BytesMut,
    end: Option<End>,
    /// Reads of the body that brought bytes.
    pub reads: usize,
    _connection: Box<dyn Any + Send>,
}

impl fmt::Debug for Events {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Events").field("pending", &self.pending).field("end", &self.end).finish_non_exhaustive()
    }
}

impl Events {
    pub(crate) fn new(body: Incoming, sent: Instant, connection: Box<dyn Any + Send>) -> Self {
        Self { body, sent, pending: BytesMut::new(), end: None, reads: 0, _connection: connection }
    }

    /// The next event; absent at the end. Cancel-safe.
    pub async fn next(&mut self) -> Option<Event> {
        loop {
            if let Some(at) = self.pending.windows(2).position(|pair| pair == b"\n\n") {
                let block = self.pending.split_to(at + 2);
                let event = parse(&block, self.sent.elapsed());
                if event.data.is_empty() && event.name.is_empty() {
                    continue; // a comment, or nothing
                }
                return Some(event);
            }
            if self.end.is_some() {
                return None;
            }
            match self.body.frame().await {
                None => self.end = Some(End::Whole),
                Some(Err(error)) => self.end = Some(End::Cut(format!("{error:?}"))),
                Some(Ok(frame)) => {
                    if let Ok(data) = frame.into_data() {
                        self.reads += 1;
                        self.pending.extend_from_slice(&data);
                    }
                }
            }
        }
    }

    /// All further events and how the stream ended.
    pub async fn rest(mut self) -> (Vec<Event>, End) {
        let mut events = Vec::new();
        while let Some(event) = self.next().await {
            events.push(event);
        }
        (events, self.end.unwrap_or(End::Whole))
    }
}

fn parse(block: &[u8], at: Duration) -> Event {
    let text = String::from_utf8_lossy(block);
    let mut event = Event { at, name: String::new(), data: String::new() };
    for line in text.lines() {
        if let Some(data) = line.strip_prefix("data:") {
            if !event.data.is_empty() {
                event.data.push('\n');
            }
            event.data.push_str(data.strip_prefix(' ').unwrap_or(data));
        } else if let Some(name) = line.strip_prefix("event:") {
            name.trim().clone_into(&mut event.name);
        }
    }
    event
}
