//! [`Guarded`]: a client's stream with the deadlines that Pingora lacks: the first byte, the whole header however it
//! drips, a client that takes no bytes. While a request is under way it costs one branch per read and per write.
//!
//! It never reads HTTP, except to tell the preface of HTTP/2 from HTTP/1.1. What Pingora answers by itself, before any
//! request of ours exists, leaves here in the words of the one table.

use super::answer;
use super::connection::{Connection, Phase};
use super::goaway::Goaway;
use crate::config::snapshot::Connections as Limits;
use crate::domain::{Cutoff, Denial};
use crate::telemetry::clock;
use async_trait::async_trait;
use pingora::protocols::raw_connect::ProxyDigest;
use pingora::protocols::tls::{SslDigest, TlsRef};
use pingora::protocols::{
    ALPN, GetProxyDigest, GetSocketDigest, GetTimingDigest, IO, Peek, Shutdown, SocketDigest, Ssl, TimingDigest,
    UniqueID, UniqueIDType,
};
use std::fmt::Debug;
use std::future::{Future, poll_fn};
use std::io::{self, IoSlice};
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Sleep, sleep_until};

/// What HTTP/2 begins with.
const PREFACE: &[u8; 24] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// Bytes read before Pingora has a buffer for them; its first one is as large.
const AHEAD_MAX: usize = 4096;

/// A client's stream under guard.
#[derive(Debug)]
pub(super) struct Guarded<S> {
    stream: S,
    connection: Arc<Connection>,
    digest: Option<Arc<ProxyDigest>>,
    first_byte: Duration,
    header: Duration,
    write: Duration,
    /// Runs for the phase beside it.
    timer: Option<(Phase, Pin<Box<Sleep>>)>,
    /// Runs while the client takes no bytes.
    stall: Option<Pin<Box<Sleep>>>,
    http2: bool,
    /// Why the HTTP/2 library ends the connection.
    goaway: Goaway,
    /// The beginning of a request, or of HTTP/2, still to be read by Pingora.
    ahead: Vec<u8>,
    /// Bytes of the preface of HTTP/2 that Pingora has read.
    seen: usize,
    /// We have answered in Pingora's place: what it still writes goes nowhere.
    answered: bool,
}

impl<S: IO> Guarded<S> {
    pub(super) fn new(stream: S, connection: Arc<Connection>, limits: &Limits) -> Self {
        Self {
            digest: connection.digest(),
            http2: matches!(stream.selected_alpn_proto(), Some(ALPN::H2)),
            stream,
            connection,
            first_byte: limits.first_byte_timeout,
            header: limits.header_timeout,
            write: limits.write_timeout,
            timer: None,
            stall: None,
            goaway: Goaway::default(),
            ahead: Vec::new(),
            seen: 0,
            answered: false,
        }
    }

    /// Whether the client begins with HTTP/2, without TLS: waits for as many bytes as it takes to say no.
    pub(super) async fn begins_http2(&mut self) -> io::Result<bool> {
        while self.ahead.len() < PREFACE.len() && PREFACE.starts_with(&self.ahead) {
            if poll_fn(|cx| self.poll_ahead(cx)).await? == 0 {
                break;
            }
        }
        self.http2 = self.ahead.starts_with(PREFACE);
        Ok(self.http2)
    }

    /// Waits for the beginning of a request; `false` at the connection's end.
    pub(super) async fn begins(&mut self) -> bool {
        !self.ahead.is_empty() || matches!(poll_fn(|cx| self.poll_ahead(cx)).await, Ok(1..))
    }

    /// HTTP/2, by ALPN or by what was read.
    pub(super) const fn is_http2(&self) -> bool {
        self.http2
    }

    /// Reads ahead of Pingora. The buffer lies on the stack while this is polled: a connection that waits owns none.
    fn poll_ahead(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        let mut space = [MaybeUninit::uninit(); AHEAD_MAX];
        let mut buf = ReadBuf::uninit(&mut space);
        ready!(self.read_between(self.connection.phase(), cx, &mut buf))?;
        self.ahead.extend_from_slice(buf.filled());
        Poll::Ready(Ok(buf.filled().len()))
    }

