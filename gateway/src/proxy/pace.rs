//! [`Pace`]: what a stream must keep to: its first delta in time, no long pause behind it, and not too few bytes.
//!
//! It reads a stream along until its beginning, and counts bytes behind it. It says when it would be too late, and never waits. What
//! a slow client costs is not the backend's: its time is taken off.

use super::hold::is_stream;
use crate::openai::sse::{Opening, Scanner};
use pingora::ErrorType;
use pingora::protocols::http::HttpTask;
use std::time::{Duration, Instant};

/// The first delta of a stream was late.
pub(super) const FIRST_TOKEN_LATE: ErrorType = ErrorType::Custom("first_token_late");
/// A stream paused for too long behind its first delta.
pub(super) const STALLED: ErrorType = ErrorType::Custom("stream_stalled");
/// A stream crawled.
pub(super) const TOO_SLOW: ErrorType = ErrorType::Custom("stream_too_slow");

/// The limits of one stream; none where absent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Limits {
    /// From the attempt's start to the first delta.
    pub(super) first_token: Option<Duration>,
    /// Longest pause.
    pub(super) stall: Option<Duration>,
    /// So many bytes in each of such times.
    pub(super) rate: Option<(u64, Duration)>,
    /// How long it takes to begin is measured, of whole answers too.
    pub(super) measured: bool,
}

/// Watches over them.
#[derive(Default)]
pub(super) struct Pace {
    limits: Limits,
    state: State,
    /// When the answer began, once it was measured.
    began: Option<Instant>,
}

#[derive(Default)]
enum State {
    /// No stream, or nothing is asked of it.
    #[default]
    Off,
    /// Until its header.
    Started(Instant),
    /// Until its first delta.
    Waiting { since: Instant, reader: Box<Scanner> },
    /// It flows: when bytes last came, and how many of those that are due have come since when.
    Flowing { last: Instant, since: Instant, bytes: u64 },
}

impl Pace {
    /// Before an attempt.
    pub(super) fn new(limits: Limits) -> Self {
        Self { limits, state: State::Off, began: None }
    }

    /// The attempt starts.
    pub(super) fn start(&mut self, now: Instant) {
        self.state = if self.limits == Limits::default() { State::Off } else { State::Started(now) };
    }

    /// Whether something is asked of the answer.
    pub(super) const fn is_on(&self) -> bool {
        !matches!(self.state, State::Off)
    }

    /// When the answer began, where that is measured; told once.
    pub(super) const fn began(&mut self) -> Option<Instant> {
        self.began.take()
    }

    /// What the backend has sent.
    pub(super) fn see(&mut self, tasks: &[HttpTask], now: Instant) {
        for task in tasks {
            match task {
                HttpTask::Header(header, _) if header.status.is_informational() => {}
                HttpTask::Header(header, false) => {
                    self.state = match self.state {
                        State::Started(since) if is_stream(header) => {
                            State::Waiting { since, reader: Box::new(Scanner::opening(u32::MAX)) }
                        }
                        State::Started(_) => {
                            self.began = self.limits.measured.then_some(now);
                            State::Off
                        }
                        _ => State::Off,
                    };
                }
                HttpTask::Body(Some(part), false) => self.read(part, now),
                HttpTask::Body(None, false) => {}
                HttpTask::Header(_, true) | HttpTask::Body(_, true) | HttpTask::Done | HttpTask::Trailer(_) => {
                    if self.limits.measured && matches!(self.state, State::Waiting { .. }) {
                        self.began = Some(now);
                    }
                    self.state = State::Off;
                }
                HttpTask::Failed(_) | HttpTask::UpgradedBody(..) => self.state = State::Off,
            }
        }
    }

    fn read(&mut self, part: &[u8], now: Instant) {
        match &mut self.state {
            State::Waiting { reader, .. } => {
                reader.feed(part);
                if reader.opened() != Opening::Waiting {
                    self.began = self.limits.measured.then_some(now);
                    self.state = State::Flowing { last: now, since: now, bytes: 0 };
                }
            }
            State::Flowing { last, since, bytes } if !is_comment(part) => {
                *last = now;
                *bytes = bytes.saturating_add(part.len() as u64);
                if self.limits.rate.is_some_and(|(due, _)| *bytes >= due) {
                    (*since, *bytes) = (now, 0);
                }
            }
            State::Flowing { .. } | State::Off | State::Started(_) => {}
        }
    }

    /// So long the client has let us wait.
    pub(super) fn excuse(&mut self, time: Duration) {
        match &mut self.state {
            State::Flowing { last, since, .. } => {
                *last += time;
                *since += time;
            }
            State::Waiting { since, .. } => *since += time,
            State::Off | State::Started(_) => {}
        }
    }

    /// When it is too late, and for what. Until its header the first byte's deadline holds.
    pub(super) fn due(&self) -> Option<(Instant, ErrorType)> {
        match &self.state {
            State::Off | State::Started(_) => None,
            State::Waiting { since, .. } => Some((*since + self.limits.first_token?, FIRST_TOKEN_LATE)),
            State::Flowing { last, since, .. } => {
                let stall = self.limits.stall.map(|stall| (*last + stall, STALLED));
                let rate = self.limits.rate.map(|(_, window)| (*since + window, TOO_SLOW));
                match (stall, rate) {
                    (Some(stall), Some(rate)) if rate.0 < stall.0 => Some(rate),
                    (stall, rate) => stall.or(rate),
                }
            }
        }
    }
}

