//! [`Hold`]: what is held back of an answer until its beginning tells what it is. A 404: is it about our deployment's name,
//! or the client's own? A stream: does it begin with an error instead of an event?
//!
//! Bounded in bytes and in time. It raises an error where the answer must not reach the client, and never says what follows from it.

use crate::openai::answer::{self, Media};
use crate::openai::sse::{Scanner, StreamErrorKind};
use bytes::BytesMut;
use http::{StatusCode, header};
use pingora::http::ResponseHeader;
use pingora::protocols::http::HttpTask;
use pingora::{Error, ErrorType, Result};
use std::time::{Duration, Instant};

/// A 404 said that our deployment does not exist.
pub(super) const DEPLOYMENT_MISSING: ErrorType = ErrorType::Custom("deployment_missing");
/// A stream began with what would have been a 429.
pub(super) const STREAM_THROTTLED: ErrorType = ErrorType::Custom("stream_throttled");
/// A stream began with what would have been a 500.
pub(super) const STREAM_FAILED: ErrorType = ErrorType::Custom("stream_failed");

/// Bytes held at most before an answer is taken for what its header says.
const HELD_MAX: usize = 2048;
/// With bytes coming for this long an answer is relayed as it is: what drips is slow, not wrong.
const HELD_TIME_MAX: Duration = Duration::from_secs(1);

/// Which answers of an attempt are looked at.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Watch {
    /// A 404 may be about our own deployment name.
    pub(super) missing: bool,
    /// A stream that begins with an error may be had from another backend.
    pub(super) stream: bool,
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
}

/// An answer that nobody has seen yet.
pub(super) struct Held {
    tasks: Vec<HttpTask>,
    reader: Reader,
    since: Instant,
    size: usize,
    ended: bool,
}

enum Reader {
    NotFound(BytesMut),
    Stream(Box<Scanner>),
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
        if watch.missing || watch.stream { Self::Watching(watch) } else { Self::Off }
    }

    /// Returns the tasks that may be written now.
    pub(super) fn sift(&mut self, tasks: Vec<HttpTask>, now: Instant) -> Result<Vec<HttpTask>> {
        if let Self::Watching(watch) = self {
            *self = match tasks.first() {
                Some(HttpTask::Header(header, _)) if header.status.is_informational() => Self::Watching(*watch),
                Some(HttpTask::Header(header, _)) => {
                    Reader::of(*watch, header).map_or(Self::Off, |reader| Self::holding(reader, now))
                }
                _ => Self::Off,
            };
        }
        let Self::Holding(held) = self else { return Ok(tasks) };
        for task in tasks {
            held.take(task)?;
        }
        match held.finding() {
            Finding::TooEarly if now.duration_since(held.since) < HELD_TIME_MAX => Ok(Vec::new()),
            Finding::Raise(kind) => {
                let mut error = Error::new(kind);
                error.as_up();
                Err(error)
            }
            Finding::TooEarly | Finding::Release => {
                let tasks = std::mem::take(&mut held.tasks);
                *self = Self::Off;
                Ok(tasks)
            }
        }
    }

    const fn holding(reader: Reader, since: Instant) -> Self {
        Self::Holding(Held { tasks: Vec::new(), reader, since, size: 0, ended: false })
    }
}

impl Reader {
    /// What has to be read of an answer with this header; `None` when the header tells all.
    fn of(watch: Watch, header: &ResponseHeader) -> Option<Self> {
        let is_stream = || answer::media(header.headers.get(header::CONTENT_TYPE)) == Media::EventStream;
        if watch.missing && header.status == StatusCode::NOT_FOUND {
            return Some(Self::NotFound(BytesMut::new()));
        }
        // Compressed events cannot be read here.
        let plain = !header.headers.contains_key(header::CONTENT_ENCODING);
        (watch.stream && header.status == StatusCode::OK && plain && is_stream()).then(|| Self::Stream(Box::default()))
    }
}

