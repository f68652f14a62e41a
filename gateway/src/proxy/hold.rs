//! [`Hold`]: what is held back of an answer until its beginning tells what it is. A 404: is it about our deployment's name,
//! or the client's own? A 400: is the prompt too long for a backend that is not the roomiest? A 429 or 500 that another
//! backend will make up for: what is it about? A stream, at the *gate*: does an error come, or the end, before its first
//! delta?
//!
//! Bounded in bytes, events and time. It raises an error where the answer must not reach the client, and never says what follows
//! from it. What is let go is let go in the order in which it came.

use crate::config::snapshot::Gate;
use crate::openai::answer::{self, Media};
use crate::openai::page::Turn;
use crate::openai::sse::{Opening, Scanner, StreamErrorKind};
use crate::openai::trouble::{self, About, PREFIX_MAX};
use bytes::BytesMut;
use http::{StatusCode, header};
use pingora::http::ResponseHeader;
use pingora::protocols::http::HttpTask;
use pingora::{Error, ErrorType, Result};
use std::time::{Duration, Instant};

/// A 404 said that our deployment does not exist.
pub(super) const DEPLOYMENT_MISSING: ErrorType = ErrorType::Custom("deployment_missing");
/// A stream told what would have been a 429 before its first delta.
pub(super) const STREAM_THROTTLED: ErrorType = ErrorType::Custom("stream_throttled");
/// A stream told what would have been a 500 before its first delta.
pub(super) const STREAM_FAILED: ErrorType = ErrorType::Custom("stream_failed");

/// A stream ended or broke before its first delta.
pub(super) const STREAM_BROKEN: ErrorType = ErrorType::Custom("stream_broken");

/// A 400 said that the prompt is too long, and another backend has a larger context.
pub(super) const CONTEXT_EXCEEDED: ErrorType = ErrorType::Custom("context_exceeded");
/// The body of a 429 that is not relayed has been looked at.
pub(super) const RATE_LIMITED: ErrorType = ErrorType::Custom("rate_limited");
/// The same of a 500.
pub(super) const SERVER_ERROR: ErrorType = ErrorType::Custom("server_error");

/// The list of a resource is over, and the page of it that came is not shown.
pub(super) const LIST_OVER: ErrorType = ErrorType::Custom("list_over");

/// How long the body of a failure is waited for: mostly it comes with the header.
const TROUBLE_TIME: Duration = Duration::from_millis(250);
/// Bytes of a page that are held at most; mostly its first item is enough.
const PAGE_MAX: usize = 4 * 1024 * 1024;
/// Its deadlines end a page before.
const PAGE_TIME: Duration = Duration::from_secs(3600);
/// Bytes of a 404 or 400 that are held at most.
const NOT_FOUND_MAX: usize = 2048;
/// With bytes coming for this long it is relayed as it is: what drips is slow, not wrong.
const NOT_FOUND_TIME: Duration = Duration::from_secs(1);

/// Which answers of an attempt are looked at.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Watch {
    /// A 404 may be about our own deployment name.
    pub(super) missing: bool,
    /// A 400 may be about a prompt that fits elsewhere.
    pub(super) too_long: bool,
    /// This answer is not relayed whatever it says: its body tells what it is about.
    pub(super) trouble: bool,
    /// A page of a list is held until it says what it is.
    pub(super) page: bool,
    /// The gate of a stream.
    pub(super) gate: Option<Gate>,
}

/// Whether an answer with this header is a stream that can be read here: compressed events cannot.
pub(super) fn is_stream(header: &ResponseHeader) -> bool {
    header.status == StatusCode::OK
        && !header.headers.contains_key(header::CONTENT_ENCODING)
        && answer::media(header.headers.get(header::CONTENT_TYPE)) == Media::EventStream
}

/// Whether an answer with this header may be a page of a list.
fn is_page(header: &ResponseHeader) -> bool {
    header.status.is_success()
        && !header.headers.contains_key(header::CONTENT_ENCODING)
        && answer::media(header.headers.get(header::CONTENT_TYPE)) == Media::Json
}

/// The beginning of an answer.
#[derive(Default)]
pub(super) enum Hold {
    /// Nothing is held.
    #[default]
    Off,
    /// Nothing yet: the header tells.
    Watching(Watch),
    /// The answer so far.
    Holding(Held),
    /// Let go before anything decided: what was held goes in front of what comes next.
    Late,
}

/// An answer that nobody has seen yet.
pub(super) struct Held {
    tasks: Vec<HttpTask>,
    reader: Reader,
    until: Instant,
    size: usize,
    size_max: usize,
    ended: bool,
}