/// Keep-alives: lines of comment and nothing else.
fn is_comment(part: &[u8]) -> bool {
    matches!(part.first(), Some(b':' | b'\n' | b'\r'))
        && part.split(|byte| matches!(byte, b'\n' | b'\r')).all(|line| matches!(line.first(), None | Some(b':')))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests may panic")]
mod tests {
    use super::super::deadline;
    use super::*;
    use bytes::Bytes;
    use pingora::http::ResponseHeader;

    const ROLE: &str = "data: {\"choices\":[{\"delta\":{\"role\":\"assistant\"}}]}\n\n";
    const DELTA: &str = "data: {\"choices\":[{\"delta\":{\"content\":\"a\"}}]}\n\n";
    const LIMITS: Limits = Limits {
        first_token: Some(Duration::from_secs(10)),
        stall: Some(Duration::from_secs(5)),
        rate: Some((100, Duration::from_secs(20))),
        measured: false,
    };

    fn head(media: &str) -> HttpTask {
        let mut header = ResponseHeader::build(200, None).unwrap();
        header.insert_header("content-type", media.to_owned()).unwrap();
        HttpTask::Header(Box::new(header), false)
    }

    fn body(text: &str) -> HttpTask {
        HttpTask::Body(Some(Bytes::copy_from_slice(text.as_bytes())), false)
    }

    /// Seconds from the start to the moment that is due, after what came at which second.
    fn due(limits: Limits, tasks: Vec<(u64, HttpTask)>) -> Option<(u64, ErrorType)> {
        let start = deadline::now();
        let mut pace = Pace::new(limits);
        pace.start(start);
        for (second, task) in tasks {
            pace.see(&[task], start + Duration::from_secs(second));
        }
        pace.due().map(|(at, kind)| ((at - start).as_secs(), kind))
    }

    #[test]
    fn each_part_of_a_stream_has_its_limit() {
        let stream = || (1, head("text/event-stream"));
        let long = "x".repeat(100);
        for (tasks, want) in [
            (vec![], None),
            (vec![stream()], Some((10, FIRST_TOKEN_LATE))),
            (vec![stream(), (3, body(ROLE)), (4, body(": alive\n\n"))], Some((10, FIRST_TOKEN_LATE))),
            (vec![stream(), (3, body(DELTA))], Some((8, STALLED))),
            (vec![stream(), (3, body(DELTA)), (7, body("data: x"))], Some((12, STALLED))),
            (vec![stream(), (3, body(DELTA)), (7, body(": alive\n\n"))], Some((8, STALLED))),
            (vec![stream(), (3, body(DELTA)), (20, body("data: x"))], Some((23, TOO_SLOW))),
            (vec![stream(), (3, body(DELTA)), (20, body(&long)), (24, body("a"))], Some((29, STALLED))),
            (vec![stream(), (3, body(DELTA)), (20, body(&long)), (38, body("a"))], Some((40, TOO_SLOW))),
            (vec![stream(), (3, body(DELTA)), (4, HttpTask::Done)], None),
            (vec![(1, head("application/json")), (3, body(DELTA))], None),
        ] {
            let label = format!("{tasks:?}");
            assert_eq!(due(LIMITS, tasks), want, "{label}");
        }
        let flowing = || vec![(1, head("text/event-stream")), (3, body(DELTA))];
        assert_eq!(due(Limits { stall: None, ..LIMITS }, flowing()), Some((23, TOO_SLOW)));
        assert_eq!(due(Limits { rate: None, ..LIMITS }, flowing()), Some((8, STALLED)));
        assert_eq!(due(Limits::default(), flowing()), None);
    }

    #[test]
    fn a_stream_begins_with_its_first_delta_and_a_whole_answer_with_its_header() {
        let began = |measured: bool, tasks: Vec<(u64, HttpTask)>| {
            let start = deadline::now();
            let mut pace = Pace::new(Limits { measured, ..Limits::default() });
            pace.start(start);
            for (second, task) in tasks {
                pace.see(&[task], start + Duration::from_secs(second));
            }
            assert_eq!(pace.due(), None);
            pace.began().map(|at| (at - start).as_secs())
        };
        let whole = HttpTask::Body(Some(Bytes::from_static(DELTA.as_bytes())), true);
        let stream = |second, task| vec![(1, head("text/event-stream")), (2, body(ROLE)), (second, task)];
        assert_eq!(began(true, stream(5, body(DELTA))), Some(5));
        assert_eq!(began(true, stream(6, whole)), Some(6));
        assert_eq!(began(true, stream(5, body(": alive\n\n"))), None);
        assert_eq!(began(true, vec![(3, head("application/json")), (9, body("{}"))]), Some(3));
        assert_eq!(began(false, stream(5, body(DELTA))), None);
    }

    #[test]
    fn a_slow_client_is_not_the_backends_fault() {
        let start = deadline::now();
        let mut pace = Pace::new(LIMITS);
        pace.start(start);
        pace.see(&[head("text/event-stream"), body(DELTA)], start);
        pace.excuse(Duration::from_secs(60));
        assert_eq!(pace.due(), Some((start + Duration::from_secs(65), STALLED)));
    }

    #[test]
    fn keep_alives_are_no_progress() {
        for (part, want) in [
            (": alive\n\n", true),
            ("\n", true),
            (":a\r\n\r\n:b\n\n", true),
            (": alive\n\ndata: x\n\n", false),
            ("data: x\n\n", false),
            ("\n\ndata", false),
            ("", false),
        ] {
            assert_eq!(is_comment(part.as_bytes()), want, "{part:?}");
        }
    }
}
