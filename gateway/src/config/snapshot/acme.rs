//! What a snapshot says about a certificate that is obtained by ACME. It holds no key.

use std::path::PathBuf;

/// A certificate that the gateway obtains and renews.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Acme {
    /// Names that it is for, lower case, sorted, at least one.
    pub names: Vec<String>,
    /// URL of the ACME server's directory.
    pub directory: String,
    /// PEM file with the CAs to trust for the directory instead of the system's.
    pub directory_ca: Option<PathBuf>,
    /// Mail addresses for the account.
    pub contacts: Vec<String>,
    /// Directory for the account and the certificate.
    pub cache: PathBuf,
    /// The file in it that holds this certificate and its key, once there is one.
    pub pem: PathBuf,
}
