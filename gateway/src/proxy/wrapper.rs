//! The wrapper: the one implementation of Pingora's custom downstream session, around the real one, and the desk on which an
//! attempt's order lies. What a request without and with an upgrade needs differs in few points: they are the [`Role`]s of
//! `replay` and `tunnel`; everything else goes to the real session.
//!
//! The trait is `#[doc(hidden)]` (`gateway/decisions/0002`): Pingora is pinned, and only this file names it.

use super::cork::Cork;
use super::h2_writer::H2Writer;
use super::hedge::race::{Seed, Slot};
use super::hold::{Watch, break_off};
use super::pace::Limits;
use crate::openai::page::Turn;
use crate::openai::rewrite::Segments;
use crate::openai::trouble::About;
use async_trait::async_trait;
use bytes::Bytes;
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
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

type MessageReader = Box<dyn Stream<Item = Result<Bytes>> + Unpin + Send + Sync + 'static>;

/// What one attempt asks of the session. Set before the attempt, picked up at its start.
pub(super) struct Order {
    /// When it was placed: the start of the attempt.
    pub(super) placed: Instant,
    /// The body to send, this backend's deployment name already in it.
    pub(super) body: Segments,
    /// Keeps the header waiting for the body.
    pub(super) cork: Option<Cork>,
    /// From the start of the attempt to its response header.
    pub(super) first_byte: Duration,
    /// Longest pause inside the answer.
    pub(super) idle: Duration,
    /// When the whole answer must have ended.
    pub(super) total: Option<Instant>,
    /// What a stream must keep to.
    pub(super) pace: Limits,
    /// Which answers are held until their beginning tells what they are.
    pub(super) watch: Watch,
    /// What a second attempt beside this one begins with, and after which time.
    pub(super) hedge: Option<Box<Seed>>,
}

/// Shared by the request context (which writes orders) and the wrapper (which obeys).
#[derive(Default)]
pub(super) struct Desk {
    order: Mutex<Option<Order>>,
    inner: Mutex<Option<Box<ServerSession>>>,
    open: AtomicBool,
    cut: AtomicBool,
    look: AtomicBool,
    about: Mutex<Option<About>>,
    turn: Mutex<Option<Turn>>,
    /// Where the race with a second attempt stands.
    pub(super) hedge: Slot,
}

impl Desk {
    /// The answer whose header has come is not relayed: its body is looked at.
    pub(super) fn look(&self) {
        self.look.store(true, Ordering::Relaxed);
    }

    /// Whether that was said; once.
    pub(super) fn takes_a_look(&self) -> bool {
        self.look.load(Ordering::Relaxed) && self.look.swap(false, Ordering::Relaxed)
    }

    /// What the error says for which an answer was not relayed.
    pub(super) fn tell(&self, about: Option<About>) {
        *self.about.lock() = about;
    }

    /// The same, once.
    pub(super) fn told(&self) -> Option<About> {
        self.about.lock().take()
    }

    /// What the page of a list is that is held.
    pub(super) fn turn(&self, turn: Turn) {
        *self.turn.lock() = Some(turn);
    }

    /// The same, once.
    pub(super) fn turned(&self) -> Option<Turn> {
        self.turn.lock().take()
    }

    /// The answer that ends now is not whole: after its last byte the attempt has broken.
    pub(super) fn cut(&self) {
        self.cut.store(true, Ordering::Relaxed);
    }

    /// Places the order of the attempt that is about to start.
    pub(super) fn place(&self, order: Order) {
        self.open.store(false, Ordering::Relaxed);
        self.look.store(false, Ordering::Relaxed);
        self.tell(None);
        *self.turn.lock() = None;
        *self.order.lock() = Some(order);
    }

    /// A second attempt may begin beside the one whose order lies here.
    pub(super) fn arm(&self, seed: Box<Seed>) {
        if let Some(order) = self.order.lock().as_mut() {
            order.hedge = Some(seed);
        }
    }

    /// Nothing is held back any more.
    pub(super) fn open(&self) {
        self.open.store(true, Ordering::Relaxed);
    }

    /// Whether that is so.
    pub(super) fn is_open(&self) -> bool {
        self.open.load(Ordering::Relaxed)
    }
}

/// Where wrapped sessions differ. `inner` is the real session.
pub(super) trait Role: Send + Sync + Unpin + 'static {
    /// The session may become an upgraded one.
    const UPGRADES: bool;

    /// Takes a new attempt's order over.
    fn obey(&mut self, order: Order);

    /// An attempt starts, after the request filter.
    fn start(&mut self);

    /// Nothing more is to be read for the backend.
    fn is_body_done(&mut self, inner: &mut ServerSession) -> bool;

    /// There is no body to frame.
    fn is_body_empty(&self) -> bool;

    /// The next bytes for the backend; where none are expected, waits for the client to leave or a deadline to pass.
    fn read(
        &mut self,
        inner: &mut ServerSession,
        desk: &Desk,
        no_body_expected: bool,
    ) -> impl Future<Output = Result<Option<Bytes>>> + Send;

    /// What the answer is written with where it is not the real session.
    fn writer(&mut self) -> Option<&mut H2Writer> {
        None
    }

    /// Bytes that it wrote.
    fn written(&self) -> usize {
        0
    }

    /// Sends what the backend answered, and tells the desk once it holds nothing back; whether the answer has ended.
    fn respond(
        &mut self,
        inner: &mut ServerSession,
        desk: &Desk,
        tasks: Vec<HttpTask>,
    ) -> impl Future<Output = Result<bool>> + Send;
}

