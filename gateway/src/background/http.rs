//! One request of the background work, and its answer: HTTP/1.1 on a connection of its own, over TLS with the CAs of a file or
//! the system's, no redirect, bounded bytes. The caller sets the time.

use super::trust;
use crate::config::snapshot::Endpoint;
use bytes::Bytes;
use http::header::{HOST, USER_AGENT};
use http::{HeaderMap, HeaderValue, Request, StatusCode, Uri};
use http_body_util::{BodyExt, Full, Limited};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use rustls_pki_types::ServerName;
use std::path::PathBuf;
use std::sync::Arc;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::task::spawn_blocking;
use tokio_rustls::TlsConnector;

/// What we call ourselves.
const AGENT: HeaderValue = HeaderValue::from_static(concat!("tidegate/", env!("CARGO_PKG_VERSION")));
/// Largest header of an answer, bytes.
const HEADER_SIZE_MAX: usize = 16 * 1024;

/// An answer, whole. It has no `Debug`: what is in it may be a credential.
pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
}

/// Sends `request` to `endpoint`; its target, host and agent are set here. The answer has at most `size_max` bytes.
pub(super) async fn exchange(
    endpoint: &Endpoint,
    mut request: Request<Full<Bytes>>,
    size_max: usize,
) -> Result<Answer, String> {
    *request.uri_mut() = endpoint.target.parse::<Uri>().map_err(|error| error.to_string())?;
    request.headers_mut().insert(HOST, endpoint.authority.clone());
    request.headers_mut().insert(USER_AGENT, AGENT);
    let stream =
        TcpStream::connect((endpoint.host.as_str(), endpoint.port)).await.map_err(|error| error.to_string())?;
    if !endpoint.tls {
        return send(stream, request, size_max).await;
    }
    let config = trust(endpoint.ca_file.clone()).await?;
    let name = ServerName::try_from(endpoint.host.clone()).map_err(|error| error.to_string())?;
    let secure = TlsConnector::from(config).connect(name, stream).await;
    send(secure.map_err(|error| format!("TLS: {error}"))?, request, size_max).await
}

async fn send<S>(stream: S, request: Request<Full<Bytes>>, size_max: usize) -> Result<Answer, String>
where
    S: AsyncRead + AsyncWrite + Unpin + Send,
{
    let told = |error: hyper::Error| error.to_string();
    let mut builder = http1::Builder::new();
    builder.max_buf_size(HEADER_SIZE_MAX);
    let (mut sender, connection) = builder.handshake(TokioIo::new(stream)).await.map_err(told)?;
    let answer = async {
        let (head, body) = sender.send_request(request).await.map_err(told)?.into_parts();
        let body = Limited::new(body, size_max).collect().await.map_err(|error| error.to_string())?;
        Ok(Answer { status: head.status, headers: head.headers, body: body.to_bytes() })
    };
    tokio::pin!(answer);
    tokio::pin!(connection);
    // The connection ends with the answer, whichever comes first.
    tokio::select! {
        biased;
        answer = &mut answer => answer,
        _closed = &mut connection => answer.await,
    }
}

/// The CAs of a file, or the system's; read each time, so that a renewed bundle counts.
async fn trust(ca_file: Option<PathBuf>) -> Result<Arc<ClientConfig>, String> {
    spawn_blocking(move || trust::client(ca_file.as_deref())).await.map_err(|error| error.to_string())?
}