enum Reader {
    NotFound(BytesMut),
    BadRequest(BytesMut),
    /// The error to raise in the end.
    Trouble(BytesMut, ErrorType),
    Stream(Box<Scanner>),
    /// Whether the page is shown: who rewrites it tells.
    Page(bool),
}

/// What is known of a held answer.
enum Finding {
    TooEarly,
    Release,
    Raise(ErrorType),
}

impl Hold {
    /// At the start of an attempt.
    pub(super) const fn new(watch: Watch) -> Self {
        let watches = watch.missing || watch.too_long || watch.trouble || watch.page || watch.gate.is_some();
        if watches { Self::Watching(watch) } else { Self::Off }
    }

    /// Returns the tasks that may be written now.
    pub(super) fn sift(&mut self, tasks: Vec<HttpTask>, now: Instant) -> Result<Vec<HttpTask>> {
        if let Self::Watching(watch) = self {
            *self = match tasks.first() {
                Some(HttpTask::Header(header, _)) if header.status.is_informational() => Self::Watching(*watch),
                Some(HttpTask::Header(header, _)) => Held::of(*watch, header, now).map_or(Self::Off, Self::Holding),
                _ => Self::Off,
            };
        }
        if matches!(self, Self::Late) {
            *self = Self::Off;
        }
        let Self::Holding(held) = self else { return Ok(tasks) };
        for task in tasks {
            held.take(task)?;
        }
        match held.finding() {
            Finding::TooEarly if now < held.until => Ok(Vec::new()),
            Finding::Raise(kind) => Err(raised(kind)),
            Finding::TooEarly | Finding::Release => {
                if let Some(error) = held.trouble() {
                    return Err(error);
                }
                let tasks = std::mem::take(&mut held.tasks);
                *self = Self::Off;
                Ok(tasks)
            }
        }
    }

    /// When the gate opens by itself, whether bytes come or not.
    pub(super) const fn until(&self) -> Option<Instant> {
        match self {
            Self::Holding(Held { reader: Reader::Stream(_) | Reader::Trouble(..), until, .. }) => Some(*until),
            _ => None,
        }
    }

    /// The time of a failure's body is up: the error to raise.
    pub(super) fn trouble(&self) -> Option<Box<Error>> {
        if let Self::Holding(held) = self { held.trouble() } else { None }
    }

    /// What the error says that is held.
    pub(super) fn about(&self) -> Option<About> {
        let Self::Holding(held) = self else { return None };
        match &held.reader {
            Reader::NotFound(_) | Reader::BadRequest(_) | Reader::Page(_) => None,
            Reader::Trouble(text, _) => trouble::about(text),
            Reader::Stream(scanner) => scanner.error().map(|error| error.about),
        }
    }

    /// What the page of a list turned out to be.
    pub(super) fn turn(&mut self, turn: Turn) -> Result<()> {
        match self {
            Self::Watching(_) | Self::Holding(_) if turn == Turn::Over => return Err(raised(LIST_OVER)),
            Self::Watching(watch) => watch.page = false,
            Self::Holding(Held { reader: Reader::Page(shown), .. }) => *shown = true,
            Self::Off | Self::Holding(_) | Self::Late => {}
        }
        Ok(())
    }

    /// The gate's time is up: takes out what is to be written at once.
    pub(super) fn let_go(&mut self) -> Vec<HttpTask> {
        let Self::Holding(held) = self else { return Vec::new() };
        let tasks = std::mem::take(&mut held.tasks);
        *self = Self::Late;
        tasks
    }
}

impl Held {
    /// What has to be read of an answer with this header; `None` when the header tells all.
    fn of(watch: Watch, header: &ResponseHeader, now: Instant) -> Option<Self> {
        let (reader, time, size_max) = match watch.gate {
            _ if watch.trouble => {
                let limited = header.status == StatusCode::TOO_MANY_REQUESTS;
                let kind = if limited { RATE_LIMITED } else { SERVER_ERROR };
                (Reader::Trouble(BytesMut::new(), kind), TROUBLE_TIME, PREFIX_MAX)
            }
            _ if watch.missing && header.status == StatusCode::NOT_FOUND => {
                (Reader::NotFound(BytesMut::new()), NOT_FOUND_TIME, NOT_FOUND_MAX)
            }
            _ if watch.too_long && header.status == StatusCode::BAD_REQUEST => {
                (Reader::BadRequest(BytesMut::new()), NOT_FOUND_TIME, NOT_FOUND_MAX)
            }
            _ if watch.page && is_page(header) => (Reader::Page(false), PAGE_TIME, PAGE_MAX),
            Some(gate) if is_stream(header) => {
                (Reader::Stream(Box::new(Scanner::opening(gate.events))), gate.time, gate.bytes)
            }
            _ => return None,
        };
        Some(Self { tasks: Vec::new(), reader, until: now + time, size: 0, size_max, ended: false })
    }