/// Puts a wrapper with this role in the place of `session`. Undo with [`unwrap`].
pub(super) fn wrap(session: &mut Box<ServerSession>, role: impl Role) -> Arc<Desk> {
    let desk = Arc::new(Desk::default());
    let inner = mem::replace(session, Box::new(ServerSession::new_custom(Box::new(()))));
    **session = ServerSession::new_custom(Box::new(Wrapper { inner, desk: Arc::clone(&desk), role }));
    desk
}

/// Puts the real session back in the place of its wrapper, so that a keep-alive connection serves its next request.
pub(super) fn unwrap(session: &mut Box<ServerSession>, desk: &Desk) {
    if session.is_custom() {
        // Dropping the wrapper makes it hand its inner session to the desk.
        **session = ServerSession::new_custom(Box::new(()));
        if let Some(inner) = desk.inner.lock().take() {
            *session = inner;
        }
    }
}

struct Wrapper<R> {
    inner: Box<ServerSession>,
    desk: Arc<Desk>,
    role: R,
}

impl<R> Drop for Wrapper<R> {
    fn drop(&mut self) {
        let inner = mem::replace(&mut self.inner, Box::new(ServerSession::new_custom(Box::new(()))));
        *self.desk.inner.lock() = Some(inner);
    }
}

impl<R: Role> Wrapper<R> {
    /// Takes the order over, if a new one lies on the desk.
    fn pick_up(&mut self) {
        let order = self.desk.order.lock().take();
        if let Some(order) = order {
            self.desk.cut.store(false, Ordering::Relaxed);
            self.role.obey(order);
        }
    }
}

#[async_trait]
impl<R: Role> CustomSession for Wrapper<R> {
    fn req_header(&self) -> &RequestHeader {
        self.inner.req_header()
    }

    fn req_header_mut(&mut self) -> &mut RequestHeader {
        self.inner.req_header_mut()
    }

    async fn read_body_bytes(&mut self) -> Result<Option<Bytes>> {
        if self.role.is_body_done(&mut self.inner) {
            return Ok(None);
        }
        self.role.read(&mut self.inner, &self.desk, false).await
    }

    async fn drain_request_body(&mut self) -> Result<()> {
        if R::UPGRADES { self.inner.drain_request_body().await } else { Ok(()) }
    }

    async fn write_response_header(&mut self, header: Box<ResponseHeader>, _end: bool) -> Result<()> {
        self.inner.write_response_header(header).await
    }

    async fn write_response_header_ref(&mut self, header: &ResponseHeader, _end: bool) -> Result<()> {
        self.inner.write_response_header_ref(header).await
    }

    async fn write_body(&mut self, data: Bytes, end: bool) -> Result<()> {
        match self.role.writer() {
            Some(writer) => return writer.write(data, end).await,
            None => self.inner.write_response_body(data, end).await?,
        }
        if end && self.inner.is_subrequest() {
            // This kind alone does not take the word for it.
            self.inner.finish_body().await?;
        }
        Ok(())
    }

    async fn write_trailers(&mut self, trailers: HeaderMap) -> Result<()> {
        self.inner.write_response_trailers(trailers).await
    }

    async fn response_duplex_vec(&mut self, mut tasks: Vec<HttpTask>) -> Result<bool> {
        if self.desk.cut.load(Ordering::Relaxed) {
            break_off(&mut tasks);
        }
        self.role.respond(&mut self.inner, &self.desk, tasks).await
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
        self.role.is_body_done(&mut self.inner)
    }

    async fn finish(&mut self) -> Result<()> {
        match self.role.writer() {
            Some(writer) => writer.finish(),
            None => self.inner.finish_body().await,
        }
    }

    /// Pingora asks this while it frames the request, before the attempt starts: the order is picked up here.
    fn is_body_empty(&mut self) -> bool {
        self.pick_up();
        self.role.is_body_empty()
    }

    async fn read_body_or_idle(&mut self, no_body_expected: bool) -> Result<Option<Bytes>> {
        self.role.read(&mut self.inner, &self.desk, no_body_expected).await
    }

    fn body_bytes_sent(&self) -> usize {
        self.inner.body_bytes_sent() + self.role.written()
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
        self.role.start();
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
        R::UPGRADES && self.inner.is_upgrade_req()
    }

    fn was_upgraded(&self) -> bool {
        R::UPGRADES && self.inner.was_upgraded()
    }
}