impl Held {
    fn take(&mut self, task: HttpTask) -> Result<()> {
        match task {
            // Nobody has seen anything of it: another backend may answer.
            HttpTask::Failed(error) if matches!(self.reader, Reader::Stream(_)) => return Err(error),
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

    fn read(&mut self, part: &[u8]) {
        match &mut self.reader {
            Reader::NotFound(text) => text.extend_from_slice(part.get(..part.len().min(HELD_MAX)).unwrap_or_default()),
            // A comment keeps the connection alive, and its reader is meant to see it.
            Reader::Stream(_) if self.size == 0 && part.first() == Some(&b':') => self.size = HELD_MAX,
            Reader::Stream(scanner) => scanner.feed(part),
        }
        self.size = self.size.saturating_add(part.len());
    }

    fn finding(&self) -> Finding {
        let known = match &self.reader {
            Reader::NotFound(text) => match answer::is_deployment_missing(text) {
                Some(true) => return Finding::Raise(DEPLOYMENT_MISSING),
                told => told.is_some(),
            },
            Reader::Stream(scanner) => match scanner.error().map(|error| error.kind) {
                Some(StreamErrorKind::TooManyRequests) => return Finding::Raise(STREAM_THROTTLED),
                Some(StreamErrorKind::ServerError) => return Finding::Raise(STREAM_FAILED),
                // What the client caused is the client's to see.
                Some(StreamErrorKind::Forbidden | StreamErrorKind::UserError) => true,
                None => scanner.events() > 0,
            },
        };
        if known || self.ended || self.size >= HELD_MAX { Finding::Release } else { Finding::TooEarly }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests may panic")]
mod tests {
    use super::super::deadline::now;
    use super::*;
    use bytes::Bytes;

    const BOTH: Watch = Watch { missing: true, stream: true };
    const ERROR: &str = "data: {\"error\":{\"code\":\"no_capacity\",\"message\":\"x\"}}\n\n";

    fn head(status: u16, media: &str) -> HttpTask {
        let mut header = ResponseHeader::build(status, None).unwrap();
        header.insert_header("content-type", media.to_owned()).unwrap();
        HttpTask::Header(Box::new(header), false)
    }

    fn body(text: &str) -> HttpTask {
        HttpTask::Body(Some(Bytes::copy_from_slice(text.as_bytes())), false)
    }

    /// Tasks let through after each step, or the error raised.
    fn steps(watch: Watch, tasks: Vec<HttpTask>) -> Vec<Result<usize, ErrorType>> {
        let mut hold = Hold::new(watch);
        let sift = |task| hold.sift(vec![task], now()).map(|tasks| tasks.len()).map_err(|error| error.etype().clone());
        tasks.into_iter().map(sift).collect()
    }

    #[test]
    fn a_stream_waits_for_its_first_event_only() {
        let events = "text/event-stream";
        let whole = "data: {\"choices\":[]}\n\n";
        let (half, rest) = ERROR.split_at(9);
        for (tasks, want) in [
            (vec![head(200, events), body(whole), body(ERROR)], vec![Ok(0), Ok(2), Ok(1)]),
            (vec![head(200, events), body(ERROR)], vec![Ok(0), Err(STREAM_THROTTLED)]),
            (vec![head(200, events), body(half), body(rest)], vec![Ok(0), Ok(0), Err(STREAM_THROTTLED)]),
            (vec![head(200, events), body("data: {\"error\":{\"code\":\"x\"}}\n\n")], vec![Ok(0), Err(STREAM_FAILED)]),
            (vec![head(200, events), body("data: {\"error\":{\"type\":\"user_error\"}}\n\n")], vec![Ok(0), Ok(2)]),
            (vec![head(200, events), body(": alive\n\n"), body(ERROR)], vec![Ok(0), Ok(2), Ok(1)]),
            (vec![head(200, events), body(&"data: x".repeat(400))], vec![Ok(0), Ok(2)]),
            (vec![head(200, events), HttpTask::Done], vec![Ok(0), Ok(2)]),
            (
                vec![head(200, events), HttpTask::Failed(Error::new(ErrorType::ReadError))],
                vec![Ok(0), Err(ErrorType::ReadError)],
            ),
            (vec![head(200, "application/json"), body(ERROR)], vec![Ok(1), Ok(1)]),
            (vec![head(500, events), body(ERROR)], vec![Ok(1), Ok(1)]),
        ] {
            assert_eq!(steps(BOTH, tasks), want);
        }
        assert_eq!(steps(Watch::default(), vec![head(200, events), body(ERROR)]), [Ok(1), Ok(1)]);
    }

    #[test]
    fn a_stream_that_drips_is_not_held_for_long() {
        let mut hold = Hold::new(BOTH);
        let begin = now();
        assert!(hold.sift(vec![head(200, "text/event-stream")], begin).unwrap().is_empty());
        assert!(hold.sift(vec![body("d")], begin + HELD_TIME_MAX / 2).unwrap().is_empty());
        assert_eq!(hold.sift(vec![body("a")], begin + HELD_TIME_MAX).unwrap().len(), 3);
        assert_eq!(hold.sift(vec![body("t")], begin + HELD_TIME_MAX).unwrap().len(), 1);
    }

    #[test]
    fn a_404_waits_until_it_tells_whose_it_is() {
        let json = "application/json";
        let missing = "{\"error\":{\"code\":\"DeploymentNotFound\"}}";
        for (tasks, want) in [
            (vec![head(404, json), body(missing)], vec![Ok(0), Err(DEPLOYMENT_MISSING)]),
            (vec![head(404, json), body("{\"error\":{"), body("}}")], vec![Ok(0), Ok(0), Ok(3)]),
            (vec![head(404, json), HttpTask::Done], vec![Ok(0), Ok(2)]),
            (vec![head(400, json), body(missing)], vec![Ok(1), Ok(1)]),
        ] {
            assert_eq!(steps(BOTH, tasks), want);
        }
    }
}
