//! Checks the PEM files that the configuration names: readable, well-formed, and key and certificate a pair. It keeps none.

use crate::config::report::Report;
use crate::config::snapshot::TlsFiles;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;
use std::fs::File;
use std::io::Read;
use std::path::Path;

/// Largest PEM file, in bytes; the bundle of all public CAs is about 250 KiB.
const PEM_SIZE_MAX: u64 = 4 * 1024 * 1024;

/// Problems of a listener's certificate and key.
pub(super) fn check_pair(files: &TlsFiles, path: &str, report: &mut Report<'_>) {
    let (certificate, key) = (format!("{path}.certificate.file"), format!("{path}.key.file"));
    let chain = certificates(&files.certificate, &certificate, report);
    let Some(key_pem) = read(&files.key, &key, report) else { return };
    let Ok(private) = PrivateKeyDer::from_pem_slice(&key_pem) else {
        report.problem(&key, format!("{} holds no PEM private key", files.key.display()), None);
        return;
    };
    let Some(chain) = chain else { return };
    let provider = rustls::crypto::ring::default_provider();
    match CertifiedKey::from_der(chain, private, &provider) {
        Ok(_) => {}
        Err(rustls::Error::InconsistentKeys(_)) => {
            let message = format!("{} is not the key of {}", files.key.display(), files.certificate.display());
            report.problem(&key, message, None);
        }
        Err(error) => report.problem(&key, format!("cannot be used: {error}"), None),
    }
}

/// Problems of a file of CA certificates.
pub(super) fn check_authorities(file: &Path, path: &str, report: &mut Report<'_>) {
    let Some(authorities) = certificates(file, path, report) else { return };
    let mut roots = rustls::RootCertStore::empty();
    for authority in authorities {
        if let Err(error) = roots.add(authority) {
            report.problem(path, format!("{} holds a certificate that is no CA: {error}", file.display()), None);
            return;
        }
    }
}

fn certificates(file: &Path, path: &str, report: &mut Report<'_>) -> Option<Vec<CertificateDer<'static>>> {
    let pem = read(file, path, report)?;
    match CertificateDer::pem_slice_iter(&pem).collect::<Result<Vec<_>, _>>() {
        Ok(chain) if !chain.is_empty() => Some(chain),
        _ => {
            report.problem(path, format!("{} holds no PEM certificate", file.display()), None);
            None
        }
    }
}

fn read(file: &Path, path: &str, report: &mut Report<'_>) -> Option<Vec<u8>> {
    match read_limited(file, PEM_SIZE_MAX) {
        Ok(bytes) => Some(bytes),
        Err(error) => {
            report.problem(path, format!("{} cannot be read: {error}", file.display()), None);
            None
        }
    }
}

/// The bytes of a regular file of at most `limit` bytes.
pub(super) fn read_limited(file: &Path, limit: u64) -> std::io::Result<Vec<u8>> {
    let invalid = |what: String| std::io::Error::new(std::io::ErrorKind::InvalidData, what);
    if std::fs::metadata(file)?.is_dir() {
        return Err(invalid("it is a directory".to_owned()));
    }
    let mut bytes = Vec::new();
    File::open(file)?.take(limit + 1).read_to_end(&mut bytes)?;
    if u64::try_from(bytes.len()).unwrap_or(u64::MAX) > limit {
        return Err(invalid(format!("it is larger than {limit} bytes")));
    }
    Ok(bytes)
}
