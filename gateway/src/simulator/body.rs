//! [`Body`]: an answer's body on its way out, with the faults that strike inside it.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use hyper::body::{Frame, SizeHint};
use tokio::time::Sleep;

use super::call::Call;
use super::clock;
use super::events::{Events, Step};
use super::socket::{Connection, Cut};

/// Time given to what was sent to leave the process before a connection is cut.
const FLUSH: Duration = Duration::from_millis(5);
/// Size of a filler piece.
const PIECE: usize = 64 * 1024;
static FILLER: [u8; PIECE] = [b'x'; PIECE];

/// The body was broken off on purpose.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the simulated region broke the body off")]
pub(crate) struct BrokenOff;

/// What strikes inside a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Strike {
    /// Silence, for a time or for ever.
    Stall(Option<Duration>),
    /// RST.
    Reset,
    /// A short end.
    Truncate,
    /// This event, then the end.
    Event(&'static str),
}

/// How a body deviates from plain sending.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Shape {
    /// After so many chunks.
    pub(crate) strike: Option<(u64, Strike)>,
    /// Pause before the first byte.
    pub(crate) first_byte: Option<Duration>,
    /// One byte at a time, with a pause after each.
    pub(crate) drip: Option<Duration>,
}

/// Where a shaped body's chunks come from.
#[derive(Debug)]
pub(crate) enum Source {
    Events(Events),
    /// A whole answer, in pieces of a size.
    Pieces(Bytes, usize),
    /// A head, so many filler bytes, a tail.
    Filled(Option<Bytes>, u64, Option<Bytes>),
}

impl Source {
    /// A whole answer in eighths.
    pub(crate) fn eighths(bytes: Bytes) -> Self {
        let size = bytes.len().div_ceil(8).max(1);
        Self::Pieces(bytes, size)
    }

    /// The last byte has been taken. Never said of events: their end is a step of its own.
    const fn is_spent(&self) -> bool {
        match self {
            Self::Events(_) => false,
            Self::Pieces(bytes, _) => bytes.is_empty(),
            Self::Filled(head, left, tail) => head.is_none() && *left == 0 && tail.is_none(),
        }
    }

    fn step(&mut self) -> Step {
        match self {
            Self::Events(events) => events.step(clock::now()),
            Self::Pieces(bytes, _) if bytes.is_empty() => Step::End,
            Self::Pieces(bytes, size) => Step::Send(bytes.split_to((*size).min(bytes.len()))),
            Self::Filled(head, left, tail) => {
                if let Some(head) = head.take() {
                    return Step::Send(head);
                }
                if *left == 0 {
                    return tail.take().map_or(Step::End, Step::Send);
                }
                let size = usize::try_from(*left).unwrap_or(PIECE).min(PIECE);
                *left = left.saturating_sub(u64::try_from(size).unwrap_or(0));
                Step::Send(Bytes::from_static(FILLER.get(..size).unwrap_or_default()))
            }
        }
    }
}

/// An answer's body.
pub(crate) enum Body {
    /// Sent at once; its call has ended.
    Whole(Bytes),
    Shaped(Box<Shaped>),
}

/// A body that takes time.
pub(crate) struct Shaped {
    source: Source,
    shape: Shape,
    call: Call,
    connection: Arc<Connection>,
    http2: bool,
    sent: u64,
    timer: Option<Pin<Box<Sleep>>>,
    /// What of a chunk is still to be dripped.
    rest: Bytes,
    state: State,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Sending,
    /// Cut the connection once the timer has run out.
    Cutting(Strike),
    /// Nothing more, for ever.
    Silent,
    /// Nothing more: the end.
    Ended,
}

