//! API keys: the text of a key of ours, [`ApiKey`], and what the configuration keeps of any key, [`KeyHash`].
//!
//! A key is `tgk_<id>_<secret>_<crc>`: 10 characters of id, 43 of secret (256 bits), and a CRC-32 of all before it. So a
//! secret scanner recognises it by its form, and a slip of the pen is told from a guess without a look-up. It draws nothing.

use sha2::{Digest, Sha256};
use std::fmt;
use std::hash::{Hash, Hasher};
use std::str::FromStr;
use subtle::ConstantTimeEq;

/// Beginning of every key of ours.
pub const KEY_PREFIX: &str = "tgk_";
/// Characters of the id, small letters and digits.
const ID_LENGTH: usize = 10;
/// Characters of the secret, letters and digits: 43 of 62 hold 256 bits.
const SECRET_LENGTH: usize = 43;
/// Digits of the checksum.
const CRC_LENGTH: usize = 8;
/// What ids are made of, and with the capitals what secrets are made of.
const LETTERS: &[u8; 62] = b"0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ";
const ID_LETTERS: usize = 36;

/// A key of ours, taken apart. It borrows the text and never prints it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct ApiKey<'a> {
    /// What the configuration finds the key by; no secret.
    pub id: &'a str,
    text: &'a str,
}

impl<'a> ApiKey<'a> {
    /// Takes `text` apart; `None` where it is no key of ours or its checksum is wrong.
    #[must_use]
    pub fn parse(text: &'a str) -> Option<Self> {
        let (body, crc) = text.rsplit_once('_')?;
        let (id, secret) = body.strip_prefix(KEY_PREFIX)?.split_once('_')?;
        let whole = is_key_id(id) && secret.len() == SECRET_LENGTH && secret.bytes().all(|b| b.is_ascii_alphanumeric());
        (whole && crc == checksum(body)).then_some(Self { id, text })
    }

    /// Its hash.
    #[must_use]
    pub fn hash(&self) -> KeyHash {
        KeyHash::of(self.text)
    }
}

impl fmt::Debug for ApiKey<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ApiKey({})", self.id)
    }
}

/// Makes a key of random bytes; `None` where there are too few (256 are always enough in practice).
#[must_use]
pub fn make_key(random: &[u8]) -> Option<String> {
    let mut random = random.iter().map(|byte| usize::from(*byte));
    // Bytes beyond the last whole multiple would favour the first letters.
    let mut draw = |letters: usize| random.by_ref().find(|byte| *byte < 256 - 256 % letters).map(|byte| byte % letters);
    let mut key = String::from(KEY_PREFIX);
    for (length, letters) in [(ID_LENGTH, ID_LETTERS), (SECRET_LENGTH, LETTERS.len())] {
        for _ in 0..length {
            key.push(char::from(*LETTERS.get(draw(letters)?)?));
        }
        key.push('_');
    }
    key.pop();
    let crc = checksum(&key);
    Some(format!("{key}_{crc}"))
}

/// Whether `text` is the id of a key of ours.
#[must_use]
pub fn is_key_id(text: &str) -> bool {
    text.len() == ID_LENGTH && text.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit())
}

/// CRC-32 (IEEE 802.3), as eight digits.
fn checksum(text: &str) -> String {
    let crc = text.bytes().fold(u32::MAX, |crc, byte| {
        (0..8).fold(crc ^ u32::from(byte), |crc, _| (crc >> 1) ^ (0xEDB8_8320 & (crc & 1).wrapping_neg()))
    });
    format!("{:0width$x}", !crc, width = CRC_LENGTH)
}

/// SHA-256 of a key: all that the configuration knows of it. A random key of 256 bits needs no slow hash.
#[derive(Clone, Copy)]
pub struct KeyHash([u8; 32]);

/// A text that is no hash of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("is no hash of a key: it is written `sha256:` and 64 hexadecimal digits")]
pub struct KeyHashError;

impl KeyHash {
    /// The hash of a key.
    #[must_use]
    pub fn of(key: &str) -> Self {
        Self(Sha256::digest(key.as_bytes()).into())
    }
}

/// In constant time, so that nobody learns from our haste how much of a hash is right.
impl PartialEq for KeyHash {
    fn eq(&self, other: &Self) -> bool {
        self.0.ct_eq(&other.0).into()
    }
}

impl Eq for KeyHash {}

impl Hash for KeyHash {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.hash(state);
    }
}

impl FromStr for KeyHash {
    type Err = KeyHashError;

    fn from_str(text: &str) -> Result<Self, KeyHashError> {
        let digits = text.strip_prefix("sha256:").filter(|digits| digits.len() == 64).ok_or(KeyHashError)?;
        let mut hash = [0; 32];
        for (byte, pair) in hash.iter_mut().zip(digits.as_bytes().chunks_exact(2)) {
            let digit = |at: usize| char::from(*pair.get(at)?).to_digit(16);
            let (high, low) = digit(0).zip(digit(1)).ok_or(KeyHashError)?;
            *byte = u8::try_from(high * 16 + low).map_err(|_beyond| KeyHashError)?;
        }
        Ok(Self(hash))
    }
}

/// As it is written in the configuration.
impl fmt::Display for KeyHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("sha256:")?;
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for KeyHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests may panic")]
mod tests {
    use super::*;

    fn random() -> Vec<u8> {
        (0..=255).collect()
    }

    #[test]
    fn a_key_that_was_made_is_recognised() {
        let key = make_key(&random()).unwrap();
        assert_eq!(key.len(), 4 + ID_LENGTH + 1 + SECRET_LENGTH + 1 + CRC_LENGTH);
        let parsed = ApiKey::parse(&key).unwrap();
        assert!(is_key_id(parsed.id), "{key}");
        assert_eq!(parsed.hash(), KeyHash::of(&key));
        assert!(!format!("{parsed:?} {:?}", parsed.hash()).contains(key.get(20..40).unwrap()));
        assert_eq!(make_key(&[7; 52]), None, "too little chance");
        assert_eq!(make_key(&[255; 512]), None, "bytes that would favour a letter are no chance");
    }

    #[test]
    fn any_slip_is_noticed() {
        let key = make_key(&random()).unwrap();
        for at in 0..key.len() {
            let mut slip = key.clone().into_bytes();
            slip[at] = if slip[at] == b'x' { b'y' } else { b'x' };
            assert!(ApiKey::parse(std::str::from_utf8(&slip).unwrap()).is_none(), "{at}");
        }
        for text in ["", "tgk_", "tgk___", "tgk_a_b_c", "sk-1", &key[..80.min(key.len() - 1)], &format!("{key} ")] {
            assert!(ApiKey::parse(text).is_none(), "{text}");
        }
    }

    #[test]
    fn the_checksum_is_the_usual_one() {
        assert_eq!(checksum("123456789"), "cbf43926");
    }

    #[test]
    fn hashes_are_read_as_they_are_written() {
        let hash = KeyHash::of("some key");
        assert_eq!(hash.to_string().parse(), Ok(hash));
        assert_eq!(hash.to_string().to_uppercase().replace("SHA256", "sha256").parse(), Ok(hash));
        for text in ["", "sha256:", "md5:00", &"0".repeat(64), &format!("sha256:{}", "g".repeat(64)), "sha256:äö"] {
            assert_eq!(text.parse::<KeyHash>(), Err(KeyHashError), "{text}");
        }
    }
}
