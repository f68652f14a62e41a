//! The tunnel: a downstream session that a WebSocket goes through. Until the 101 it keeps the deadline of each attempt, so
//! that another region can take over; from then on it sees both directions, keeps the idle timeout, and says goodbye with a
//! close frame where one fits: when the process drains, when nothing moves any more, and when the backend is gone.
//!
//! Like the replay session it is a role of the `wrapper` (`gateway/decisions/0002`). It decides no failover, and looks into
//! no message.

use super::closing::{Closing, Ending};
use super::deadline::{Clock, now};
use super::wrapper::{Desk, Order, Role};
use crate::openai::frames::{Frames, close_frame, masked_close_frame};
use bytes::Bytes;
use http::{StatusCode, header};
use pingora::http::RequestHeader;
use pingora::protocols::http::{HttpTask, ServerSession};
use pingora::{Error, Result};
use pingora_timeout::fast_timeout::fast_sleep;
use std::mem;
use std::time::{Duration, Instant};

/// Close codes (RFC 6455, 7.4 and its registry): we go away; what is behind us has failed.
const GOING_AWAY: u16 = 1001;
const BAD_GATEWAY: u16 = 1014;
/// How long a client's answer to our close frame is waited for.
const FAREWELL: Duration = Duration::from_secs(1);

/// The request asks for a WebSocket: `GET` without a body. Any other upgrade is not for us to make.
pub(super) fn is_websocket(request: &RequestHeader) -> bool {
    let headers = &request.headers;
    request.method == http::Method::GET
        && headers.get(header::UPGRADE).is_some_and(|v| v.as_bytes().eq_ignore_ascii_case(b"websocket"))
        && !headers.contains_key(header::TRANSFER_ENCODING)
        && headers.get(header::CONTENT_LENGTH).is_none_or(|v| v == "0")
}

/// Where the tunnel stands.
enum Stage {
    /// Before the 101, or bytes go both ways.
    Open,
    /// Our close frame is on its way to the client, whose answer we await; then the backend gets the farewell.
    Closing { until: Instant, farewell: Option<Bytes> },
    /// Nothing passes any more.
    Closed,
}

/// A request for a WebSocket.
pub(super) struct Tunnel {
    clock: Clock,
    closing: Ending,
    to_client: Frames,
    to_backend: Frames,
    stage: Stage,
}

/// What woke the tunnel.
enum Event {
    Read(Result<Option<Bytes>>),
    Late(Box<Error>),
    Drain,
}

impl Tunnel {
    /// A tunnel that closes when the process does.
    pub(super) fn new(closing: &Closing) -> Self {
        Self {
            clock: Clock::default(),
            closing: closing.subscribe(),
            to_client: Frames::default(),
            to_backend: Frames::default(),
            stage: Stage::Open,
        }
    }

    /// A close frame may go to the client.
    fn may_close(&self) -> bool {
        self.to_client.at_boundary() && !self.to_client.closed()
    }

    /// Begins to close from our side.
    async fn close(&mut self, inner: &mut ServerSession) -> Result<()> {
        let tell = self.to_backend.at_boundary() && !self.to_backend.closed();
        let farewell = tell.then(|| Bytes::copy_from_slice(&masked_close_frame(GOING_AWAY)));
        let told = self.may_close();
        self.stage = Stage::Closing { until: if told { now() + FAREWELL } else { now() }, farewell };
        if told {
            let frame = Bytes::copy_from_slice(&close_frame(GOING_AWAY));
            self.to_client.feed(&frame);
            inner.response_duplex_vec(vec![HttpTask::UpgradedBody(Some(frame), false)]).await?;
        }
        Ok(())
    }

    /// Waits for the client's own close frame, or its end, for a moment; what else it sends is dropped. Then the farewell.
    async fn part(&mut self, inner: &mut ServerSession) -> Option<Bytes> {
        while let Stage::Closing { until, .. } = &self.stage {
            let left = until.saturating_duration_since(now());
            if left.is_zero() || self.to_backend.closed() {
                break;
            }
            tokio::select! {
                read = inner.read_body_or_idle(false) => match read {
                    Ok(Some(bytes)) => self.to_backend.feed(&bytes),
                    Ok(None) | Err(_) => break,
                },
                () = fast_sleep(left) => break,
            }
        }
        match mem::replace(&mut self.stage, Stage::Closed) {
            Stage::Closing { farewell, .. } => farewell,
            Stage::Open | Stage::Closed => None,
        }
    }

