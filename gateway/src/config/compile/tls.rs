//! Compiles what the configuration says about TLS, and checks the PEM files that it names: readable, well-formed, key and
//! certificate a pair. It keeps none of their contents but a digest.

use crate::config::file;
use crate::config::report::Report;
use crate::config::snapshot::{Acme, BackendTls, ClientAuth, Tls, TlsFiles};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::sign::CertifiedKey;
use sha2::{Digest, Sha256};
use std::fs::File;
use std::io::Read;
use std::path::Path;

/// Largest PEM file, in bytes; the bundle of all public CAs is about 250 KiB.
const PEM_SIZE_MAX: u64 = 4 * 1024 * 1024;

/// TLS of the listener at `path`, with the certificate that it obtains.
pub(super) fn listener(typed: &file::Tls, acme: Option<Acme>, path: &str, report: &mut Report<'_>) -> Tls {
    let both = "`certificate` and `key` are short for one entry of `certificates`: write one or the other";
    let mut certificates = Vec::new();
    match (&typed.certificate, &typed.key) {
        (Some(certificate), Some(key)) => {
            let typed = file::Pair { certificate: certificate.clone(), key: key.clone() };
            certificates.push(pair(&typed, path, report));
        }
        (None, None) => {}
        (Some(_), None) => report.problem(path, "`key` is missing", "PEM private key of `certificate`".to_owned()),
        (None, Some(_)) => {
            report.problem(path, "`certificate` is missing", "PEM certificate chain, leaf first".to_owned());
        }
    }
    if !typed.certificates.is_empty() && (typed.certificate.is_some() || typed.key.is_some()) {
        report.problem(&format!("{path}.certificates"), "is there beside `certificate`", both.to_owned());
    } else if typed.certificates.is_empty()
        && [&typed.certificate, &typed.key].iter().all(|one| one.is_none())
        && typed.acme.is_none()
    {
        let help = "write `certificate` and `key`, `certificates`, or `acme`";
        report.problem(path, "names no certificate", help.to_owned());
    }
    for (index, typed) in typed.certificates.iter().enumerate() {
        certificates.push(pair(typed, &format!("{path}.certificates[{index}]"), report));
    }
    let client_auth = typed.client_auth.as_ref().map(|typed| {
        let ca_file = report.resolve(&typed.ca_file);
        check_authorities(&ca_file, &format!("{path}.client_auth.ca_file"), report);
        ClientAuth { ca_file, required: typed.mode == file::ClientAuthMode::Required }
    });
    Tls { certificates, acme, refuse_unknown_name: typed.unknown_name == file::UnknownName::Refuse, client_auth }
}

/// TLS to the backend at `path`, its server name only where one is pinned.
pub(super) fn backend(typed: &file::Backend, path: &str, report: &mut Report<'_>) -> BackendTls {
    let ca_file = typed.ca_file.as_ref().map(|file| report.resolve(file));
    if let Some(file) = &ca_file {
        check_authorities(file, &format!("{path}.ca_file"), report);
    }
    let client_certificate =
        typed.client_certificate.as_ref().map(|typed| pair(typed, &format!("{path}.client_certificate"), report));
    let server_name = typed.server_name.clone().unwrap_or_default();
    if typed.server_name.is_some() && ServerName::try_from(server_name.as_str()).is_err() {
        let help = "write the name in the backend's certificate, such as aoai.internal.example";
        report.problem(&format!("{path}.server_name"), "is no host name", help.to_owned());
    }
    let files = client_certificate.iter().flat_map(|files| [&files.certificate, &files.key]).chain(&ca_file);
    let contents = digest(files.map(|file| file.as_path()));
    BackendTls { server_name, ca_file, client_certificate, contents }
}

/// Zero without files. A file that cannot be read was reported already.
fn digest<'f>(files: impl Iterator<Item = &'f Path>) -> u64 {
    let (mut hash, mut any) = (Sha256::new(), false);
    for file in files {
        any = true;
        hash.update(Sha256::digest(read_limited(file, PEM_SIZE_MAX).unwrap_or_default()));
    }
    let first = hash.finalize().iter().take(8).fold(0, |sum, byte| sum << 8 | u64::from(*byte));
    if any { first.max(1) } else { 0 }
}

fn pair(typed: &file::Pair, path: &str, report: &mut Report<'_>) -> TlsFiles {
    let files = TlsFiles { certificate: report.resolve(&typed.certificate.file), key: report.resolve(&typed.key.file) };
    check_pair(&files, path, report);
    files
}

/// Problems of a certificate and its key.
fn check_pair(files: &TlsFiles, path: &str, report: &mut Report<'_>) {
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
        Ok(chain) if chain.iter().any(|one| x509_parser::parse_x509_certificate(one).is_err()) => {
            report.problem(path, format!("{} holds a certificate that cannot be read", file.display()), None);
            None
        }
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
