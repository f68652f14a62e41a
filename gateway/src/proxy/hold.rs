//! [`Hold`]: what is held back of an answer until its beginning tells what it is. A 404: is it about our deployment's name,
//! or the client's own? A stream, at the *gate*: does an error come, or the end, before its first delta?
//!
//! Bounded in bytes, events and time. It raises an error where the answer must not reach the client, and never says what follows
//! from it. What is let go is let go in the order in which it came.

use crate::config::snapshot::Gate;
use crate::openai::answer::{self, Media};
use crate::openai::sse::{Opening, Scanner, StreamErrorKind};
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

/// Bytes of a 404 that are held at most.
const NOT_FOUND_MAX: usize = 2048;
/// With bytes coming for this long a 404 is relayed as it is: what drips is slow, not wrong.
const NOT_FOUND_TIME: Duration = Duration::from_secs(1);

/// Which answers of an attempt are looked at.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Watch {
    /// A 404 may be about our own deployment name.
    pub(super) missing: bool,
    /// The gate of a stream.
    pub(super) gate: Option<Gate>,
}

/// Whether an answer with this header is a stream that can be read here: compressed events cannot.
pub(super) fn is_stream(header: &ResponseHeader) -> bool {
    header.status == StatusCode::OK
        && !header.headers.contains_key(header::CONTENT_ENCODING)
        && answer::media(header.headers.get(header::CONTENT_TYPE)) == Media::EventStream
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
    /// Let go before anything decided. What could not be written in the meantime goes in front of what comes next.
    Late(Vec<HttpTask>),
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
        if watch.missing || watch.gate.is_some() { Self::Watching(watch) } else { Self::Off }
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
        if let Self::Late(late) = self {
            let mut all = std::mem::take(late);
            all.extend(tasks);
            *self = Self::Off;
            return Ok(all);
        }
        let Self::Holding(held) = self else { return Ok(tasks) };
        for task in tasks {
            held.take(task)?;
        }
        match held.finding() {
            Finding::TooEarly if now < held.until => Ok(Vec::new()),
            Finding::Raise(kind) => Err(raised(kind)),
            Finding::TooEarly | Finding::Release => {
                let tasks = std::mem::take(&mut held.tasks);
                *self = Self::Off;
                Ok(tasks)
            }
        }
    }

    /// When the gate opens by itself, whether bytes come or not.
    pub(super) const fn until(&self) -> Option<Instant> {
        match self {
            Self::Holding(Held { reader: Reader::Stream(_), until, .. }) => Some(*until),
            _ => None,
        }
    }

    /// The gate's time is up: takes out what is to be written at once, all of it or the header alone.
    pub(super) fn let_go(&mut self, all: bool) -> Vec<HttpTask> {
        let Self::Holding(held) = self else { return Vec::new() };
        let mut now = std::mem::take(&mut held.tasks);
        let later = now.split_off(if all { now.len() } else { now.len().min(1) });
        *self = Self::Late(later);
        now
    }
}

impl Held {
    /// What has to be read of an answer with this header; `None` when the header tells all.
    fn of(watch: Watch, header: &ResponseHeader, now: Instant) -> Option<Self> {
        let (reader, time, size_max) = match watch.gate {
            _ if watch.missing && header.status == StatusCode::NOT_FOUND => {
                (Reader::NotFound(BytesMut::new()), NOT_FOUND_TIME, NOT_FOUND_MAX)
            }
            Some(gate) if is_stream(header) => {
                (Reader::Stream(Box::new(Scanner::opening(gate.events))), gate.time, gate.bytes)
            }
            _ => return None,
        };
        Some(Self { tasks: Vec::new(), reader, until: now + time, size: 0, size_max, ended: false })
    }

