//! The form of a token: three parts of base64url, a header and claims as flat JSON objects. Decides whether it can be read
//! at all and whether its header asks for something forbidden; believes nothing that it reads.

use super::{Algorithm, Flaw};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Deserialize;
use serde::de::{Deserializer, Error, MapAccess, Visitor};
use serde_json::value::RawValue;
use std::borrow::Cow;
use std::fmt;

/// Longest token that is looked at, bytes.
pub const TOKEN_LENGTH_MAX: usize = 8 * 1024;
/// Most members of a header or of the claims.
const MEMBERS_MAX: usize = 128;
/// Longest signature, bytes: RSA with 8192 bits.
const SIGNATURE_LENGTH_MAX: usize = 1024;
/// Longest `kid`, bytes.
const KID_LENGTH_MAX: usize = 256;
/// Longest name of an algorithm, bytes: room for one that we do not know.
const NAME_LENGTH_MAX: usize = 64;

/// Header parameters that bring a key along, or change what the signature or the claims mean. (`crit` is a list of such.)
const FORBIDDEN: [&str; 8] = ["crit", "jku", "jwk", "x5u", "x5c", "b64", "zip", "enc"];
/// Kinds of token that may prove a caller; others (ID tokens of logout, DPoP proofs …) are signed with the same keys.
const KINDS: [&str; 4] = ["jwt", "at+jwt", "application/at+jwt", "application/jwt"];

/// Whether a bearer value is a token rather than a key: it has two dots.
#[must_use]
pub fn looks_like(text: &str) -> bool {
    text.bytes().filter(|byte| *byte == b'.').take(3).count() == 2
}

/// A token that can be read. Nothing of it is proven.
pub struct Token {
    /// What is signed: header and claims as they were sent.
    pub(super) signed: Box<str>,
    /// The signature's bytes.
    pub(super) signature: Vec<u8>,
    /// What it says it was signed with; `None` for what we do not verify.
    pub(super) algorithm: Option<Algorithm>,
    /// Which key it says it was signed with.
    pub(super) kid: Option<Box<str>>,
    /// Its claims.
    pub(super) claims: Claims,
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Token").field("algorithm", &self.algorithm).finish_non_exhaustive()
    }
}

/// Claims as JSON text, by name.
pub(super) struct Claims(Vec<(Box<str>, Box<RawValue>)>);

impl Token {
    /// Takes a token apart.
    ///
    /// # Errors
    /// [`Flaw::Malformed`] or [`Flaw::Header`].
    pub fn read(text: &str) -> Result<Self, Flaw> {
        if text.len() > TOKEN_LENGTH_MAX || !looks_like(text) {
            return Err(Flaw::Malformed);
        }
        let (signed, signature) = text.rsplit_once('.').ok_or(Flaw::Malformed)?;
        let (header, claims) = signed.split_once('.').ok_or(Flaw::Malformed)?;
        let signature = decode(signature)?;
        if signature.is_empty() || signature.len() > SIGNATURE_LENGTH_MAX {
            return Err(Flaw::Malformed);
        }
        let header = decode(header)?;
        let (algorithm, kid) = head(&header)?;
        let claims = decode(claims)?;
        let Members(claims) = serde_json::from_slice(&claims).map_err(|_error| Flaw::Malformed)?;
        let claims = claims.into_iter().map(|(name, value)| (name.into(), value.to_owned())).collect();
        Ok(Self { signed: signed.into(), signature, algorithm, kid, claims: Claims(claims) })
    }
}

/// The header: what it says about algorithm and key, once it asks for nothing that is forbidden.
fn head(bytes: &[u8]) -> Result<(Option<Algorithm>, Option<Box<str>>), Flaw> {
    let Members(members) = serde_json::from_slice(bytes).map_err(|_error| Flaw::Malformed)?;
    if members.iter().any(|(name, _)| FORBIDDEN.contains(&&**name)) {
        return Err(Flaw::Header);
    }
    let find = |wanted: &str| members.iter().find(|(name, _)| name == wanted).map(|(_, value)| text(value.get()));
    let algorithm = find("alg").flatten().filter(|name| name.len() <= NAME_LENGTH_MAX).ok_or(Flaw::Malformed)?;
    let kid = match find("kid") {
        None => None,
        Some(kid) => Some(kid.filter(|kid| kid.len() <= KID_LENGTH_MAX).ok_or(Flaw::Malformed)?),
    };
    match find("typ") {
        None => {}
        Some(None) => return Err(Flaw::Malformed),
        Some(Some(kind)) if KINDS.iter().any(|known| kind.eq_ignore_ascii_case(known)) => {}
        Some(Some(_)) => return Err(Flaw::Header),
    }
    Ok((Algorithm::of_name(&algorithm), kid.map(Into::into)))
}

