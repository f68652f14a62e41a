//! Fetches an issuer's key set, by way of its discovery document where that is what is configured: one GET each over
//! HTTP/1.1, no redirect, bounded bytes. Decides whose word is taken: the document must be the issuer's own, and may not lead
//! from TLS to plain text. The caller sets the time.

use crate::background::trust;
use crate::config::snapshot::{Endpoint, Issuer, KeySource};
use crate::policy::token::SET_SIZE_MAX;
use bytes::Bytes;
use http::header::{ACCEPT, HOST, USER_AGENT};
use http::{HeaderValue, Request, StatusCode};
use http_body_util::{BodyExt, Empty, Limited};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use rustls_pki_types::ServerName;
use serde::Deserialize;
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

/// The part of a discovery document that we use.
#[derive(Deserialize)]
struct Discovery {
    issuer: String,
    jwks_uri: String,
}

/// The bytes of the issuer's key set.
pub(super) async fn keys(issuer: &Issuer) -> Result<Vec<u8>, String> {
    match &issuer.source {
        KeySource::File { path, .. } => Err(format!("{} is a file", path.display())),
        KeySource::Url(endpoint) => get(endpoint).await,
        KeySource::Discovery(endpoint) => get(&key_set(issuer, endpoint, &get(endpoint).await?)?).await,
    }
}

/// Where a discovery document says that the keys are.
fn key_set(issuer: &Issuer, endpoint: &Endpoint, document: &[u8]) -> Result<Endpoint, String> {
    let document: Discovery =
        serde_json::from_slice(document).map_err(|_error| "what is published is no discovery document".to_owned())?;
    if !issuer.rules.names.iter().any(|name| name.is_document_of(&document.issuer)) {
        return Err("the discovery document is of another issuer".to_owned());
    }
    let found = Endpoint::parse(&document.jwks_uri, endpoint.ca_file.clone());
    let found = found.map_err(|why| format!("`jwks_uri` of the discovery document {why}"))?;
    if endpoint.tls && !found.tls {
        return Err("`jwks_uri` of the discovery document leaves TLS".to_owned());
    }
    Ok(found)
}

async fn get(endpoint: &Endpoint) -> Result<Vec<u8>, String> {
    let stream =
        TcpStream::connect((endpoint.host.as_str(), endpoint.port)).await.map_err(|error| error.to_string())?;
    if !endpoint.tls {
        return exchange(endpoint, stream).await;
    }
    let config = trust(endpoint.ca_file.clone()).await?;
    let name = ServerName::try_from(endpoint.host.clone()).map_err(|error| error.to_string())?;
    let secure = TlsConnector::from(config).connect(name, stream).await;
    exchange(endpoint, secure.map_err(|error| format!("TLS: {error}"))?).await
}

async fn exchange<S>(endpoint: &Endpoint, stream: S) -> Result<Vec<u8>, String>
where
    S: AsyncRead + AsyncWrite + Unpin + Send,
{
    let told = |error: hyper::Error| error.to_string();
    let mut builder = http1::Builder::new();
    builder.max_buf_size(HEADER_SIZE_MAX);
    let (mut sender, connection) = builder.handshake(TokioIo::new(stream)).await.map_err(told)?;
    let request = Request::get(&endpoint.target)
        .header(HOST, &endpoint.authority)
        .header(USER_AGENT, AGENT)
        .header(ACCEPT, "application/json")
        .body(Empty::<Bytes>::new())
        .map_err(|error| error.to_string())?;
    let answer = async {
        let response = sender.send_request(request).await.map_err(told)?;
        if response.status() != StatusCode::OK {
            return Err(format!("status {}", response.status().as_u16()));
        }
        let body = Limited::new(response.into_body(), SET_SIZE_MAX).collect().await;
        Ok(body.map_err(|error| error.to_string())?.to_bytes().to_vec())
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
