//! [`ClientCertificate`]: who a client is by its TLS certificate, and [`Presented`]: what its connection has shown.

use std::sync::Arc;

/// The certificate of a client, verified against the listener's CAs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientCertificate {
    /// Its subject, such as `CN=billing, O=Example`; cut to 256 bytes and free of control characters.
    pub subject: String,
    /// Whether that is all of it and could be the subject of no other: nothing was cut, and no value looks like two.
    pub is_exact: bool,
    /// The first common name of the subject.
    pub common_name: Option<String>,
    /// DNS names, addresses of mail and URIs of the subject alternative name, at most 16.
    pub names: Vec<String>,
    /// SHA-256 of the whole certificate, hex.
    pub fingerprint: String,
}

/// What a TLS connection to a listener with `client_auth` has shown. A connection without one has none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Presented {
    /// A good certificate.
    Trusted(Arc<ClientCertificate>),
    /// A resumed session whose certificate (or lack of one) is not good enough any more.
    Refused,
}