    fn trouble(&self) -> Option<Box<Error>> {
        if let Reader::Trouble(_, kind) = &self.reader { Some(raised(kind.clone())) } else { None }
    }

    fn take(&mut self, task: HttpTask) -> Result<()> {
        match task {
            HttpTask::Failed(error) if matches!(self.reader, Reader::Page(false)) => return Err(error),
            HttpTask::Failed(_) if matches!(self.reader, Reader::Stream(_)) => match self.finding() {
                // Nobody has seen anything of it: another backend may answer.
                Finding::TooEarly => return Err(raised(STREAM_BROKEN)),
                Finding::Raise(kind) => return Err(raised(kind)),
                Finding::Release => {}
            },
            HttpTask::Body(ref part, end) => {
                self.read(part.as_deref().unwrap_or_default());
                self.ended |= end;
            }
            HttpTask::Header(_, end) => self.ended |= end,
            HttpTask::Done | HttpTask::Trailer(_) | HttpTask::Failed(_) => self.ended = true,
            HttpTask::UpgradedBody(..) => {}
        }
        self.tasks.push(task);
        Ok(())
    }

    /// Reads no further than the limit, wherever chunks end.
    fn read(&mut self, part: &[u8]) {
        let room = self.size_max.saturating_sub(self.size);
        let seen = part.get(..part.len().min(room)).unwrap_or_default();
        match &mut self.reader {
            Reader::NotFound(text) | Reader::BadRequest(text) | Reader::Trouble(text, _) => {
                text.extend_from_slice(seen)
            }
            Reader::Stream(scanner) => scanner.feed(seen),
            Reader::Page(_) => {}
        }
        self.size = self.size.saturating_add(part.len());
    }

    fn finding(&mut self) -> Finding {
        let full = self.size >= self.size_max;
        match &mut self.reader {
            Reader::NotFound(text) => match answer::is_deployment_missing(text) {
                Some(true) => Finding::Raise(DEPLOYMENT_MISSING),
                None if !full && !self.ended => Finding::TooEarly,
                _ => Finding::Release,
            },
            Reader::BadRequest(text) => match answer::is_context_exceeded(text) {
                Some(true) => Finding::Raise(CONTEXT_EXCEEDED),
                None if !full && !self.ended => Finding::TooEarly,
                _ => Finding::Release,
            },
            Reader::Page(shown) if *shown || full || self.ended => Finding::Release,
            Reader::Page(_) => Finding::TooEarly,
            Reader::Trouble(text, kind) => match trouble::about(text) {
                None if !full && !self.ended => Finding::TooEarly,
                _ => Finding::Raise(kind.clone()),
            },
            Reader::Stream(scanner) => {
                if self.ended && !full {
                    scanner.finish();
                }
                match scanner.opened() {
                    Opening::Failed(StreamErrorKind::TooManyRequests) => Finding::Raise(STREAM_THROTTLED),
                    Opening::Failed(StreamErrorKind::ServerError) => Finding::Raise(STREAM_FAILED),
                    // What the client caused is the client's to see.
                    Opening::Failed(StreamErrorKind::Forbidden | StreamErrorKind::UserError) | Opening::Begun => {
                        Finding::Release
                    }
                    Opening::Waiting if full => Finding::Release,
                    Opening::Waiting if self.ended => Finding::Raise(STREAM_BROKEN),
                    Opening::Waiting => Finding::TooEarly,
                }
            }
        }
    }
}

/// The end of an answer becomes its break.
pub(super) fn break_off(tasks: &mut Vec<HttpTask>) {
    for task in tasks.iter_mut() {
        if let HttpTask::Body(_, end) = task {
            *end = false;
        }
    }
    tasks.retain(|task| !matches!(task, HttpTask::Done));
    tasks.push(HttpTask::Failed(raised(ErrorType::ConnectionClosed)));
}

fn raised(kind: ErrorType) -> Box<Error> {
    let mut error = Error::new(kind);
    error.as_up();
    error
}

#[cfg(test)]
mod tests;
