//! The part of the file about who may call: consumers, plans, and how a client proves who it is.

use super::Issuer;
use crate::config::defaults;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Somebody who may call.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::config) struct Consumer {
    /// Name in logs and metrics, unique among consumers.
    pub(in crate::config) name: String,
    /// Name of its plan; default: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String")]
    pub(in crate::config) plan: Option<String>,
    /// Its API keys, at most 8, two of them in force at a time.
    #[serde(default)]
    #[schemars(length(max = 8))]
    pub(in crate::config) keys: Vec<Key>,
    /// Client certificates (mutual TLS) that stand for it, at most 16.
    #[serde(default)]
    #[schemars(length(max = 16))]
    pub(in crate::config) certificates: Vec<Certificate>,
    /// Operator's switch; default `true`.
    #[serde(default = "enabled")]
    pub(in crate::config) enabled: bool,
    /// What it may use; default: everything that its plan allows.
    #[serde(default)]
    pub(in crate::config) allow: Allow,
    /// Name of the zone that binds its requests; default: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String")]
    pub(in crate::config) residency: Option<String>,
    /// Names of usage limits, beside its plan's.
    #[serde(default)]
    #[schemars(length(max = 16))]
    pub(in crate::config) limits: Vec<String>,
    /// Who goes first when the process is near its ceilings; default: its plan's, else `interactive`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Class")]
    pub(in crate::config) class: Option<Class>,
}

const fn enabled() -> bool {
    defaults::CONSUMER_ENABLED
}

/// What several consumers have in common.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::config) struct Plan {
    /// Name in consumers and logs, unique among plans.
    pub(in crate::config) name: String,
    /// Names of usage limits.
    #[serde(default)]
    #[schemars(length(max = 16))]
    pub(in crate::config) limits: Vec<String>,
    /// What its consumers may use at most; default: everything.
    #[serde(default)]
    pub(in crate::config) allow: Allow,
    /// Who goes first when the process is near its ceilings; default: `interactive`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Class")]
    pub(in crate::config) class: Option<Class>,
}

/// One API key: its hash, never the key itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::config) struct Key {
    /// SHA-256 of the key: `sha256:` and 64 hexadecimal digits.
    pub(in crate::config) hash: String,
    /// Id of a key that `tidegate key new` has made; default: none, as for keys that come from elsewhere.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String")]
    pub(in crate::config) id: Option<String>,
    /// From when on it is good, such as `2026-01-01T00:00:00Z`; default: always.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String")]
    pub(in crate::config) not_before: Option<String>,
    /// From when on it is good no more; default: never.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String")]
    pub(in crate::config) expires: Option<String>,
}

/// A client certificate, by one of both.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(in crate::config) enum Certificate {
    /// Its subject as the access log tells it, such as `CN=search, O=Example`.
    Subject(#[schemars(length(min = 1))] String),
    /// SHA-256 of the whole certificate, 64 hexadecimal digits.
    Fingerprint(#[schemars(length(min = 1))] String),
}

/// What may be used; an absent list allows everything of its kind.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(in crate::config) struct Allow {
    /// Names of routes; default: all.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(min = 1, max = 1024))]
    pub(in crate::config) routes: Vec<String>,
    /// Deployments, exact or with `*` at the end, such as `gpt-4*`; default: all.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(min = 1, max = 64))]
    pub(in crate::config) deployments: Vec<String>,
    /// Operations as the access log calls them, such as `chat_completions`; default: all.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(min = 1, max = 16))]
    pub(in crate::config) operations: Vec<String>,
    /// Networks that the client's address must be in; default: all.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(min = 1, max = 256))]
    pub(in crate::config) networks: Vec<String>,
}

/// Who goes first when the process is near its ceilings.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(in crate::config) enum Class {
    /// Somebody waits for the answer.
    Interactive,
    /// Nobody does: its requests are shed first.
    Batch,
}

/// How a client proves who it is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(in crate::config) struct Authentication {
    /// Headers that carry a key; in `authorization` it follows `Bearer`; default: those of OpenAI, Azure OpenAI and API Management.
    #[schemars(length(max = 16))]
    pub(in crate::config) key_headers: Vec<String>,
    /// Parameters of the query that carry a key, never logged and never forwarded; default: none.
    #[schemars(length(max = 8))]
    pub(in crate::config) key_queries: Vec<String>,
    /// Name of the consumer that clients without any credential are; default: they are refused.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String")]
    pub(in crate::config) anonymous: Option<String>,
    /// Whose signed tokens (JWT) prove a consumer, at most 16; default: nobody's.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    pub(in crate::config) issuers: Vec<Issuer>,
    /// Failed attempts to authenticate from one address in a minute (IPv6: one /64) before it is slowed down, 1 to 65535; default `60`.
    #[schemars(range(min = 1, max = 65_535))]
    pub(in crate::config) failures_max: u32,
}

impl Default for Authentication {
    fn default() -> Self {
        Self {
            key_headers: defaults::KEY_HEADERS.map(str::to_owned).to_vec(),
            key_queries: Vec::new(),
            anonymous: None,
            issuers: Vec::new(),
            failures_max: defaults::AUTHENTICATION_FAILURES_MAX,
        }
    }
}
