//! Sealed ids: what a client holds instead of an id of Azure's. Key material is an argument; nothing is drawn, nothing kept.
//!
//! `resp_` + `tg1` + URL-safe base64 of: key (2 bytes) ‖ nonce (12) ‖ AES-256-GCM of (resource ‖ consumer ‖ rest of the id) ‖ tag
//! (16). The prefix stays readable and is authenticated. The nonce is a MAC of everything that is sealed, so that one id of one
//! consumer on one resource has one sealed form, and a nonce repeats with its own message alone (`gateway/decisions/0013`).

use crate::domain::{IdFlaw, Secret};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64;
use memchr::memmem;
use ring::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use ring::{digest, hmac};
use std::fmt;
use std::sync::Arc;

/// Stands behind the prefix of every sealed id: what it is, and the version of its form.
pub const MARK: &str = "tg1";
/// The same for any version.
const MARK_OF_ANY_VERSION: &str = "tg";

/// Longest id that is sealed, in bytes. Longer ones pass as they are, and open for nobody.
pub const ID_LENGTH_MAX: usize = 512;
/// Longest sealed form of one, in bytes.
pub const SEALED_LENGTH_MAX: usize = ID_LENGTH_MAX + MARK.len() + (HEAD + PLACE + ID_LENGTH_MAX + TAG).div_ceil(3) * 4;

/// Bytes of the key's id and the nonce.
const HEAD: usize = 2 + NONCE_LEN;
/// Bytes of resource and consumer.
const PLACE: usize = 16;
/// Bytes of the tag.
const TAG: usize = 16;

/// One key. Two keys are made of each secret.
#[derive(Clone)]
pub struct Key {
    id: [u8; 2],
    nonce: hmac::Key,
    seal: LessSafeKey,
}

/// Every key, the one that seals first.
#[derive(Clone)]
pub struct Sealer(Arc<[Key]>);

/// Where an id lives, and who may use it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Owner {
    /// [`digest_of`] its resource.
    pub resource: u64,
    /// [`digest_of`] its consumer; 0 where nobody is asked.
    pub consumer: u64,
}

/// A sealed id, opened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Opened {
    /// The id as Azure knows it.
    pub id: Vec<u8>,
    /// Digest of the resource on which it lives.
    pub resource: u64,
}

impl Key {
    /// A key of this name; ids tell by 16 bits of its digest which key has sealed them. `None` where the library refuses it.
    #[must_use]
    pub fn new(name: &str, secret: &Secret) -> Option<Self> {
        let root = hmac::Key::new(hmac::HMAC_SHA256, secret.expose().as_bytes());
        let derived = |label: &[u8]| hmac::sign(&root, label);
        let [high, low, ..] = digest_of("tidegate key", name).to_be_bytes();
        Some(Self {
            id: [high, low],
            nonce: hmac::Key::new(hmac::HMAC_SHA256, derived(b"tidegate ids 1: nonce").as_ref()),
            seal: LessSafeKey::new(UnboundKey::new(&AES_256_GCM, derived(b"tidegate ids 1: seal").as_ref()).ok()?),
        })
    }

    /// What ids tell of it.
    #[must_use]
    pub const fn id(&self) -> [u8; 2] {
        self.id
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

impl fmt::Debug for Sealer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Sealer({} keys)", self.0.len())
    }
}

impl Sealer {
    /// The first of `keys` seals, all of them open.
    #[must_use]
    pub fn new(keys: impl IntoIterator<Item = Key>) -> Self {
        Self(keys.into_iter().collect())
    }

    /// The sealed form of `prefix` + `rest`; `None` where it is too long or there is no key.
    #[must_use]
    pub fn seal(&self, owner: Owner, prefix: &str, rest: &[u8]) -> Option<String> {
        let key = self.0.first().filter(|_| prefix.len().saturating_add(rest.len()) <= ID_LENGTH_MAX)?;
        let (resource, consumer) = (owner.resource.to_be_bytes(), owner.consumer.to_be_bytes());
        let mut mac = hmac::Context::with_key(&key.nonce);
        // Of fixed length but for the prefix, which holds no zero, and the last.
        for part in [&key.id[..], &resource, &consumer, prefix.as_bytes(), b"\0", rest] {
            mac.update(part);
        }
        let mac = mac.sign();
        let nonce: [u8; NONCE_LEN] = *mac.as_ref().first_chunk()?;
        let mut sealed = Vec::with_capacity(HEAD + PLACE + rest.len() + TAG);
        for part in [&key.id[..], &nonce, &resource, &consumer, rest] {
            sealed.extend_from_slice(part);
        }
        let aad = Aad::from(prefix.as_bytes());
        let nonce = Nonce::assume_unique_for_key(nonce);
        let tag = key.seal.seal_in_place_separate_tag(nonce, aad, sealed.get_mut(HEAD..)?).ok()?;
        sealed.extend_from_slice(tag.as_ref());
        let mut text = String::with_capacity(prefix.len() + MARK.len() + sealed.len().div_ceil(3) * 4);
        text.push_str(prefix);
        text.push_str(MARK);
        BASE64.encode_string(&sealed, &mut text);
        Some(text)
    }

