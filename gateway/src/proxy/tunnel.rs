//! The tunnel: a downstream session that a WebSocket goes through. Until the 101 it keeps the deadline of each attempt, so
//! that another region can take over; from then on it sees both directions, keeps the idle timeout, and says goodbye with a
//! close frame where one fits: when the process drains, when nothing moves any more, and when the backend is gone.
//!
//! It wraps Pingora's real session as the replay session does (`gateway/decisions/0002`). It decides no failover, and looks
//! into no message.

use super::closing::{Closing, Ending};
use super::deadline::{Clock, now};
use super::replay::{Desk, MessageReader};
use crate::openai::frames::{Frames, close_frame, masked_close_frame};
use async_trait::async_trait;
use bytes::Bytes;
use http::{HeaderMap, StatusCode, header};
use pingora::http::{RequestHeader, ResponseHeader};
use pingora::protocols::http::custom::CustomMessageWrite;
use pingora::protocols::http::custom::server::Session as CustomSession;
use pingora::protocols::http::{HttpTask, ServerSession};
use pingora::protocols::{Digest, l4::socket::SocketAddr};
use pingora::{Error, Result};
use pingora_timeout::fast_timeout::fast_sleep;
use std::mem;
use std::sync::Arc;
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

/// Puts a tunnel in the place of `session`. Undo with `replay::unwrap`.
pub(super) fn wrap(session: &mut Box<ServerSession>, closing: &Closing) -> Arc<Desk> {
    let desk = Arc::new(Desk::default());
    let inner = mem::replace(session, Box::new(ServerSession::new_custom(Box::new(()))));
    let tunnel = Tunnel {
        inner,
        desk: Arc::clone(&desk),
        clock: Clock::default(),
        closing: closing.subscribe(),
        to_client: Frames::default(),
        to_backend: Frames::default(),
        stage: Stage::Open,
    };
    **session = ServerSession::new_custom(Box::new(tunnel));
    desk
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

struct Tunnel {
    inner: Box<ServerSession>,
    desk: Arc<Desk>,
    clock: Clock,
    closing: Ending,
    to_client: Frames,
    to_backend: Frames,
    stage: Stage,
}

impl Drop for Tunnel {
    fn drop(&mut self) {
        let inner = mem::replace(&mut self.inner, Box::new(ServerSession::new_custom(Box::new(()))));
        self.desk.hand_back(inner);
    }
}

/// What woke the tunnel.
enum Event {
    Read(Result<Option<Bytes>>),
    Late(Box<Error>),
    Drain,
}

impl Tunnel {
    /// Takes the order over, if a new one lies on the desk.
    fn pick_up(&mut self) {
        if let Some(order) = self.desk.take() {
            self.clock = Clock::new(order.first_byte, order.idle, order.total);
        }
    }

    /// A close frame may go to the client.
    fn may_close(&self) -> bool {
        self.to_client.at_boundary() && !self.to_client.closed()
    }

    /// Begins to close from our side.
    async fn close(&mut self) -> Result<()> {
        let tell = self.to_backend.at_boundary() && !self.to_backend.closed();
        let farewell = tell.then(|| Bytes::copy_from_slice(&masked_close_frame(GOING_AWAY)));
        let told = self.may_close();
        self.stage = Stage::Closing { until: if told { now() + FAREWELL } else { now() }, farewell };
        if told {
            let frame = Bytes::copy_from_slice(&close_frame(GOING_AWAY));
            self.to_client.feed(&frame);
            self.inner.response_duplex_vec(vec![HttpTask::UpgradedBody(Some(frame), false)]).await?;
        }
        Ok(())
    }

    /// Waits for the client's own close frame, or its end, for a moment; what else it sends is dropped. Then the farewell.
    async fn part(&mut self) -> Option<Bytes> {
        while let Stage::Closing { until, .. } = &self.stage {
            let left = until.saturating_duration_since(now());
            if left.is_zero() || self.to_backend.closed() {
                break;
            }
            tokio::select! {
                read = self.inner.read_body_or_idle(false) => match read {
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

    async fn next_event(&mut self, no_body_expected: bool) -> Event {
        let open = self.inner.was_upgraded();
        tokio::select! {
            biased;
            read = self.inner.read_body_or_idle(no_body_expected || !open) => Event::Read(read),
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
    fn follow(&mut self, tasks: Vec<HttpTask>) -> (Vec<HttpTask>, Option<Box<Error>>) {
        let mut open = self.inner.was_upgraded();
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

#[async_trait]
impl CustomSession for Tunnel {
    fn req_header(&self) -> &RequestHeader {
        self.inner.req_header()
    }

    fn req_header_mut(&mut self) -> &mut RequestHeader {
        self.inner.req_header_mut()
    }

    async fn read_body_bytes(&mut self) -> Result<Option<Bytes>> {
        self.inner.read_request_body().await
    }

    async fn drain_request_body(&mut self) -> Result<()> {
        self.inner.drain_request_body().await
    }

    async fn write_response_header(&mut self, header: Box<ResponseHeader>, _end: bool) -> Result<()> {
        self.inner.write_response_header(header).await
    }

    async fn write_response_header_ref(&mut self, header: &ResponseHeader, _end: bool) -> Result<()> {
        self.inner.write_response_header_ref(header).await
    }

    async fn write_body(&mut self, data: Bytes, end: bool) -> Result<()> {
        self.inner.write_response_body(data, end).await
    }

    async fn write_trailers(&mut self, trailers: HeaderMap) -> Result<()> {
        self.inner.write_response_trailers(trailers).await
    }

    async fn response_duplex_vec(&mut self, tasks: Vec<HttpTask>) -> Result<bool> {
        if !matches!(self.stage, Stage::Open) {
            return Ok(tasks.iter().any(HttpTask::is_end));
        }
        let (tasks, failed) = self.follow(tasks);
        let end = if tasks.is_empty() { false } else { self.inner.response_duplex_vec(tasks).await? };
        failed.map_or(Ok(end), Err)
    }

    fn set_read_timeout(&mut self, timeout: Option<Duration>) {
        self.inner.set_read_timeout(timeout);
    }

    fn get_read_timeout(&self) -> Option<Duration> {
        self.inner.get_read_timeout()
    }

    fn set_write_timeout(&mut self, timeout: Option<Duration>) {
        self.inner.set_write_timeout(timeout);
    }

    fn get_write_timeout(&self) -> Option<Duration> {
        self.inner.get_write_timeout()
    }

    fn set_total_drain_timeout(&mut self, timeout: Option<Duration>) {
        self.inner.set_total_drain_timeout(timeout);
    }

    fn get_total_drain_timeout(&self) -> Option<Duration> {
        self.inner.get_total_drain_timeout()
    }

    fn request_summary(&self) -> String {
        self.inner.request_summary()
    }

    fn response_written(&self) -> Option<&ResponseHeader> {
        self.inner.response_written()
    }

    async fn shutdown(&mut self, _code: u32, _context: &str) {
        self.inner.shutdown().await;
    }

    /// Before the answer the request is not said to be done, though it has no body: Pingora tells its other half so by a
    /// message, and a 101 that overtakes that message would have its tunnel ended by it.
    fn is_body_done(&mut self) -> bool {
        let answered = || self.inner.response_written().is_some_and(|answer| !answer.status.is_informational());
        match self.stage {
            Stage::Closed => true,
            Stage::Open | Stage::Closing { .. } if self.inner.was_upgraded() => self.inner.is_body_done(),
            Stage::Open | Stage::Closing { .. } => answered(),
        }
    }

    async fn finish(&mut self) -> Result<()> {
        self.inner.finish_body().await
    }

    /// Pingora asks this while it frames the request, before the attempt starts: the order is picked up here. When it asks
    /// again to send the end of the body, it gets no such end, for the reason of [`Self::is_body_done`].
    fn is_body_empty(&mut self) -> bool {
        self.pick_up();
        self.clock.started.is_none()
    }

    async fn read_body_or_idle(&mut self, no_body_expected: bool) -> Result<Option<Bytes>> {
        match self.stage {
            Stage::Open => {}
            Stage::Closing { .. } => return Ok(self.part().await),
            Stage::Closed => return Ok(None),
        }
        match self.next_event(no_body_expected).await {
            Event::Read(Ok(Some(bytes))) => {
                self.clock.progress = self.clock.progress.map(|_before| now());
                self.to_backend.feed(&bytes);
                Ok(Some(bytes))
            }
            Event::Read(read) => read,
            Event::Late(error) if !self.inner.was_upgraded() => Err(error),
            Event::Late(_) | Event::Drain => {
                self.close().await?;
                Ok(self.part().await)
            }
        }
    }

    fn body_bytes_sent(&self) -> usize {
        self.inner.body_bytes_sent()
    }

    fn body_bytes_read(&self) -> usize {
        self.inner.body_bytes_read()
    }

    fn digest(&self) -> Option<&Digest> {
        self.inner.digest()
    }

    fn digest_mut(&mut self) -> Option<&mut Digest> {
        self.inner.digest_mut()
    }

    fn client_addr(&self) -> Option<&SocketAddr> {
        self.inner.client_addr()
    }

    fn server_addr(&self) -> Option<&SocketAddr> {
        self.inner.server_addr()
    }

    fn pseudo_raw_h1_request_header(&self) -> Bytes {
        self.inner.to_h1_raw()
    }

    /// Pingora calls this at the start of every attempt, after the request filter.
    fn enable_retry_buffering(&mut self) {
        self.pick_up();
        self.clock.started = Some(now());
    }

    fn retry_buffer_truncated(&self) -> bool {
        false
    }

    fn get_retry_buffer(&self) -> Option<Bytes> {
        None
    }

    async fn finish_custom(&mut self) -> Result<()> {
        Ok(())
    }

    fn take_custom_message_reader(&mut self) -> Option<MessageReader> {
        None
    }

    fn restore_custom_message_reader(&mut self, _reader: MessageReader) -> Result<()> {
        Ok(())
    }

    fn take_custom_message_writer(&mut self) -> Option<Box<dyn CustomMessageWrite>> {
        None
    }

    fn restore_custom_message_writer(&mut self, _writer: Box<dyn CustomMessageWrite>) -> Result<()> {
        Ok(())
    }

    fn is_upgrade_req(&self) -> bool {
        self.inner.is_upgrade_req()
    }

    fn was_upgraded(&self) -> bool {
        self.inner.was_upgraded()
    }
}
