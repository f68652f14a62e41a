//! Reads one certificate with its key: what rustls serves, the names it is for, and when it expires. Reads files, keeps
//! nothing.

use crate::config::snapshot::TlsFiles;
use rustls::sign::CertifiedKey;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use std::path::Path;
use std::sync::Arc;
use x509_parser::prelude::{FromDer, GeneralName, X509Certificate};

/// Why a certificate cannot be served.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CertificateError {
    /// A file that cannot be read as PEM.
    #[error("cannot read {what} from {path}: {reason}")]
    Unreadable {
        /// Certificate or key.
        what: &'static str,
        /// The file.
        path: String,
        /// What the reader says.
        reason: String,
    },
    /// Certificate and key do not belong together, or the key is of an unsupported kind.
    #[error("certificate {certificate} and key {key} do not work together: {reason}")]
    Mismatch {
        /// Certificate file.
        certificate: String,
        /// Key file.
        key: String,
        /// What rustls says.
        reason: String,
    },
}

/// A certificate, ready to be served.
#[derive(Debug)]
pub(super) struct Loaded {
    pub(super) key: Arc<CertifiedKey>,
    /// DNS names, in lower case; those of wildcards begin with `*.`.
    pub(super) names: Vec<String>,
    /// End of validity, Unix time.
    pub(super) expiry: u64,
}

/// Reads certificate and key.
pub(super) fn read(files: &TlsFiles) -> Result<Loaded, CertificateError> {
    let chain = certificates(&files.certificate)?;
    let key = PrivateKeyDer::from_pem_file(&files.key)
        .map_err(|e| unreadable("a private key", &files.key, &e.to_string()))?;
    let (names, expiry) = describe(&files.certificate, &chain)?;
    let provider = rustls::crypto::ring::default_provider();
    let key = CertifiedKey::from_der(chain, key, &provider).map_err(|e| CertificateError::Mismatch {
        certificate: files.certificate.display().to_string(),
        key: files.key.display().to_string(),
        reason: e.to_string(),
    })?;
    Ok(Loaded { key: Arc::new(key), names, expiry })
}

/// The certificates of a file, at least one.
pub(super) fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, CertificateError> {
    let chain: Vec<_> = CertificateDer::pem_file_iter(path)
        .and_then(Iterator::collect)
        .map_err(|e| unreadable("a certificate", path, &e.to_string()))?;
    if chain.is_empty() {
        return Err(unreadable("a certificate", path, "no PEM certificate in it"));
    }
    Ok(chain)
}

/// Names and end of validity of the leaf.
fn describe(path: &Path, chain: &[CertificateDer<'_>]) -> Result<(Vec<String>, u64), CertificateError> {
    let leaf = chain.first().map_or(&[][..], |leaf| leaf.as_ref());
    let (_, leaf) = X509Certificate::from_der(leaf).map_err(|e| unreadable("a certificate", path, &e.to_string()))?;
    let alternatives = leaf.subject_alternative_name().ok().flatten();
    let names = alternatives.iter().flat_map(|names| &names.value.general_names).filter_map(|name| match name {
        GeneralName::DNSName(name) => Some(name.to_ascii_lowercase()),
        _ => None,
    });
    Ok((names.collect(), u64::try_from(leaf.validity().not_after.timestamp()).unwrap_or(0)))
}

pub(super) fn unreadable(what: &'static str, path: &Path, reason: &str) -> CertificateError {
    CertificateError::Unreadable { what, path: path.display().to_string(), reason: reason.to_owned() }
}
