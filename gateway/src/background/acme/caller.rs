//! [`Caller`]: the HTTPS client for ACME servers, with our own TLS, trust and limits. It follows no redirect and keeps no
//! connection.

use crate::background::trust;
use crate::config::snapshot::Acme;
use bytes::Bytes;
use http::{HeaderValue, Request, Uri, header};
use http_body_util::{BodyExt, Limited};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use instant_acme::{BodyWrapper, BytesResponse, Error, HttpClient};
use rustls_pki_types::ServerName;
use std::future::Future;
use std::pin::Pin;
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

/// Longest time for one question.
const TIMEOUT: Duration = Duration::from_secs(30);
/// Largest answer, in bytes: a chain of certificates has some thousands.
const ANSWER_MAX: usize = 1024 * 1024;

type Answer = Pin<Box<dyn Future<Output = Result<BytesResponse, Error>> + Send>>;

/// Asks over HTTPS.
pub(super) struct Caller(TlsConnector);

impl Caller {
    /// Trusts the directory's own CAs, else the system's. Reads files.
    pub(super) fn new(acme: &Acme) -> Result<Self, String> {
        trust::client(acme.directory_ca.as_deref()).map(|config| Self(TlsConnector::from(config)))
    }
}

impl HttpClient for Caller {
    fn request(&self, request: Request<BodyWrapper<Bytes>>) -> Answer {
        let tls = self.0.clone();
        Box::pin(async move {
            let place = request.uri().clone();
            let asked = timeout(TIMEOUT, ask(tls, request)).await;
            let asked = asked.unwrap_or_else(|_elapsed| Err(format!("no answer in {} s", TIMEOUT.as_secs()).into()));
            asked.map_err(|error| Error::Other(format!("{}: {error}", place.host().unwrap_or_default()).into()))
        })
    }
}

type Failure = Box<dyn std::error::Error + Send + Sync>;

async fn ask(tls: TlsConnector, mut request: Request<BodyWrapper<Bytes>>) -> Result<BytesResponse, Failure> {
    let uri = request.uri();
    if uri.scheme_str() != Some("https") {
        return Err("it is no https URL".into());
    }
    let authority = uri.authority().ok_or("it has no host")?.clone();
    let host = authority.host().trim_start_matches('[').trim_end_matches(']').to_owned();
    let target = uri.path_and_query().map_or("/", |target| target.as_str()).parse::<Uri>()?;
    let stream = TcpStream::connect((host.as_str(), authority.port_u16().unwrap_or(443))).await?;
    let stream = tls.connect(ServerName::try_from(host)?, stream).await?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    // Ends with the exchange, whose end drops the sender.
    tokio::spawn(connection);
    *request.uri_mut() = target;
    request.headers_mut().insert(header::HOST, HeaderValue::from_str(authority.as_str())?);
    request.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    let (parts, body) = sender.send_request(request).await?.into_parts();
    let body = Limited::new(body, ANSWER_MAX).collect().await?.to_bytes();
    Ok(BytesResponse { parts, body: Box::new(body) })
}