impl Shaped {
    pub(crate) fn new(source: Source, shape: Shape, call: Call, connection: Arc<Connection>, http2: bool) -> Self {
        let mut shape = shape;
        if let (Source::Pieces(..), Some((after, _))) = (&source, &mut shape.strike) {
            // An answer of known length is over with its eighth piece: strike before.
            *after = (*after).min(7);
        }
        let timer = shape.first_byte.map(|pause| Box::pin(tokio::time::sleep(pause)));
        let (rest, state) = (Bytes::new(), State::Sending);
        Self { source, shape, call, connection, http2, sent: 0, timer, rest, state }
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BrokenOff>>> {
        loop {
            if let Some(timer) = &mut self.timer {
                ready!(timer.as_mut().poll(cx));
                self.timer = None;
            }
            match self.state {
                State::Sending => {}
                State::Silent => return Poll::Pending,
                State::Ended => {
                    self.call.end();
                    return Poll::Ready(None);
                }
                State::Cutting(strike) => {
                    self.call.end();
                    self.state = State::Silent;
                    if self.http2 && strike == Strike::Truncate {
                        return Poll::Ready(Some(Err(BrokenOff)));
                    }
                    self.connection.end(if strike == Strike::Reset { Cut::Reset } else { Cut::Close });
                    return Poll::Pending;
                }
            }
            if !self.rest.is_empty() {
                return Poll::Ready(Some(Ok(self.drip())));
            }
            if let Some(frame) = self.strike() {
                return Poll::Ready(Some(Ok(frame)));
            }
            if self.state != State::Sending || self.timer.is_some() {
                continue;
            }
            match self.source.step() {
                Step::Wait(pause) => self.timer = Some(Box::pin(tokio::time::sleep(pause))),
                Step::End => self.state = State::Ended,
                Step::Send(chunk) => {
                    self.sent += 1;
                    if let Source::Events(events) = &self.source {
                        self.call.produced(events.tokens());
                    }
                    if self.shape.drip.is_none() {
                        self.note_end();
                        return Poll::Ready(Some(Ok(Frame::data(chunk))));
                    }
                    self.rest = chunk;
                }
            }
        }
    }

    fn drip(&mut self) -> Frame<Bytes> {
        if let Some(pause) = self.shape.drip.filter(|pause| !pause.is_zero()) {
            self.timer = Some(Box::pin(tokio::time::sleep(pause)));
        }
        let byte = self.rest.split_to(1);
        self.note_end();
        Frame::data(byte)
    }

    /// A body of known length is not asked again after its last byte.
    fn note_end(&mut self) {
        if self.source.is_spent() && self.rest.is_empty() {
            self.call.end();
        }
    }

    /// Carries the strike out when its chunk has come: a frame to send, or a change of state.
    fn strike(&mut self) -> Option<Frame<Bytes>> {
        let (_, strike) = self.shape.strike.filter(|(after, _)| self.sent >= *after)?;
        self.shape.strike = None;
        match strike {
            Strike::Stall(Some(pause)) => self.timer = Some(Box::pin(tokio::time::sleep(pause))),
            Strike::Stall(None) => self.state = State::Silent,
            Strike::Reset | Strike::Truncate => {
                self.timer = Some(Box::pin(tokio::time::sleep(FLUSH)));
                self.state = State::Cutting(strike);
            }
            Strike::Event(event) => {
                self.state = State::Ended;
                return Some(Frame::data(Bytes::from_static(event.as_bytes())));
            }
        }
        None
    }
}

impl hyper::body::Body for Body {
    type Data = Bytes;
    type Error = BrokenOff;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BrokenOff>>> {
        match &mut *self {
            Self::Whole(bytes) if bytes.is_empty() => Poll::Ready(None),
            Self::Whole(bytes) => Poll::Ready(Some(Ok(Frame::data(std::mem::take(bytes))))),
            Self::Shaped(shaped) => shaped.poll(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        matches!(self, Self::Whole(bytes) if bytes.is_empty())
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Whole(bytes) => SizeHint::with_exact(u64::try_from(bytes.len()).unwrap_or(u64::MAX)),
            Self::Shaped(_) => SizeHint::default(),
        }
    }
}
