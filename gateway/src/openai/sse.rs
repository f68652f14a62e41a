//! [`Scanner`]: reads along while a stream is relayed: events, usage, errors, the proper end.
//!
//! It never holds the stream back and never keeps it: at most one partial line of 64 KiB. Longer lines are scanned
//! for usage as they pass. Any chunking of a stream gives the same answers as the whole. [`BodyScanner`] does the
//! same for a JSON answer that does not stream.

use bytes::Bytes;
use memchr::memchr2;

use crate::domain::Usage;
use along::Along;

mod along;
mod error;
mod opening;
mod produced;
mod strip;
mod usage;

pub use error::{StreamError, StreamErrorKind};
pub use opening::Opening;
pub use produced::Produced;
pub use strip::Stripper;
pub use usage::BodyScanner;
use usage::UsageFinder;

/// Longest line that is looked at as a whole, in bytes.
const LINE_MAX: usize = 64 * 1024;
/// What is kept of a longer line: enough to tell its field and its event type.
const HEAD_MAX: usize = 128;
/// Memory kept for partial lines between chunks, once a long one is done.
const IDLE_MAX: usize = 4 * 1024;

/// Events after which nothing is missing.
const TERMINAL: [&[u8]; 8] = [
    b"response.completed",
    b"response.failed",
    b"response.incomplete",
    b"response.cancelled",
    b"transcript.text.done",
    b"speech.audio.done",
    b"image_generation.completed",
    b"image_edit.completed",
];

/// Incremental reader of a `text/event-stream`.
#[derive(Debug)]
pub struct Scanner {
    usage: UsageFinder,
    along: Along,
    /// A partial line, or the head of an oversize one.
    line: Vec<u8>,
    oversize: bool,
    /// The last byte was a carriage return: a line feed now belongs to it.
    after_return: bool,
    /// No line has ended yet: a byte order mark may begin it.
    first_line: bool,
    /// A field has been seen since the last blank line.
    in_event: bool,
    has_data: bool,
    name: EventName,
    events: u64,
    done: bool,
    error: Option<StreamError>,
}

/// What `event:` said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum EventName {
    Plain,
    Terminal,
    Error,
}

impl Default for Scanner {
    fn default() -> Self {
        Self::new()
    }
}

impl Scanner {
    /// A scanner at the start of a stream.
    #[must_use]
    pub fn new() -> Self {
        Self {
            usage: UsageFinder::new(),
            along: Along::Nobody,
            line: Vec::new(),
            oversize: false,
            after_return: false,
            first_line: true,
            in_event: false,
            has_data: false,
            name: EventName::Plain,
            events: 0,
            done: false,
            error: None,
        }
    }

    /// The same, which also counts what is produced.
    #[must_use]
    pub fn counting(produced: Option<Produced>) -> Self {
        Self { along: Along::counting(produced), ..Self::new() }
    }

    /// The same, for the beginning of a stream: says what it is after at most `events_max` events.
    #[must_use]
    pub fn opening(events_max: u32) -> Self {
        Self { along: Along::watching(events_max), ..Self::new() }
    }

    /// Reads the next bytes of the stream.
    pub fn feed(&mut self, chunk: &[u8]) {
        let mut rest = chunk;
        if self.after_return
            && let Some((first, others)) = rest.split_first()
        {
            self.after_return = false;
            if *first == b'\n' {
                rest = others;
            }
        }
        while let Some((line, ended)) = memchr2(b'\n', b'\r', rest).and_then(|end| rest.split_at_checked(end)) {
            if self.line.is_empty() && line.len() <= LINE_MAX {
                self.whole_line(line);
            } else {
                self.partial_line(line);
                self.end_line();
            }
            rest = match ended {
                [b'\r', b'\n', after @ ..] | [b'\n', after @ ..] => after,
                [b'\r'] => {
                    self.after_return = true;
                    &[]
                }
                [_, after @ ..] => after,
                [] => &[],
            };
        }
        if !rest.is_empty() {
            self.partial_line(rest);
        }
    }

    /// The stream is over: a last line without its line end counts too.
    pub fn finish(&mut self) {
        if !self.line.is_empty() {
            self.end_line();
        }
    }

    /// Complete events that carried data.
    #[must_use]
    pub const fn events(&self) -> u64 {
        self.events
    }

    /// The protocol's end was seen: `[DONE]`, or an event such as `response.completed`.
    #[must_use]
    pub const fn done(&self) -> bool {
        self.done
    }

    /// The stream stands between two events: an event of ours may follow.
    #[must_use]
    pub fn at_boundary(&self) -> bool {
        !self.in_event && self.line.is_empty()
    }

    /// The last usage seen.
    #[must_use]
    pub const fn usage(&self) -> Option<Usage> {
        self.usage.usage()
    }

    /// Completion tokens counted so far, where they are counted.
    #[must_use]
    pub fn produced(&self) -> Option<u64> {
        self.along.produced()
    }

    /// What the beginning of the stream has told, where it is watched.
    #[must_use]
    pub const fn opened(&self) -> Opening {
        self.along.opened()
    }

    /// The first error seen in the stream.
    #[must_use]
    pub const fn error(&self) -> Option<StreamError> {
        self.error
    }

