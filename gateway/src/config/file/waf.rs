//! The part of the file about the web application firewall. Names of variables, operators and transforms are Front Door's.

use super::protection::{BodyShape, Builtin};
use super::values::{Size, Switch};
use crate::config::defaults;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// Web application firewall.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(in crate::config) struct Waf {
    /// Name of the policy for every route that names none; default: none.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String")]
    pub(in crate::config) policy: Option<String>,
    /// Policies, at most 64.
    #[schemars(length(max = 64))]
    pub(in crate::config) policies: Vec<WafPolicy>,
    /// Named sets of addresses for conditions, at most 64.
    #[schemars(length(max = 64))]
    pub(in crate::config) ip_sets: Vec<IpSet>,
    /// Databases that tell where an address is registered; needed by `GeoMatch`, `AsnMatch` and `by: country`.
    #[serde(skip_serializing_if = "Option::is_none", rename = "geo")]
    #[schemars(with = "Databases")]
    pub(in crate::config) databases: Option<Databases>,
}

/// MaxMind databases (`.mmdb`), at least one; read again on reload.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(in crate::config) struct Databases {
    /// Path of a country or city database.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String")]
    pub(in crate::config) database: Option<PathBuf>,
    /// Path of a database of autonomous systems.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String")]
    pub(in crate::config) asn_database: Option<PathBuf>,
}

/// A named set of addresses.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::config) struct IpSet {
    /// Name in conditions, unique among sets.
    pub(in crate::config) name: String,
    /// Addresses and blocks, such as `192.0.2.7` or `2001:db8::/32`.
    #[serde(default)]
    #[schemars(length(max = 10_000))]
    pub(in crate::config) addresses: Vec<String>,
    /// Path of a file with one address or block a line, `#` begins a comment; read again on reload.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String")]
    pub(in crate::config) file: Option<PathBuf>,
}

/// One policy.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::config) struct WafPolicy {
    /// Name in routes, logs and metrics, unique among policies; not `off`.
    pub(in crate::config) name: String,
    /// Whether matches are acted on; default `detect`.
    #[serde(default)]
    pub(in crate::config) mode: WafMode,
    /// Score at which a request is blocked, 1 to 1000; default `5`.
    #[serde(default = "threshold")]
    #[schemars(range(min = 1, max = 1000))]
    pub(in crate::config) threshold: u32,
    /// Status of a block: 200, 403, 405, 406 or 429; default `403`.
    #[serde(default = "block_status")]
    pub(in crate::config) block_status: u16,
    /// Body of a block, at most 2 KiB; default: the usual error.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String")]
    pub(in crate::config) block_body: Option<String>,
    /// Absolute URL that `redirect` leads to; default: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String")]
    pub(in crate::config) redirect_url: Option<String>,
    /// How much of a body conditions look at; default `128KiB`.
    #[serde(default = "body_inspection_max")]
    pub(in crate::config) body_inspection_max: Size,
    /// Custom rules, at most 200.
    #[serde(default)]
    #[schemars(length(max = 200))]
    pub(in crate::config) rules: Vec<WafRule>,
    /// Built-in rules for line, query, cookies and headers, or `off`; default: on.
    #[serde(default)]
    pub(in crate::config) builtin: Switch<Builtin>,
    /// Shape that the bodies of inference requests must have, or `off`; default: on.
    #[serde(default)]
    pub(in crate::config) body: Switch<BodyShape>,
}

const fn threshold() -> u32 {
    defaults::WAF_THRESHOLD
}

const fn block_status() -> u16 {
    defaults::WAF_BLOCK_STATUS
}

const fn body_inspection_max() -> Size {
    Size(defaults::WAF_BODY_INSPECTION_MAX)
}

/// What is done about matches.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(in crate::config) enum WafMode {
    /// Nothing is looked for.
    Off,
    /// Matches are logged and counted.
    #[default]
    Detect,
    /// Matches are acted on, too.
    Prevent,
}

/// One custom rule.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::config) struct WafRule {
    /// Name in logs and metrics, unique in its policy.
    pub(in crate::config) name: String,
    /// Order in the policy, lower first; unique.
    pub(in crate::config) priority: u32,
    /// Operator's switch; default `true`.
    #[serde(default = "enabled")]
    pub(in crate::config) enabled: bool,
    /// The rule's own mode, where the policy allows it; default: the policy's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "WafMode")]
    pub(in crate::config) mode: Option<WafMode>,
    /// Conditions that must all hold, 1 to 10.
    #[schemars(length(min = 1, max = 10))]
    pub(in crate::config) conditions: Vec<WafCondition>,
    /// What is done when they do.
    pub(in crate::config) action: WafAction,
}