    /// A read while no request is under way.
    fn read_between(&mut self, phase: Phase, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let result = Pin::new(&mut self.stream).poll_read(cx, buf);
        let count = buf.filled().len().saturating_sub(before);
        if count > 0 {
            self.received(phase, count);
            return Poll::Ready(Ok(()));
        }
        if result.is_pending() && phase != Phase::IDLE {
            self.watch(phase, cx);
        }
        result
    }

    /// What was read ahead goes to Pingora.
    fn read_ahead(&mut self, phase: Phase, buf: &mut ReadBuf<'_>) {
        let fits = self.ahead.len().min(buf.remaining());
        buf.put_slice(self.ahead.get(..fits).unwrap_or_default());
        if fits < self.ahead.len() {
            self.ahead.drain(..fits);
        } else {
            self.ahead = Vec::new();
        }
        self.received(phase, 0);
    }

    fn received(&mut self, phase: Phase, count: usize) {
        self.seen += count;
        if self.http2 && self.seen >= PREFACE.len() && self.ahead.is_empty() {
            self.timer = None;
            self.connection.enter(Phase::MANY);
        } else if phase < Phase::REQUEST && phase != Phase::HEADER {
            self.timer = None;
            self.connection.enter(Phase::HEADER);
        }
    }

    /// Nothing to read: cuts the connection off when its phase has lasted too long.
    fn watch(&mut self, phase: Phase, cx: &mut Context<'_>) {
        let (limit, cutoff) = match phase {
            Phase::FRESH => (self.first_byte, Cutoff::FirstByteTimeout),
            _ => (self.header, Cutoff::HeaderTimeout),
        };
        if !matches!(&self.timer, Some((of, _)) if *of == phase) {
            self.timer = Some((phase, Box::pin(sleep_until(clock::timer_now() + limit))));
        }
        let passed = self.timer.as_mut().is_some_and(|(_, timer)| timer.as_mut().poll(cx).is_ready());
        if passed {
            if phase == Phase::HEADER && !self.http2 {
                // What does not fit the socket now is lost: the client is slow, we are not.
                let _ = self.answer(&Denial::HeaderTimeout, cx);
                let _ = Pin::new(&mut self.stream).poll_shutdown(cx);
            }
            self.connection.cut_off(cutoff);
        }
    }

    fn answer(&mut self, denial: &Denial, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(Pin::new(&mut self.stream).poll_write(cx, &answer::answer(denial)))?;
        self.answered = true;
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    /// A write while no request is under way: Pingora's bare answer to what is no request.
    fn write_between(&mut self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        if !self.answered {
            if let Poll::Ready(Err(error)) = self.answer(&answer::denial(bytes), cx) {
                return Poll::Ready(Err(error));
            }
            if !self.answered {
                return Poll::Pending;
            }
            self.connection.cut_off(Cutoff::BadRequest);
        }
        Poll::Ready(Ok(bytes.len()))
    }

    /// The client takes no bytes: an error once that has lasted too long.
    fn stalled<T>(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<T>> {
        let limit = self.write;
        let stall = self.stall.get_or_insert_with(|| Box::pin(sleep_until(clock::timer_now() + limit)));
        ready!(stall.as_mut().poll(cx));
        self.connection.cut_off(Cutoff::WriteTimeout);
        Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
    }

    /// Follows the frames of HTTP/2 as far as they were written.
    fn sent<'p>(&mut self, result: &Poll<io::Result<usize>>, parts: impl IntoIterator<Item = &'p [u8]>) {
        let Poll::Ready(Ok(written)) = result else { return };
        let mut left = *written;
        for part in parts {
            let written = part.get(..left).unwrap_or(part);
            left -= written.len();
            if let Some(cutoff) = self.goaway.sent(written) {
                self.connection.cut_off(cutoff);
            }
        }
    }

    fn progress<T>(&mut self, result: Poll<io::Result<T>>, cx: &mut Context<'_>) -> Poll<io::Result<T>> {
        if result.is_pending() {
            return self.stalled(cx);
        }
        if self.stall.is_some() {
            self.stall = None;
        }
        result
    }

    /// Whether what is written now is a request's answer (its end may follow the request's), or HTTP/2's own business.
    fn is_ours(&self) -> bool {
        self.connection.phase() >= Phase::IDLE || self.http2
    }
}

impl<S: IO> AsyncRead for Guarded<S> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let phase = this.connection.phase();
        if !this.ahead.is_empty() {
            this.read_ahead(phase, buf);
            return Poll::Ready(Ok(()));
        }
        if phase >= Phase::REQUEST {
            return Pin::new(&mut this.stream).poll_read(cx, buf);
        }
        this.read_between(phase, cx, buf)
    }
}

