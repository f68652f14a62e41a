//! The part of the file about usage limits: how much may be used, by whom.

use super::values::Period as Span;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// How much may be used. It holds where a consumer, its plan or the route names it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::config) struct UsageLimit {
    /// Name in consumers, plans, routes, logs and metrics, unique among usage limits.
    pub(in crate::config) name: String,
    /// What tells its buckets apart, at most 4; default: nothing, one bucket for all requests that it holds for.
    #[serde(default)]
    #[schemars(length(max = 4))]
    pub(in crate::config) by: Vec<Part>,
    /// It holds for every request, without being named; default `false`.
    #[serde(default)]
    pub(in crate::config) everywhere: bool,
    /// The server of `shared_limits` decides about every admission: exact, for a round trip; default `false`.
    #[serde(default)]
    pub(in crate::config) strict: bool,
    /// Most requests in a sliding window.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Rate")]
    pub(in crate::config) requests: Option<Rate>,
    /// Most tokens in a sliding window.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Rate")]
    pub(in crate::config) tokens: Option<Rate>,
    /// Most requests and tokens in an hour, day, week or month of the calendar, in UTC.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Quota")]
    pub(in crate::config) quota: Option<Quota>,
    /// Most requests and streams at the same time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Concurrent")]
    pub(in crate::config) concurrent: Option<Concurrent>,
    /// What one request may ask for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "RequestCeilings")]
    pub(in crate::config) request: Option<RequestCeilings>,
    /// What a token of each kind counts.
    #[serde(default)]
    pub(in crate::config) weights: Weights,
    /// Headers of answers that tell what is left of this limit; none by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "RemainingHeaders")]
    pub(in crate::config) remaining_headers: Option<RemainingHeaders>,
}

/// Headers of answers, as API Management's policies can be told to set them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::config) struct RemainingHeaders {
    /// Name of the header for what is left of `requests`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String")]
    pub(in crate::config) requests: Option<String>,
    /// Name of the header for what is left of `tokens`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String")]
    pub(in crate::config) tokens: Option<String>,
    /// Name of the header for what is left of `quota.requests`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String")]
    pub(in crate::config) quota_requests: Option<String>,
    /// Name of the header for what is left of `quota.tokens`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String")]
    pub(in crate::config) quota_tokens: Option<String>,
}

/// A part of the chain that tells buckets apart.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(in crate::config) enum Part {
    /// The consumer.
    Consumer,
    /// The consumer's plan.
    Plan,
    /// The route.
    Route,
    /// The deployment, as the client names it; where the route takes any name and backends have one of their own, theirs.
    Deployment,
    /// The client's address; of IPv6 the first 64 bits.
    Address,
    /// A claim of the client's token, by its name.
    Claim(#[schemars(length(min = 1))] String),
}

/// So much in so long.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::config) struct Rate {
    /// How much, 0 to 4000000000.
    #[schemars(range(min = 0, max = 4_000_000_000_u64))]
    pub(in crate::config) max: u64,
    /// In how long, 1s to 24h.
    pub(in crate::config) per: Span,
}

/// So much in a period of the calendar.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::config) struct Quota {
    /// Most tokens, 0 to 1000000000000000.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "u64", range(min = 0, max = 1_000_000_000_000_000_u64))]
    pub(in crate::config) tokens: Option<u64>,
    /// Most requests, 0 to 1000000000000000.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "u64", range(min = 0, max = 1_000_000_000_000_000_u64))]
    pub(in crate::config) requests: Option<u64>,
    /// The period.
    pub(in crate::config) per: Period,
}

/// A period of the calendar, in UTC.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(in crate::config) enum Period {
    /// From full hour to full hour.
    Hour,
    /// From midnight to midnight.
    Day,
    /// From Monday to Sunday.
    Week,
    /// From the first to the last day of the month.
    Month,
}

/// So much at the same time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::config) struct Concurrent {
    /// Most requests that have not ended, 0 to 1000000.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "u32", range(min = 0, max = 1_000_000))]
    pub(in crate::config) requests: Option<u32>,
    /// Most streams and WebSockets that have not ended, 0 to 1000000.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "u32", range(min = 0, max = 1_000_000))]
    pub(in crate::config) streams: Option<u32>,
}

/// What one request may ask for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::config) struct RequestCeilings {
    /// Largest `max_tokens`, `max_completion_tokens` and `max_output_tokens`, 1 to 10000000.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "u32", range(min = 1, max = 10_000_000))]
    pub(in crate::config) max_tokens: Option<u32>,
    /// Largest `n`, 1 to 128.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "u32", range(min = 1, max = 128))]
    pub(in crate::config) n: Option<u32>,
    /// Most tokens of a prompt, as estimated, 1 to 10000000.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "u32", range(min = 1, max = 10_000_000))]
    pub(in crate::config) prompt_tokens: Option<u32>,
}

/// What a token of each kind counts.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(in crate::config) struct Weights {
    /// A token of the prompt, 0 to 1000; default `1.0`.
    #[schemars(range(min = 0, max = 1000))]
    pub(in crate::config) input: f64,
    /// A token of the answer, 0 to 1000; default `1.0`.
    #[schemars(range(min = 0, max = 1000))]
    pub(in crate::config) output: f64,
    /// A token of the prompt that came from the cache, 0 to 1000; default `1.0`.
    #[schemars(range(min = 0, max = 1000))]
    pub(in crate::config) cached: f64,
    /// A token of the answer that went into reasoning, 0 to 1000; default `1.0`.
    #[schemars(range(min = 0, max = 1000))]
    pub(in crate::config) reasoning: f64,
}

impl Default for Weights {
    fn default() -> Self {
        let one = crate::config::defaults::TOKEN_WEIGHT;
        Self { input: one, output: one, cached: one, reasoning: one }
    }
}

/// Where is kept what was used of quotas, so that a restart gives none anew.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::config) struct UsageState {
    /// Path of the file; it is written every few seconds while quotas are used, and at the end of the process.
    pub(in crate::config) file: std::path::PathBuf,
}
