//! The snapshot: one validated, compiled, immutable configuration. Requests pin one; a reload replaces it whole.

mod access;
mod acme;
mod address;
mod backend;
mod connections;
mod http2;
mod identity;
mod issuer;
mod models;
mod overload;
mod pool;
mod quota;

pub use access::{Access, Certificates, Consumer, Key, KeyText, Keys, Refused};
pub use acme::Acme;
pub use address::Address;
pub use backend::{Auth, Backend, BaseUrl};
pub use connections::Connections;
pub use http2::Http2;
pub use identity::{
    Application, Credential, Identity, Keepsake, KeyVault, OwnToken, Place, SigningKey, Text, UserAssigned,
    VaultSecret, authority,
};
pub use issuer::{Endpoint, Issuer, KeySource};
pub use models::Models;
pub use overload::Overload;
pub use pool::{Gate, Pace, Pool, Probe, ProbeKind, Timeouts};
pub use quota::BackendQuota;

use crate::domain::{ListenerName, NetworkSet, Region, RouteName};
use crate::policy::cors::Cors;
use crate::policy::rules::Rules;
use crate::policy::screen::ruleset::Policy;
use crate::policy::{framing, hops, route};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

mod residency;
mod shared_limits;
mod stateful;
mod tls;
mod tokens;
mod usage_limits;
mod waf;

pub use residency::{Proof, Residency, Site};
pub use shared_limits::{RedisMode, SharedLimits};
pub use stateful::{Lists, Stateful};
pub use tls::{BackendTls, ClientAuth, Tls, TlsFiles};
pub use tokens::TokenUsage;
pub use usage_limits::UsageLimits;
pub use waf::{DatabaseError, Databases, Located, Waf};

/// One configuration, ready to run.
#[derive(Clone, Debug)]
pub struct Snapshot {
    /// Counts the configurations that came into force, from 1. Set by whoever puts it in force.
    pub generation: u64,
    /// SHA-256 of the file, hex, first 16 digits.
    pub digest: String,
    /// The region this gateway runs in.
    pub home_region: Option<Region>,
    /// Where clients connect; at least one.
    pub listeners: Vec<Listener>,
    /// The admin listener: metrics, health, backends.
    pub admin: Option<SocketAddr>,
    /// Process-wide settings; those marked so need a restart.
    pub process: Process,
    /// Ceilings of a request.
    pub limits: Limits,
    /// Limits of a client's HTTP/2 connection.
    pub http2: Http2,
    /// What the process does when it is asked for more than it can carry.
    pub overload: Overload,
    /// How strictly ambiguous framing is treated.
    pub framing: framing::Strictness,
    /// Headers that we add.
    pub headers: Headers,
    /// Who is believed about where a request came from.
    pub hops: hops::Hops,
    /// Where the access log goes.
    pub access_log: AccessLog,
    /// Background DNS.
    pub dns: Dns,
    /// Cross-origin use by browsers, for requests that no route takes; each route has its own.
    pub cors: Option<Arc<Cors>>,
    /// The rules engine.
    pub rules: Rules,
    /// Web application firewall; each route has its policy.
    pub waf: Option<Waf>,
    /// Who may call; nobody is asked when absent.
    pub access: Option<Access>,
    /// Where data may be processed; anywhere when absent.
    pub residency: Option<Residency>,
    /// Tells where clients are, where it is not the firewall's that does.
    pub locator: Option<Arc<Databases>>,
    /// With whom limits are shared; each gateway has them to itself when absent.
    pub shared_limits: Option<SharedLimits>,
    /// How much may be used.
    pub usage_limits: UsageLimits,
    /// How tokens are counted and what they cost.
    pub usage: TokenUsage,
    /// How clients get at what resources store.
    pub stateful: Stateful,
    /// What clients may call a deployment, and what they are told there is.
    pub models: Models,
    /// Tokens of our own that backends and vaults are shown; each is wanted by somebody.
    pub own_tokens: Vec<OwnToken>,
    /// How secrets are read from Key Vaults.
    pub key_vault: Option<KeyVault>,
    /// The text that this was compiled from: new values of secrets go into the same.
    pub text: Text,
    /// Pools, in the order of the file.
    pub pools: Vec<Pool>,
    /// Routes, most specific first.
    pub routes: Vec<Route>,
}

