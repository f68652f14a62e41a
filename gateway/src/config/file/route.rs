//! The part of the file about routes.

use super::cors::Cors;
use super::values::Switch;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Which requests go to which pool; the most specific route wins, whatever the order.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::config) struct Route {
    /// Name in logs and metrics, unique among routes.
    pub(in crate::config) name: String,
    /// Conditions, all of which must hold; default: every request.
    #[serde(default, rename = "match")]
    pub(in crate::config) matches: Match,
    /// Name of the pool that takes the requests.
    pub(in crate::config) pool: String,
    /// Cross-origin use by browsers, or `off`; default: the `cors` for all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Switch<Cors>")]
    pub(in crate::config) cors: Option<Switch<Cors>>,
    /// Name of a policy of the web application firewall, or `off`; default: the `waf.policy` for all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String")]
    pub(in crate::config) waf: Option<String>,
    /// Takes calls that name no deployment, such as on files, for which no other route is, whatever its own `deployment`; default `false`.
    #[serde(default)]
    pub(in crate::config) stateful: bool,
    /// Names of usage limits, beside the consumer's; default: none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    pub(in crate::config) limits: Vec<String>,
}

/// Conditions of a route.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(in crate::config) struct Match {
    /// Host name without port, `ai.example.com` or `*.example.com`; default: any.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String")]
    pub(in crate::config) host: Option<String>,
    /// Path, exact or with `*` at its end, such as `/openai/*`; default: any.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String")]
    pub(in crate::config) path: Option<String>,
    /// Deployment the client asks for, exact or with `*` at its end, such as `gpt-4*`; default: any, or none.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String")]
    pub(in crate::config) deployment: Option<String>,
}
