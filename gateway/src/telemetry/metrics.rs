//! [`Metrics`]: the registry, filled from the table, and the doors to its series. Hands out meters for the hot path;
//! never counts by itself and never invents a label.

mod certificates;
mod consumers;
mod cost;
mod findings;
mod identities;
mod ids;
mod issuers;

use self::cost::CostLabels;
pub use self::cost::Spending;
use super::clock;
use super::limits::LimitTable;
use super::meters::{BackendMeters, ConsumerMeters, PoolMeters, RouteMeters, RuleMeters};
use super::process;
use super::table::Families;
use crate::config::snapshot::Snapshot;
use crate::domain::{
    BackendId, ConsumerName, Cutoff, IdFlaw, IssuerName, PoolName, Region, RouteName, RuleName, Unproven,
};
use crate::policy::framing::{Flaw, Treatment};
use crate::policy::overload::{Class, Reason};
use parking_lot::{Mutex, RwLock};
use prometheus::{Encoder, IntCounter, IntGauge, Registry, TEXT_FORMAT, TextEncoder};
use std::collections::{HashMap, HashSet};
use std::hash::Hash;
use std::sync::Arc;

/// No label values: a family without labels has one series.
const BARE: &[&str] = &[];

/// All metrics of the process. Meters are bounded by the configuration: [`Metrics::retain`] removes what left it.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    families: Families,
    unrouted: Arc<RouteMeters>,
    routes: Table<(RouteName, PoolName), RouteMeters>,
    rules: Table<RuleName, RuleMeters>,
    pools: Table<PoolName, PoolMeters>,
    backends: Table<(BackendId, Region), BackendMeters>,
    /// Listener and path of the certificates that have a series.
    certificates: Mutex<HashSet<(String, String)>>,
    /// Issuers of tokens that have series.
    issuers: Mutex<HashSet<IssuerName>>,
    /// Identity and scope of the tokens of our own that have series.
    own_tokens: Mutex<HashSet<(String, String)>>,
    /// Secrets in vaults that have series.
    vault_secrets: Mutex<HashSet<String>>,
    cutoffs: [IntCounter; Cutoff::ALL.len()],
    /// Attempts that would have left the zones of their request.
    pub residency_violations: IntCounter,
    /// Connections of clients that were let in.
    pub connections: IntCounter,
    /// Connections of clients that are open.
    pub connections_open: IntGauge,
    findings: Table<FindingLabels, IntCounter>,
    /// Series of usage limits.
    pub limits: LimitTable,
    costs: Table<CostLabels, IntCounter>,
    unproven: [IntCounter; Unproven::ALL.len()],
    ids: [IntCounter; 1 + IdFlaw::ALL.len()],
    consumers: Table<ConsumerName, ConsumerMeters>,
    /// Bytes of request bodies held in memory.
    pub body_memory: IntGauge,
    /// Requests that wait for their turn.
    pub waiting: IntGauge,
    /// How short memory is: 0, 1 or 2.
    pub memory_pressure: IntGauge,
    /// 1 while the process is shutting down.
    pub draining: IntGauge,
    /// Lines written to the access log.
    pub access_log_lines: IntCounter,
    /// Access log lines lost.
    pub access_log_dropped: IntCounter,
}

impl Metrics {
    /// Builds every metric of the table on a registry of its own.
    ///
    /// # Errors
    /// When the table contradicts itself; a test rules that out.
    pub fn new() -> prometheus::Result<Self> {
        let registry = Registry::new();
        let families = Families::register(&registry)?;
        families.build_info.with_label_values(&[env!("CARGO_PKG_VERSION")]).set(1);
        families.process_start.with_label_values(BARE).set(seconds(clock::unix_ms()));
        for result in ["ok", "failed"] {
            families.reloads.with_label_values(&[result]);
            families.dns_lookups.with_label_values(&[result]);
        }
        Ok(Self {
            unrouted: Arc::new(RouteMeters::new(&families, None, None)),
            routes: RwLock::default(),
            rules: RwLock::default(),
            pools: RwLock::default(),
            backends: RwLock::default(),
            findings: RwLock::default(),
            limits: LimitTable::new(&families),
            costs: RwLock::default(),
            unproven: Unproven::ALL.map(|why| families.authentication_failures.with_label_values(&[why.label()])),
            ids: ids::results().map(|result| families.stored_ids.with_label_values(&[result])),
            consumers: RwLock::default(),
            certificates: Mutex::default(),
            issuers: Mutex::default(),
            own_tokens: Mutex::default(),
            vault_secrets: Mutex::default(),
            cutoffs: Cutoff::ALL.map(|cutoff| families.cutoffs.with_label_values(&[cutoff.label()])),
            residency_violations: families.residency_violations.with_label_values(BARE),
            connections: families.connections.with_label_values(BARE),
            connections_open: families.connections_open.with_label_values(BARE),
            body_memory: families.body_memory.with_label_values(BARE),
            waiting: families.waiting.with_label_values(BARE),
            memory_pressure: families.memory_pressure.with_label_values(BARE),
            draining: families.draining.with_label_values(BARE),
            access_log_lines: families.access_log_lines.with_label_values(BARE),
            access_log_dropped: families.access_log_dropped.with_label_values(BARE),
            registry,
            families,
        })
    }