    fn partial_line(&mut self, bytes: &[u8]) {
        if self.oversize {
            self.pass_value(bytes);
            return;
        }
        if self.line.len().saturating_add(bytes.len()) <= LINE_MAX {
            self.line.extend_from_slice(bytes);
            return;
        }
        // The line is too long to keep. What was kept goes to the usage finder now, the rest as it comes.
        let missing = HEAD_MAX.saturating_sub(self.line.len()).min(bytes.len());
        let (head, rest) = bytes.split_at_checked(missing).unwrap_or((bytes, &[]));
        self.line.extend_from_slice(head);
        self.oversize = true;
        let kept = std::mem::take(&mut self.line);
        if let Field::Data(value) = Field::of(without_mark(&kept, self.first_line)) {
            self.feed_oversize(value);
        }
        self.line = kept;
        self.line.truncate(HEAD_MAX);
        self.line.shrink_to(IDLE_MAX);
        self.pass_value(rest);
    }

    /// More of an oversize line.
    fn pass_value(&mut self, bytes: &[u8]) {
        if matches!(Field::of(without_mark(&self.line, self.first_line)), Field::Data(_)) {
            self.feed_oversize(bytes);
        }
    }

    fn feed_oversize(&mut self, data: &[u8]) {
        self.usage.feed(data);
        self.along.unread(data.len());
    }

    fn end_line(&mut self) {
        let mut line = std::mem::take(&mut self.line);
        if std::mem::take(&mut self.oversize) {
            let head = without_mark(&line, self.first_line);
            self.first_line = false;
            self.oversize_line(head);
        } else {
            self.whole_line(&line);
        }
        line.clear();
        line.shrink_to(IDLE_MAX);
        self.line = line;
    }

    fn whole_line(&mut self, line: &[u8]) {
        let line = without_mark(line, self.first_line);
        self.first_line = false;
        if line.is_empty() {
            self.end_event();
            return;
        }
        match Field::of(line) {
            Field::Data(value) => self.data(value),
            Field::Event(name) => {
                self.in_event = true;
                self.name = EventName::of(name);
            }
            Field::Other => self.in_event = true,
            Field::Comment => {}
        }
    }

    fn data(&mut self, value: &[u8]) {
        self.in_event = true;
        self.has_data = true;
        if value.trim_ascii() == b"[DONE]" {
            self.done = true;
            self.along.end(None);
            return;
        }
        self.usage.feed(value);
        if self.name == EventName::Terminal || json_type(value).is_some_and(|name| TERMINAL.contains(&name)) {
            self.done = true;
        }
        if self.error.is_none() {
            if self.name == EventName::Error {
                self.error = Some(StreamError::of_event(value));
            } else if error::hinted(value) {
                self.error = StreamError::find(value);
            }
        }
        self.along.event(value, self.error);
    }

    /// A line over 64 KiB has ended; `head` is its beginning, its usage is known already.
    fn oversize_line(&mut self, head: &[u8]) {
        match Field::of(head) {
            Field::Data(value) => {
                self.in_event = true;
                self.has_data = true;
                let name = json_type(value).unwrap_or_default();
                self.done |= self.name == EventName::Terminal || TERMINAL.contains(&name);
                if self.error.is_none() && (self.name == EventName::Error || name == b"error") {
                    self.error = Some(StreamError::BARE);
                }
                self.along.oversize(value, self.error);
            }
            Field::Event(_) | Field::Other => self.in_event = true,
            Field::Comment => {}
        }
    }

    fn end_event(&mut self) {
        if self.has_data {
            self.events = self.events.saturating_add(1);
        } else if self.name == EventName::Error && self.error.is_none() {
            self.error = Some(StreamError::BARE);
            self.along.end(self.error);
        }
        self.in_event = false;
        self.has_data = false;
        self.name = EventName::Plain;
        self.usage.restart();
    }
}

impl EventName {
    fn of(name: &[u8]) -> Self {
        if name == b"error" {
            Self::Error
        } else if TERMINAL.contains(&name) {
            Self::Terminal
        } else {
            Self::Plain
        }
    }
}

/// One line of a stream.
enum Field<'a> {
    Data(&'a [u8]),
    Event(&'a [u8]),
    Other,
    Comment,
}

impl<'a> Field<'a> {
    fn of(line: &'a [u8]) -> Self {
        if let Some(value) = line.strip_prefix(b"data:") {
            return Self::Data(value.strip_prefix(b" ").unwrap_or(value));
        }
        if let Some(value) = line.strip_prefix(b"event:") {
            return Self::Event(value.strip_prefix(b" ").unwrap_or(value));
        }
        match line {
            b"data" => Self::Data(b""),
            [b':', ..] => Self::Comment,
            _ => Self::Other,
        }
    }
}

/// A stream may begin with a byte order mark.
fn without_mark(line: &[u8], first_line: bool) -> &[u8] {
    if first_line { line.strip_prefix(b"\xef\xbb\xbf").unwrap_or(line) } else { line }
}

/// The value of `type` when it is the first key, as the Responses API writes it.
fn json_type(value: &[u8]) -> Option<&[u8]> {
    let value = value.trim_ascii_start().strip_prefix(b"{")?.trim_ascii_start().strip_prefix(b"\"type\"")?;
    let value = value.trim_ascii_start().strip_prefix(b":")?.trim_ascii_start().strip_prefix(b"\"")?;
    value.get(..memchr::memchr(b'"', value)?)
}

/// The event that ends a broken stream honestly. The SDKs raise it as an error.
#[must_use]
pub fn error_event(request_id: &str, message: &str, code: &str) -> Bytes {
    let error = serde_json::json!({"error": {
        "message": message, "type": "server_error", "param": null, "code": code, "request_id": request_id,
    }});
    Bytes::from(format!("data: {error}\n\n"))
}

#[cfg(test)]
mod tests;
