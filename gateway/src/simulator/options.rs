//! What a simulated region is told at its start: name, deployments, quotas, key, TLS, latency, seed.
//!
//! Plain data; nothing here opens a socket or reads a clock.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// Completion length when neither options nor request say one, in tokens.
const TOKENS_OUT: u32 = 16;
/// Request records kept when the options do not say otherwise; also the most that are kept.
pub(crate) const RECORDS_MAX: usize = 1000;
/// Model of a deployment that was not declared.
const MODEL: &str = "gpt-4o-2024-08-06";

/// One simulated region.
#[derive(Clone)]
pub struct RegionOptions {
    /// Azure's slug, such as `swedencentral`. `x-ms-region` carries the display name.
    pub region: String,
    /// The deployments that exist. Empty: every well-formed deployment name is accepted, with `Quota::Unlimited`.
    pub deployments: Vec<DeploymentOptions>,
    /// The URL shapes that exist here.
    pub style: Style,
    /// The key that `api-key` or `Authorization: Bearer` must carry. Absent: any or none.
    pub api_key: Option<String>,
    /// Serve TLS (ALPN `h2`, `http/1.1`) instead of clear text.
    pub tls: Option<TlsOptions>,
    /// Seed of ids, jitter and fault shares.
    pub seed: u64,
    /// How fast the region answers.
    pub latency: Latency,
    /// Completion length in tokens, when the request has no lower ceiling.
    pub tokens_out: u32,
    /// How many request records to keep, at most 1000. Zero also saves the hashing of bodies: for load benchmarks.
    pub records_max: usize,
}

impl RegionOptions {
    /// A region without quota, key, TLS or latency that accepts every deployment.
    #[must_use]
    pub fn new(region: &str) -> Self {
        Self {
            region: region.to_owned(),
            deployments: Vec::new(),
            style: Style::Both,
            api_key: None,
            tls: None,
            seed: 1,
            latency: Latency::default(),
            tokens_out: TOKENS_OUT,
            records_max: RECORDS_MAX,
        }
    }
}

/// One deployment of a region.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DeploymentOptions {
    /// Its name in paths and in `model`.
    pub name: String,
    /// The model that answers name.
    #[serde(default = "model")]
    pub model: String,
    /// What it may take.
    #[serde(default)]
    pub quota: Quota,
    /// Most tokens of prompt and answer; a longer request is answered 400. Absent: any.
    #[serde(default)]
    pub context_tokens: Option<u64>,
}

impl DeploymentOptions {
    /// A deployment of the default model.
    #[must_use]
    pub fn new(name: &str, quota: Quota) -> Self {
        Self { name: name.to_owned(), model: model(), quota, context_tokens: None }
    }
}

pub(crate) fn model() -> String {
    MODEL.to_owned()
}

/// The URL shapes of a region. A path of another shape does not exist there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Style {
    /// Classic paths and v1.
    #[default]
    Both,
    /// `/openai/deployments/…` and `/openai/…`, with `api-version`.
    Classic,
    /// `/openai/v1/…`, without a dated `api-version`.
    V1,
}

/// What a deployment may take. The windows are in `quota.rs`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Quota {
    /// Everything.
    #[default]
    Unlimited,
    /// Pay as you go: tokens and requests per minute.
    Standard {
        /// Tokens per minute, counted at admission as estimate + `max_tokens`; starts anew each minute.
        tpm: u64,
        /// Requests per minute, enforced in windows of 10 s (and of 1 s from 600 on); refused requests count.
        rpm: u64,
    },
    /// Provisioned throughput: a leaky bucket, 429 above 100 %.
    Provisioned {
        /// Tokens that leak out per second.
        tokens_per_second: u64,
        /// Tokens that fit before the bucket is at 100 %.
        burst_tokens: u64,
    },
}

/// How fast a region answers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Latency {
    /// From accepting a connection to serving it (a slow TLS handshake).
    pub connect: Duration,
    /// From the request's end to the response header (a stream) or to the start of generation.
    pub first_token: Duration,
    /// Between two tokens.
    pub per_token: Duration,
    /// Share by which one request's latencies vary at random, 0 to 1.
    pub jitter: f64,
}

/// Certificate and key of a region that serves TLS.
#[derive(Clone)]
pub struct TlsOptions {
    /// Certificate chain, PEM.
    pub certificate: String,
    /// Private key, PEM.
    pub key: String,
}
