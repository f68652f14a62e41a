//! A snapshot for tests of other rooms.

use super::*;

const SECOND: Duration = Duration::from_secs(1);

fn process(drain: Duration) -> Process {
    Process { threads: 1, pre_drain: drain, drain, upgrade_socket: "/nonexistent".into(), keepalive_connections_max: 1 }
}

/// A snapshot without listener, pool or route.
pub(crate) fn bare() -> Snapshot {
    Snapshot {
        own_tokens: Vec::new(),
        key_vault: None,
        text: Text::default(),
        generation: 1,
        digest: "0123456789abcdef".into(),
        home_region: None,
        listeners: Vec::new(),
        admin: None,
        process: process(SECOND),
        limits: Limits {
            uri_length_max: 1,
            header_size_max: 1,
            header_count_max: 1,
            body_size_max: 1,
            body_memory_max: 1,
            body_idle_timeout: SECOND,
            body_timeout: SECOND,
            body_rate_min: 0,
            body_rate_window: SECOND,
            keepalive_timeout: SECOND,
            connections: Connections::default(),
        },
        http2: Http2 {
            streams_max: 1,
            header_list_max: 1,
            resets_pending_max: 1,
            resets_forced_max: 1,
            stream_window: 1,
            connection_window: 1,
            stalled_timeout: SECOND,
        },
        overload: Overload {
            ceilings: crate::policy::overload::Ceilings {
                in_flight_max: 1,
                batch_max: 1,
                queue_max: 1,
                queue_timeout: SECOND,
                memory: None,
            },
            batch_header: None,
            batch_routes: Vec::new(),
        },
        framing: framing::Strictness::Strictest,
        headers: Headers { served_by: true, region: true, attempts: false, request_id_accepted: true },
        hops: hops::Hops::default(),
        access_log: AccessLog::Off,
        dns: Dns { refresh: SECOND, timeout: SECOND },
        cors: None,
        rules: Rules::default(),
        waf: None,
        residency: None,
        locator: None,
        models: Models::default(),
        access: None,
        shared_limits: None,
        usage_limits: UsageLimits::default(),
        usage: TokenUsage::default(),
        stateful: Stateful::default(),
        pools: Vec::new(),
        routes: Vec::new(),
    }
}
