//! The part of the file about issuers of tokens: what is asked of a token, where the keys are, whose it is.

use super::Period;
use super::residency::ResidencyClaim;
use crate::config::defaults;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::PathBuf;

/// Somebody whose signed tokens (JWT) prove a consumer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::config) struct Issuer {
    /// Name in logs and metrics, unique among issuers.
    pub(in crate::config) name: String,
    /// Values of `iss`, exact or with `{tenant}` in place of the Entra tenant's id, 1 to 8.
    #[schemars(length(min = 1, max = 8))]
    pub(in crate::config) issuers: Vec<String>,
    /// Values of `aud`, one of which a token must have, 1 to 16.
    #[schemars(length(min = 1, max = 16))]
    pub(in crate::config) audiences: Vec<String>,
    /// Where its keys are.
    pub(in crate::config) jwks: Jwks,
    /// How often its keys are looked at again; default `1h`. A file is read every 10 seconds.
    #[serde(default = "refresh")]
    pub(in crate::config) refresh: Period,
    /// Shortest pause between two looks because of an unknown key; default `30s`.
    #[serde(default = "refresh_min")]
    pub(in crate::config) refresh_min: Period,
    /// How long its last keys are trusted while they cannot be fetched; default `24h`.
    #[serde(default = "stale_max")]
    pub(in crate::config) stale_max: Period,
    /// Entra tenants whose tokens count, by their ids (`tid`), at most 256; default: any, which `{tenant}` does not allow.
    #[serde(default, rename = "tenants", skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(min = 1, max = 256))]
    pub(in crate::config) directories: Vec<String>,
    /// Algorithms that count, such as `RS256`; default: all that a key's type allows.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(min = 1, max = 9))]
    pub(in crate::config) algorithms: Vec<String>,
    /// Claims that a token must have, such as scopes and roles, at most 16.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    pub(in crate::config) require: Vec<Requirement>,
    /// How far the clocks may differ, at most `10m`; default `1m`.
    #[serde(default = "leeway")]
    pub(in crate::config) leeway: Period,
    /// Whose tokens they are.
    pub(in crate::config) consumer: TokenConsumer,
    /// Claim that says where the requests of its tokens may be processed; default: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "ResidencyClaim")]
    pub(in crate::config) residency: Option<ResidencyClaim>,
    /// Claims that are kept for usage limits, at most 16; default: none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    pub(in crate::config) claims: Vec<String>,
}

const fn refresh() -> Period {
    Period(defaults::KEYS_REFRESH)
}

const fn refresh_min() -> Period {
    Period(defaults::KEYS_REFRESH_MIN)
}

const fn stale_max() -> Period {
    Period(defaults::KEYS_STALE_MAX)
}

const fn leeway() -> Period {
    Period(defaults::TOKEN_LEEWAY)
}

/// Where an issuer's keys are: one of `file`, `url` and `discovery`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::config) struct Jwks {
    /// A file with a JSON Web Key Set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "PathBuf")]
    pub(in crate::config) file: Option<PathBuf>,
    /// URL of a JSON Web Key Set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String")]
    pub(in crate::config) url: Option<String>,
    /// URL of an OpenID Connect discovery document, which names the key set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String")]
    pub(in crate::config) discovery: Option<String>,
    /// PEM file of CAs to trust instead of the system's; default: the system's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "PathBuf")]
    pub(in crate::config) ca_file: Option<PathBuf>,
}

/// A claim that a token must have: one of `any` or all of `all`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::config) struct Requirement {
    /// Its name, such as `scp`, `roles` or `azp`; `scp` and `scope` are taken apart at spaces.
    pub(in crate::config) claim: String,
    /// Values, one of which must be there, at most 64.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(min = 1, max = 64))]
    pub(in crate::config) any: Vec<String>,
    /// Values, all of which must be there, at most 64.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(min = 1, max = 64))]
    pub(in crate::config) all: Vec<String>,
}

/// Whose tokens they are: always `name`, or by the value of a claim.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::config) struct TokenConsumer {
    /// Name of the consumer; with `claim`: of every value that is not in `map`. Default: tokens of other values are refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String")]
    pub(in crate::config) name: Option<String>,
    /// Claim that says whose it is, such as `azp`; default: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String")]
    pub(in crate::config) claim: Option<String>,
    /// Values of the claim, each with the name of its consumer, at most 10000.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(in crate::config) map: BTreeMap<String, String>,
}