impl<S: IO> AsyncWrite for Guarded<S> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        if !this.is_ours() {
            return this.write_between(cx, bytes);
        }
        let result = Pin::new(&mut this.stream).poll_write(cx, bytes);
        if this.http2 {
            this.sent(&result, [bytes]);
        }
        this.progress(result, cx)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        parts: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        if !this.is_ours() {
            return this.write_between(cx, parts.iter().find(|part| !part.is_empty()).map_or(&[], |part| part));
        }
        let result = Pin::new(&mut this.stream).poll_write_vectored(cx, parts);
        if this.http2 {
            this.sent(&result, parts.iter().map(|part| &**part));
        }
        this.progress(result, cx)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let result = Pin::new(&mut this.stream).poll_flush(cx);
        this.progress(result, cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let result = Pin::new(&mut this.stream).poll_shutdown(cx);
        this.progress(result, cx)
    }
}

#[async_trait]
impl<S: IO> Peek for Guarded<S> {
    /// Pingora asks whether the client begins with HTTP/2: that is known.
    async fn try_peek(&mut self, buf: &mut [u8]) -> io::Result<bool> {
        if self.http2 && buf.len() == PREFACE.len() {
            buf.copy_from_slice(PREFACE);
        }
        Ok(true)
    }
}

#[async_trait]
impl<S: IO> Shutdown for Guarded<S> {
    async fn shutdown(&mut self) {
        self.stream.shutdown().await;
    }
}

impl<S: IO> UniqueID for Guarded<S> {
    fn id(&self) -> UniqueIDType {
        self.stream.id()
    }
}

impl<S: IO> Ssl for Guarded<S> {
    fn get_ssl(&self) -> Option<&TlsRef> {
        self.stream.get_ssl()
    }

    fn get_ssl_digest(&self) -> Option<Arc<SslDigest>> {
        self.stream.get_ssl_digest()
    }

    fn selected_alpn_proto(&self) -> Option<ALPN> {
        self.stream.selected_alpn_proto()
    }
}

impl<S: IO> GetTimingDigest for Guarded<S> {
    fn get_timing_digest(&self) -> Vec<Option<TimingDigest>> {
        self.stream.get_timing_digest()
    }

    fn get_read_pending_time(&self) -> Duration {
        self.stream.get_read_pending_time()
    }

    fn get_write_pending_time(&self) -> Duration {
        self.stream.get_write_pending_time()
    }
}

impl<S: IO> GetProxyDigest for Guarded<S> {
    fn get_proxy_digest(&self) -> Option<Arc<ProxyDigest>> {
        self.digest.clone()
    }
}

impl<S: IO> GetSocketDigest for Guarded<S> {
    fn get_socket_digest(&self) -> Option<Arc<SocketDigest>> {
        self.stream.get_socket_digest()
    }

    fn set_socket_digest(&mut self, digest: SocketDigest) {
        self.stream.set_socket_digest(digest);
    }
}
