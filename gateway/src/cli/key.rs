//! `tidegate key`: makes an API key, or tells what the configuration needs of one from elsewhere. It keeps none.

use super::arguments::{KeyCommand, NewKey};
use super::{Failure, failed, invalid, print, tell};
use crate::domain::{ApiKey, KeyHash, make_key};
use std::io::Read;

/// Random bytes for one key; about 55 are used.
const RANDOM_BYTES: usize = 256;
/// Longest key that is hashed, in bytes, and the line end after it.
const KEY_SIZE_MAX: u64 = 1024 + 2;
/// Name in the example where none is given.
const SOMEBODY: &str = "somebody";

/// Does what the words say.
pub(super) fn key(command: &KeyCommand) -> Result<(), Failure> {
    match command {
        KeyCommand::New(options) => new(options),
        KeyCommand::Hash => hash(),
    }
}

/// The key alone is the first line; the rest may stand in the configuration as it is.
fn new(options: &NewKey) -> Result<(), Failure> {
    let mut random = [0; RANDOM_BYTES];
    rustls::crypto::ring::default_provider()
        .secure_random
        .fill(&mut random)
        .map_err(|_none| failed("the system gives no random bytes"))?;
    let key = make_key(&random).ok_or_else(|| failed("the system gives no good random bytes"))?;
    let consumer = options.consumer.as_deref().unwrap_or(SOMEBODY);
    let expires = options.expires.as_deref().map(|end| format!(", expires: \"{end}\"")).unwrap_or_default();
    print(&format!(
        "{key}\n\n# The key is told this once: give it to its owner. The configuration keeps its hash:\nconsumers:\n  - name: \
         {consumer}\n    keys:\n      - {{ {}{expires} }}\n",
        entry(&key)
    ));
    Ok(())
}

/// From standard input: a key on the command line would stay in the shell's history.
fn hash() -> Result<(), Failure> {
    let mut text = String::new();
    std::io::stdin().lock().take(KEY_SIZE_MAX).read_to_string(&mut text).map_err(failed)?;
    let key = text.trim_end_matches(['\n', '\r']);
    crate::config::snapshot::KeyText::read(key).map_err(|_slip| {
        invalid("tidegate: that is no key: it has 16 to 1024 characters, and one that begins with tgk_ a checksum that is right")
    })?;
    if ApiKey::parse(key).is_none() {
        tell("a key from elsewhere: its hash is as good as the key is hard to guess");
    }
    print(&format!("{{ {} }}\n", entry(key)));
    Ok(())
}

fn entry(key: &str) -> String {
    let id = ApiKey::parse(key).map(|parsed| format!(", id: \"{}\"", parsed.id)).unwrap_or_default();
    format!("hash: \"{}\"{id}", KeyHash::of(key))
}
