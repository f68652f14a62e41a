//! The part of the file about limits that several gateways share.

use super::values::Secret;
use crate::config::defaults;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// Usage limits that several gateways share, over Redis or Valkey.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::config) struct SharedLimits {
    /// The server.
    pub(in crate::config) redis: Redis,
    /// How many gateways share the limits, 1 to 1000: each keeps to its fair share while the server is away.
    #[schemars(range(min = 1, max = 1000))]
    pub(in crate::config) gateways: u32,
    /// Beginning of the keys at the server; default `tidegate`.
    #[serde(default = "prefix")]
    #[schemars(length(min = 1, max = 64))]
    pub(in crate::config) prefix: String,
    /// Backends that one gateway leaves alone after a 429 are left alone by all; default `true`.
    #[serde(default = "ejections")]
    pub(in crate::config) ejections: bool,
}

const fn ejections() -> bool {
    defaults::SHARED_EJECTIONS
}

fn prefix() -> String {
    defaults::SHARED_PREFIX.to_owned()
}

/// A server of Redis or Valkey.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::config) struct Redis {
    /// Where it is, 1 to 16: `redis://HOST:PORT`, or `rediss://HOST:PORT` for TLS; several for a cluster or its sentinels.
    #[schemars(length(min = 1, max = 16))]
    pub(in crate::config) urls: Vec<String>,
    /// The servers are a cluster; default `false`.
    #[serde(default, rename = "cluster")]
    pub(in crate::config) sharded: bool,
    /// The servers are sentinels, and this is the name of what they watch; default: they are not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String")]
    pub(in crate::config) sentinel_master: Option<String>,
    /// CA file, PEM, to trust instead of the system's CAs; default: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "PathBuf")]
    pub(in crate::config) ca_file: Option<PathBuf>,
    /// Our name there; default: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String")]
    pub(in crate::config) username: Option<String>,
    /// Our password there; default: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Secret")]
    pub(in crate::config) password: Option<Secret>,
}
