//! The parts of the file about the process itself: listeners, admin, limits, headers, log, DNS.

use super::connections::{Connections, ProxyProtocol};
use super::hops::FrontDoor;
use super::tls::Tls;
use super::values::{Period, Size};
use crate::config::defaults;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// Where clients connect.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::config) struct Listener {
    /// Name in logs and metrics, unique among listeners.
    pub(in crate::config) name: String,
    /// IP address and port to bind, such as `0.0.0.0:8443` or `[::]:8443`, or a Unix socket such as `unix:/run/tidegate/edge.sock`.
    pub(in crate::config) address: String,
    /// Permissions of the Unix socket, in octal; default `0660`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String")]
    pub(in crate::config) socket_mode: Option<String>,
    /// Certificate and key; default: plain text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Tls")]
    pub(in crate::config) tls: Option<Tls>,
    /// HTTP/2 beside HTTP/1.1: by ALPN under TLS, by prior knowledge in plain text; default `true`.
    #[serde(default = "listener_http2")]
    pub(in crate::config) http2: bool,
    /// Take the requests of certain Azure Front Doors only; default: everybody's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "FrontDoor")]
    pub(in crate::config) front_door: Option<FrontDoor>,
    /// Whether `limits.connections` caps the connections here; default `true`.
    #[serde(default = "connection_caps")]
    pub(in crate::config) connection_caps: bool,
    /// Answer every request with a redirect to HTTPS on the same host, in plain text only; default `false`.
    #[serde(default)]
    pub(in crate::config) redirect_to_https: bool,
    /// Name of the zone that binds its requests; default: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String")]
    pub(in crate::config) residency: Option<String>,
    /// Load balancers that tell the client's address by the PROXY protocol, version 1 or 2; default: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "ProxyProtocol")]
    pub(in crate::config) proxy_protocol: Option<ProxyProtocol>,
}

const fn connection_caps() -> bool {
    defaults::CONNECTION_CAPS
}

const fn listener_http2() -> bool {
    defaults::LISTENER_HTTP2
}

/// Admin listener.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(in crate::config) struct Admin {
    /// IP address and port of the admin listener; default `127.0.0.1:9090`.
    pub(in crate::config) address: String,
}

impl Default for Admin {
    fn default() -> Self {
        Self { address: defaults::ADMIN_ADDRESS.to_owned() }
    }
}

/// Process-wide settings.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(in crate::config) struct Process {
    /// Worker threads, 1 to 1024; default: one per CPU.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "u32", range(min = 1, max = 1024))]
    pub(in crate::config) threads: Option<u32>,
    /// After SIGTERM, how long to keep accepting while `/readyz` says 503; default `10s`.
    pub(in crate::config) pre_drain: Period,
    /// After that, how long requests in flight may take to end; default `10m`.
    pub(in crate::config) drain: Period,
    /// Unix socket that hands the listeners to a new process, in a private directory (0700); default `/run/tidegate/upgrade.sock`.
    pub(in crate::config) upgrade_socket: PathBuf,
    /// Idle connections kept to backends, per thread, 0 to 65535; default `128`.
    #[schemars(range(min = 0, max = 65_535))]
    pub(in crate::config) keepalive_connections_max: u32,
}

impl Default for Process {
    fn default() -> Self {
        Self {
            threads: None,
            pre_drain: Period(defaults::PRE_DRAIN),
            drain: Period(defaults::DRAIN),
            upgrade_socket: defaults::UPGRADE_SOCKET.into(),
            keepalive_connections_max: defaults::KEEPALIVE_CONNECTIONS_MAX,
        }
    }
}