/// Strict: no padding, no other alphabet, no bits left over.
fn decode(part: &str) -> Result<Vec<u8>, Flaw> {
    URL_SAFE_NO_PAD.decode(part).map_err(|_error| Flaw::Malformed)
}

fn text(raw: &str) -> Option<String> {
    serde_json::from_str(raw).ok()
}

impl Claims {
    fn raw(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(own, _)| **own == *name).map(|(_, value)| value.get())
    }

    /// A claim that is a text. `Ok(None)` where it is absent.
    pub(super) fn text(&self, name: &str) -> Result<Option<String>, Flaw> {
        self.raw(name).map(|raw| text(raw).ok_or(Flaw::Claims)).transpose()
    }

    /// A claim that is a text or a list of texts.
    pub(super) fn list(&self, name: &str) -> Result<Vec<String>, Flaw> {
        let Some(raw) = self.raw(name) else { return Ok(Vec::new()) };
        if raw.starts_with('[') {
            return serde_json::from_str(raw).map_err(|_error| Flaw::Claims);
        }
        text(raw).map(|one| vec![one]).ok_or(Flaw::Claims)
    }

    /// A claim in words: a text, a number, `true` or `false`; `None` for what is none of these.
    pub(super) fn plain(&self, name: &str) -> Option<String> {
        let raw = self.raw(name)?;
        match raw.bytes().next()? {
            b'"' => text(raw),
            b'[' | b'{' | b'n' => None,
            _ => Some(raw.to_owned()),
        }
    }

    /// A claim that is a point in time, in seconds since the Unix epoch, with its fraction. RFC 7519 allows one.
    pub(super) fn date(&self, name: &str) -> Result<Option<f64>, Flaw> {
        /// The year 9999: beyond it a number is no date but a mistake, such as milliseconds.
        const DATE_MAX: f64 = 253_402_300_799.0;
        let Some(raw) = self.raw(name) else { return Ok(None) };
        let date: f64 = serde_json::from_str(raw).map_err(|_error| Flaw::Claims)?;
        if (0.0..=DATE_MAX).contains(&date) { Ok(Some(date)) } else { Err(Flaw::Claims) }
    }
}

/// A JSON object's members as they stand; each name once.
struct Members<'a>(Vec<(Cow<'a, str>, &'a RawValue)>);

impl<'de: 'a, 'a> Deserialize<'de> for Members<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(MembersVisitor)
    }
}

struct MembersVisitor;

impl<'de> Visitor<'de> for MembersVisitor {
    type Value = Members<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut members: Vec<(Cow<'de, str>, &RawValue)> = Vec::new();
        while let Some(Name(name)) = map.next_key()? {
            if members.len() == MEMBERS_MAX || members.iter().any(|(own, _)| *own == name) {
                return Err(A::Error::custom("too many members, or one of them twice"));
            }
            members.push((name, map.next_value()?));
        }
        Ok(Members(members))
    }
}

/// A member's name, borrowed where it can be.
struct Name<'a>(Cow<'a, str>);

impl<'de: 'a, 'a> Deserialize<'de> for Name<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct NameVisitor;
        impl<'de> Visitor<'de> for NameVisitor {
            type Value = Name<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a name")
            }

            fn visit_borrowed_str<E: Error>(self, name: &'de str) -> Result<Self::Value, E> {
                Ok(Name(Cow::Borrowed(name)))
            }

            fn visit_str<E: Error>(self, name: &str) -> Result<Self::Value, E> {
                Ok(Name(Cow::Owned(name.to_owned())))
            }
        }
        deserializer.deserialize_str(NameVisitor)
    }
}
