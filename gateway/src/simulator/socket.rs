//! One client connection: a socket whose end (FIN or RST) can be decided from outside.
//!
//! Decides nothing itself: faults, `refuse` and `stop` do.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use parking_lot::Mutex;
use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio_rustls::server::TlsStream;

/// How a connection ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cut {
    /// `close`: FIN.
    Close,
    /// Linger 0: RST.
    Reset,
    /// After the running answers: `connection: close` or `GOAWAY`.
    Orderly,
}

/// What the connection's task, its requests and the region share.
#[derive(Debug)]
pub(crate) struct Connection {
    pub(crate) id: u64,
    cut: AtomicU8,
    called: Notify,
    requests: AtomicU64,
    control: AtomicBool,
    /// The WebSocket that it has become.
    tunnel: Mutex<Option<JoinHandle<()>>>,
}

impl Connection {
    pub(crate) fn new(id: u64) -> Arc<Self> {
        let (cut, requests) = (AtomicU8::new(0), AtomicU64::new(0));
        Arc::new(Self {
            id,
            cut,
            called: Notify::new(),
            requests,
            control: AtomicBool::new(false),
            tunnel: Mutex::default(),
        })
    }

    pub(crate) fn count_request(&self) {
        self.requests.fetch_add(1, Ordering::Relaxed);
    }

    /// Served a control request: `refuse` leaves it open, so that the fault can be taken back over it.
    pub(crate) fn mark_control(&self) {
        self.control.store(true, Ordering::Relaxed);
    }

    pub(crate) fn is_control(&self) -> bool {
        self.control.load(Ordering::Relaxed)
    }

    /// No request came over it.
    pub(crate) fn is_bare(&self) -> bool {
        self.requests.load(Ordering::Relaxed) == 0 && !self.is_control()
    }

    /// Asks the connection's task to end it.
    pub(crate) fn end(&self, cut: Cut) {
        let code = match cut {
            Cut::Orderly => 1,
            Cut::Close => 2,
            Cut::Reset => 3,
        };
        self.cut.fetch_max(code, Ordering::Release);
        self.called.notify_one();
    }

    /// It is a WebSocket from now on, served by this task.
    pub(crate) fn tunnel(&self, task: JoinHandle<()>) {
        *self.tunnel.lock() = Some(task);
    }

    /// Waits for the end of the WebSocket that it has become, if it has, or ends it when told so.
    pub(crate) async fn tunnelled(&self) {
        let Some(mut task) = self.tunnel.lock().take() else { return };
        tokio::select! {
            // A panic in it would have been reported already.
            _ = &mut task => {}
            _ = self.ended() => task.abort(),
        }
    }

    /// Waits for [`Self::end`].
    pub(crate) async fn ended(&self) -> Cut {
        loop {
            self.called.notified().await;
            match self.cut.load(Ordering::Acquire) {
                0 => {}
                1 => return Cut::Orderly,
                2 => return Cut::Close,
                _ => return Cut::Reset,
            }
        }
    }
}

/// A TCP stream that is reset instead of closed when its connection was told so.
#[derive(Debug)]
pub(crate) struct Socket {
    stream: TcpStream,
    connection: Arc<Connection>,
}

impl Socket {
    pub(crate) const fn new(stream: TcpStream, connection: Arc<Connection>) -> Self {
        Self { stream, connection }
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        if self.connection.cut.load(Ordering::Acquire) == 3 {
            // A socket that is gone already cannot be reset any more: nothing to report.
            let _ = SockRef::from(&self.stream).set_linger(Some(Duration::ZERO));
        }
    }
}

/// Clear text or TLS.
#[derive(Debug)]
pub(crate) enum Wire {
    Plain(Socket),
    Tls(Box<TlsStream<Socket>>),
}

impl Wire {
    /// HTTP/2 was agreed on in the TLS handshake.
    pub(crate) fn agreed_h2(&self) -> bool {
        match self {
            Self::Plain(_) => false,
            Self::Tls(stream) => stream.get_ref().1.alpn_protocol() == Some(b"h2"),
        }
    }
}

impl AsyncRead for Socket {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl AsyncWrite for Socket {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}

impl AsyncRead for Wire {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match &mut *self {
            Self::Plain(stream) => Pin::new(stream).poll_read(cx, buf),
            Self::Tls(stream) => Pin::new(stream).poll_read(cx, buf),
        }
    }
}

impl AsyncWrite for Wire {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        match &mut *self {
            Self::Plain(stream) => Pin::new(stream).poll_write(cx, buf),
            Self::Tls(stream) => Pin::new(stream).poll_write(cx, buf),
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut *self {
            Self::Plain(stream) => Pin::new(stream).poll_flush(cx),
            Self::Tls(stream) => Pin::new(stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut *self {
            Self::Plain(stream) => Pin::new(stream).poll_shutdown(cx),
            Self::Tls(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match &mut *self {
            Self::Plain(stream) => Pin::new(stream).poll_write_vectored(cx, bufs),
            Self::Tls(stream) => Pin::new(stream).poll_write_vectored(cx, bufs),
        }
    }

    fn is_write_vectored(&self) -> bool {
        match self {
            Self::Plain(stream) => stream.is_write_vectored(),
            Self::Tls(stream) => stream.is_write_vectored(),
        }
    }
}
