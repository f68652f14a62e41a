//! The parts of the file about pools.

use super::backend::Backend;
use super::residency::ResidencyMode;
use super::streams::Streams;
use super::values::{HeaderText, Period, Share, Switch};
use crate::config::defaults;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// A named set of interchangeable backends: same model, same version.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::config) struct Pool {
    /// Name in routes, logs and metrics, unique among pools.
    pub(in crate::config) name: String,
    /// `/readyz` says 503 while no backend here is eligible; default `false`.
    #[serde(default)]
    pub(in crate::config) required: bool,
    /// How the next backend is chosen.
    #[serde(default)]
    pub(in crate::config) selection: Selection,
    /// When and how often another backend is tried.
    #[serde(default)]
    pub(in crate::config) failover: Failover,
    /// When a backend is left out for a while because of its answers.
    #[serde(default)]
    pub(in crate::config) ejection: Ejection,
    /// Active health check, or `off`; default: connects over TCP (and TLS).
    #[serde(default)]
    pub(in crate::config) probe: Switch<Probe>,
    /// Connection-level limits of an attempt.
    #[serde(default)]
    pub(in crate::config) timeouts: Timeouts,
    /// Whether it may hold backends outside the zones of requests that can reach it; default: `residency.mode`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "ResidencyMode")]
    pub(in crate::config) residency: Option<ResidencyMode>,
    /// How streams are relayed.
    #[serde(default)]
    pub(in crate::config) streams: Streams,
    /// Sends a request that is slow to begin to a second backend beside the first; default: never.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Hedge")]
    pub(in crate::config) hedge: Option<Hedge>,
    /// Its backends, 1 to 64.
    #[schemars(length(min = 1, max = 64))]
    pub(in crate::config) backends: Vec<Backend>,
}

/// How the next backend is chosen: eligible, best tier, latency band, weight.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(in crate::config) struct Selection {
    /// Backends within this of the fastest in their tier count as equally near; default `30ms`.
    pub(in crate::config) latency_band: Period,
    /// Share of requests that may measure a backend whose latency is unknown or stale; default `1%`.
    pub(in crate::config) explore: Share,
    /// Ramp of a backend's weight from 10 % to 100 % after it returns, `0s` for none; default `30s`.
    pub(in crate::config) slow_start: Period,
    /// Share of the pool below which failure ejections and probe results are ignored; default `0%`: only when none is left.
    pub(in crate::config) panic_threshold: Share,
    /// From where distance counts while latency is not measured; default `home`. `client` needs a database of `residency` or `waf.geo`.
    pub(in crate::config) nearest: Nearest,
    /// Use a pool whose backends are all probe-unhealthy all the same; default `true`.
    pub(in crate::config) fail_open: bool,
    /// What keeps requests on one of several equal backends, for its prompt cache; default `key`.
    pub(in crate::config) affinity: Affinity,
}

/// What keeps requests together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(in crate::config) enum Affinity {
    /// Nothing.
    Off,
    /// `prompt_cache_key`, where the client gives one.
    #[default]
    Key,
    /// That, else `conversation` or `user`, else the beginning of a long prompt.
    Prefix,
}

impl Default for Selection {
    fn default() -> Self {
        Self {
            latency_band: Period(defaults::LATENCY_BAND),
            explore: Share(defaults::EXPLORE_PERCENT),
            slow_start: Period(defaults::SLOW_START),
            panic_threshold: Share(defaults::PANIC_THRESHOLD_PERCENT),
            nearest: Nearest::Home,
            fail_open: defaults::FAIL_OPEN,
            affinity: Affinity::default(),
        }
    }
}

/// From where distance counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(in crate::config) enum Nearest {
    /// From the gateway's `home_region`.
    #[default]
    Home,
    /// From where the client's address is registered.
    Client,
}

/// When and how often another backend is tried.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(in crate::config) struct Failover {
    /// Attempts per request, the first included, 1 to 16; default `3`.
    #[schemars(range(min = 1, max = 16))]
    pub(in crate::config) attempts_max: u32,
    /// From arrival to the first byte of the answer, over all attempts; default `2m`.
    pub(in crate::config) deadline: Period,
    /// From the start of one attempt to its response header, for answers that do not stream; default `2m`.
    pub(in crate::config) first_byte_timeout: Period,
    /// The same for answers that stream; default `30s`.
    pub(in crate::config) stream_first_byte_timeout: Period,
    /// Failovers on top of the client's requests, as a share of them; one that is served costs nothing; default `20%`.
    pub(in crate::config) budget: Share,
    /// Failovers per second that are allowed whatever the share says, 0 to 10000; default `3`.
    #[schemars(range(min = 0, max = 10_000))]
    pub(in crate::config) budget_min: u32,
}