    /// What `text`, which [`split`] has taken apart, is the sealed form of, for this consumer.
    ///
    /// # Errors
    /// [`IdFlaw`] says why it does not open: for metric and log alone.
    pub fn open(&self, (prefix, token): (&str, &str), consumer: u64) -> Result<Opened, IdFlaw> {
        if token.len() > SEALED_LENGTH_MAX {
            return Err(IdFlaw::Unsealed);
        }
        let Some(body) = token.strip_prefix(MARK) else {
            let other = token.strip_prefix(MARK_OF_ANY_VERSION).is_some_and(|rest| rest.starts_with(is_digit));
            return Err(if other { IdFlaw::Version } else { IdFlaw::Unsealed });
        };
        let mut sealed = BASE64.decode(body).map_err(|_error| IdFlaw::Forged)?;
        let (id, rest) = sealed.split_first_chunk_mut::<2>().ok_or(IdFlaw::Forged)?;
        let key = self.0.iter().find(|key| key.id == *id).ok_or(IdFlaw::Key)?;
        let (nonce, rest) = rest.split_first_chunk_mut::<NONCE_LEN>().ok_or(IdFlaw::Forged)?;
        let nonce = Nonce::assume_unique_for_key(*nonce);
        let plain =
            key.seal.open_in_place(nonce, Aad::from(prefix.as_bytes()), rest).map_err(|_error| IdFlaw::Forged)?;
        let (resource, plain) = plain.split_first_chunk::<8>().ok_or(IdFlaw::Forged)?;
        let (whose, rest) = plain.split_first_chunk::<8>().ok_or(IdFlaw::Forged)?;
        if u64::from_be_bytes(*whose) != consumer {
            return Err(IdFlaw::Foreign);
        }
        let id = [prefix.as_bytes(), rest].concat();
        Ok(Opened { id, resource: u64::from_be_bytes(*resource) })
    }
}

/// A text that may be an id, as its readable prefix (`resp_`, `file-`) and the rest: lower-case letters, `_` or `-`, and what
/// URLs take as it is. It says nothing about whether it is sealed.
#[must_use]
pub fn split(text: &str) -> Option<(&str, &str)> {
    let end = text.bytes().position(|byte| !byte.is_ascii_lowercase())?;
    let joint = matches!(text.as_bytes().get(end), Some(b'_' | b'-'));
    let (prefix, rest) = text.split_at_checked(end.saturating_add(1)).filter(|_| joint && end > 0)?;
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-');
    (!rest.is_empty() && text.len() <= SEALED_LENGTH_MAX && rest.bytes().all(plain)).then_some((prefix, rest))
}

/// Whether `rest`, behind its prefix, is that of a sealed id of any version.
#[must_use]
pub fn is_sealed(rest: &str) -> bool {
    // No id of Azure's is as long and begins so.
    rest.strip_prefix(MARK_OF_ANY_VERSION).is_some_and(|rest| rest.starts_with(is_digit)) && rest.len() > SHORTEST
}

/// Whether a sealed id may stand somewhere in a text: one search, for [`MARK`] behind the end of a prefix, which may be escaped as in
/// JSON. Data in base64 holds the mark alone every now and then.
#[must_use]
pub fn may_hold(text: &[u8]) -> bool {
    const ESCAPED: usize = r"\u005f".len();
    memmem::find_iter(text, MARK).any(|at| {
        let front = text.get(..at).unwrap_or_default();
        let behind_prefix = match front.last() {
            Some(b'_' | b'-') => true,
            Some(b'f' | b'F' | b'd' | b'D') => {
                let escape = front.get(at.saturating_sub(ESCAPED)..).unwrap_or_default();
                escape.eq_ignore_ascii_case(br"\u005f") || escape.eq_ignore_ascii_case(br"\u002d")
            }
            _ => false,
        };
        behind_prefix && text.len() - at > SHORTEST
    })
}

/// Shortest base64 of what is sealed.
const SHORTEST: usize = (HEAD + PLACE + TAG) * 4 / 3;

const fn is_digit(letter: char) -> bool {
    letter.is_ascii_digit()
}

/// 64 bits of the SHA-256 of a name among those of its kind. Never 0 in practice, which stands for nobody.
#[must_use]
pub fn digest_of(kind: &str, name: &str) -> u64 {
    let mut context = digest::Context::new(&digest::SHA256);
    for part in [kind.as_bytes(), b"\0", name.as_bytes()] {
        context.update(part);
    }
    context.finish().as_ref().first_chunk().map_or(0, |bytes| u64::from_be_bytes(*bytes))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests may panic")]
mod tests;
