//! The parts of the file about what a backend takes and can do.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// URL shapes that a backend takes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(in crate::config) enum Style {
    /// Both: a request goes there as it came.
    #[default]
    Same,
    /// `/openai/deployments/{deployment}/…` with `api-version`; needs `api_version`.
    Classic,
    /// `/openai/v1/…`.
    V1,
}

/// What a backend can do. What is not said here it is taken to be able to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(in crate::config) struct Capabilities {
    /// Most tokens of prompt and answer together, 1 to 100000000; default: not known.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "u64", range(min = 1, max = 100_000_000))]
    pub(in crate::config) context_tokens: Option<u64>,
    /// It calls tools and functions; default `true`.
    pub(in crate::config) tools: bool,
    /// It takes images in chats and responses; default `true`.
    pub(in crate::config) vision: bool,
    /// It takes sound in chats and responses, and answers with it; default `true`.
    pub(in crate::config) audio: bool,
    /// It answers by a JSON schema; default `true`.
    pub(in crate::config) structured_outputs: bool,
}

impl Default for Capabilities {
    fn default() -> Self {
        Self { context_tokens: None, tools: true, vision: true, audio: true, structured_outputs: true }
    }
}
