//! The part of the file about request framing.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Requests whose framing could be read in two ways.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(in crate::config) struct Framing {
    /// How strictly they are treated; default `strictest`.
    pub(in crate::config) strictness: Strictness,
}

/// How strictly ambiguous framing is treated.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(in crate::config) enum Strictness {
    /// Counted, and forwarded where it can be forwarded with one meaning.
    Monitor,
    /// Severe flaws are refused; after an ambiguous one the client's connection is closed.
    Defensive,
    /// Every flaw is refused.
    #[default]
    Strictest,
}
