//! Who may call: consumers, what proves who they are, and what they may use.

use super::Issuer;
use crate::domain::{ConsumerName, KeyHash, PlanName};
use crate::openai::operation::Operation;
use crate::policy::overload::Class;
use crate::policy::scope::Scope;
use http::HeaderName;
use std::collections::HashMap;

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
