//! One backend's check, built from its configuration on the checks of `pingora-load-balancing`. Says what went wrong in
//! words that hold no header and no credential.

use super::Post;
use crate::config::snapshot::{Auth, ProbeKind, TlsFiles};
use async_trait::async_trait;
use http::header::{AUTHORIZATION, HOST, USER_AGENT};
use http::{HeaderName, HeaderValue, Method};
use pingora::connectors::TransportConnector;
use pingora::http::RequestHeader;
use pingora::protocols::ALPN;
use pingora::protocols::tls::CaType;
use pingora::upstreams::peer::{HttpPeer, PeerOptions};
use pingora::utils::tls::{CertKey, WrappedX509, parse_x509};
use pingora::{Error, ErrorType};
use pingora_load_balancing::Backend;
use pingora_load_balancing::health_check::{HealthCheck, HttpHealthCheck, TcpHealthCheck};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::Arc;

/// What probes call themselves.
const AGENT: HeaderValue = HeaderValue::from_static(concat!("tidegate-probe/", env!("CARGO_PKG_VERSION")));
/// Longest text of an error's cause that is passed on, characters.
const CAUSE_LENGTH_MAX: usize = 200;

/// Where a template leads; each check sets the address.
const NOWHERE: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), 1);

/// A check, ready to be sent again and again.
pub(super) struct Check {
    inner: Box<dyn HealthCheck + Send + Sync>,
    /// Version of the token of ours that it shows.
    token: Option<u64>,
}

impl Check {
    /// Builds the check of a backend.
    pub(super) fn new(post: &Post) -> Result<Self, String> {
        let token = version(post);
        Self::of(post).map(|inner| Self { inner, token })
    }

    /// Whether it shows what it would show if it were built now.
    pub(super) fn is_current(&self, post: &Post) -> bool {
        self.token == version(post)
    }

    fn of(post: &Post) -> Result<Box<dyn HealthCheck + Send + Sync>, String> {
        let trust = post.url.trust.ca_file.as_deref().map(trust).transpose()?;
        let identity = post.url.trust.client_certificate.as_ref().map(identity).transpose()?;
        let server_name = post.url.trust.server_name.clone();
        let limit = |options: &mut PeerOptions| {
            let timeout = Some(post.probe.timeout);
            options.connection_timeout = timeout;
            options.total_connection_timeout = timeout;
            options.read_timeout = timeout;
            options.write_timeout = timeout;
            options.ca.clone_from(&trust);
            if post.http2 && post.url.tls {
                options.alpn = ALPN::H2H1;
            }
        };
        let ProbeKind::Http { method, path, statuses, credential, headers } = &post.probe.kind else {
            if identity.is_some() {
                let mut peer = HttpPeer::new(NOWHERE, true, server_name);
                peer.client_cert_key = identity;
                limit(&mut peer.options);
                return Ok(Box::new(Introduced { peer, connector: TransportConnector::new(None) }));
            }
            let mut check = TcpHealthCheck::new();
            check.peer_template.sni = server_name;
            limit(&mut check.peer_template.options);
            return Ok(check);
        };
        let mut check = HttpHealthCheck::new(&server_name, post.url.tls);
        check.peer_template.client_cert_key = identity;
        limit(&mut check.peer_template.options);
        check.req = request(post, (method, path), *credential, headers).map_err(|error| describe(&error))?;
        let statuses = statuses.clone();
        check.validator = Some(Box::new(move |header| {
            let status = header.status.as_u16();
            if statuses.contains(&status) { Ok(()) } else { Error::e_explain(ErrorType::HTTPStatus(status), "probe") }
        }));
        Ok(Box::new(check))
    }

    /// Sends it to `address`. Has no end of its own in every case: the caller sets a limit.
    pub(super) async fn send(&self, address: SocketAddr) -> Result<(), String> {
        let target = Backend::new(&address.to_string()).map_err(|error| describe(&error))?;
        self.inner.check(&target).await.map_err(|error| describe(&error))
    }
}

fn version(post: &Post) -> Option<u64> {
    post.token.as_ref().and_then(|token| token.held()).map(|held| held.version)
}

/// Connects and shows our certificate, which the check of `pingora-load-balancing` cannot.
struct Introduced {
    peer: HttpPeer,
    connector: TransportConnector,
}

#[async_trait]
impl HealthCheck for Introduced {
    async fn check(&self, target: &Backend) -> pingora::Result<()> {
        let mut peer = self.peer.clone();
        peer._address = target.addr.clone();
        self.connector.get_stream(&peer).await.map(|_| ())
    }

    fn health_threshold(&self, _success: bool) -> usize {
        1
    }
}

fn request(
    post: &Post,
    (method, path): (&Method, &str),
    credential: bool,
    headers: &[(HeaderName, HeaderValue)],
) -> pingora::Result<RequestHeader> {
    let target = format!("{}{path}", post.url.path);
    let mut request = RequestHeader::build(method.clone(), target.as_bytes(), None)?;
    request.insert_header(HOST, post.url.authority.clone())?;
    request.insert_header(USER_AGENT, AGENT)?;
    if credential {
        for (name, value) in &post.headers {
            request.insert_header(name.clone(), value.clone())?;
        }
        match &post.auth {
            Auth::None => {}
            Auth::ApiKey(key) => request.insert_header("api-key", key.clone())?,
            Auth::Bearer(token) => request.insert_header(AUTHORIZATION, token.clone())?,
            Auth::Token(_) => {
                if let Some(held) = post.token.as_ref().and_then(|token| token.held()) {
                    request.insert_header(AUTHORIZATION, held.header.clone())?;
                }
            }
        }
    }
    for (name, value) in headers {
        request.insert_header(name.clone(), value.clone())?;
    }
    Ok(request)
}

/// The CAs of a file, to trust instead of the system's.
fn trust(path: &Path) -> Result<Arc<CaType>, String> {
    let read: Result<Vec<_>, _> = CertificateDer::pem_file_iter(path).and_then(Iterator::collect);
    let certificates = read.map_err(|error| format!("cannot read {}: {error}", path.display()))?;
    Ok(certificates.iter().map(|certificate| WrappedX509::new(certificate.to_vec(), parse_x509)).collect())
}

/// What we show to the backend.
fn identity(files: &TlsFiles) -> Result<Arc<CertKey>, String> {
    let unreadable = |path: &Path, error: &dyn std::fmt::Display| format!("cannot read {}: {error}", path.display());
    let read: Result<Vec<_>, _> = CertificateDer::pem_file_iter(&files.certificate).and_then(Iterator::collect);
    let chain = read.map_err(|error| unreadable(&files.certificate, &error))?;
    let key = PrivateKeyDer::from_pem_file(&files.key).map_err(|error| unreadable(&files.key, &error))?;
    if chain.is_empty() {
        return Err(unreadable(&files.certificate, &"no PEM certificate in it"));
    }
    let chain = chain.iter().map(|certificate| certificate.to_vec()).collect();
    Ok(Arc::new(CertKey::new(chain, key.secret_der().to_vec())))
}

/// Kind and root cause of an error. Contexts, which may quote what was sent, stay out.
fn describe(error: &Error) -> String {
    let mut text = match error.root_etype() {
        ErrorType::HTTPStatus(status) => format!("status {status}"),
        other => other.as_str().to_owned(),
    };
    let root = error.root_cause();
    if !root.is::<Error>() {
        text.push_str(": ");
        text.extend(root.to_string().chars().filter(|c| !c.is_control()).take(CAUSE_LENGTH_MAX));
    }
    text
}
