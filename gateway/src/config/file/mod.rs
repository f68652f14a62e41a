//! The file as typed: one struct per map, one field per key, the defaults of the manual. It checks shapes, not meaning.
//!
//! No `flatten`, `untagged` or internal tags: choices are externally tagged and read as plain YAML maps. The doc comment of
//! a field is its sentence in the schema and in editors.

mod acme;
mod backend;
mod capabilities;
mod connections;
mod consumers;
mod cors;
mod framing;
mod hops;
mod http2;
mod identities;
mod issuers;
mod models;
mod overload;
mod pool;
mod process;
mod protection;
mod quota;
mod residency;
mod route;
mod rules;
mod shared_limits;
mod stateful;
mod streams;
mod tls;
mod tokens;
mod usage_limits;
mod values;
mod vault_secret;
mod waf;

pub(super) use acme::Acme;
pub(super) use backend::{Auth, Backend, Coordinates};
pub(super) use capabilities::Style;
pub(super) use connections::{Connections, ProxyProtocol};
pub(super) use consumers::{Allow, Authentication, Certificate, Class, Consumer, Plan};
pub(super) use cors::Cors;
pub(super) use framing::{Framing, Strictness};
pub(super) use hops::TrustedHops;
pub(super) use http2::Http2;
pub(super) use identities::{
    ClientCertificate, ClientSecret, Identity, Keepsake, KeyVault, ManagedIdentity, WorkloadIdentity,
};
pub(super) use issuers::{Issuer, Jwks, Requirement, TokenConsumer};
pub(super) use models::{List, Models};
pub(super) use overload::{BatchHeader, Memory, Overload};
pub(super) use pool::{
    Affinity, Ejection, Failover, Hedge, HttpProbe, Method, Nearest, Pool, Probe, Selection, Timeouts,
};
pub(super) use process::{AccessLog, Admin, Dns, Headers, Limits, Listener, Process};
pub(super) use protection::{
    BodyShape, Builtin, Exclusion, ExclusionOperator, ExclusionVariable, RuleMode, UnknownKeys,
};
pub(super) use quota::Quota;
pub(super) use residency::{DataZone, DataZones, Kind, Residency, ResidencyClaim, ResidencyMode, Unlisted, Zone};
pub(super) use route::{Match, Route};
pub(super) use rules::{
    Action, Condition, HeaderField, Operator, Protocol, Redirect, Rewrite, Rule, Transform, Variable,
};
pub(super) use shared_limits::SharedLimits;
pub(super) use stateful::{IdKey, Ids, Lists, Stateful, UnknownOperations};
pub(super) use streams::{Gate, Streams};
pub(super) use tls::{ClientAuthMode, Pair, Tls, UnknownName};
pub(super) use tokens::{Inject, Prices, Usage};
pub(super) use usage_limits::{Part, Period as QuotaPeriod, Rate, UsageLimit, UsageState, Weights};
pub(super) use values::{
    HeaderText, PERIOD_ERROR, Period, SHARE_ERROR, SIZE_ERROR, ScalarError, Secret, Share, Size, Switch,
};