/// Where clients connect. Changes need a restart or an upgrade.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listener {
    /// Its name in logs and metrics.
    pub name: ListenerName,
    /// Address to bind.
    pub address: Address,
    /// Certificates; plain text when absent.
    pub tls: Option<Tls>,
    /// HTTP/2: by ALPN under TLS, by prior knowledge (h2c) in plain text.
    pub http2: bool,
    /// Whether the caps of connections hold here.
    pub connection_caps: bool,
    /// Every request is answered with a redirect to HTTPS.
    pub redirect_to_https: bool,
    /// Load balancers that tell the client's address by the PROXY protocol.
    pub proxies: NetworkSet,
}

/// Process-wide settings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Process {
    /// Worker threads; restart to change.
    pub threads: usize,
    /// After SIGTERM: how long we keep accepting while `/readyz` says 503.
    pub pre_drain: Duration,
    /// After that: how long requests in flight may take to end.
    pub drain: Duration,
    /// Unix socket that hands the listeners to a new process on SIGQUIT; its directory must be private (0700).
    pub upgrade_socket: PathBuf,
    /// Idle connections kept to backends, per thread.
    pub keepalive_connections_max: usize,
}

/// Ceilings of one request and of all together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Request target, bytes.
    pub uri_length_max: usize,
    /// Header block, bytes.
    pub header_size_max: usize,
    /// Header fields.
    pub header_count_max: usize,
    /// Request body, bytes.
    pub body_size_max: u64,
    /// Request bodies held by the whole process, bytes.
    pub body_memory_max: u64,
    /// Longest pause between two reads of a request body.
    pub body_idle_timeout: Duration,
    /// Whole request body.
    pub body_timeout: Duration,
    /// Fewest bytes per second of a request body.
    pub body_rate_min: u64,
    /// Over how long that is averaged.
    pub body_rate_window: Duration,
    /// Idle keep-alive connection of a client.
    pub keepalive_timeout: Duration,
    /// Connections of clients.
    pub connections: Connections,
}

/// Headers that we add for clients.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Headers {
    /// `X-Served-By: region/backend` on answers.
    pub served_by: bool,
    /// `X-Tidegate-Region` on answers: the place where the data was processed.
    pub region: bool,
    /// `X-Tidegate-Attempts` on answers: the trail of categorical reasons.
    pub attempts: bool,
    /// Take a client's well-formed `x-request-id` over; else always make one.
    pub request_id_accepted: bool,
}

/// Where the access log goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AccessLog {
    /// Nowhere.
    Off,
    /// Standard output.
    Stdout,
    /// A file, appended to; reopened on reload.
    File(PathBuf),
}

/// Background DNS.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dns {
    /// How often names are looked up again.
    pub refresh: Duration,
    /// One look-up's limit.
    pub timeout: Duration,
}

/// Which requests go to which pool.
#[derive(Clone, Debug)]
pub struct Route {
    /// Its name.
    pub name: RouteName,
    /// Its conditions.
    pub matcher: route::Matcher,
    /// Index into [`Snapshot::pools`].
    pub pool: usize,
    /// Cross-origin use by browsers: its own policy or the one for all.
    pub cors: Option<Arc<Cors>>,
    /// Web application firewall: its own policy or the one for all.
    pub waf: Option<Arc<Policy>>,
    /// Usage limits, by index.
    pub limits: Vec<usize>,
    /// It takes calls without a deployment for which no other route is.
    pub stateful: bool,
}

#[cfg(test)]
pub(crate) mod tests;
