//! A small HTTP/1.1 client over clear text, for gateways on this machine: keeps idle connections, bounds what it reads.

use crate::domain::Moment;
use crate::telemetry::now;
use bytes::{Bytes, BytesMut};
use http::{Request, Response, StatusCode, header};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use parking_lot::Mutex;
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::time::timeout;

/// Longest answer that is read.
const BODY_MAX: usize = 4 * 1024 * 1024;
/// Idle connections kept.
const IDLE_MAX: usize = 1024;
/// An idle connection older than this may be closed by the other side at any moment.
const IDLE_AGE_MAX: Duration = Duration::from_secs(20);
/// Limit of one look at an admin page, connection included.
const GET_LIMIT: Duration = Duration::from_secs(5);

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum HttpError {
    /// No connection.
    #[error("no connection: {0}")]
    Connect(std::io::Error),
    /// The connection broke.
    #[error("{0}")]
    Broken(#[from] hyper::Error),
    /// The answer has another status than 200.
    #[error("the answer is {0}")]
    Status(StatusCode),
    /// The answer is too long.
    #[error("the answer is longer than {BODY_MAX} bytes")]
    TooLong,
    /// No answer in time.
    #[error("no answer within {} s", GET_LIMIT.as_secs())]
    Late,
}

/// A client of one address.
#[derive(Debug)]
pub struct Client {
    address: String,
    idle: Mutex<Vec<(SendRequest<Full<Bytes>>, Moment)>>,
}

/// An answer whose header has come.
#[derive(Debug)]
pub(super) struct Answer {
    /// Status and headers; the body is read with [`Client::body`].
    pub(super) head: Response<()>,
    body: Incoming,
    sender: SendRequest<Full<Bytes>>,
}

impl Client {
    /// A client of `host:port`.
    #[must_use]
    pub fn new(address: &str) -> Self {
        Self { address: address.to_owned(), idle: Mutex::default() }
    }

    /// The body of a page.
    ///
    /// # Errors
    /// [`HttpError`] for anything but a whole answer with status 200.
    pub async fn get(&self, path: &str) -> Result<Bytes, HttpError> {
        let (status, body) = self.look(path).await?;
        if status == StatusCode::OK { Ok(body) } else { Err(HttpError::Status(status)) }
    }

    /// Status and body of a page.
    pub(super) async fn look(&self, path: &str) -> Result<(StatusCode, Bytes), HttpError> {
        let mut request = Request::new(Full::default());
        // A path of ours always parses; what does not is asked as `/`.
        *request.uri_mut() = path.parse().unwrap_or_default();
        let exchange = async {
            let answer = self.send(request).await?;
            let status = answer.head.status();
            Ok((status, self.body(answer).await?))
        };
        timeout(GET_LIMIT, exchange).await.unwrap_or(Err(HttpError::Late))
    }

    /// Sends a request and waits for the header of its answer.
    pub(super) async fn send(&self, mut request: Request<Full<Bytes>>) -> Result<Answer, HttpError> {
        if let Ok(host) = self.address.parse() {
            request.headers_mut().insert(header::HOST, host);
        }
        let mut sender = match self.take_idle() {
            Some(sender) => sender,
            None => self.connect().await?,
        };
        let (parts, body) = sender.send_request(request).await?.into_parts();
        Ok(Answer { head: Response::from_parts(parts, ()), body, sender })
    }

    /// Reads the body to its end and keeps the connection.
    pub(super) async fn body(&self, answer: Answer) -> Result<Bytes, HttpError> {
        let Answer { mut body, sender, .. } = answer;
        let mut whole = BytesMut::new();
        while let Some(frame) = body.frame().await {
            if let Some(data) = frame?.data_ref() {
                if whole.len() + data.len() > BODY_MAX {
                    return Err(HttpError::TooLong);
                }
                whole.extend_from_slice(data);
            }
        }
        let mut idle = self.idle.lock();
        if idle.len() < IDLE_MAX {
            idle.push((sender, now()));
        }
        Ok(whole.freeze())
    }

    /// The connection that was used last, if it is still good.
    fn take_idle(&self) -> Option<SendRequest<Full<Bytes>>> {
        let now = now();
        let mut idle = self.idle.lock();
        idle.retain(|(sender, since)| now.since(*since) < IDLE_AGE_MAX && !sender.is_closed());
        let last = idle.iter().rposition(|(sender, _)| sender.is_ready())?;
        Some(idle.swap_remove(last).0)
    }

    async fn connect(&self) -> Result<SendRequest<Full<Bytes>>, HttpError> {
        let stream = TcpStream::connect(&self.address).await.map_err(HttpError::Connect)?;
        // Only a delay is lost without it.
        let _ = stream.set_nodelay(true);
        let (sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
        // Its end is seen by the requests that use it.
        tokio::spawn(async { drop(connection.await) });
        Ok(sender)
    }
}
