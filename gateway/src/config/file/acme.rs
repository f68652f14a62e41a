//! The part of the file about certificates that the gateway obtains by itself (ACME, RFC 8555).

use crate::config::defaults;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// A certificate that is obtained and renewed by ACME with HTTP-01; naming a directory means agreeing to its terms of service.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::config) struct Acme {
    /// Names that the certificate is for, 1 to 100, no wildcards; they must lead to this gateway's port 80.
    #[schemars(length(min = 1, max = 100))]
    pub(in crate::config) names: Vec<String>,
    /// Directory for the account's key and the certificate, created with mode 0700, relative to the configuration's directory.
    pub(in crate::config) cache: PathBuf,
    /// URL of the ACME server's directory; default `https://acme-v02.api.letsencrypt.org/directory` (Let's Encrypt).
    #[serde(default = "directory")]
    pub(in crate::config) directory: String,
    /// PEM file with the CAs to trust for the directory instead of the system's, relative to the configuration's directory.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "PathBuf")]
    pub(in crate::config) directory_ca: Option<PathBuf>,
    /// Mail addresses that the ACME server may write to, at most 8; default: none.
    #[serde(default)]
    #[schemars(length(max = 8))]
    pub(in crate::config) contacts: Vec<String>,
}

fn directory() -> String {
    defaults::ACME_DIRECTORY.to_owned()
}
