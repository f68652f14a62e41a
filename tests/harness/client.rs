//! HTTP clients over hyper: HTTP/1.1 and HTTP/2, clear text and TLS, one connection per request or kept ones.

use crate::ask::{Ask, Payload};
use crate::ca::Authority;
use crate::sse::Events;
use anyhow::{Context, Result, bail};
use bytes::{Bytes, BytesMut};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Empty, Full, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::client::conn::{http1, http2};
use hyper::{HeaderMap, Request, Response};
use hyper_util::rt::{TokioExecutor, TokioIo};
use std::convert::Infallible;
use std::fmt;
use std::net::SocketAddr;
use std::sync::Mutex;
use std::time::{Duration, Instant};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

/// Longest any exchange of a test may take.
const LIMIT: Duration = Duration::from_secs(60);

type Body = UnsyncBoxBody<Bytes, Infallible>;

/// What is spoken to the gateway.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Proto {
    /// HTTP/1.1, clear text.
    H1,
    /// HTTP/2 by prior knowledge, clear text.
    H2c,
    /// HTTP/1.1 over TLS.
    H1Tls,
    /// HTTP/2 over TLS, by ALPN.
    H2Tls,
}

impl Proto {
    /// Clear-text ones.
    pub const PLAIN: [Self; 2] = [Self::H1, Self::H2c];

    const fn http2(self) -> bool {
        matches!(self, Self::H2c | Self::H2Tls)
    }
}

/// A client of one address.
pub struct Client {
    address: SocketAddr,
    proto: Proto,
    tls: Option<TlsConnector>,
    keep: bool,
    idle: Mutex<Vec<Sender>>,
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Client({:?} to {})", self.proto, self.address)
    }
}

/// An answer read to its end.
#[derive(Clone, Debug)]
pub struct Answer {
    /// Status.
    pub status: u16,
    /// Headers.
    pub headers: HeaderMap,
    /// Body, as far as it came.
    pub body: Bytes,
    /// Why the body is not whole, where it is not.
    pub cut: Option<String>,
    /// From sending to the header.
    pub head: Duration,
    /// From sending to the end.
    pub total: Duration,
}

/// An answer whose body is still to come.
pub struct Opened {
    /// Status.
    pub status: u16,
    /// Headers.
    pub headers: HeaderMap,
    /// When the request was sent.
    pub sent: Instant,
    /// From sending to the header.
    pub head: Duration,
    body: Incoming,
    /// Keeps the connection until the body is read, and puts it back then.
    sender: Sender,
}

impl fmt::Debug for Opened {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Opened").field("status", &self.status).field("headers", &self.headers).finish_non_exhaustive()
    }
}

enum Sender {
    One(http1::SendRequest<Body>),
    Two(http2::SendRequest<Body>),
}

impl Sender {
    /// Whether the connection takes another request: it says so once it has seen the end of the last answer.
    async fn is_kept(&mut self) -> bool {
        match self {
            Self::One(sender) => sender.ready().await.is_ok(),
            Self::Two(sender) => sender.ready().await.is_ok(),
        }
    }
}

impl Client {
    /// A client that opens a connection for each request.
    #[must_use]
    pub fn new(address: SocketAddr, proto: Proto) -> Self {
        Self { address, proto, tls: None, keep: false, idle: Mutex::default() }
    }

    /// Over TLS, trusting `authority`.
    #[must_use]
    pub fn trusting(mut self, authority: &Authority) -> Self {
        self.tls = Some(authority.connector(if self.proto.http2() { &[b"h2"] } else { &[b"http/1.1"] }));
        self
    }

    /// Keeps connections: idle ones are used again (HTTP/1.1), one is shared (HTTP/2).
    #[must_use]
    pub fn keeping(mut self) -> Self {
        self.keep = true;
        self
    }

    /// Sends and reads to the end.
    ///
    /// # Panics
    /// When no answer comes at all, or nothing within a minute.
    pub async fn ask(&self, ask: &Ask) -> Answer {
        self.try_ask(ask).await.unwrap_or_else(|error| panic!("{} {}: {error:#}", ask.method, ask.path))
    }

