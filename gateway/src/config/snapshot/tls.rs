//! What a snapshot says about TLS: which files, and what they are for. It holds no key.

use super::acme::Acme;
use std::path::PathBuf;

/// TLS of a listener. Its files are read at start, on reload and when they change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tls {
    /// Certificates and keys, at least one unless there is `acme`; the first is the default.
    pub certificates: Vec<TlsFiles>,
    /// A certificate that is obtained, behind the others. Until there is one, handshakes that want it fail.
    pub acme: Option<Acme>,
    /// A client that asks for none of the names is refused; else it gets the first certificate.
    pub refuse_unknown_name: bool,
    /// Certificates of clients; none is asked for when absent.
    pub client_auth: Option<ClientAuth>,
}

/// A certificate chain and its key, as PEM files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsFiles {
    /// PEM certificate chain, leaf first.
    pub certificate: PathBuf,
    /// PEM private key.
    pub key: PathBuf,
}

/// Certificates of clients.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientAuth {
    /// PEM file with the CAs that sign them.
    pub ca_file: PathBuf,
    /// A client without one is refused.
    pub required: bool,
}

/// How a TLS connection to a backend is made.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BackendTls {
    /// The name that is asked for and that its certificate must have; empty for plain text.
    pub server_name: String,
    /// PEM file with the CAs to trust for this backend instead of the system's.
    pub ca_file: Option<PathBuf>,
    /// What we show when the backend asks who we are.
    pub client_certificate: Option<TlsFiles>,
    /// Digest of the files' contents when they were checked, zero without files: connections under other contents are
    /// other connections.
    pub contents: u64,
}