impl Default for Failover {
    fn default() -> Self {
        Self {
            attempts_max: defaults::ATTEMPTS_MAX,
            deadline: Period(defaults::DEADLINE),
            first_byte_timeout: Period(defaults::FIRST_BYTE_TIMEOUT),
            stream_first_byte_timeout: Period(defaults::STREAM_FIRST_BYTE_TIMEOUT),
            budget: Share(defaults::BUDGET_PERCENT),
            budget_min: defaults::BUDGET_MIN,
        }
    }
}

/// When a backend is left out for a while because of its answers.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(in crate::config) struct Ejection {
    /// Consecutive failures that eject, 0 (never) to 1000; default `5`.
    #[schemars(range(min = 0, max = 1000))]
    pub(in crate::config) failures: u32,
    /// Share of failed attempts within `window` that ejects, `0%` for never; default `50%`.
    pub(in crate::config) failure_share: Share,
    /// Attempts within `window` before `failure_share` is looked at, 1 to 100000; default `20`.
    #[schemars(range(min = 1, max = 100_000))]
    pub(in crate::config) attempts_min: u32,
    /// Window of `failure_share`; default `10s`.
    pub(in crate::config) window: Period,
    /// First ejection time, doubled by each ejection in a row; default `5s`.
    pub(in crate::config) base: Period,
    /// Longest ejection time after failures; default `2m`.
    pub(in crate::config) max: Period,
    /// Share of the pool that failures may eject at a time, at least one backend where there are two; default `50%`.
    pub(in crate::config) share_max: Share,
    /// Rest after a 429 that says nothing about its time; default `10s`.
    pub(in crate::config) advised_default: Period,
    /// Longest rest after a 429, whatever it says; default `10m`.
    pub(in crate::config) advised_max: Period,
    /// Longest rest after too many requests in a short time; default `10s`.
    pub(in crate::config) call_rate: Period,
    /// How often a backend whose day's quota is gone is tried all the same; default `10m`.
    pub(in crate::config) day_quota: Period,
    /// How long the other backends of a region that is short are taken last; default `5s`.
    pub(in crate::config) capacity_region: Period,
    /// Rest after a refusal of our credential or deployment; default `1m`.
    pub(in crate::config) misconfigured: Period,
    /// Spread of every ejection time as a share of it, upwards; default `10%`.
    pub(in crate::config) jitter: Share,
}

impl Default for Ejection {
    fn default() -> Self {
        Self {
            failures: defaults::FAILURES,
            failure_share: Share(defaults::FAILURE_SHARE_PERCENT),
            attempts_min: defaults::ATTEMPTS_MIN,
            window: Period(defaults::WINDOW),
            base: Period(defaults::EJECTION_BASE),
            max: Period(defaults::EJECTION_MAX),
            share_max: Share(defaults::EJECTION_SHARE_MAX_PERCENT),
            advised_default: Period(defaults::ADVISED_DEFAULT),
            advised_max: Period(defaults::ADVISED_MAX),
            call_rate: Period(defaults::CALL_RATE_REST),
            day_quota: Period(defaults::DAY_QUOTA_REST),
            capacity_region: Period(defaults::CAPACITY_REGION_REST),
            misconfigured: Period(defaults::MISCONFIGURED),
            jitter: Share(defaults::EJECTION_JITTER_PERCENT),
        }
    }
}

/// A second attempt beside a slow one: what begins first is relayed, the other is given up.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(in crate::config) struct Hedge {
    /// Most hedges as a share of the pool's requests, at most `2%`; default `1%`.
    pub(in crate::config) budget: Share,
    /// Never earlier than this after an attempt's start; else after the time in which 95 % of the pool's answers begin; default `100ms`.
    pub(in crate::config) delay_min: Period,
}

impl Default for Hedge {
    fn default() -> Self {
        Self { budget: Share(defaults::HEDGE_BUDGET_PERCENT), delay_min: Period(defaults::HEDGE_DELAY_MIN) }
    }
}

