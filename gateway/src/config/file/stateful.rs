//! The part of the file about what resources store for clients.

use super::values::Secret;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What resources store for clients: responses, files, threads, batches and the rest.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(in crate::config) struct Stateful {
    /// What clients hold instead of Azure's ids; default: `sealed` where there are consumers or several resources, else `raw`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Ids")]
    pub(in crate::config) ids: Option<Ids>,
    /// Keys of sealed ids, at most 8: the first one seals, all of them open; default: a random key that ends with the process.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 8))]
    pub(in crate::config) keys: Vec<IdKey>,
    /// Calls that no release of the API that we know has; default `pinned`.
    pub(in crate::config) unknown_operations: UnknownOperations,
    /// Lists of everything that resources store (`GET /files`); default where ids are sealed: `refuse` with consumers, else `merged`; with raw ids `allow`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Lists")]
    pub(in crate::config) lists: Option<Lists>,
}

/// What clients hold instead of Azure's ids.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(in crate::config) enum Ids {
    /// Ids of ours, which say where they live and whose they are, and open for their consumer alone.
    Sealed,
    /// Azure's own: nothing is pinned, and everybody may use everybody's.
    Raw,
}

/// A key of sealed ids.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::config) struct IdKey {
    /// Name of the key, 1 to 64 letters, digits, `.`, `_` and `-`, such as `2026-11`: one name, one secret, for ever.
    #[schemars(length(min = 1, max = 64))]
    pub(in crate::config) id: String,
    /// At least 32 characters that nobody guesses.
    pub(in crate::config) secret: Secret,
}

/// What becomes of calls that we do not know.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(in crate::config) enum UnknownOperations {
    /// They pass, where their ids lead.
    #[default]
    Pinned,
    /// They are refused.
    Refuse,
}

/// What becomes of lists.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(in crate::config) enum Lists {
    /// They pass: one resource's list, everybody's things in it.
    Allow,
    /// The lists of all resources of a pool, one after the other, everybody's things in them; ids must be sealed.
    Merged,
    /// They are refused.
    Refuse,
}
