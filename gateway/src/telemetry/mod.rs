//! The signals of the gateway: every metric in one table ([`table`]), one access log line per request ([`access_log`]),
//! the process log ([`logging`]) and the clock they share ([`clock`]).
//!
//! Signals never decide anything, never block a request and never hold a prompt or a secret.

pub mod access_log;
pub mod clock;
mod limits;
pub mod logging;
pub mod meters;
pub mod metrics;
pub mod process;
mod sink;
pub mod table;

pub use access_log::{AccessLog, AttemptRecord, AzureRecord, Record, TokensRecord, WafRecord, dotted};
pub use clock::{Timestamp, now, unix_ms};
pub use limits::{LimitMeters, LimitTable};
pub use meters::{BackendMeters, ConsumerMeters, PoolMeters, ProbeResult, RouteMeters, RuleMeters};
pub use metrics::{Metrics, Spending};

#[cfg(test)]
pub(crate) mod tests {
    use crate::config::snapshot::{AccessLog, Connections, Dns, Headers, Http2, Limits, Overload, Process, Snapshot};
    use std::time::Duration;

    fn process(drain: Duration) -> Process {
        Process {
            threads: 1,
            pre_drain: drain,
            drain,
            upgrade_socket: "/nonexistent".into(),
            keepalive_connections_max: 1,
        }
    }

    /// A snapshot without listener, pool or route.
    pub(crate) fn snapshot() -> Snapshot {
        let second = Duration::from_secs(1);
        Snapshot {
            own_tokens: Vec::new(),
            key_vault: None,
            text: crate::config::snapshot::Text::default(),
            generation: 1,
            digest: "0123456789abcdef".into(),
            home_region: None,
            listeners: Vec::new(),
            admin: None,
            process: process(second),
            limits: Limits {
                uri_length_max: 1,
                header_size_max: 1,
                header_count_max: 1,
                body_size_max: 1,
                body_memory_max: 1,
                body_idle_timeout: second,
                body_timeout: second,
                body_rate_min: 0,
                body_rate_window: second,
                keepalive_timeout: second,
                connections: Connections::default(),
            },
            http2: Http2 {
                streams_max: 1,
                header_list_max: 1,
                resets_pending_max: 1,
                resets_forced_max: 1,
                stream_window: 1,
                connection_window: 1,
                stalled_timeout: second,
            },
            overload: Overload {
                ceilings: crate::policy::overload::Ceilings {
                    in_flight_max: 1,
                    batch_max: 1,
                    queue_max: 1,
                    queue_timeout: second,
                    memory: None,
                },
                batch_header: None,
                batch_routes: Vec::new(),
            },
            framing: crate::policy::framing::Strictness::Strictest,
            headers: Headers { served_by: true, region: true, attempts: false, request_id_accepted: true },
            hops: crate::policy::hops::Hops::default(),
            access_log: AccessLog::Off,
            dns: Dns { refresh: second, timeout: second },
            cors: None,
            rules: crate::policy::rules::Rules::default(),
            waf: None,
            residency: None,
            locator: None,
            models: crate::config::snapshot::Models::default(),
            access: None,
            shared_limits: None,
            usage_limits: crate::config::snapshot::UsageLimits::default(),
            usage: crate::config::snapshot::TokenUsage::default(),
            stateful: crate::config::snapshot::Stateful::default(),
            pools: Vec::new(),
            routes: Vec::new(),
        }
    }
}