/// Active health check; without `path`, `tcp` and `http` it connects over TCP.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(in crate::config) struct Probe {
    /// Short for `http: { path: … }` with the other defaults of `http`; default: none.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String")]
    pub(in crate::config) path: Option<String>,
    /// `{}`: connects, with TLS where the backend has it, and closes; this is the default.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "TcpProbe")]
    pub(in crate::config) tcp: Option<TcpProbe>,
    /// Sends a request and looks at the status; default: not used.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "HttpProbe")]
    pub(in crate::config) http: Option<HttpProbe>,
    /// Time between probes of one backend; default `10s`.
    pub(in crate::config) interval: Period,
    /// Spread of the interval as a share of it; default `20%`.
    pub(in crate::config) jitter: Share,
    /// Limit of one probe, connection included; default `2s`.
    pub(in crate::config) timeout: Period,
    /// Successes in a row that make an unhealthy backend healthy, 1 to 100; default `2`.
    #[schemars(range(min = 1, max = 100))]
    pub(in crate::config) healthy_after: u32,
    /// Failures in a row that make a healthy backend unhealthy, 1 to 100; default `3`.
    #[schemars(range(min = 1, max = 100))]
    pub(in crate::config) unhealthy_after: u32,
}

impl Default for Probe {
    fn default() -> Self {
        Self {
            path: None,
            tcp: None,
            http: None,
            interval: Period(defaults::PROBE_INTERVAL),
            jitter: Share(defaults::PROBE_JITTER_PERCENT),
            timeout: Period(defaults::PROBE_TIMEOUT),
            healthy_after: defaults::HEALTHY_AFTER,
            unhealthy_after: defaults::UNHEALTHY_AFTER,
        }
    }
}

/// A probe that connects and closes; it has no settings.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::config) struct TcpProbe {}

/// A probe that sends a request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::config) struct HttpProbe {
    /// Method; default `GET`.
    #[serde(default)]
    pub(in crate::config) method: Method,
    /// Path and query, under the backend's `url`, such as `/openai/models`.
    pub(in crate::config) path: String,
    /// Statuses that count as alive, 1 to 64 of them; default `[200, 401, 429]`.
    #[serde(default = "probe_statuses")]
    #[schemars(length(min = 1, max = 64), inner(range(min = 100, max = 599)))]
    pub(in crate::config) statuses: Vec<u16>,
    /// Send the backend's own credential along; default `false`.
    #[serde(default = "probe_credential")]
    pub(in crate::config) credential: bool,
    /// More headers, by name; default: none.
    #[serde(default)]
    pub(in crate::config) headers: BTreeMap<String, HeaderText>,
}

impl HttpProbe {
    /// The probe of `path` with every other key at its default.
    pub(in crate::config) fn of_path(path: &str) -> Self {
        Self {
            method: Method::default(),
            path: path.to_owned(),
            statuses: probe_statuses(),
            credential: probe_credential(),
            headers: BTreeMap::new(),
        }
    }
}

fn probe_statuses() -> Vec<u16> {
    defaults::PROBE_STATUSES.to_vec()
}

const fn probe_credential() -> bool {
    defaults::PROBE_CREDENTIAL
}

/// Method of a probe.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "UPPERCASE")]
pub(in crate::config) enum Method {
    /// With a body in the answer.
    #[default]
    Get,
    /// Without.
    Head,
}

/// Connection-level limits of an attempt.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(in crate::config) struct Timeouts {
    /// TCP connect; default `1s`.
    pub(in crate::config) connect: Period,
    /// TCP connect and TLS handshake together; default `3s`.
    pub(in crate::config) handshake: Period,
    /// Longest pause inside an answer; default `5m`.
    pub(in crate::config) idle: Period,
    /// One write to the backend; default `30s`.
    pub(in crate::config) write: Period,
    /// The whole answer, from arrival; default `15m`.
    pub(in crate::config) total: Period,
    /// Longest silence of a WebSocket in both directions; default `1h`.
    pub(in crate::config) websocket_idle: Period,
    /// How long an idle connection to a backend is kept; default `55s`.
    pub(in crate::config) keepalive: Period,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            connect: Period(defaults::CONNECT_TIMEOUT),
            handshake: Period(defaults::HANDSHAKE_TIMEOUT),
            idle: Period(defaults::IDLE_TIMEOUT),
            write: Period(defaults::WRITE_TIMEOUT),
            total: Period(defaults::TOTAL_TIMEOUT),
            websocket_idle: Period(defaults::WEBSOCKET_IDLE),
            keepalive: Period(defaults::BACKEND_KEEPALIVE),
        }
    }
}
