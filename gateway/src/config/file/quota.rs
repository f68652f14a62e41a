//! The part of the file about a backend's quota.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Azure's quota of a backend: requests are steered to where it has room, and never refused for it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::config) struct Quota {
    /// Tokens per minute, 1 to 1000000000; default: as told by its answers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "u64", range(min = 1, max = 1_000_000_000))]
    pub(in crate::config) tokens_per_minute: Option<u64>,
    /// Requests per minute, 1 to 1000000000; default: as told by its answers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "u64", range(min = 1, max = 1_000_000_000))]
    pub(in crate::config) requests_per_minute: Option<u64>,
    /// Name of the quota that it shares with the other backends of this name, of any pool; default: it has its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String")]
    pub(in crate::config) group: Option<String>,
}