    /// Meters of requests that found no route.
    #[must_use]
    pub fn unrouted(&self) -> Arc<RouteMeters> {
        Arc::clone(&self.unrouted)
    }

    /// Meters of a route. Takes a lock: look them up when a configuration comes into force, not per request.
    #[must_use]
    pub fn route(&self, route: &RouteName, pool: &PoolName) -> Arc<RouteMeters> {
        entry(&self.routes, (route.clone(), pool.clone()), || RouteMeters::new(&self.families, Some(route), Some(pool)))
    }

    /// Meters of a rule. Takes a lock, as [`Metrics::route`].
    #[must_use]
    pub fn rule(&self, rule: &RuleName) -> Arc<RuleMeters> {
        entry(&self.rules, rule.clone(), || RuleMeters::new(&self.families, rule))
    }

    /// Meters of a pool. Takes a lock, as [`Metrics::route`].
    #[must_use]
    pub fn pool(&self, pool: &PoolName) -> Arc<PoolMeters> {
        entry(&self.pools, pool.clone(), || PoolMeters::new(&self.families, pool))
    }

    /// Meters of a backend. Takes a lock, as [`Metrics::route`].
    #[must_use]
    pub fn backend(&self, id: &BackendId, region: &Region) -> Arc<BackendMeters> {
        entry(&self.backends, (id.clone(), region.clone()), || BackendMeters::new(&self.families, id, region))
    }

    /// Removes the series of routes, pools and backends that `snapshot` does not have. Meters still held by requests in
    /// flight go on counting, unseen. Call it before the meters of `snapshot` are taken: a backend that changes its
    /// region shares the series without that label with its former self.
    pub fn retain(&self, snapshot: &Snapshot) {
        let pools: HashSet<_> = snapshot.pools.iter().map(|pool| pool.name.clone()).collect();
        let backends: HashSet<_> = (snapshot.pools.iter().flat_map(|pool| &pool.backends))
            .map(|backend| (backend.id.clone(), backend.region.clone()))
            .collect();
        // A rule may send the requests of any route to its pool.
        let diverted: Vec<usize> = snapshot.rules.list.iter().filter_map(|rule| rule.actions.pool).collect();
        let routes: HashSet<_> = (snapshot.routes.iter())
            .flat_map(|route| {
                std::iter::once(route.pool).chain(diverted.iter().copied()).map(move |pool| (route, pool))
            })
            .filter_map(|(route, pool)| Some((route.name.clone(), snapshot.pools.get(pool)?.name.clone())))
            .collect();
        let rules: HashSet<_> = snapshot.rules.list.iter().map(|rule| rule.name.clone()).collect();
        prune(&self.rules, &rules, RuleMeters::forget);
        self.retain_consumers(snapshot);
        self.retain_findings(snapshot);
        self.limits.retain(snapshot.usage_limits.list.iter().map(|limit| &limit.name));
        self.retain_costs(snapshot);
        prune(&self.routes, &routes, RouteMeters::forget);
        prune(&self.pools, &pools, PoolMeters::forget);
        prune(&self.backends, &backends, BackendMeters::forget);
    }

    /// We refused a request; `code` is the stable code of the denial.
    pub fn denied(&self, code: &'static str) {
        self.families.denials.with_label_values(&[code]).inc();
    }

