//! The part of the file about secrets that are elsewhere.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A secret in Azure Key Vault.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::config) struct VaultSecret {
    /// URL of the vault, such as `https://contoso.vault.azure.net`.
    pub(in crate::config) vault: String,
    /// Name of the secret there.
    pub(in crate::config) name: String,
    /// Its version; default: the latest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String")]
    pub(in crate::config) version: Option<String>,
}