const fn enabled() -> bool {
    defaults::WAF_RULE_ENABLED
}

/// One condition.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::config) struct WafCondition {
    /// Part of the request that is looked at.
    pub(in crate::config) variable: WafVariable,
    /// Name of the header (required), or of one argument, field or cookie (default: all).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String")]
    pub(in crate::config) selector: Option<String>,
    /// How it is compared.
    pub(in crate::config) operator: MatchOperator,
    /// What it is compared with, any of them, at most 600.
    #[serde(default)]
    #[schemars(length(max = 600))]
    pub(in crate::config) values: Vec<String>,
    /// Name of a set of addresses, for `IPMatch` instead of `values`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String")]
    pub(in crate::config) ip_set: Option<String>,
    /// The condition holds where nothing matches; default `false`.
    #[serde(default)]
    pub(in crate::config) negate: bool,
    /// Changes of the value before it is compared, in this order, each once.
    #[serde(default)]
    #[schemars(length(max = 6))]
    pub(in crate::config) transforms: Vec<MatchTransform>,
}

/// Part of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub(in crate::config) enum WafVariable {
    /// Address of the client, as trusted hops tell.
    RemoteAddr,
    /// Address that is connected.
    SocketAddr,
    /// Method.
    RequestMethod,
    /// Query as sent, or one argument.
    QueryString,
    /// Fields of a form (`application/x-www-form-urlencoded`) as sent, or one.
    PostArgs,
    /// Path and query as sent.
    RequestUri,
    /// One header.
    RequestHeader,
    /// The body's beginning.
    RequestBody,
    /// Values of cookies, or of one.
    Cookies,
}

/// How a value is compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub(in crate::config) enum MatchOperator {
    /// There is a value.
    Any,
    /// The address is in a block.
    #[serde(rename = "IPMatch")]
    IpMatch,
    /// The address is registered in a country.
    #[serde(rename = "GeoMatch")]
    CountryMatch,
    /// The address belongs to an autonomous system.
    AsnMatch,
    /// The same bytes.
    Equal,
    /// A part.
    Contains,
    /// The beginning.
    BeginsWith,
    /// The end.
    EndsWith,
    /// Fewer bytes.
    LessThan,
    /// So many bytes or fewer.
    LessThanOrEqual,
    /// More bytes.
    GreaterThan,
    /// So many bytes or more.
    GreaterThanOrEqual,
    /// An expression.
    RegEx,
}

/// Change of a value before it is compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub(in crate::config) enum MatchTransform {
    /// ASCII letters become lower case.
    Lowercase,
    /// ASCII letters become upper case.
    Uppercase,
    /// Blanks at both ends go.
    Trim,
    /// Percent escapes are undone once, `+` is a space.
    UrlDecode,
    /// All but letters, digits and `-._~` is escaped.
    UrlEncode,
    /// Zero bytes go.
    RemoveNulls,
}

/// What a rule does.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(in crate::config) enum WafAction {
    /// Passes the request, the built-in rules included.
    Allow,
    /// Refuses it.
    Block,
    /// Logs it and goes on.
    Log,
    /// Sends the client to the policy's `redirect_url`.
    Redirect,
    /// Adds to the request's score: 5, 4, 3 or 2.
    AnomalyScore(WafSeverity),
    /// Refuses what comes too often.
    RateLimit(WafRateLimit),
}

/// How grave a match is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(in crate::config) enum WafSeverity {
    /// Scores 5.
    Critical,
    /// Scores 4.
    Error,
    /// Scores 3.
    Warning,
    /// Scores 2.
    Notice,
}

/// So many matching requests in a window.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::config) struct WafRateLimit {
    /// Requests that pass in a window, 1 to 1000000.
    #[schemars(range(min = 1, max = 1_000_000))]
    pub(in crate::config) threshold: u32,
    /// Length of a window in minutes, 1 or 5; default `1`.
    #[serde(default = "minutes")]
    pub(in crate::config) minutes: u32,
    /// Whose requests are counted together; default `socket_addr`.
    #[serde(default)]
    pub(in crate::config) by: WafGroup,
}

const fn minutes() -> u32 {
    defaults::WAF_RATE_MINUTES
}

/// Whose requests are counted together.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(in crate::config) enum WafGroup {
    /// Those over connections from one address (IPv6: one /64).
    #[default]
    SocketAddr,
    /// Those of one client address (IPv6: one /64).
    RemoteAddr,
    /// Those from one country.
    Country,
    /// All.
    None,
    /// Those with one value of this header.
    Header(String),
}