    /// Sends and reads to the end.
    ///
    /// # Errors
    /// When no header comes. A body that breaks off is no error: [`Answer::cut`] says so.
    pub async fn try_ask(&self, ask: &Ask) -> Result<Answer> {
        let opened = self.try_open(ask).await?;
        let (answer, mut sender) =
            tokio::time::timeout(LIMIT, opened.finish()).await.context("the body never ended")?;
        if self.keep && answer.cut.is_none() && sender.is_kept().await {
            self.put_back(sender);
        }
        Ok(answer)
    }

    /// Sends and returns at the response header.
    ///
    /// # Panics
    /// When none comes.
    pub async fn open(&self, ask: &Ask) -> Opened {
        self.try_open(ask).await.unwrap_or_else(|error| panic!("{} {}: {error:#}", ask.method, ask.path))
    }

    /// Sends and returns at the response header.
    ///
    /// # Errors
    /// When none comes.
    pub async fn try_open(&self, ask: &Ask) -> Result<Opened> {
        tokio::time::timeout(LIMIT, self.exchange(ask)).await.context("no answer within a minute")?
    }

    async fn exchange(&self, ask: &Ask) -> Result<Opened> {
        let sent = Instant::now();
        loop {
            let (mut sender, fresh) = match self.take() {
                Some(sender) => (sender, false),
                None => (self.connect().await?, true),
            };
            if self.keep
                && let Sender::Two(shared) = &sender
            {
                self.put_back(Sender::Two(shared.clone()));
            }
            let request = self.request(ask)?;
            let response = match &mut sender {
                Sender::One(sender) => sender.send_request(request).await,
                Sender::Two(sender) => sender.send_request(request).await,
            };
            match response {
                // The kept connection had been closed, and nothing was sent on it.
                Err(error) if error.is_canceled() && !fresh => self.idle.lock().unwrap().clear(),
                Err(error) => return Err(error).context("no answer"),
                Ok(response) => return Ok(Opened::new(response, sent, sender)),
            }
        }
    }

    fn take(&self) -> Option<Sender> {
        let mut idle = self.idle.lock().unwrap();
        while let Some(sender) = idle.pop() {
            let open = match &sender {
                Sender::One(sender) => !sender.is_closed() && sender.is_ready(),
                Sender::Two(sender) => !sender.is_closed(),
            };
            if open {
                return Some(sender);
            }
        }
        None
    }

    fn put_back(&self, sender: Sender) {
        let mut idle = self.idle.lock().unwrap();
        if matches!(sender, Sender::One(_)) || idle.is_empty() {
            idle.push(sender);
        }
    }

    async fn connect(&self) -> Result<Sender> {
        let stream = TcpStream::connect(self.address).await.context("connect")?;
        stream.set_nodelay(true)?;
        match &self.tls {
            None => self.shake(stream).await,
            Some(tls) => {
                let name = rustls::pki_types::ServerName::try_from("localhost")?;
                let stream = tls.connect(name, stream).await.context("TLS handshake")?;
                if self.proto.http2() && stream.get_ref().1.alpn_protocol() != Some(b"h2") {
                    bail!("the gateway did not choose h2");
                }
                self.shake(stream).await
            }
        }
    }

    async fn shake<T: AsyncRead + AsyncWrite + Unpin + Send + 'static>(&self, stream: T) -> Result<Sender> {
        let stream = TokioIo::new(stream);
        if self.proto.http2() {
            let (sender, connection) = http2::Builder::new(TokioExecutor::new())
                .initial_stream_window_size(1 << 20)
                .initial_connection_window_size(1 << 22)
                .handshake(stream)
                .await?;
            tokio::spawn(connection);
            Ok(Sender::Two(sender))
        } else {
            let (sender, connection) = http1::handshake(stream).await?;
            tokio::spawn(connection);
            Ok(Sender::One(sender))
        }
    }

    fn request(&self, ask: &Ask) -> Result<Request<Body>> {
        let scheme = if self.tls.is_some() { "https" } else { "http" };
        let uri = if self.proto.http2() { format!("{scheme}://localhost{}", ask.path) } else { ask.path.clone() };
        let mut request = Request::builder().method(ask.method.as_str()).uri(uri);
        if !self.proto.http2() && !ask.headers.iter().any(|(name, _)| name == "host") {
            request = request.header("host", "localhost");
        }
        for (name, value) in &ask.headers {
            request = request.header(name, value);
        }
        Ok(request.body(body(&ask.payload))?)
    }
}

