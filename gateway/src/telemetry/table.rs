//! Every metric of the gateway, one row each: name, labels, help. What is not here does not exist; the manual is compared
//! with [`TABLE`]. All label sets are closed: names from the configuration, or labels of an enum of ours.

use prometheus::{CounterVec, GaugeVec, HistogramOpts, HistogramVec, IntCounterVec, IntGaugeVec, Opts, Registry};

/// What a metric counts like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Only grows.
    Counter,
    /// Goes up and down.
    Gauge,
    /// Distribution over fixed buckets.
    Histogram,
}

/// One row of the table.
#[derive(Clone, Copy, Debug)]
pub struct Row {
    /// `tidegate_<noun>[_<unit>][_total]`.
    pub name: &'static str,
    /// What it counts like.
    pub kind: Kind,
    /// One sentence.
    pub help: &'static str,
    /// Its labels, in order.
    pub labels: &'static [&'static str],
    /// Upper bounds of a histogram's buckets; empty for the others.
    pub buckets: &'static [f64],
}

/// Whole requests, seconds: from a refusal to a long stream.
const REQUEST_SECONDS: &[f64] =
    &[0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 20.0, 30.0, 60.0, 120.0, 300.0];
/// Time to the first byte of an attempt, seconds.
const FIRST_BYTE_SECONDS: &[f64] =
    &[0.01, 0.025, 0.05, 0.1, 0.2, 0.35, 0.5, 0.75, 1.0, 1.5, 2.5, 5.0, 10.0, 20.0, 60.0];
/// One probe, seconds.
const PROBE_SECONDS: &[f64] = &[0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0];

macro_rules! build {
    (counter $row:expr) => {
        IntCounterVec::new(Opts::new($row.name, $row.help), $row.labels)
    };
    (float_counter $row:expr) => {
        CounterVec::new(Opts::new($row.name, $row.help), $row.labels)
    };
    (gauge $row:expr) => {
        IntGaugeVec::new(Opts::new($row.name, $row.help), $row.labels)
    };
    (float_gauge $row:expr) => {
        GaugeVec::new(Opts::new($row.name, $row.help), $row.labels)
    };
    (histogram $row:expr) => {
        HistogramVec::new(HistogramOpts::new($row.name, $row.help).buckets($row.buckets.to_vec()), $row.labels)
    };
}

macro_rules! family {
    (counter) => {
        IntCounterVec
    };
    (float_counter) => {
        CounterVec
    };
    (gauge) => {
        IntGaugeVec
    };
    (float_gauge) => {
        GaugeVec
    };
    (histogram) => {
        HistogramVec
    };
}

macro_rules! kind {
    (counter) => {
        Kind::Counter
    };
    (float_counter) => {
        Kind::Counter
    };
    (gauge) => {
        Kind::Gauge
    };
    (float_gauge) => {
        Kind::Gauge
    };
    (histogram) => {
        Kind::Histogram
    };
}

macro_rules! buckets {
    () => {
        &[]
    };
    ($buckets:expr) => {
        $buckets
    };
}

macro_rules! table {
    ($($field:ident: $kind:ident $name:literal [$($label:literal),*] $help:literal $(in $buckets:expr)?;)*) => {
        /// Every metric, in the order of this file.
        pub static TABLE: &[Row] = &[$(Row {
            name: $name, kind: kind!($kind), help: $help, labels: &[$($label),*], buckets: buckets!($($buckets)?),
        }),*];

        /// The families of the table, one field per row.
        #[derive(Debug)]
        pub(super) struct Families { $(pub(super) $field: family!($kind)),* }

        impl Families {
            /// Builds every family of the table and registers it.
            pub(super) fn register(registry: &Registry) -> prometheus::Result<Self> {
                let mut rows = TABLE.iter();
                let mut next = || rows.next().ok_or_else(|| prometheus::Error::Msg("the table is short".into()));
                $(
                    let row = next()?;
                    let $field = build!($kind row)?;
                    registry.register(Box::new($field.clone()))?;
                )*
                Ok(Self { $($field),* })
            }
        }
    };
}

