//! The part of the file about the rules engine.

use crate::config::defaults;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What is done to requests that meet all conditions.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::config) struct Rule {
    /// Name in logs and metrics, unique among rules.
    pub(in crate::config) name: String,
    /// Conditions, all of which must hold, at most 10; default: every request.
    #[serde(default)]
    #[schemars(length(max = 10))]
    pub(in crate::config) when: Vec<Condition>,
    /// What is done, at most 5 actions; default: nothing, which only `stop` gives a sense.
    #[serde(default)]
    #[schemars(length(max = 5))]
    pub(in crate::config) then: Vec<Action>,
    /// No rule after this one is looked at; default `false`.
    #[serde(default = "stop")]
    pub(in crate::config) stop: bool,
}

const fn stop() -> bool {
    defaults::RULE_STOP
}

/// One condition.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::config) struct Condition {
    /// What it looks at.
    pub(in crate::config) variable: Variable,
    /// Which header, cookie or argument, for the variables that have several.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String")]
    pub(in crate::config) name: Option<String>,
    /// How it is compared.
    pub(in crate::config) operator: Operator,
    /// With what; one of them is enough. None for `any`.
    #[serde(default)]
    pub(in crate::config) values: Vec<String>,
    /// Changes before it is compared, in this order.
    #[serde(default)]
    #[schemars(length(max = 6))]
    pub(in crate::config) transforms: Vec<Transform>,
    /// The condition holds where none of the values matches; default `false`.
    #[serde(default = "negate")]
    pub(in crate::config) negate: bool,
}

const fn negate() -> bool {
    defaults::RULE_NEGATE
}

/// What a condition looks at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(in crate::config) enum Variable {
    /// Method, as sent.
    Method,
    /// `1.0`, `1.1` or `2`.
    HttpVersion,
    /// `http` or `https`.
    Scheme,
    /// Host without port, lower case.
    Host,
    /// Path as sent, with its leading slash.
    Path,
    /// Last segment of the path.
    FileName,
    /// What follows the last dot of the last segment.
    FileExtension,
    /// Scheme, host, path and query.
    Url,
    /// Query as sent, without its question mark.
    QueryString,
    /// Values of an argument of the query.
    QueryArgument,
    /// Values of a header.
    RequestHeader,
    /// Values of a cookie.
    Cookie,
    /// `1.2` or `1.3`; nothing in plain text.
    TlsVersion,
    /// `mobile` or `desktop`, by the user agent.
    DeviceType,
    /// Address of the client, as trusted hops tell it.
    ClientAddress,
    /// Address of who is connected.
    SocketAddress,
    /// Port that the client connected to.
    ServerPort,
    /// Bytes of the request body.
    BodySize,
}

/// How a condition compares.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(in crate::config) enum Operator {
    /// There is one at all.
    Any,
    /// The same.
    Equal,
    /// A part of it.
    Contains,
    /// Its beginning.
    BeginsWith,
    /// Its end.
    EndsWith,
    /// Shorter than so many bytes; of ports and sizes: less.
    LessThan,
    /// As long or shorter; of ports and sizes: as much or less.
    LessThanOrEqual,
    /// Longer than so many bytes; of ports and sizes: more.
    GreaterThan,
    /// As long or longer; of ports and sizes: as much or more.
    GreaterThanOrEqual,
    /// A regular expression matches somewhere in it.
    Regex,
    /// The address lies in one of these networks.
    IpMatch,
    /// The address is registered in one of these countries, by their two letters; `ZZ` where that is not known.
    #[serde(rename = "geo_match")]
    CountryMatch,
    /// The address belongs to one of these autonomous systems, such as `AS8075`.
    AsnMatch,
}

/// A change before a comparison.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(in crate::config) enum Transform {
    /// ASCII letters become lower case.
    Lowercase,
    /// ASCII letters become upper case.
    Uppercase,
    /// Blanks at both ends go.
    Trim,
    /// Zero bytes go.
    RemoveNulls,
    /// All but letters, digits and `-._~` becomes `%XX`.
    UrlEncode,
    /// `%41` becomes `A` and `+` a space, once.
    UrlDecode,
}

/// What a rule does.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(in crate::config) enum Action {
    /// One more field for backends.
    AppendRequestHeader(HeaderField),
    /// This field for backends instead of the client's.
    OverwriteRequestHeader(HeaderField),
    /// No field of this name for backends.
    DeleteRequestHeader(String),
    /// One more field for clients.
    AppendResponseHeader(HeaderField),
    /// This field for clients instead of the backend's.
    OverwriteResponseHeader(HeaderField),
    /// No field of this name for clients.
    DeleteResponseHeader(String),
    /// Sends the client elsewhere; no rule after this one is looked at.
    Redirect(Redirect),
    /// Another beginning for the path, before it is routed.
    Rewrite(Rewrite),
    /// Name of the pool that takes the request instead of its route's.
    Pool(String),
}

/// A header and its value.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::config) struct HeaderField {
    /// Its name.
    pub(in crate::config) name: String,
    /// Its value, at most 640 characters.
    pub(in crate::config) value: String,
}

/// Where a redirect leads; what is left out stays as the client asked for it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::config) struct Redirect {
    /// 301, 302, 307 or 308; default `307`.
    #[serde(default = "status")]
    pub(in crate::config) status: u16,
    /// Protocol.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Protocol")]
    pub(in crate::config) protocol: Option<Protocol>,
    /// Host, and port where it is not the protocol's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String")]
    pub(in crate::config) host: Option<String>,
    /// Path, with its leading slash.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String")]
    pub(in crate::config) path: Option<String>,
    /// Query, without its question mark; `""` for none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String")]
    pub(in crate::config) query: Option<String>,
    /// Fragment, without its `#`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String")]
    pub(in crate::config) fragment: Option<String>,
}

const fn status() -> u16 {
    defaults::REDIRECT_STATUS
}

/// Protocol of a redirect.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(in crate::config) enum Protocol {
    /// Plain text.
    Http,
    /// TLS.
    Https,
}

/// Another beginning for a path.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::config) struct Rewrite {
    /// Whole segments that the path must begin with, such as `/ai`; default `/`.
    #[serde(default = "from")]
    pub(in crate::config) from: String,
    /// What stands there instead, such as `/openai/v1`.
    pub(in crate::config) to: String,
    /// What follows `from` is kept; default `true`.
    #[serde(default = "keep_rest")]
    pub(in crate::config) keep_rest: bool,
}

fn from() -> String {
    defaults::REWRITE_FROM.to_owned()
}

const fn keep_rest() -> bool {
    defaults::REWRITE_KEEP_REST
}
