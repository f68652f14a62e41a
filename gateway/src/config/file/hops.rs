//! The part of the file about who stands in front of us: trusted hops and Front Door.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Proxies in front whose word about their client is believed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(in crate::config) struct TrustedHops {
    /// Networks of these proxies in CIDR notation, such as `10.0.0.0/8`, at most 256; default: none.
    #[schemars(length(max = 256))]
    pub(in crate::config) networks: Vec<String>,
}

/// Azure Front Door in front of a listener.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::config) struct FrontDoor {
    /// Ids of the Front Door profiles, as in `X-Azure-FDID`, 1 to 16; requests with another id, or none, get 403.
    #[schemars(length(min = 1, max = 16))]
    pub(in crate::config) ids: Vec<String>,
}
