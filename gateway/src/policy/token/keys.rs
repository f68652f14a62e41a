//! An issuer's keys, as it publishes them (JWK Set, RFC 7517). Decides which of them we use and what each may verify; a
//! set with none is no set. Keys of other uses and types are passed over.

use super::{Algorithm, Algorithms, Flaw, Token};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::signature::{RsaPublicKeyComponents, UnparsedPublicKey};
use serde::Deserialize;

/// Most keys of a set.
pub const KEYS_MAX: usize = 64;
/// Largest set, bytes.
pub const SET_SIZE_MAX: usize = 256 * 1024;
/// Smallest and largest modulus of an RSA key, bytes.
const MODULUS_LENGTHS: std::ops::RangeInclusive<usize> = 256..=1024;
/// Largest public exponent of an RSA key, bytes.
const EXPONENT_LENGTH_MAX: usize = 4;
/// Keys that are tried for a token without `kid`.
const GUESSES_MAX: usize = 4;

/// The keys that an issuer signs with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeySet(Vec<Key>);

/// One public key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Key {
    kid: Option<Box<str>>,
    /// What it may verify, by its type and by what its publisher says.
    algorithms: Algorithms,
    material: Material,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Material {
    Rsa {
        modulus: Vec<u8>,
        exponent: Vec<u8>,
    },
    /// A point in the form that its algorithm reads.
    Curve(Vec<u8>),
}

/// Why a document is no key set.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeySetError {
    /// Too many bytes.
    #[error("is larger than {SET_SIZE_MAX} bytes")]
    TooLarge,
    /// It is no JSON, or of another shape.
    #[error("is no JSON Web Key Set")]
    Shape,
    /// Too many keys.
    #[error("holds more than {KEYS_MAX} keys")]
    TooMany,
    /// No key of it can verify a token.
    #[error("holds no key that can verify a token (RSA from 2048 bits, P-256, P-384, Ed25519)")]
    NoKey,
}

#[derive(Deserialize)]
struct Document {
    keys: Vec<serde_json::Value>,
}

/// The members that we read. A key with one of the wrong type is passed over.
#[derive(Deserialize)]
struct Published {
    kty: String,
    kid: Option<String>,
    #[serde(rename = "use")]
    usage: Option<String>,
    key_ops: Option<Vec<String>>,
    alg: Option<String>,
    crv: Option<String>,
    n: Option<String>,
    e: Option<String>,
    x: Option<String>,
    y: Option<String>,
}

impl KeySet {
    /// Reads a published set.
    ///
    /// # Errors
    /// [`KeySetError`] says why nothing of it can be used.
    pub fn read(bytes: &[u8]) -> Result<Self, KeySetError> {
        if bytes.len() > SET_SIZE_MAX {
            return Err(KeySetError::TooLarge);
        }
        let document: Document = serde_json::from_slice(bytes).map_err(|_error| KeySetError::Shape)?;
        if document.keys.len() > KEYS_MAX {
            return Err(KeySetError::TooMany);
        }
        let keys: Vec<Key> = document
            .keys
            .into_iter()
            .filter_map(|value| Key::new(serde_json::from_value::<Published>(value).ok()?))
            .collect();
        if keys.is_empty() { Err(KeySetError::NoKey) } else { Ok(Self(keys)) }
    }

    /// How many keys there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Never: a set without keys is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether some key of the set signed the token, with one of `allowed`.
    ///
    /// # Errors
    /// [`Flaw::KeyUnknown`], [`Flaw::Algorithm`] or [`Flaw::Signature`].
    pub(super) fn verify(&self, token: &Token, allowed: Algorithms) -> Result<(), Flaw> {
        let named = self.0.iter().filter(|key| token.kid.is_none() || key.kid == token.kid);
        let mut flaw = Flaw::KeyUnknown;
        let fits = |key: &&Key, algorithm| key.algorithms.has(algorithm) && allowed.has(algorithm);
        let Some(algorithm) = token.algorithm else { return Err(Flaw::Algorithm) };
        let mut guesses = 0;
        for key in named {
            if !fits(&key, algorithm) {
                flaw = if flaw == Flaw::Signature { flaw } else { Flaw::Algorithm };
                continue;
            }
            if key.has_signed(token, algorithm) {
                return Ok(());
            }
            flaw = Flaw::Signature;
            guesses += 1;
            if guesses == GUESSES_MAX {
                break;
            }
        }
        Err(flaw)
    }
}

impl Key {
    fn new(published: Published) -> Option<Self> {
        if published.usage.is_some_and(|usage| usage != "sig") {
            return None;
        }
        if published.key_ops.is_some_and(|list| !list.iter().any(|one| one == "verify")) {
            return None;
        }
        let (by_type, material) = match (&*published.kty, published.crv.as_deref()) {
            ("RSA", None) => (Algorithms::RSA, rsa(&published.n?, &published.e?)?),
            ("EC", Some("P-256")) => (Algorithms::of([Algorithm::Es256]), point(32, &published.x?, &published.y?)?),
            ("EC", Some("P-384")) => (Algorithms::of([Algorithm::Es384]), point(48, &published.x?, &published.y?)?),
            ("OKP", Some("Ed25519")) => {
                (Algorithms::of([Algorithm::EdDsa]), Material::Curve(fixed(32, &published.x?)?))
            }
            _ => return None,
        };
        let algorithms = match published.alg {
            None => by_type,
            Some(name) => Algorithms::of([Algorithm::of_name(&name).filter(|one| by_type.has(*one))?]),
        };
        Some(Self { kid: published.kid.map(Into::into), algorithms, material })
    }

    fn has_signed(&self, token: &Token, algorithm: Algorithm) -> bool {
        let (message, signature) = (token.signed.as_bytes(), &token.signature);
        let verified = match &self.material {
            Material::Rsa { modulus, exponent } => {
                let key = RsaPublicKeyComponents { n: modulus, e: exponent };
                algorithm.rsa().map(|parameters| key.verify(parameters, message, signature))
            }
            Material::Curve(point) => {
                algorithm.curve().map(|curve| UnparsedPublicKey::new(curve, point).verify(message, signature))
            }
        };
        matches!(verified, Some(Ok(())))
    }
}

fn rsa(modulus: &str, exponent: &str) -> Option<Material> {
    let (modulus, exponent) = (whole(modulus)?, whole(exponent)?);
    let fits = MODULUS_LENGTHS.contains(&modulus.len()) && (1..=EXPONENT_LENGTH_MAX).contains(&exponent.len());
    fits.then_some(Material::Rsa { modulus, exponent })
}

fn point(length: usize, x: &str, y: &str) -> Option<Material> {
    // Uncompressed, SEC 1.
    Some(Material::Curve([vec![4], fixed(length, x)?, fixed(length, y)?].concat()))
}

fn fixed(length: usize, text: &str) -> Option<Vec<u8>> {
    bytes(text).filter(|bytes| bytes.len() == length)
}

/// A number without leading zeros, which some publish and the library does not take.
fn whole(text: &str) -> Option<Vec<u8>> {
    let bytes = bytes(text)?;
    let start = bytes.iter().position(|byte| *byte != 0)?;
    bytes.get(start..).map(<[u8]>::to_vec)
}

fn bytes(text: &str) -> Option<Vec<u8>> {
    URL_SAFE_NO_PAD.decode(text.trim_end_matches('=')).ok()
}
