//! Who may call: consumers, what proves who they are, and what they may use.

use super::Issuer;
use crate::domain::{ApiKey, ClientCertificate, ConsumerName, KEY_PREFIX, KeyHash, PlanName, Unproven};
use crate::openai::operation::Operation;
use crate::policy::overload::Class;
use crate::policy::scope::Scope;
use http::HeaderName;
use std::collections::HashMap;
use std::fmt;

/// Who may call. Without it nobody is asked.
#[derive(Clone, Debug)]
pub struct Access {
    /// Consumers, in the order of the file.
    pub consumers: Vec<Consumer>,
    /// Plans, in the order of the file.
    pub plans: Vec<PlanName>,
    /// The consumer, by index, that clients without any credential are.
    pub anonymous: Option<usize>,
    /// Headers that carry a key, in the order in which they count. In `authorization` it follows `Bearer`.
    pub key_headers: Vec<HeaderName>,
    /// Parameters of the query that carry a key, in lower case.
    pub key_queries: Vec<String>,
    /// Failed attempts of one address in a minute, beyond which it is slowed down.
    pub failures_max: u32,
    /// Every key.
    pub keys: Keys,
    /// Whose tokens prove a consumer, in the order of the file.
    pub issuers: Vec<Issuer>,
    /// Consumers, by index, by their certificates.
    pub certificates: Certificates,
}

/// Somebody who may call.
#[derive(Clone, Debug, PartialEq)]
pub struct Consumer {
    /// Its name.
    pub name: ConsumerName,
    /// Its plan, by index into [`Access::plans`].
    pub plan: Option<usize>,
    /// The zone that binds its requests, by index.
    pub residency: Option<usize>,
    /// Its own usage limits and its plan's, by index.
    pub limits: Vec<usize>,
    /// Who goes first; where neither consumer nor plan says so, the request may.
    pub class: Option<Class>,
    /// Operator's switch.
    pub enabled: bool,
    /// What it may use: its own scope and its plan's, both of which must allow a request. Empty where there is none.
    pub scopes: Vec<Scope<Operation>>,
}

/// Every key, by the way in which it is found.
#[derive(Clone, Debug, Default)]
pub struct Keys {
    /// Keys of ours, by their id.
    pub by_id: HashMap<Box<str>, Key>,
    /// Keys from elsewhere, by their whole hash. The map's own hash is seeded per process, and a guess says nothing about
    /// where its SHA-256 will fall: the time of a look-up tells nobody how near he was.
    pub by_hash: HashMap<KeyHash, Key>,
}

/// One key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Key {
    /// Whose it is, by index into [`Access::consumers`].
    pub consumer: usize,
    /// SHA-256 of its text.
    pub hash: KeyHash,
    /// Unix second from which on it is good.
    pub not_before: Option<u64>,
    /// Unix second from which on it is good no more.
    pub expires: Option<u64>,
}

/// Consumers by their certificates.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Certificates {
    /// By subject, as the access log tells it.
    pub by_subject: HashMap<Box<str>, usize>,
    /// By the SHA-256 of the whole certificate, in lower-case hex.
    pub by_fingerprint: HashMap<Box<str>, usize>,
}

impl Certificates {
    /// Nobody is known by a certificate.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.by_subject.is_empty() && self.by_fingerprint.is_empty()
    }
}

/// Shortest and longest key from elsewhere, in bytes: API Management's have 32, of the shortest nobody finds one by guessing.
const FOREIGN_KEY_MIN: usize = 16;
const FOREIGN_KEY_MAX: usize = 1024;

/// What a text is that stands where a key is expected.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum KeyText<'a> {
    /// A key of ours, with a checksum that is right.
    Ours(ApiKey<'a>),
    /// A key from elsewhere: it may be worth a guess.
    Foreign(&'a str),
}

impl<'a> KeyText<'a> {
    /// What `text` is.
    ///
    /// # Errors
    /// [`Unproven::Malformed`].
    pub fn read(text: &'a str) -> Result<Self, Unproven> {
        if text.starts_with(KEY_PREFIX) {
            return ApiKey::parse(text).map(Self::Ours).ok_or(Unproven::Malformed);
        }
        let fits = (FOREIGN_KEY_MIN..=FOREIGN_KEY_MAX).contains(&text.len());
        if fits { Ok(Self::Foreign(text)) } else { Err(Unproven::Malformed) }
    }
}

impl fmt::Debug for KeyText<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ours(key) => key.fmt(f),
            Self::Foreign(_) => f.write_str("***"),
        }
    }
}

/// A consumer that was not proved, and whose the credential would have been, where that is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refused {
    /// Why.
    pub why: Unproven,
    /// The consumer, by index.
    pub consumer: Option<usize>,
}

impl From<Unproven> for Refused {
    fn from(why: Unproven) -> Self {
        Self { why, consumer: None }
    }
}

impl Access {
    /// The consumer, by index, whose key `text` is at the Unix second `now`.
    ///
    /// # Errors
    /// [`Refused`] says why nobody's. All of it takes the same time: the hash comes first.
    pub fn by_key(&self, text: KeyText<'_>, now: u64) -> Result<usize, Refused> {
        let found = match text {
            KeyText::Ours(key) => {
                let hash = key.hash();
                match self.keys.by_id.get(key.id) {
                    Some(known) if known.hash == hash => known,
                    Some(known) => return Err(Refused { why: Unproven::Wrong, consumer: Some(known.consumer) }),
                    None => return Err(Unproven::Unknown.into()),
                }
            }
            KeyText::Foreign(text) => self.keys.by_hash.get(&KeyHash::of(text)).ok_or(Unproven::Unknown)?,
        };
        let refused = |why| Err(Refused { why, consumer: Some(found.consumer) });
        if found.not_before.is_some_and(|begin| now < begin) {
            return refused(Unproven::NotYet);
        }
        if found.expires.is_some_and(|end| now >= end) {
            return refused(Unproven::Expired);
        }
        self.enabled(found.consumer)
    }

    /// The consumer, by index, that a certificate stands for; `None` where it stands for nobody and so is no credential.
    #[must_use]
    pub fn by_certificate(&self, shown: &ClientCertificate) -> Option<Result<usize, Refused>> {
        let by_subject = || self.certificates.by_subject.get(shown.subject.as_str()).filter(|_| shown.is_exact);
        let found = self.certificates.by_fingerprint.get(shown.fingerprint.as_str()).or_else(by_subject)?;
        Some(self.enabled(*found))
    }

    /// The same consumer, unless it is switched off.
    ///
    /// # Errors
    /// [`Unproven::Disabled`].
    pub fn enabled(&self, consumer: usize) -> Result<usize, Refused> {
        match self.consumers.get(consumer) {
            Some(known) if known.enabled => Ok(consumer),
            _ => Err(Refused { why: Unproven::Disabled, consumer: Some(consumer) }),
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests may panic")]
mod tests;
