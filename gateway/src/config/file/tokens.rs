//! The part of the file about tokens: how they are counted, what they cost.

use crate::config::defaults;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// How the tokens of a request are counted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(in crate::config) struct Usage {
    /// Whether streams are asked for their usage (`stream_options.include_usage`) where the client did not; default `auto`.
    pub(in crate::config) inject: Inject,
    /// Tokens that are reserved for an answer whose request names no ceiling, 0 to 1000000; default `1024`.
    #[schemars(range(min = 0, max = 1_000_000))]
    pub(in crate::config) output_default: u32,
}

/// Whether streams are asked for their usage.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(in crate::config) enum Inject {
    /// Where a limit of tokens or a price needs it.
    #[default]
    Auto,
    /// Always, so that the metrics of tokens are whole.
    Always,
    /// Never: what a stream does not tell is counted from its text.
    Never,
}

impl Default for Usage {
    fn default() -> Self {
        Self { inject: Inject::default(), output_default: defaults::OUTPUT_DEFAULT }
    }
}

/// What tokens cost, for metrics and the access log.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::config) struct Prices {
    /// What the prices are in, 1 to 8 letters, such as `USD`.
    pub(in crate::config) currency: String,
    /// Prices by model, 1 to 256; the first that fits counts.
    #[schemars(length(min = 1, max = 256))]
    pub(in crate::config) models: Vec<Price>,
}

/// The price of one model, or of all whose names begin alike.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::config) struct Price {
    /// The model, or the beginning of its name and `*`: compared with a backend's `model`, else with its deployment's name.
    pub(in crate::config) model: String,
    /// Per million prompt tokens, 0 to 1000000.
    #[schemars(range(min = 0, max = 1_000_000))]
    pub(in crate::config) input: f64,
    /// Per million prompt tokens from the prompt cache, 0 to 1000000; default: as `input`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "f64", range(min = 0, max = 1_000_000))]
    pub(in crate::config) cached_input: Option<f64>,
    /// Per million completion tokens, reasoning included, 0 to 1000000.
    #[schemars(range(min = 0, max = 1_000_000))]
    pub(in crate::config) output: f64,
}