    /// A request was refused because the process was at a ceiling.
    pub fn shed(&self, class: Class, reason: Reason) {
        self.families.shed.with_label_values(&[class.label(), reason.label()]).inc();
    }

    /// The framing of a request had a flaw.
    pub fn flawed(&self, flaw: Flaw, treatment: Treatment) {
        self.families.framing_flaws.with_label_values(&[flaw.class().label(), flaw.label(), treatment.label()]).inc();
    }

    /// We answered a request ourselves because no backend did; `code` is the stable code of the fault.
    pub fn faulted(&self, code: &'static str) {
        self.families.faults.with_label_values(&[code]).inc();
    }

    /// We closed a connection that had no request to answer.
    pub fn cut_off(&self, cutoff: Cutoff) {
        if let Some(counter) = self.cutoffs.get(cutoff as usize) {
            counter.inc();
        }
    }

    /// A background look-up of a name ended.
    pub fn looked_up(&self, ok: bool) {
        self.families.dns_lookups.with_label_values(&[result(ok)]).inc();
    }

    /// The configuration `generation` came into force, at start or by a reload.
    pub fn in_force(&self, generation: u64) {
        self.families.config_generation.with_label_values(BARE).set(i64::try_from(generation).unwrap_or(i64::MAX));
        self.families.reload_success_time.with_label_values(BARE).set(seconds(clock::unix_ms()));
        self.families.reload_successful.with_label_values(BARE).set(1);
    }

    /// A reload was tried.
    pub fn reloaded(&self, ok: bool) {
        self.families.reloads.with_label_values(&[result(ok)]).inc();
        self.families.reload_successful.with_label_values(BARE).set(i64::from(ok));
    }

    /// Every series in the Prometheus text format, the process's own numbers read afresh.
    #[must_use]
    pub fn render(&self) -> Vec<u8> {
        self.read_process();
        let mut text = Vec::with_capacity(32 * 1024);
        if let Err(error) = TextEncoder::new().encode(&self.registry.gather(), &mut text) {
            log::error!("metrics cannot be printed: {error}");
        }
        text
    }

    /// `Content-Type` of [`Metrics::render`].
    pub const CONTENT_TYPE: &'static str = TEXT_FORMAT;

    fn read_process(&self) {
        let reading = process::read();
        let set = |gauge: IntGauge, value: Option<u64>| {
            if let Some(value) = value {
                gauge.set(i64::try_from(value).unwrap_or(i64::MAX));
            }
        };
        set(self.families.process_memory.with_label_values(BARE), reading.memory);
        set(self.families.process_fds.with_label_values(BARE), reading.fds);
        set(self.families.process_fds_max.with_label_values(BARE), reading.fds_max);
        set(self.families.process_threads.with_label_values(BARE), reading.threads);
        let cpu = self.families.process_cpu.with_label_values(BARE);
        // A counter can only be added to: two scrapes at once may add a little too much, the next one waits for it.
        let grown = reading.cpu.map_or(0.0, |total| total.as_secs_f64() - cpu.get());
        if grown > 0.0 {
            cpu.inc_by(grown);
        }
    }
}

/// Policy, rule, action and mode of a finding.
type FindingLabels = (Arc<str>, Arc<str>, &'static str, &'static str);

type Table<K, V> = RwLock<HashMap<K, Arc<V>>>;

fn entry<K: Eq + Hash, V>(table: &Table<K, V>, key: K, make: impl FnOnce() -> V) -> Arc<V> {
    if let Some(found) = table.read().get(&key) {
        return Arc::clone(found);
    }
    Arc::clone(table.write().entry(key).or_insert_with(|| Arc::new(make())))
}

fn prune<K: Eq + Hash, V>(table: &Table<K, V>, keep: &HashSet<K>, forget: impl Fn(&V)) {
    table.write().retain(|key, meters| {
        let kept = keep.contains(key);
        if !kept {
            forget(meters);
        }
        kept
    });
}

const fn result(ok: bool) -> &'static str {
    if ok { "ok" } else { "failed" }
}

#[allow(clippy::cast_precision_loss, reason = "exact far beyond the year 200000")]
fn seconds(millis: u64) -> f64 {
    millis as f64 / 1000.0
}

#[cfg(test)]
mod tests;
