//! The part of the file about the names of models: what clients may call a deployment, and what they are told there is.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Names of models.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(in crate::config) struct Models {
    /// Who answers `GET /models` and `/deployments`: `config` (the gateway), or `pass` (a backend); default `config`.
    pub(in crate::config) list: List,
    /// Deployment by what clients call it, exact or with `*` at its end, such as `"gpt-4o-*": gpt-4o`; default: none.
    #[schemars(extend("maxProperties" = 1000))]
    pub(in crate::config) aliases: BTreeMap<String, String>,
}

/// Who tells which models there are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(in crate::config) enum List {
    /// The gateway, from its configuration and by what the consumer may use.
    #[default]
    Config,
    /// A backend, as it likes.
    Pass,
}