/// Ceilings of one request and of all together.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(in crate::config) struct Limits {
    /// Longest request target; default `8KiB`.
    pub(in crate::config) uri_length_max: Size,
    /// Largest header block; default `64KiB`.
    pub(in crate::config) header_size_max: Size,
    /// Most header fields, 1 to 256; default `100`.
    #[schemars(range(min = 1, max = 256))]
    pub(in crate::config) header_count_max: u32,
    /// Largest request body; default `32MiB`.
    pub(in crate::config) body_size_max: Size,
    /// Most bytes of request bodies held at a time by the whole process; default `1GiB`.
    pub(in crate::config) body_memory_max: Size,
    /// Longest pause between two reads of a request body; default `30s`.
    pub(in crate::config) body_idle_timeout: Period,
    /// Longest time for a whole request body; default `5m`.
    pub(in crate::config) body_timeout: Period,
    /// Fewest bytes per second of a request body, averaged over `body_rate_window`; default `1KiB`, `0B` for no such limit.
    pub(in crate::config) body_rate_min: Size,
    /// Over how long `body_rate_min` is averaged; default `30s`.
    pub(in crate::config) body_rate_window: Period,
    /// How long an idle connection of a client is kept; default `1m`.
    pub(in crate::config) keepalive_timeout: Period,
    /// Other gateways of this kind that a request may have passed, 0 to 16; default `4`.
    #[schemars(range(min = 0, max = 16))]
    pub(in crate::config) passes_max: u32,
    /// Connections of clients: how many, and how long each step may take.
    pub(in crate::config) connections: Connections,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            uri_length_max: Size(defaults::URI_LENGTH_MAX),
            header_size_max: Size(defaults::HEADER_SIZE_MAX),
            header_count_max: defaults::HEADER_COUNT_MAX,
            body_size_max: Size(defaults::BODY_SIZE_MAX),
            body_memory_max: Size(defaults::BODY_MEMORY_MAX),
            body_idle_timeout: Period(defaults::BODY_IDLE_TIMEOUT),
            body_timeout: Period(defaults::BODY_TIMEOUT),
            body_rate_min: Size(defaults::BODY_RATE_MIN),
            body_rate_window: Period(defaults::BODY_RATE_WINDOW),
            keepalive_timeout: Period(defaults::KEEPALIVE_TIMEOUT),
            passes_max: defaults::PASSES_MAX,
            connections: Connections::default(),
        }
    }
}

/// Headers that the gateway adds for clients.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(in crate::config) struct Headers {
    /// `X-Served-By: region/backend` on answers; default `true`.
    pub(in crate::config) served_by: bool,
    /// `X-Tidegate-Region` on answers, the place where the data was processed; default `true`.
    pub(in crate::config) region: bool,
    /// `X-Tidegate-Attempts` on answers, the trail of attempts and why they failed; default `false`.
    pub(in crate::config) attempts: bool,
    /// Take a client's well-formed `x-request-id` over instead of always making one; default `true`.
    pub(in crate::config) request_id_accepted: bool,
    /// Make a W3C `traceparent` for a request that has none; default `false`.
    pub(in crate::config) trace_created: bool,
}

impl Default for Headers {
    fn default() -> Self {
        Self {
            served_by: defaults::SERVED_BY,
            region: defaults::PROCESSING_REGION,
            attempts: defaults::ATTEMPTS,
            request_id_accepted: defaults::REQUEST_ID_ACCEPTED,
            trace_created: defaults::TRACE_CREATED,
        }
    }
}

/// Where the access log goes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(in crate::config) enum AccessLog {
    /// Standard output.
    #[default]
    Stdout,
    /// Nowhere.
    Off,
    /// Path of a file to append to, relative to the configuration's directory; opened again on reload.
    File(PathBuf),
}

/// Background DNS.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(in crate::config) struct Dns {
    /// How often names are looked up again; default `30s`.
    pub(in crate::config) refresh: Period,
    /// Limit of one look-up; default `5s`.
    pub(in crate::config) timeout: Period,
}

impl Default for Dns {
    fn default() -> Self {
        Self { refresh: Period(defaults::DNS_REFRESH), timeout: Period(defaults::DNS_TIMEOUT) }
    }
}
