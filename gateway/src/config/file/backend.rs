//! The parts of the file about backends.

use super::capabilities::{Capabilities, Style};
use super::identities::TokenAuth;
use super::quota::Quota;
use super::residency::Kind;
use super::tls::Pair;
use super::values::{HeaderText, Secret};
use crate::config::defaults;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::PathBuf;

/// One Azure OpenAI deployment in one region.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::config) struct Backend {
    /// Name in logs, metrics and `X-Served-By`, unique within its pool.
    pub(in crate::config) name: String,
    /// Azure region it is in, such as `francecentral`.
    pub(in crate::config) region: String,
    /// How its deployment processes data, for `residency`; default: not stated, which counts as outside every zone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Kind")]
    pub(in crate::config) kind: Option<Kind>,
    /// Operator's switch: `false` gives it no requests; default `true`.
    #[serde(default = "enabled")]
    pub(in crate::config) enabled: bool,
    /// Lower first, 1 to 1000; equal priorities form a tier; default `1`.
    #[serde(default = "priority")]
    #[schemars(range(min = 1, max = 1000))]
    pub(in crate::config) priority: u32,
    /// Share among equally near backends of its tier, 1 to 1000; default `50`.
    #[serde(default = "weight")]
    #[schemars(range(min = 1, max = 1000))]
    pub(in crate::config) weight: u32,
    /// Base URL, without `/openai`, such as `https://aoai-france.openai.azure.com`.
    pub(in crate::config) url: String,
    /// Deployment name there; default: the name the client asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String")]
    pub(in crate::config) deployment: Option<String>,
    /// Its model, such as `gpt-4o`, for prices and for the count of tokens; default: the deployment's name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String")]
    pub(in crate::config) model: Option<String>,
    /// `api-version` sent to classic paths there; default: the client's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String")]
    pub(in crate::config) api_version: Option<String>,
    /// URL shapes that it takes: `classic`, `v1`, or `same` for both, as the client asked; default `same`.
    #[serde(default)]
    pub(in crate::config) style: Style,
    /// Realtime sessions that it takes: `classic` (the events of previews), `v1`, or `same` for both; default: as `style`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Style")]
    pub(in crate::config) realtime: Option<Style>,
    /// What it cannot do, so that no request goes there that needs it; default: it can do everything.
    #[serde(default)]
    pub(in crate::config) capabilities: Capabilities,
    /// Provisioned throughput (PTU): a prompt too long for it may go to a backend that is not; default `false`.
    #[serde(default)]
    pub(in crate::config) provisioned: bool,
    /// Deployment of the same resource that Azure spills to by itself (`x-ms-spillover-deployment`); default: the client's own header, if any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String")]
    pub(in crate::config) spillover_deployment: Option<String>,
    /// Azure's quota there, so that requests go where it has room; default: as told by its answers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Quota")]
    pub(in crate::config) quota: Option<Quota>,
    /// Our credential there; default `none`, with a warning for `https`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Auth")]
    pub(in crate::config) auth: Option<Auth>,
    /// Headers set on every attempt, over the client's, by name; default: none.
    #[serde(default)]
    pub(in crate::config) headers: BTreeMap<String, HeaderText>,
    /// HTTP/2 to this backend, by ALPN, `https` only; default `false`.
    #[serde(default)]
    pub(in crate::config) http2: bool,
    /// PEM file with the CAs to trust here instead of the system's, relative to the configuration's directory; default: the system's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "PathBuf")]
    pub(in crate::config) ca_file: Option<PathBuf>,
    /// Name that the backend's certificate must have, also sent as SNI, `https` only; default: the host of `url`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String")]
    pub(in crate::config) server_name: Option<String>,
    /// Certificate that we show to the backend (mutual TLS), `https` only; default: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Pair")]
    pub(in crate::config) client_certificate: Option<Pair>,
    /// Where it is, for a region that is not in the built-in table; default: the table's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Coordinates")]
    pub(in crate::config) coordinates: Option<Coordinates>,
}

const fn enabled() -> bool {
    true
}

const fn priority() -> u32 {
    defaults::PRIORITY
}

const fn weight() -> u32 {
    defaults::WEIGHT
}

/// Our credential at a backend.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(in crate::config) enum Auth {
    /// No credential.
    None,
    /// Sent as `api-key: …`.
    ApiKey(Secret),
    /// Sent as `Authorization: Bearer …`.
    Bearer(Secret),
    /// A token of one of our identities, sent as `Authorization: Bearer …` and renewed ahead of its end.
    Token(TokenAuth),
}

/// A point on the globe, in degrees.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::config) struct Coordinates {
    /// Degrees north, -90 to 90.
    #[schemars(range(min = -90, max = 90))]
    pub(in crate::config) latitude: f64,
    /// Degrees east, -180 to 180.
    #[schemars(range(min = -180, max = 180))]
    pub(in crate::config) longitude: f64,
}