table! {
    requests: counter "tidegate_requests_total" ["route", "pool", "ending"]
        "Requests that ended, by route, pool and ending; route and pool are (none) where none was found.";
    rule_matches: counter "tidegate_rule_matches_total" ["rule"]
        "Requests that met a rule of the rules engine.";
    responses: counter "tidegate_responses_total" ["pool", "backend", "region", "ending"]
        "Requests that ended with an answer from this backend, by ending.";
    attempts: counter "tidegate_attempts_total" ["pool", "backend", "region", "outcome"]
        "Attempts at a backend, by outcome.";
    throttles: counter "tidegate_throttles_total" ["pool", "backend", "kind"]
        "429s of a backend, those inside a stream included, by what header or body say they are about.";
    server_errors: counter "tidegate_server_errors_total" ["pool", "backend", "kind"]
        "408s and 5xxs of a backend, those inside a stream included, by what status or body say of it.";
    azure_spillovers: counter "tidegate_azure_spillovers_total" ["pool", "backend", "result"]
        "Answers that Azure itself had spilled over to another deployment of the resource, or had tried to.";
    failovers: counter "tidegate_failovers_total" ["pool", "reason"]
        "Further attempts after a failed one, by the outcome that caused them.";
    affinity: counter "tidegate_affinity_total" ["pool", "result"]
        "Requests that a prompt cache may help, by whether they went to their key's own backend (home) or that one was crowded.";
    budget_refusals: counter "tidegate_failover_budget_refusals_total" ["pool"]
        "Failovers not made because the pool's failover budget was spent.";
    hedges: counter "tidegate_hedges_total" ["pool", "result"]
        "Requests that were slow to begin, by what became of the second attempt beside the first.";
    hedge_prompt_tokens: counter "tidegate_hedge_prompt_tokens_total" ["pool"]
        "Prompt tokens that two backends have read of a request of which one was relayed, estimated; no consumer is charged for the second time.";
    panic_selections: counter "tidegate_panic_selections_total" ["pool"]
        "Selections that ignored health because too few backends were left.";
    ejections: counter "tidegate_ejections_total" ["pool", "backend", "reason"]
        "Ejections of a backend, by reason.";
    health_changes: counter "tidegate_health_changes_total" ["pool", "backend", "to"]
        "Changes of a backend's probe health, by what it became.";
    backend_eligible: gauge "tidegate_backend_eligible" ["pool", "backend", "region"]
        "1 while the backend may take new requests, else 0.";
    backend_resting: float_gauge "tidegate_backend_resting_seconds" ["pool", "backend", "region"]
        "Seconds until the backend's ejection ends; 0 when it is not ejected.";
    backend_headroom: float_gauge "tidegate_backend_headroom" ["pool", "backend", "region", "quota"]
        "Share of the backend's quota that is left, by quota (tokens, requests); 1 where nothing is known of it.";
    backend_quota_cut: gauge "tidegate_backend_quota_cut" ["pool", "backend", "region"]
        "1 while the backend's answers tell of a quota below the configured one, else 0.";
    backend_utilization: float_gauge "tidegate_backend_utilization" ["pool", "backend", "region"]
        "How full a provisioned deployment is, as told by its header or estimated; above 1 it refuses; 0 where nothing is known of it.";
    backend_in_flight: gauge "tidegate_backend_attempts_in_flight" ["pool", "backend", "region"]
        "Attempts at the backend that have not ended.";
    pool_eligible: gauge "tidegate_pool_backends_eligible" ["pool"]
        "Backends of the pool that may take new requests.";
    probes: counter "tidegate_probes_total" ["pool", "backend", "result"]
        "Probes of a backend, by result.";
    probe_duration: histogram "tidegate_probe_duration_seconds" ["pool", "backend"]
        "Time of one passed probe, connection included." in PROBE_SECONDS;
    request_duration: histogram "tidegate_request_duration_seconds" ["pool"]
        "Time from a request's arrival to its end." in REQUEST_SECONDS;
    first_byte_duration: histogram "tidegate_first_byte_duration_seconds" ["pool", "backend"]
        "Time from an attempt's start to the first byte of its answer." in FIRST_BYTE_SECONDS;
    tokens: counter "tidegate_tokens_total" ["pool", "backend", "kind"]
        "Tokens as reported by the backend, or as counted where it did not tell them, by kind.";
    cost: counter "tidegate_cost_billionths_total" ["consumer", "model", "region", "currency"]
        "Cost of tokens, in billionths of the currency; the model as the price table names it, the consumer (none) where nobody is asked.";
    in_flight: gauge "tidegate_requests_in_flight" ["pool"]
        "Routed requests that have not ended.";
    streams_open: gauge "tidegate_streams_open" ["pool"]
        "Streamed answers being relayed.";
    websockets_open: gauge "tidegate_websockets_open" ["pool"]
        "WebSockets being relayed.";
    request_bytes: counter "tidegate_request_bytes_total" ["pool"]
        "Bytes of request bodies received.";
    response_bytes: counter "tidegate_response_bytes_total" ["pool"]
        "Bytes of response bodies sent to clients.";
    denials: counter "tidegate_denials_total" ["code"]
        "Requests that the gateway refused, by code.";
    limit_results: counter "tidegate_limit_requests_total" ["limit", "result"]
        "Requests for which a usage limit held: passed, or what it had too little of.";
    limit_strict: counter "tidegate_limit_strict_total" ["limit", "result"]
        "Admissions that a strict limit asked the server about, by result; those that failed were decided here.";
    limit_tokens: counter "tidegate_limit_tokens_total" ["limit"]
        "Tokens charged to a usage limit, weighted.";
    limit_buckets: gauge "tidegate_limit_buckets" []
        "Buckets of usage limits in memory.";
    limit_crowded: counter "tidegate_limit_crowded_total" []
        "Charges to the bucket that everybody shares who found no room for one of its own.";
    authentication_failures: counter "tidegate_authentication_failures_total" ["reason"]
        "Requests of clients that were not who they would have to be, by reason.";
    consumer_requests: counter "tidegate_consumer_requests_total" ["consumer", "ending"]
        "Requests that ended, by consumer and ending.";
    stored_ids: counter "tidegate_stored_ids_total" ["result"]
        "Requests with ids of something stored, by what came of them: opened, or why one was not taken.";
    keys_expiring: gauge "tidegate_keys_expiring" ["consumer"]
        "Keys of the consumer that are in force and expire within 14 days; absent where there is none.";
    shared_limits_connected: gauge "tidegate_shared_limits_connected" []
        "1 while usage limits are shared with other gateways, 0 while each keeps to its fair share.";
    shared_limits_rounds: counter "tidegate_shared_limits_rounds_total" ["result"]
        "Rounds in which this gateway has told what it used of shared limits, by result.";
    shed: counter "tidegate_shed_total" ["class", "reason"]
        "Requests refused because the process was at a ceiling, by class and reason.";
    waiting: gauge "tidegate_requests_waiting" []
        "Requests that wait for their turn because the process is at its ceiling.";
    memory_pressure: gauge "tidegate_memory_pressure" []
        "0 while resident memory is below its ceilings, 1 while the process shrinks, 2 while it takes nothing new.";
    framing_flaws: counter "tidegate_framing_flaws_total" ["class", "flaw", "treatment"]
        "Requests whose framing could be read in two ways, by what became of them.";
    faults: counter "tidegate_faults_total" ["code"]
        "Requests that the gateway answered itself because no backend did, by code.";
    residency_violations: counter "tidegate_residency_violations_total" []
        "Attempts that were stopped because their backend was outside the zones of the request; more than 0 is a bug.";
    connections: counter "tidegate_connections_total" []
        "Connections of clients that were let in.";
    connections_open: gauge "tidegate_connections_open" []
        "Connections of clients that are open.";
    cutoffs: counter "tidegate_connections_cut_off_total" ["reason"]
        "Connections of clients that the gateway closed without a request to answer, by reason.";
    waf_findings: counter "tidegate_waf_findings_total" ["policy", "rule", "action", "mode"]
        "Matches of a rule of the web application firewall, by what the rule does and whether that was done.";
    waf_uncounted: counter "tidegate_waf_uncounted_total" []
        "Requests that rate limits of the web application firewall let pass because every counter was taken.";
    body_memory: gauge "tidegate_body_memory_bytes" []
        "Bytes of request bodies held in memory.";
    draining: gauge "tidegate_draining" []
        "1 while the process is shutting down.";
    config_generation: gauge "tidegate_config_generation" []
        "Generation of the configuration in force.";
    reloads: counter "tidegate_reloads_total" ["result"]
        "Attempts to load a new configuration, by result.";
    reload_success_time: float_gauge "tidegate_config_last_reload_success_timestamp_seconds" []
        "When the configuration in force was loaded, Unix time.";
    reload_successful: gauge "tidegate_config_last_reload_successful" []
        "1 when the last load of the configuration succeeded, else 0.";
    certificate_expiry: float_gauge "tidegate_certificate_expiry_timestamp_seconds" ["listener", "certificate"]
        "When the certificate of a listener expires, Unix time; the certificate by the path of its file.";
    acme_failures: gauge "tidegate_acme_failures" ["listener"]
        "Orders in a row that have brought no certificate for the listener, 0 after a good one.";
    access_log_lines: counter "tidegate_access_log_lines_total" []
        "Lines written to the access log.";
    access_log_dropped: counter "tidegate_access_log_dropped_total" []
        "Access log lines lost because the log could not be written in time.";
    jwks_fetches: counter "tidegate_jwks_fetches_total" ["issuer", "result"]
        "Looks at the published keys of a token issuer, by result (ok, failed).";
    jwks_last_success: float_gauge "tidegate_jwks_last_success_timestamp_seconds" ["issuer"]
        "Unix time at which the issuer's keys were last fetched or read; 0 when they never were.";
    jwks_keys: gauge "tidegate_jwks_keys" ["issuer"]
        "Keys of the issuer that can verify tokens.";
    identity_tries: counter "tidegate_identity_tokens_total" ["identity", "scope", "result"]
        "Tries to get a token of our own, by result (ok, failed).";
    identity_expiry: float_gauge "tidegate_identity_token_expiry_timestamp_seconds" ["identity", "scope"]
        "Unix time at which the token that is in use ends; 0 when there never was one.";
    vault_looks: counter "tidegate_vault_looks_total" ["secret", "result"]
        "Looks at a secret in its Key Vault, by result (ok, failed).";
    vault_last_success: float_gauge "tidegate_vault_last_success_timestamp_seconds" ["secret"]
        "Unix time at which the secret's value was last read from its vault; 0 when it never was.";
    dns_lookups: counter "tidegate_dns_lookups_total" ["result"]
        "Background look-ups of backend names, by result.";
    build_info: gauge "tidegate_build_info" ["version"]
        "Always 1; the version is in the label.";
    process_memory: gauge "tidegate_process_resident_memory_bytes" []
        "Resident memory of the process.";
    process_cpu: float_counter "tidegate_process_cpu_seconds_total" []
        "User and system CPU time of the process.";
    process_fds: gauge "tidegate_process_open_fds" []
        "Open file descriptors of the process.";
    process_fds_max: gauge "tidegate_process_max_fds" []
        "Most file descriptors the process may open.";
    process_threads: gauge "tidegate_process_threads" []
        "Threads of the process.";
    process_start: float_gauge "tidegate_process_start_time_seconds" []
        "When the process started, Unix time.";
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests may panic")]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn every_row_is_well_formed_and_registers() {
        Families::register(&Registry::new()).unwrap();
        let mut names = BTreeSet::new();
        for row in TABLE {
            assert!(names.insert(row.name), "{} is there twice", row.name);
            assert!(row.name.starts_with("tidegate_"), "{}", row.name);
            assert!(row.help.ends_with('.'), "{}: the help is a sentence", row.name);
            assert_eq!(row.kind == Kind::Counter, row.name.ends_with("_total"), "{}", row.name);
            assert_eq!(row.kind == Kind::Histogram, !row.buckets.is_empty(), "{}", row.name);
            assert!(row.buckets.is_sorted(), "{}", row.name);
        }
    }
}
