//! The replay session: a downstream session that replays a request body byte for byte to any attempt, keeps the
//! deadlines to the first byte and between bytes, and holds an answer until its beginning says whether it may be relayed.
//!
//! It wraps Pingora's real downstream session as a *custom* one (`gateway/decisions/0002`), because Pingora's own retry
//! buffer is a fixed 64 KiB. The trait is `#[doc(hidden)]`: Pingora is pinned and this file stands alone. It never
//! decides a failover: it raises the errors of `deadline` and `hold`, and `classify` says what they mean.

use super::deadline::{Clock, now};
use super::hold::{Hold, Watch};
use crate::openai::rewrite::Segments;
use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use futures::Stream;
use http::HeaderMap;
use parking_lot::Mutex;
use pingora::Result;
use pingora::http::{RequestHeader, ResponseHeader};
use pingora::protocols::http::custom::CustomMessageWrite;
use pingora::protocols::http::custom::server::Session as CustomSession;
use pingora::protocols::http::{HttpTask, ServerSession};
use pingora::protocols::{Digest, l4::socket::SocketAddr};
use std::mem;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Pieces of a body below this leave together.
const STEP: usize = 64 * 1024;

pub(super) type MessageReader = Box<dyn Stream<Item = Result<Bytes>> + Unpin + Send + Sync + 'static>;

/// What one attempt asks of the session. Set before the attempt, picked up at its start.
pub(super) struct Order {
    /// The body to send, this backend's deployment name already in it.
    pub(super) body: Segments,
    /// From the start of the attempt to its response header.
    pub(super) first_byte: Duration,
    /// Longest pause inside the answer.
    pub(super) idle: Duration,
    /// When the whole answer must have ended.
    pub(super) total: Option<Instant>,
    /// Which answers are held until their beginning tells what they are.
    pub(super) watch: Watch,
}

/// Shared by the request context (which writes orders) and the wrapper (which obeys).
#[derive(Default)]
pub(super) struct Desk {
    order: Mutex<Option<Order>>,
    inner: Mutex<Option<Box<ServerSession>>>,
}

impl Desk {
    /// Places the order of the attempt that is about to start.
    pub(super) fn place(&self, order: Order) {
        *self.order.lock() = Some(order);
    }

    /// Takes the order that lies there.
    pub(super) fn take(&self) -> Option<Order> {
        self.order.lock().take()
    }

    /// Gives the real session back.
    pub(super) fn hand_back(&self, inner: Box<ServerSession>) {
        *self.inner.lock() = Some(inner);
    }
}

/// Puts a replay session in the place of `session`. Undo with [`unwrap`].
pub(super) fn wrap(session: &mut Box<ServerSession>) -> Arc<Desk> {
    let desk = Arc::new(Desk::default());
    let inner = mem::replace(session, Box::new(ServerSession::new_custom(Box::new(()))));
    let replay = Replay {
        inner,
        desk: Arc::clone(&desk),
        body: Segments::default(),
        cursor: 0,
        clock: Clock::default(),
        hold: Hold::Off,
    };
    **session = ServerSession::new_custom(Box::new(replay));
    desk
}

/// Puts the real session back in the place of a replay session or a tunnel, so that a keep-alive connection serves its next request.
pub(super) fn unwrap(session: &mut Box<ServerSession>, desk: &Desk) {
    if session.is_custom() {
        // Dropping the wrapper makes it hand its inner session to the desk.
        **session = ServerSession::new_custom(Box::new(()));
        if let Some(inner) = desk.inner.lock().take() {
            *session = inner;
        }
    }
}

struct Replay {
    inner: Box<ServerSession>,
    desk: Arc<Desk>,
    body: Segments,
    cursor: usize,
    clock: Clock,
    hold: Hold,
}

impl Drop for Replay {
    fn drop(&mut self) {
        let inner = mem::replace(&mut self.inner, Box::new(ServerSession::new_custom(Box::new(()))));
        self.desk.hand_back(inner);
    }
}

impl Replay {
    /// Takes the order over, if a new one lies on the desk.
    fn pick_up(&mut self) {
        let Some(order) = self.desk.take() else { return };
        self.clock = Clock::new(order.first_byte, order.idle, order.total);
        self.hold = Hold::new(order.watch);
        self.body = order.body;
        self.cursor = 0;
    }

    /// The next bytes for the backend. A rewritten body is in up to three pieces: the small ones leave together, since
    /// every step is a system call; a large one leaves whole.
    ///
    /// There must be at most three steps. Pingora's pipe to the backend holds four: when it is full as the last step goes
    /// in, Pingora asks this session for nothing until the backend answers, so that no deadline passes and no client's
    /// leaving is noticed.
    fn next_step(&mut self) -> Option<Bytes> {
        let mut step = self.body.chunk_at(self.cursor, usize::MAX)?;
        let mut end = self.cursor + step.len();
        if step.len() < STEP && end < self.body.len() {
            let mut whole = BytesMut::with_capacity(STEP.min(self.body.len() - self.cursor));
            whole.extend_from_slice(&step);
            while whole.len() < STEP
                && let Some(more) = self.body.chunk_at(end, STEP - whole.len())
            {
                end += more.len();
                whole.extend_from_slice(&more);
            }
            step = whole.freeze();
        }
        self.cursor = end;
        Some(step)
    }
}

#[async_trait]
impl CustomSession for Replay {
    fn req_header(&self) -> &RequestHeader {
        self.inner.req_header()
    }

    fn req_header_mut(&mut self) -> &mut RequestHeader {
        self.inner.req_header_mut()
    }

    async fn read_body_bytes(&mut self) -> Result<Option<Bytes>> {
        Ok(self.next_step())
    }

    async fn drain_request_body(&mut self) -> Result<()> {
        Ok(())
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
        let answering = |t: &HttpTask| !matches!(t, HttpTask::Header(h, _) if h.status.is_informational());
        if tasks.iter().any(answering) {
            self.clock.progress = Some(now());
        }
        let tasks = if matches!(self.hold, Hold::Off) { tasks } else { self.hold.sift(tasks, now())? };
        if tasks.is_empty() {
            return Ok(false);
        }
        self.inner.response_duplex_vec(tasks).await
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

    fn is_body_done(&mut self) -> bool {
        self.cursor >= self.body.len()
    }

    async fn finish(&mut self) -> Result<()> {
        self.inner.finish_body().await
    }

    /// Pingora asks this while it frames the request, before the attempt starts: the order is picked up here.
    fn is_body_empty(&mut self) -> bool {
        self.pick_up();
        self.body.is_empty()
    }

    async fn read_body_or_idle(&mut self, no_body_expected: bool) -> Result<Option<Bytes>> {
        if !no_body_expected && self.cursor < self.body.len() {
            return Ok(self.next_step());
        }
        tokio::select! {
            biased;
            read = self.inner.read_body_or_idle(true) => read,
            error = self.clock.expired() => Err(error),
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

    /// Pingora calls this at the start of every attempt, after the request filter: rewind here.
    fn enable_retry_buffering(&mut self) {
        self.pick_up();
        self.clock.started = Some(now());
        self.cursor = 0;
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
}
