//! Certificates of the listeners: read at start, read again on reload, swapped whole.
//!
//! A pair that cannot be read or does not match leaves the old one in force and says why.

use crate::config::snapshot::{Listener, TlsFiles};
use arc_swap::ArcSwap;
use pingora::listeners::tls::TlsSettings;
use pingora::protocols::ALPN;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

/// Why a certificate cannot be served.
#[derive(Debug, thiserror::Error)]
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

/// The certificates of all listeners, by listener name.
#[derive(Debug, Default)]
pub struct Certificates {
    served: HashMap<String, Arc<Served>>,
}

/// Certificates that were read and work, not served yet.
#[derive(Debug)]
pub struct Prepared(Vec<(Arc<Served>, CertifiedKey)>);

impl Prepared {
    /// Serves them from the next handshake on.
    pub fn serve(self) {
        for (served, key) in self.0 {
            served.0.store(Arc::new(key));
        }
    }
}

#[derive(Debug)]
struct Served(ArcSwap<CertifiedKey>);

impl ResolvesServerCert for Served {
    fn resolve(&self, _hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.0.load_full())
    }
}

impl Certificates {
    /// Reads the certificates of all listeners that have one.
    ///
    /// # Errors
    /// [`CertificateError`] names the file.
    pub fn load(listeners: &[Listener]) -> Result<Self, CertificateError> {
        let mut served = HashMap::new();
        for listener in listeners {
            if let Some(files) = &listener.tls {
                let key = read(files)?;
                served.insert(listener.name.to_string(), Arc::new(Served(ArcSwap::from_pointee(key))));
            }
        }
        Ok(Self { served })
    }

    /// Reads them again, for the listeners that run.
    ///
    /// # Errors
    /// [`CertificateError`] names the file.
    pub fn prepare(&self, listeners: &[Listener]) -> Result<Prepared, CertificateError> {
        let mut fresh = Vec::new();
        for listener in listeners {
            if let (Some(files), Some(served)) = (&listener.tls, self.served.get(listener.name.as_str())) {
                fresh.push((Arc::clone(served), read(files)?));
            }
        }
        Ok(Prepared(fresh))
    }

    /// Pingora's settings for one TLS listener.
    #[must_use]
    pub fn settings(&self, listener: &Listener) -> Option<TlsSettings> {
        let served = Arc::clone(self.served.get(listener.name.as_str())?);
        // The paths are not read: the resolver answers in their place.
        let mut settings = TlsSettings::intermediate("", "").ok()?;
        settings.set_cert_resolver(served);
        settings.set_alpn(if listener.http2 { ALPN::H2H1 } else { ALPN::H1 });
        Some(settings)
    }
}

fn read(files: &TlsFiles) -> Result<CertifiedKey, CertificateError> {
    let chain: Vec<_> = CertificateDer::pem_file_iter(&files.certificate)
        .and_then(Iterator::collect)
        .map_err(|e| unreadable("a certificate", &files.certificate, &e.to_string()))?;
    if chain.is_empty() {
        return Err(unreadable("a certificate", &files.certificate, "no PEM certificate in it"));
    }
    let key = PrivateKeyDer::from_pem_file(&files.key)
        .map_err(|e| unreadable("a private key", &files.key, &e.to_string()))?;
    let provider = rustls::crypto::ring::default_provider();
    CertifiedKey::from_der(chain, key, &provider).map_err(|e| CertificateError::Mismatch {
        certificate: files.certificate.display().to_string(),
        key: files.key.display().to_string(),
        reason: e.to_string(),
    })
}

fn unreadable(what: &'static str, path: &Path, reason: &str) -> CertificateError {
    CertificateError::Unreadable { what, path: path.display().to_string(), reason: reason.to_owned() }
}