    async fn next_event(&mut self, inner: &mut ServerSession, no_body_expected: bool) -> Event {
        let open = inner.was_upgraded();
        tokio::select! {
            biased;
            read = inner.read_body_or_idle(no_body_expected || !open) => Event::Read(read),
            error = self.clock.expired() => Event::Late(error),
            () = self.closing.begun(), if open => Event::Drain,
        }
    }

    /// The backend has ended, or failed, without a close frame: the client gets one.
    fn last_word(&mut self) -> Option<Bytes> {
        if !self.may_close() {
            return None;
        }
        let frame = Bytes::copy_from_slice(&close_frame(BAD_GATEWAY));
        self.to_client.feed(&frame);
        Some(frame)
    }

    /// Follows what goes to the client, and puts the last word in front of the end.
    fn follow(&mut self, upgraded: bool, tasks: Vec<HttpTask>) -> (Vec<HttpTask>, Option<Box<Error>>) {
        let mut open = upgraded;
        let mut out = Vec::with_capacity(tasks.len() + 1);
        for task in tasks {
            match task {
                HttpTask::Header(header, end) => {
                    open |= header.status == StatusCode::SWITCHING_PROTOCOLS;
                    if open || !header.status.is_informational() {
                        self.clock.progress = Some(now());
                    }
                    out.push(HttpTask::Header(header, end));
                }
                HttpTask::UpgradedBody(data, end) => {
                    self.clock.progress = Some(now());
                    self.to_client.feed(data.as_deref().unwrap_or_default());
                    match if end { self.last_word() } else { None } {
                        Some(frame) => {
                            out.push(HttpTask::UpgradedBody(data, false));
                            out.push(HttpTask::UpgradedBody(Some(frame), true));
                        }
                        None => out.push(HttpTask::UpgradedBody(data, end)),
                    }
                }
                HttpTask::Done if open => match self.last_word() {
                    Some(frame) => out.push(HttpTask::UpgradedBody(Some(frame), true)),
                    None => out.push(HttpTask::Done),
                },
                HttpTask::Failed(error) if open => {
                    if let Some(frame) = self.last_word() {
                        out.push(HttpTask::UpgradedBody(Some(frame), true));
                    }
                    return (out, Some(error));
                }
                other => out.push(other),
            }
        }
        (out, None)
    }
}

impl Role for Tunnel {
    const UPGRADES: bool = true;

    fn obey(&mut self, order: Order) {
        self.clock = Clock::new(order.first_byte, order.idle, order.total);
    }

    fn start(&mut self) {
        self.clock.started = Some(now());
    }

    /// Before the answer the request is not said to be done, though it has no body: Pingora tells its other half so by a
    /// message, and a 101 that overtakes that message would have its tunnel ended by it.
    fn is_body_done(&mut self, inner: &mut ServerSession) -> bool {
        match self.stage {
            Stage::Closed => true,
            Stage::Open | Stage::Closing { .. } if inner.was_upgraded() => inner.is_body_done(),
            Stage::Open | Stage::Closing { .. } => {
                inner.response_written().is_some_and(|answer| !answer.status.is_informational())
            }
        }
    }

    /// When Pingora asks again, to send the end of the body, it gets no such end, for the reason of [`Self::is_body_done`].
    fn is_body_empty(&self) -> bool {
        self.clock.started.is_none()
    }

    async fn read(&mut self, inner: &mut ServerSession, _desk: &Desk, no_body_expected: bool) -> Result<Option<Bytes>> {
        match self.stage {
            Stage::Open => {}
            Stage::Closing { .. } => return Ok(self.part(inner).await),
            Stage::Closed => return Ok(None),
        }
        match self.next_event(inner, no_body_expected).await {
            Event::Read(Ok(Some(bytes))) => {
                self.clock.progress = self.clock.progress.map(|_before| now());
                self.to_backend.feed(&bytes);
                Ok(Some(bytes))
            }
            Event::Read(read) => read,
            Event::Late(error) if !inner.was_upgraded() => Err(error),
            Event::Late(_) | Event::Drain => {
                self.close(inner).await?;
                Ok(self.part(inner).await)
            }
        }
    }

    async fn respond(&mut self, inner: &mut ServerSession, _desk: &Desk, tasks: Vec<HttpTask>) -> Result<bool> {
        if !matches!(self.stage, Stage::Open) {
            return Ok(tasks.iter().any(HttpTask::is_end));
        }
        let (tasks, failed) = self.follow(inner.was_upgraded(), tasks);
        let end = if tasks.is_empty() { false } else { inner.response_duplex_vec(tasks).await? };
        failed.map_or(Ok(end), Err)
    }
}
