//! A TLS client that says which name it asks for, what it shows, and which certificate it was shown.

use harness::{Ask, Authority, Gateway, Setup, Sim};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

const LIMIT: Duration = Duration::from_secs(20);

/// A client that trusts one authority.
#[derive(Clone)]
pub(crate) struct Client {
    config: Arc<ClientConfig>,
    address: SocketAddr,
}

/// An answer, and the certificate that the connection was made under.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) text: String,
    pub(crate) leaf: CertificateDer<'static>,
}

impl Client {
    /// A client of the TLS listener; `shows` is its own certificate and key, PEM.
    pub(crate) fn new(address: SocketAddr, authority: &Authority, shows: Option<&(String, String)>) -> Self {
        Self::trusting(address, &authority.pem(), shows)
    }

    /// The same for any authority's certificate, PEM.
    pub(crate) fn trusting(address: SocketAddr, authority: &str, shows: Option<&(String, String)>) -> Self {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(authority.as_bytes()).unwrap()).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots);
        let config = match shows {
            Some((certificate, key)) => builder.with_client_auth_cert(vec![der(certificate)], private(key)).unwrap(),
            None => builder.with_no_client_auth(),
        };
        Self { config: Arc::new(config), address }
    }

    /// A handshake that asks for `name`.
    pub(crate) async fn connect(&self, name: &str) -> std::io::Result<TlsStream<TcpStream>> {
        let stream = TcpStream::connect(self.address).await?;
        let name = ServerName::try_from(name.to_owned()).unwrap();
        let connect = TlsConnector::from(Arc::clone(&self.config)).connect(name, stream);
        tokio::time::timeout(LIMIT, connect).await.expect("a handshake, or its end, within 20 s")
    }

    /// One request on a connection of its own.
    pub(crate) async fn ask(&self, name: &str, ask: &Ask) -> std::io::Result<Answer> {
        let mut stream = self.connect(name).await?;
        let leaf = stream.get_ref().1.peer_certificates().unwrap()[0].clone().into_owned();
        let body = ask.bytes();
        let head = format!(
            "POST {} HTTP/1.1\r\nhost: {name}\r\nx-request-id: {}\r\ncontent-type: application/json\r\nconnection: close\r\n\
             content-length: {}\r\n\r\n",
            PATH,
            ask.id,
            body.len()
        );
        stream.write_all(head.as_bytes()).await?;
        stream.write_all(&body).await?;
        let mut answer = Vec::new();
        let read = tokio::time::timeout(LIMIT, stream.read_to_end(&mut answer)).await.expect("an answer within 20 s");
        // The end of a connection without a farewell is none of ours to judge here.
        if let Err(error) = read
            && answer.is_empty()
        {
            return Err(error);
        }
        let text = String::from_utf8_lossy(&answer).into_owned();
        let status = text.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or(0);
        Ok(Answer { status, text, leaf })
    }
}

const PATH: &str = "/openai/v1/chat/completions";

/// The certificate of a PEM text.
pub(crate) fn der(pem: &str) -> CertificateDer<'static> {
    CertificateDer::from_pem_slice(pem.as_bytes()).unwrap()
}

/// The key of a PEM text.
pub(crate) fn private(pem: &str) -> PrivateKeyDer<'static> {
    PrivateKeyDer::from_pem_slice(pem.as_bytes()).unwrap()
}

/// A request that any region answers.
pub(crate) fn ask() -> Ask {
    Ask::v1("gpt")
}

/// A gateway with one TLS listener (`tls` is its map in YAML) and one region behind it.
pub(crate) fn setup(tls: &str, sim: &Sim) -> Setup {
    site(tls, &format!("{{ name: a, region: swedencentral, url: \"{}\" }}", sim.url()))
}

/// The same with more keys at the top of the file.
pub(crate) fn site_and(tls: &str, sim: &Sim, top: &str) -> Setup {
    let plain = render(tls, &format!("{{ name: a, region: swedencentral, url: \"{}\" }}", sim.url()));
    Setup::new().text(&format!("{plain}{top}"))
}

/// The same with any backend, in YAML.
pub(crate) fn site(tls: &str, backend: &str) -> Setup {
    Setup::new().text(&render(tls, backend))
}

fn render(tls: &str, backend: &str) -> String {
    format!(
        "version: 1
home_region: swedencentral
listeners:
  - {{ name: public, address: \"127.0.0.1:{{port}}\" }}
  - {{ name: secure, address: \"127.0.0.1:{{secure}}\", tls: {tls} }}
admin: {{ address: \"127.0.0.1:{{admin}}\" }}
process: {{ threads: 2, pre_drain: 0s, drain: 20s, upgrade_socket: {{dir}}/upgrade/upgrade.sock }}
access_log: {{ file: access.jsonl }}
pools:
  - name: chat
    probe: off
    backends:
      - {backend}
"
    )
}

/// The gateway's value of a metric.
pub(crate) async fn metric(gateway: &Gateway, name: &str, labels: &[(&str, &str)]) -> f64 {
    gateway.metrics().await.sum(name, labels)
}