    fn take(&mut self, task: HttpTask) -> Result<()> {
        match task {
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
            Reader::NotFound(text) => text.extend_from_slice(seen),
            Reader::Stream(scanner) => scanner.feed(seen),
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

fn raised(kind: ErrorType) -> Box<Error> {
    let mut error = Error::new(kind);
    error.as_up();
    error
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests may panic")]
mod tests {
    use super::super::deadline::now;
    use super::*;
    use bytes::Bytes;

    const GATE: Gate = Gate { events: 4, bytes: 1000, time: Duration::from_secs(5) };
    const BOTH: Watch = Watch { missing: true, gate: Some(GATE) };
    const EVENTS: &str = "text/event-stream";
    const ERROR: &str = "data: {\"error\":{\"code\":\"no_capacity\",\"message\":\"x\"}}\n\n";
    const ROLE: &str = "data: {\"choices\":[{\"delta\":{\"role\":\"assistant\"}}]}\n\n";
    const DELTA: &str = "data: {\"choices\":[{\"delta\":{\"content\":\"a\"}}]}\n\n";

    fn head(status: u16, media: &str) -> HttpTask {
        let mut header = ResponseHeader::build(status, None).unwrap();
        header.insert_header("content-type", media.to_owned()).unwrap();
        HttpTask::Header(Box::new(header), false)
    }

    fn body(text: &str) -> HttpTask {
        HttpTask::Body(Some(Bytes::copy_from_slice(text.as_bytes())), false)
    }

    fn failed() -> HttpTask {
        HttpTask::Failed(Error::new(ErrorType::ReadError))
    }

    /// Tasks let through after each step, or the error raised.
    fn steps(watch: Watch, tasks: Vec<HttpTask>) -> Vec<Result<usize, ErrorType>> {
        let mut hold = Hold::new(watch);
        let sift = |task| hold.sift(vec![task], now()).map(|tasks| tasks.len()).map_err(|error| error.etype().clone());
        tasks.into_iter().map(sift).collect()
    }

    #[test]
    fn a_stream_waits_for_its_first_delta_and_no_longer() {
        let (half, rest) = ERROR.split_at(9);
        for (tasks, want) in [
            (vec![body(ROLE), body(DELTA), body(ERROR)], vec![Ok(0), Ok(3), Ok(1)]),
            (vec![body(ROLE), body(ROLE), body(ERROR)], vec![Ok(0), Ok(0), Err(STREAM_THROTTLED)]),
            (vec![body(ERROR)], vec![Err(STREAM_THROTTLED)]),
            (vec![body(half), body(rest)], vec![Ok(0), Err(STREAM_THROTTLED)]),
            (vec![body("data: {\"error\":{\"code\":\"x\"}}\n\n")], vec![Err(STREAM_FAILED)]),
            (vec![body(ROLE), body("data: {\"error\":{\"type\":\"user_error\"}}\n\n")], vec![Ok(0), Ok(3)]),
            (vec![body(": alive\n\n"), body(": alive\n\n"), body(DELTA)], vec![Ok(0), Ok(0), Ok(4)]),
            (vec![body(": alive\n\n"), body(ERROR)], vec![Ok(0), Err(STREAM_THROTTLED)]),
            (vec![body(&": alive\n\n".repeat(200))], vec![Ok(2)]),
            (vec![body(ROLE), body(ROLE), body(ROLE), body(ROLE)], vec![Ok(0), Ok(0), Ok(0), Ok(5)]),
            (vec![HttpTask::Done], vec![Err(STREAM_BROKEN)]),
            (vec![body(ROLE), HttpTask::Done], vec![Ok(0), Err(STREAM_BROKEN)]),
            (vec![body(ROLE), failed()], vec![Ok(0), Err(STREAM_BROKEN)]),
            (vec![body("data: [DONE]"), HttpTask::Done], vec![Ok(0), Ok(3)]),
            (vec![body(ERROR.trim_end()), HttpTask::Done], vec![Ok(0), Err(STREAM_THROTTLED)]),
        ] {
            let label = format!("{tasks:?}");
            let tasks: Vec<HttpTask> = [head(200, EVENTS)].into_iter().chain(tasks).collect();
            assert_eq!(steps(BOTH, tasks), [vec![Ok(0)], want].concat(), "{label}");
        }
    }

    #[test]
    fn only_streams_that_can_be_read_wait() {
        for header in [head(200, "application/json"), head(500, EVENTS), head(201, EVENTS)] {
            assert_eq!(steps(BOTH, vec![header, body(ERROR)]), [Ok(1), Ok(1)]);
        }
        let HttpTask::Header(mut header, _) = head(200, EVENTS) else { unreachable!() };
        header.insert_header("content-encoding", "br").unwrap();
        assert_eq!(steps(BOTH, vec![HttpTask::Header(header, false), body(ERROR)]), [Ok(1), Ok(1)]);
        assert_eq!(steps(Watch::default(), vec![head(200, EVENTS), body(ERROR)]), [Ok(1), Ok(1)]);
    }

    /// What becomes of a stream in pieces of this size: bytes let through, or the error raised.
    fn in_pieces(stream: &str, size: usize) -> Result<usize, ErrorType> {
        let mut hold = Hold::new(BOTH);
        let pieces = stream.as_bytes().chunks(size).map(|piece| HttpTask::Body(Some(piece.to_vec().into()), false));
        let mut passed = 0;
        for task in [head(200, EVENTS)].into_iter().chain(pieces).chain([HttpTask::Done]) {
            for task in hold.sift(vec![task], now()).map_err(|error| error.etype().clone())? {
                if let HttpTask::Body(Some(bytes), _) = task {
                    passed += bytes.len();
                }
            }
        }
        Ok(passed)
    }

    #[test]
    fn any_chunking_of_a_stream_comes_to_the_same_as_the_whole() {
        let long = format!("data: {{\"type\":\"response.created\",\"x\":\"{}\"}}\n\n", "y".repeat(900));
        for stream in [
            [ROLE, ERROR].concat(),
            [ROLE, DELTA, ERROR].concat(),
            [ROLE, ROLE, ROLE, ROLE, ERROR].concat(),
            [": a\n\n", ROLE, "data: {\"error\":{\"code\":\"content_filter\"}}\n\n"].concat(),
            [&long, ERROR].concat(),
            [ROLE, ": a\r\n\r\n"].concat(),
            String::new(),
        ] {
            let whole = in_pieces(&stream, 10_000);
            for size in [1, 2, 3, 7, 50, 200] {
                assert_eq!(in_pieces(&stream, size), whole, "pieces of {size}: {stream}");
            }
            assert!(whole.is_err() || whole == Ok(stream.len()), "nothing is lost: {stream}");
        }
    }

    #[test]
    fn the_gate_opens_when_its_time_is_up() {
        let mut hold = Hold::new(BOTH);
        let begin = now();
        assert!(hold.sift(vec![head(200, EVENTS)], begin).unwrap().is_empty());
        assert_eq!(hold.until(), Some(begin + GATE.time));
        assert!(hold.sift(vec![body(": a\n\n")], begin + GATE.time / 2).unwrap().is_empty());
        assert_eq!(hold.sift(vec![body(": b\n\n")], begin + GATE.time).unwrap().len(), 3);
        assert_eq!(hold.until(), None);
        assert_eq!(hold.sift(vec![body(ERROR)], begin + GATE.time).unwrap().len(), 1);
    }

    #[test]
    fn what_is_let_go_in_silence_keeps_its_order() {
        for (all, at_once, then) in [(true, 3, 1), (false, 1, 3)] {
            let mut hold = Hold::new(BOTH);
            for task in [head(200, EVENTS), body(ROLE), body(": a\n\n")] {
                assert!(hold.sift(vec![task], now()).unwrap().is_empty());
            }
            let tasks = hold.let_go(all);
            assert!(matches!(tasks.first(), Some(HttpTask::Header(..))));
            assert_eq!(tasks.len(), at_once);
            assert!(hold.let_go(all).is_empty());
            let tasks = hold.sift(vec![body(DELTA)], now()).unwrap();
            assert_eq!(tasks.len(), then);
            assert!(matches!(tasks.last(), Some(HttpTask::Body(Some(last), _)) if last == DELTA));
            assert_eq!(hold.sift(vec![body(ERROR)], now()).unwrap().len(), 1);
        }
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