pub(super) use vault_secret::VaultSecret;
pub(super) use waf::{
    Databases, IpSet, MatchOperator, MatchTransform, Waf, WafAction, WafCondition, WafGroup, WafMode, WafPolicy,
    WafRule, WafSeverity, WafVariable,
};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Configuration of Tidegate: where clients connect, which backends there are, and which requests go to which.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(title = "Tidegate configuration")]
pub(super) struct File {
    /// Version of this format; always `1`.
    #[schemars(range(min = 1, max = 1))]
    pub(super) version: u32,
    /// Azure region this gateway runs in, such as `swedencentral`; without it nothing is known about distance until latency is measured.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String")]
    pub(super) home_region: Option<String>,
    /// Where this gateway is, for a `home_region` that is not in the built-in table; default: the table's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Coordinates")]
    pub(super) home_coordinates: Option<Coordinates>,
    /// Where clients connect, 1 to 16; changes need a restart or an upgrade.
    #[schemars(length(min = 1, max = 16))]
    pub(super) listeners: Vec<Listener>,
    /// Admin listener (metrics, health, backends), or `off`; changes need a restart.
    #[serde(default)]
    pub(super) admin: Switch<Admin>,
    /// Process-wide settings; changes need a restart.
    #[serde(default)]
    pub(super) process: Process,
    /// Ceilings of one request and of all together.
    #[serde(default)]
    pub(super) limits: Limits,
    /// Limits of a client's HTTP/2 connection; all but `stalled_timeout` need a restart.
    #[serde(default)]
    pub(super) http2: Http2,
    /// What the process does when it is asked for more than it can carry.
    #[serde(default)]
    pub(super) overload: Overload,
    /// Requests whose framing could be read in two ways.
    #[serde(default)]
    pub(super) framing: Framing,
    /// Headers that the gateway adds for clients.
    #[serde(default)]
    pub(super) headers: Headers,
    /// Proxies in front whose word about their client is believed.
    #[serde(default)]
    pub(super) trusted_hops: TrustedHops,
    /// Where the access log goes; default `stdout`.
    #[serde(default)]
    pub(super) access_log: AccessLog,
    /// Background look-up of the backends' host names.
    #[serde(default)]
    pub(super) dns: Dns,
    /// Cross-origin use by browsers, for every route without a `cors` of its own; default: none, backends answer for themselves.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Cors")]
    pub(super) cors: Option<Cors>,
    /// Rules engine: conditions and what is done where they hold, in this order, at most 100.
    #[serde(default)]
    #[schemars(length(max = 100))]
    pub(super) rules: Vec<Rule>,
    /// Where the data of whose requests may be processed; default: anywhere.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Residency")]
    pub(super) residency: Option<Residency>,
    /// Web application firewall; default: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Waf")]
    pub(super) waf: Option<Waf>,
    /// How a client proves who it is; default: as below where there are consumers, else nobody is asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Authentication")]
    pub(super) authentication: Option<Authentication>,
    /// Who may call, at most 10000; default: everybody.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 10_000))]
    pub(super) consumers: Vec<Consumer>,
    /// What several consumers have in common, at most 256.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 256))]
    pub(super) plans: Vec<Plan>,
    /// How much may be used, at most 1024.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 1024))]
    pub(super) usage_limits: Vec<UsageLimit>,
    /// Where is kept what was used of quotas; default: nowhere, a restart gives them anew.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "UsageState")]
    pub(super) usage_state: Option<UsageState>,
    /// How the tokens of a request are counted.
    #[serde(default)]
    pub(super) usage: Usage,
    /// What tokens cost, for metrics and the access log; default: nothing is priced.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Prices")]
    pub(super) prices: Option<Prices>,
    /// Usage limits that several gateways share, over Redis or Valkey; default: every gateway has them to itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "SharedLimits")]
    pub(super) shared_limits: Option<SharedLimits>,
    /// How clients get at what resources store.
    #[serde(default)]
    pub(super) stateful: Stateful,
    /// Names of models: what clients may call a deployment, and who lists them.
    #[serde(default)]
    pub(super) models: Models,
    /// Who we are for Microsoft Entra ID, at most 32; default: nobody.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32))]
    pub(super) identities: Vec<Identity>,
    /// How secrets are read from Azure Key Vault; default: none is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "KeyVault")]
    pub(super) key_vault: Option<KeyVault>,
    /// Pools of interchangeable backends, 1 to 256.
    #[schemars(length(min = 1, max = 256))]
    pub(super) pools: Vec<Pool>,
    /// Which requests go to which pool, at most 1024; default: with exactly one pool, one route that takes everything.
    #[serde(default)]
    #[schemars(length(max = 1024))]
    pub(super) routes: Vec<Route>,
}