fn body(payload: &Payload) -> Body {
    match payload {
        Payload::None => Empty::new().boxed_unsync(),
        Payload::Sized(bytes) => Full::new(bytes.clone()).boxed_unsync(),
        Payload::Unsized(bytes, piece) => pieces(bytes, *piece, Duration::ZERO),
        Payload::Slow(bytes, piece, pause) => pieces(bytes, *piece, *pause),
    }
}

fn pieces(bytes: &Bytes, piece: usize, pause: Duration) -> Body {
    let rest = bytes.clone();
    let stream = futures::stream::unfold(rest, move |mut rest| async move {
        if rest.is_empty() {
            return None;
        }
        if !pause.is_zero() {
            tokio::time::sleep(pause).await;
        }
        let next = rest.split_to(piece.clamp(1, rest.len()));
        Some((Ok(Frame::data(next)), rest))
    });
    BodyExt::boxed_unsync(StreamBody::new(stream))
}

impl Opened {
    fn new(response: Response<Incoming>, sent: Instant, sender: Sender) -> Self {
        let (head, body) = response.into_parts();
        Self { status: head.status.as_u16(), headers: head.headers, sent, head: sent.elapsed(), body, sender }
    }

    /// A header as text; empty when absent.
    #[must_use]
    pub fn header(&self, name: &str) -> &str {
        header(&self.headers, name)
    }

    /// The body as server-sent events. Dropping them leaves the gateway.
    #[must_use]
    pub fn events(self) -> Events {
        Events::new(self.body, self.sent, Box::new(self.sender))
    }

    /// The next piece of the body; absent at its end and when it breaks.
    pub async fn piece(&mut self) -> Option<Bytes> {
        self.body.frame().await?.ok()?.into_data().ok()
    }

    /// Reads to the end.
    pub async fn read(self) -> Answer {
        self.finish().await.0
    }

    async fn finish(mut self) -> (Answer, Sender) {
        let mut body = BytesMut::new();
        let mut cut = None;
        while let Some(frame) = self.body.frame().await {
            match frame {
                Ok(frame) => body.extend_from_slice(&frame.into_data().unwrap_or_default()),
                Err(error) => {
                    cut = Some(format!("{error:?}"));
                    break;
                }
            }
        }
        let answer = Answer {
            status: self.status,
            headers: self.headers,
            body: body.freeze(),
            cut,
            head: self.head,
            total: self.sent.elapsed(),
        };
        (answer, self.sender)
    }
}

impl Answer {
    /// A header as text; empty when absent.
    #[must_use]
    pub fn header(&self, name: &str) -> &str {
        header(&self.headers, name)
    }

    /// The body as JSON.
    ///
    /// # Panics
    /// When it is none.
    #[must_use]
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {self}"))
    }

    /// `error.code` of an OpenAI-shaped error body; empty when it is none.
    #[must_use]
    pub fn code(&self) -> String {
        let body: serde_json::Value = serde_json::from_slice(&self.body).unwrap_or_default();
        body["error"]["code"].as_str().unwrap_or_default().to_owned()
    }

    /// The body as text.
    #[must_use]
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

impl fmt::Display for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = self.text();
        let text: String = text.chars().take(500).collect();
        write!(f, "{} {:?} cut={:?} {text}", self.status, self.headers, self.cut)
    }
}

fn header<'a>(headers: &'a HeaderMap, name: &str) -> &'a str {
    headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
}
