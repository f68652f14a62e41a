//! The part of a WAF policy about the built-in rules and about bodies.

use crate::config::defaults;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The built-in rules: scanners, secret files, traversal, injection.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(in crate::config) struct Builtin {
    /// Other modes and scores for some rules, the last that names a rule counts; at most 64.
    #[schemars(length(max = 64))]
    pub(in crate::config) overrides: Vec<RuleOverride>,
    /// Values that some rules leave alone, at most 64.
    #[schemars(length(max = 64))]
    pub(in crate::config) exclusions: Vec<Exclusion>,
}

/// Another mode or score for some built-in rules.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::config) struct RuleOverride {
    /// Ids such as `TG-1703`, groups such as `scanner`, or `all`.
    #[schemars(length(min = 1, max = 64))]
    pub(in crate::config) rules: Vec<String>,
    /// What these rules do, never more than the policy; default: as the policy.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "RuleMode")]
    pub(in crate::config) mode: Option<RuleMode>,
    /// What they add to the anomaly score, 0 to 100; default: by severity, 2 to 5.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "u32", range(min = 0, max = 100))]
    pub(in crate::config) score: Option<u32>,
}

/// What a built-in rule does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(in crate::config) enum RuleMode {
    /// It is not looked for.
    Off,
    /// It is logged and counted.
    Detect,
    /// It is logged, counted and scored.
    Prevent,
}

/// A value that some rules leave alone; its name is judged still.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::config) struct Exclusion {
    /// Where the value stands.
    pub(in crate::config) variable: ExclusionVariable,
    /// How its name is compared; default `equals`.
    #[serde(default)]
    pub(in crate::config) operator: ExclusionOperator,
    /// The name, or the part of it; needed unless the operator is `any`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String", length(min = 1, max = 128))]
    pub(in crate::config) selector: Option<String>,
    /// Ids, groups or `all`; default: all rules.
    #[serde(default = "all_rules")]
    #[schemars(length(min = 1, max = 64))]
    pub(in crate::config) rules: Vec<String>,
}

fn all_rules() -> Vec<String> {
    vec!["all".to_owned()]
}

/// Where an excluded value stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(in crate::config) enum ExclusionVariable {
    /// A header, its name in any case.
    Header,
    /// A cookie.
    Cookie,
    /// An argument of the query.
    Query,
    /// A field at the top of a JSON body.
    Json,
}

/// How the name of an excluded value is compared.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(in crate::config) enum ExclusionOperator {
    /// It is the selector.
    #[default]
    Equals,
    /// It begins with the selector.
    StartsWith,
    /// It ends with the selector.
    EndsWith,
    /// The selector is in it.
    Contains,
    /// Every name.
    Any,
}

/// The shape that the body of an inference request must have; its text is never searched.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(in crate::config) struct BodyShape {
    /// Media types that pass, at most 32; default `application/json` and `multipart/form-data`.
    #[schemars(length(min = 1, max = 32))]
    pub(in crate::config) media_types: Vec<String>,
    /// Deepest nesting, 1 to 1024; default `64`.
    #[schemars(range(min = 1, max = 1024))]
    pub(in crate::config) depth_max: u32,
    /// Most keys of all objects together, 1 to 1000000; default `50000`.
    #[schemars(range(min = 1, max = 1_000_000))]
    pub(in crate::config) keys_max: u32,
    /// Longest `model`, in bytes, 1 to 256; default `128`.
    #[schemars(range(min = 1, max = 256))]
    pub(in crate::config) model_length_max: u32,
    /// Most entries of `messages`, 1 to 1000000; default `4096`.
    #[schemars(range(min = 1, max = 1_000_000))]
    pub(in crate::config) messages_max: u32,
    /// Most entries of `input`, 1 to 1000000; default `8192`.
    #[schemars(range(min = 1, max = 1_000_000))]
    pub(in crate::config) input_max: u32,
    /// Largest `n`, 1 to 128; default `8`.
    #[schemars(range(min = 1, max = 128))]
    pub(in crate::config) n_max: u32,
    /// Largest `max_tokens`, `max_completion_tokens` and `max_output_tokens`, 1 to 10000000; default `1000000`.
    #[schemars(range(min = 1, max = 10_000_000))]
    pub(in crate::config) max_tokens_max: u32,
    /// What becomes of fields at the top that inference requests do not have; default `log`.
    pub(in crate::config) unknown_keys: UnknownKeys,
    /// More fields at the top that count as known, at most 256; default: none.
    #[schemars(length(max = 256))]
    pub(in crate::config) known_keys: Vec<String>,
}

impl Default for BodyShape {
    fn default() -> Self {
        Self {
            media_types: defaults::MEDIA_TYPES.map(str::to_owned).to_vec(),
            depth_max: defaults::DEPTH_MAX,
            keys_max: defaults::KEYS_MAX,
            model_length_max: defaults::MODEL_LENGTH_MAX,
            messages_max: defaults::MESSAGES_MAX,
            input_max: defaults::INPUT_MAX,
            n_max: defaults::N_MAX,
            max_tokens_max: defaults::MAX_TOKENS_MAX,
            unknown_keys: UnknownKeys::Log,
            known_keys: Vec::new(),
        }
    }
}

/// What becomes of unknown fields.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(in crate::config) enum UnknownKeys {
    /// They pass.
    Allow,
    /// They pass and are logged.
    Log,
    /// The request is refused.
    Deny,
}
