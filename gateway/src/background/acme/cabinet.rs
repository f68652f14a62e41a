//! The files of the cache: one per account and one per certificate, which holds the key, too, so that both change at once.
//! What is written is whole or not there, and for its owner alone. Everything here blocks on the disk.

use crate::config::snapshot::Acme;
use crate::policy::renewal::Validity;
use instant_acme::AccountCredentials;
use rustls::sign::CertifiedKey;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use sha2::{Digest, Sha256};
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{ErrorKind, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use x509_parser::prelude::{FromDer, GeneralName, X509Certificate};

/// Largest file that is read, in bytes.
const FILE_SIZE_MAX: u64 = 1024 * 1024;
/// First line of a certificate's file: who has issued it.
const ISSUED_BY: &str = "directory: ";

/// The certificate in the cache.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Held {
    /// Names that it is for, lower case, sorted.
    pub(super) names: Vec<String>,
    pub(super) validity: Validity,
    /// Where it was obtained.
    pub(super) directory: String,
}

/// The certificate; `None` where there is none that works.
pub(super) fn certificate(acme: &Acme) -> Option<Held> {
    let text = read(&acme.pem).inspect_err(|why| log::warn!("{why}")).ok()??;
    let directory = text.lines().next()?.strip_prefix(ISSUED_BY)?.to_owned();
    let (names, validity) = describe(&text).inspect_err(|why| log::warn!("{}: {why}", acme.pem.display())).ok()?;
    Some(Held { names, validity, directory })
}

/// Keeps a new certificate with its key, once they are known to work.
pub(super) fn keep_certificate(acme: &Acme, key: &str, chain: &str) -> Result<(), String> {
    let text = format!("{ISSUED_BY}{}\n{key}\n{chain}", acme.directory);
    let (names, _) = describe(&text)?;
    if let Some(missing) = acme.names.iter().find(|name| !names.contains(name)) {
        return Err(format!("the certificate is not for {missing}"));
    }
    write(&acme.cache, &acme.pem, &text)
}

/// The account with this directory, if there is one.
pub(super) fn account(acme: &Acme) -> Result<Option<AccountCredentials>, String> {
    let path = account_path(acme);
    let Some(text) = read(&path)? else { return Ok(None) };
    // What the reader says could quote the key.
    serde_json::from_str(&text).map(Some).map_err(|_error| format!("{} holds no account", path.display()))
}

/// Keeps a new account.
pub(super) fn keep_account(acme: &Acme, account: &AccountCredentials) -> Result<(), String> {
    let text = serde_json::to_string(account).map_err(|error| error.to_string())?;
    write(&acme.cache, &account_path(acme), &text)
}

/// Accounts are of one directory: another one has another.
fn account_path(acme: &Acme) -> PathBuf {
    let digest = Sha256::digest(&acme.directory);
    let name: String = digest.iter().take(8).map(|byte| format!("{byte:02x}")).collect();
    acme.cache.join(format!("account-{name}.json"))
}

/// Names and validity of the leaf of a chain whose key stands beside it.
fn describe(pem: &str) -> Result<(Vec<String>, Validity), String> {
    let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem.as_bytes()).collect();
    let chain = chain.map_err(|error| format!("no certificate: {error}"))?;
    let key = PrivateKeyDer::from_pem_slice(pem.as_bytes()).map_err(|error| format!("no key: {error}"))?;
    let leaf = chain.first().ok_or("no certificate")?.clone();
    let provider = rustls::crypto::ring::default_provider();
    CertifiedKey::from_der(chain, key, &provider).map_err(|error| format!("certificate and key: {error}"))?;
    let (_, leaf) = X509Certificate::from_der(&leaf).map_err(|error| format!("the certificate: {error}"))?;
    let moment = |time: i64| u64::try_from(time).unwrap_or(0);
    let validity = Validity {
        from: moment(leaf.validity().not_before.timestamp()),
        until: moment(leaf.validity().not_after.timestamp()),
    };
    let alternatives = leaf.subject_alternative_name().ok().flatten();
    let names = alternatives.iter().flat_map(|names| &names.value.general_names).filter_map(|name| match name {
        GeneralName::DNSName(name) => Some(name.to_ascii_lowercase()),
        _ => None,
    });
    let mut names: Vec<String> = names.collect();
    names.sort_unstable();
    Ok((names, validity))
}

fn read(path: &Path) -> Result<Option<String>, String> {
    let failed = |error: std::io::Error| format!("{} cannot be read: {error}", path.display());
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(failed(error)),
    };
    let mut text = String::new();
    file.take(FILE_SIZE_MAX).read_to_string(&mut text).map_err(failed)?;
    Ok(Some(text))
}

/// Writes a file beside its place and moves it there, on the disk before anyone sees it.
fn write(cache: &Path, path: &Path, text: &str) -> Result<(), String> {
    let failed = |error: std::io::Error| format!("{} cannot be written: {error}", path.display());
    DirBuilder::new().recursive(true).mode(0o700).create(cache).map_err(failed)?;
    let draft = path.with_extension("draft");
    // One that a crash has left may have other permissions.
    let _ = fs::remove_file(&draft);
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&draft).map_err(failed)?;
    file.write_all(text.as_bytes()).and_then(|()| file.sync_all()).map_err(failed)?;
    fs::rename(&draft, path).map_err(failed)?;
    File::open(cache).and_then(|directory| directory.sync_all()).map_err(failed)
}

#[cfg(test)]
mod tests;
