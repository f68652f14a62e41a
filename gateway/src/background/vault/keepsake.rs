//! The file of the last good values: for its owner alone, whole or not there, and not to be changed by others unnoticed: a digest
//! tells a torn file, and with a key it is encrypted and authenticated. Everything here blocks on the disk.

use crate::config::snapshot::{Keepsake, VaultSecret};
use crate::domain::Secret;
use crate::state::Kept;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use ring::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use ring::hkdf::{HKDF_SHA256, Salt};
use ring::rand::{SecureRandom, SystemRandom};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::{ErrorKind, Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;

/// Largest file that is read: all the secrets of a configuration, and some.
const FILE_SIZE_MAX: u64 = 16 * 1024 * 1024;
/// First line of a file with a digest, and of one that is encrypted.
const PLAIN: &str = "tidegate secrets 1 sha256:";
const SEALED: &str = "tidegate secrets 1 aes-256-gcm";

/// One secret as it is kept.
#[derive(Serialize, Deserialize)]
struct Line {
    vault: String,
    host: String,
    name: String,
    version: Option<String>,
    value: String,
    seen: u64,
}

/// Every value of the file; none where there is no file.
pub(super) fn read(keepsake: &Keepsake) -> Result<Vec<(VaultSecret, Kept)>, String> {
    let failed = |what: &dyn std::fmt::Display| format!("{}: {what}", keepsake.file.display());
    let file = match File::open(&keepsake.file) {
        Ok(file) => file,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(failed(&error)),
    };
    let mode = file.metadata().map_err(|error| failed(&error))?.mode();
    if mode & 0o077 != 0 {
        return Err(failed(&"others may read or write it; it is not used until its mode is 0600"));
    }
    let mut text = String::new();
    file.take(FILE_SIZE_MAX).read_to_string(&mut text).map_err(|error| failed(&error))?;
    let payload = open(&text, keepsake.key.as_ref()).map_err(|what| failed(&what))?;
    // What the reader says could quote a value.
    let lines: Vec<Line> = serde_json::from_slice(&payload).map_err(|_error| failed(&"it holds no secrets"))?;
    let kept = lines.into_iter().map(|line| {
        let Line { vault, host, name, version, value, seen } = line;
        (VaultSecret { vault, host, name, version }, Kept { value: Secret::new(&value), seen })
    });
    Ok(kept.collect())
}

/// Keeps these values, and only these.
pub(super) fn write(keepsake: &Keepsake, all: &BTreeMap<VaultSecret, Kept>) -> Result<(), String> {
    let failed = |what: &dyn std::fmt::Display| format!("{} cannot be written: {what}", keepsake.file.display());
    let lines: Vec<Line> = all
        .iter()
        .map(|(secret, kept)| {
            let VaultSecret { vault, host, name, version } = secret.clone();
            Line { vault, host, name, version, value: kept.value.expose().to_owned(), seen: kept.seen }
        })
        .collect();
    let payload = serde_json::to_vec(&lines).map_err(|error| failed(&error))?;
    let text = seal(payload, keepsake.key.as_ref()).map_err(|what| failed(&what))?;
    let draft = keepsake.file.with_extension("draft");
    // One that a crash has left may have other permissions.
    let _ = fs::remove_file(&draft);
    let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&draft);
    let mut file = file.map_err(|error| failed(&error))?;
    file.write_all(text.as_bytes()).and_then(|()| file.sync_all()).map_err(|error| failed(&error))?;
    fs::rename(&draft, &keepsake.file).map_err(|error| failed(&error))?;
    let directory = keepsake.file.parent().filter(|directory| !directory.as_os_str().is_empty());
    let directory = File::open(directory.unwrap_or_else(|| Path::new(".")));
    directory.and_then(|directory| directory.sync_all()).map_err(|error| failed(&error))
}

fn digest(payload: &[u8]) -> String {
    Sha256::digest(payload).iter().map(|byte| format!("{byte:02x}")).collect()
}

fn cipher(key: &Secret) -> Result<LessSafeKey, String> {
    let unusable = |_error| "the key cannot be used".to_owned();
    let secret = Salt::new(HKDF_SHA256, SEALED.as_bytes()).extract(key.expose().as_bytes());
    let material = secret.expand(&[b"key"], &AES_256_GCM).map_err(unusable)?;
    Ok(LessSafeKey::new(UnboundKey::from(material)))
}

fn seal(mut payload: Vec<u8>, key: Option<&Secret>) -> Result<String, String> {
    let Some(key) = key else {
        let text = String::from_utf8(payload).map_err(|_error| "a value is no text".to_owned())?;
        return Ok(format!("{PLAIN}{}\n{text}", digest(text.as_bytes())));
    };
    let mut nonce = [0; NONCE_LEN];
    SystemRandom::new().fill(&mut nonce).map_err(|_error| "no random number".to_owned())?;
    let sealed = cipher(key)?.seal_in_place_append_tag(
        Nonce::assume_unique_for_key(nonce),
        Aad::from(SEALED.as_bytes()),
        &mut payload,
    );
    sealed.map_err(|_error| "it cannot be encrypted".to_owned())?;
    Ok(format!("{SEALED}\n{}", STANDARD.encode([nonce.as_slice(), &payload].concat())))
}

fn open(text: &str, key: Option<&Secret>) -> Result<Vec<u8>, String> {
    let (first, rest) = text.split_once('\n').ok_or("it is no file of ours")?;
    match (first.strip_prefix(PLAIN), first == SEALED, key) {
        (Some(_), _, Some(_)) => Err("it is not encrypted, and there is a key for it".to_owned()),
        (Some(known), _, None) if known == digest(rest.as_bytes()) => Ok(rest.as_bytes().to_vec()),
        (Some(_), _, None) => Err("it is damaged".to_owned()),
        (None, true, Some(key)) => {
            let mut bytes = STANDARD.decode(rest.trim_end()).map_err(|_error| "it is damaged".to_owned())?;
            let (nonce, sealed) = bytes.split_at_mut_checked(NONCE_LEN).ok_or("it is damaged")?;
            let nonce = Nonce::try_assume_unique_for_key(nonce).map_err(|_error| "it is damaged".to_owned())?;
            let payload = cipher(key)?.open_in_place(nonce, Aad::from(SEALED.as_bytes()), sealed);
            Ok(payload.map_err(|_error| "it is damaged, or encrypted with another key".to_owned())?.to_vec())
        }
        (None, true, None) => Err("it is encrypted, and there is no key for it".to_owned()),
        (None, false, _) => Err("it is no file of ours".to_owned()),
    }
}

#[cfg(test)]
mod tests;
