//! Handles of the hot path: every series of one route, pool or backend, looked up once. Counting is then an atomic add;
//! no request hashes a label. The labels are closed sets, the series of what left the configuration are removed.

use super::table::Families;
use crate::domain::{
    BackendId, ConsumerName, Ending, Failure, Outcome, PoolName, Region, RouteName, RuleName, Throttle, Usage,
};
use crate::policy::{eject::Reason, hedge};
use prometheus::core::{MetricVec, MetricVecBuilder};
use prometheus::{Gauge, Histogram, IntCounter, IntCounterVec, IntGauge, IntGaugeVec};
use std::fmt;
use std::sync::OnceLock;
use std::time::Duration;

/// Label of route and pool for a request that found none; no name can be spelled like this.
pub(super) const NONE: &str = "(none)";

/// How a probe came out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProbeResult {
    /// The backend answered as expected.
    Passed,
    /// It answered otherwise, or refused or broke the connection.
    Failed,
    /// It did not answer in time.
    TimedOut,
    /// It has no address yet.
    Unresolved,
}

impl ProbeResult {
    const ALL: [Self; 4] = [Self::Passed, Self::Failed, Self::TimedOut, Self::Unresolved];

    /// Label in metrics.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::Passed => "passed",
            Self::Failed => "failed",
            Self::TimedOut => "timed_out",
            Self::Unresolved => "unresolved",
        }
    }
}

/// Series of one route.
#[derive(Debug)]
pub struct RouteMeters {
    requests: [IntCounter; Ending::ALL.len()],
    trail: Trail,
}

impl RouteMeters {
    pub(super) fn new(families: &Families, route: Option<&RouteName>, pool: Option<&PoolName>) -> Self {
        let mut trail = Trail::default();
        let (route, pool) = (route.map_or(NONE, RouteName::as_str), pool.map_or(NONE, PoolName::as_str));
        let requests = Ending::ALL.map(|ending| trail.take(&families.requests, &[route, pool, ending.label()]));
        Self { requests, trail }
    }

    /// A request of this route ended.
    pub fn ended(&self, ending: Ending) {
        increment(&self.requests, ending as usize);
    }

    pub(super) fn forget(&self) {
        self.trail.forget();
    }
}

/// Series of one rule of the rules engine.
#[derive(Debug)]
pub struct RuleMeters {
    /// Requests that met it.
    pub matched: IntCounter,
    trail: Trail,
}

impl RuleMeters {
    pub(super) fn new(families: &Families, rule: &RuleName) -> Self {
        let mut trail = Trail::default();
        Self { matched: trail.take(&families.rule_matches, &[rule.as_str()]), trail }
    }

    pub(super) fn forget(&self) {
        self.trail.forget();
    }
}

/// Series of one consumer.
#[derive(Debug)]
pub struct ConsumerMeters {
    /// Made with the first request: of ten thousand consumers most are silent.
    requests: [OnceLock<IntCounter>; Ending::ALL.len()],
    name: ConsumerName,
    family: IntCounterVec,
    keys_expiring: IntGaugeVec,
}

impl ConsumerMeters {
    pub(super) fn new(families: &Families, consumer: &ConsumerName) -> Self {
        Self {
            requests: Default::default(),
            name: consumer.clone(),
            family: families.consumer_requests.clone(),
            keys_expiring: families.keys_expiring.clone(),
        }
    }

    /// A request of this consumer ended.
    pub fn ended(&self, ending: Ending) {
        if let Some(counter) = self.requests.get(ending as usize) {
            counter.get_or_init(|| self.family.with_label_values(&[self.name.as_str(), ending.label()])).inc();
        }
    }

    /// So many of its keys expire soon.
    pub fn keys_expiring(&self, count: usize) {
        let labels = [self.name.as_str()];
        if count > 0 {
            self.keys_expiring.with_label_values(&labels).set(i64::try_from(count).unwrap_or(i64::MAX));
        } else {
            // It is there, or it was never made.
            let _ = self.keys_expiring.remove_label_values(&labels);
        }
    }

    pub(super) fn forget(&self) {
        self.keys_expiring(0);
        for ending in Ending::ALL {
            let _ = self.family.remove_label_values(&[self.name.as_str(), ending.label()]);
        }
    }
}

/// Series of one pool.
#[derive(Debug)]
pub struct PoolMeters {
    failovers: [IntCounter; Outcome::ALL.len()],
    request_duration: Histogram,
    home: IntCounter,
    crowded: IntCounter,
    /// Failovers not made because the budget was spent.
    pub budget_refusals: IntCounter,
    hedges: [IntCounter; hedge::RESULTS.len()],
    /// Prompt tokens that were read twice.
    pub hedge_prompt_tokens: IntCounter,
    /// Selections that ignored health.
    pub panic_selections: IntCounter,
    /// Backends that may take new requests.
    pub eligible: IntGauge,
    /// Routed requests that have not ended.
    pub in_flight: IntGauge,
    /// Streamed answers being relayed.
    pub streams_open: IntGauge,
    /// WebSockets being relayed.
    pub websockets_open: IntGauge,
    /// Bytes of request bodies received.
    pub request_bytes: IntCounter,
    /// Bytes of response bodies sent.
    pub response_bytes: IntCounter,
    trail: Trail,
}

impl PoolMeters {
    pub(super) fn new(families: &Families, pool: &PoolName) -> Self {
        let mut trail = Trail::default();
        let pool = pool.as_str();
        Self {
            failovers: Outcome::ALL.map(|outcome| trail.take(&families.failovers, &[pool, outcome.label()])),
            request_duration: trail.take(&families.request_duration, &[pool]),
            home: trail.take(&families.affinity, &[pool, "home"]),
            crowded: trail.take(&families.affinity, &[pool, "crowded"]),
            budget_refusals: trail.take(&families.budget_refusals, &[pool]),
            hedges: hedge::RESULTS.map(|result| trail.take(&families.hedges, &[pool, result])),
            hedge_prompt_tokens: trail.take(&families.hedge_prompt_tokens, &[pool]),
            panic_selections: trail.take(&families.panic_selections, &[pool]),
            eligible: trail.take(&families.pool_eligible, &[pool]),
            in_flight: trail.take(&families.in_flight, &[pool]),
            streams_open: trail.take(&families.streams_open, &[pool]),
            websockets_open: trail.take(&families.websockets_open, &[pool]),
            request_bytes: trail.take(&families.request_bytes, &[pool]),
            response_bytes: trail.take(&families.response_bytes, &[pool]),
            trail,
        }
    }

    /// A further attempt is made because of `outcome`.
    pub fn failed_over(&self, outcome: Outcome) {
        increment(&self.failovers, outcome as usize);
    }

    /// What became of a hedge.
    pub fn hedged(&self, result: &str) {
        if let Some(place) = hedge::RESULTS.iter().position(|known| *known == result) {
            increment(&self.hedges, place);
        }
    }

    /// Affinity decided: for the key's own backend, or for the next one.
    pub fn kept(&self, home: bool) {
        if home { self.home.inc() } else { self.crowded.inc() }
    }

    /// A request to this pool ended `elapsed` after its arrival.
    pub fn took(&self, elapsed: Duration) {
        self.request_duration.observe(elapsed.as_secs_f64());
    }

    pub(super) fn forget(&self) {
        self.trail.forget();
    }
}

/// Series of one backend.
#[derive(Debug)]
pub struct BackendMeters {
    attempts: [IntCounter; Outcome::ALL.len()],
    responses: [IntCounter; Ending::ALL.len()],
    ejections: [IntCounter; Reason::ALL.len()],
    throttles: [IntCounter; Throttle::ALL.len()],
    failures: [IntCounter; Failure::ALL.len()],
    azure_spillovers: [IntCounter; 2],
    probes: [IntCounter; ProbeResult::ALL.len()],
    became_healthy: IntCounter,
    became_unhealthy: IntCounter,
    probe_duration: Histogram,
    first_byte_duration: Histogram,
    tokens_prompt: IntCounter,
    tokens_completion: IntCounter,
    tokens_cached: IntCounter,
    tokens_reasoning: IntCounter,
    /// 1 while it may take new requests.
    pub eligible: IntGauge,
    /// Seconds until its ejection ends.
    pub resting: Gauge,
    /// Share of its quota of tokens that is left.
    pub headroom_tokens: Gauge,
    /// The same of requests.
    pub headroom_requests: Gauge,
    /// How full a provisioned deployment is.
    pub utilization: Gauge,
    /// 1 while its answers tell of less than is configured.
    pub quota_cut: IntGauge,
    /// Attempts that have not ended.
    pub in_flight: IntGauge,
    trail: Trail,
}

impl BackendMeters {
    pub(super) fn new(families: &Families, id: &BackendId, region: &Region) -> Self {
        let mut trail = Trail::default();
        let (pool, backend, region) = (id.pool.as_str(), id.backend.as_str(), region.as_str());
        let mut tokens = |kind| trail.take(&families.tokens, &[pool, backend, kind]);
        let (tokens_prompt, tokens_completion) = (tokens("prompt"), tokens("completion"));
        let (tokens_cached, tokens_reasoning) = (tokens("cached"), tokens("reasoning"));
        Self {
            attempts: Outcome::ALL.map(|o| trail.take(&families.attempts, &[pool, backend, region, o.label()])),
            responses: Ending::ALL.map(|e| trail.take(&families.responses, &[pool, backend, region, e.label()])),
            ejections: Reason::ALL.map(|reason| trail.take(&families.ejections, &[pool, backend, reason.label()])),
            throttles: Throttle::ALL.map(|kind| trail.take(&families.throttles, &[pool, backend, kind.label()])),
            failures: Failure::ALL.map(|kind| trail.take(&families.server_errors, &[pool, backend, kind.label()])),
            azure_spillovers: ["served", "failed"]
                .map(|result| trail.take(&families.azure_spillovers, &[pool, backend, result])),
            probes: ProbeResult::ALL.map(|result| trail.take(&families.probes, &[pool, backend, result.label()])),
            became_healthy: trail.take(&families.health_changes, &[pool, backend, "healthy"]),
            became_unhealthy: trail.take(&families.health_changes, &[pool, backend, "unhealthy"]),
            probe_duration: trail.take(&families.probe_duration, &[pool, backend]),
            first_byte_duration: trail.take(&families.first_byte_duration, &[pool, backend]),
            tokens_prompt,
            tokens_completion,
            tokens_cached,
            tokens_reasoning,
            eligible: trail.take(&families.backend_eligible, &[pool, backend, region]),
            resting: trail.take(&families.backend_resting, &[pool, backend, region]),
            headroom_tokens: trail.take(&families.backend_headroom, &[pool, backend, region, "tokens"]),
            headroom_requests: trail.take(&families.backend_headroom, &[pool, backend, region, "requests"]),
            utilization: trail.take(&families.backend_utilization, &[pool, backend, region]),
            quota_cut: trail.take(&families.backend_quota_cut, &[pool, backend, region]),
            in_flight: trail.take(&families.backend_in_flight, &[pool, backend, region]),
            trail,
        }
    }

    /// An attempt here came to `outcome`.
    pub fn attempted(&self, outcome: Outcome) {
        increment(&self.attempts, outcome as usize);
    }

    /// It answered 429.
    pub fn throttled(&self, kind: Throttle) {
        increment(&self.throttles, kind as usize);
    }

    /// It failed: a 408 or a 5xx.
    pub fn failed(&self, kind: Failure) {
        increment(&self.failures, kind as usize);
    }

    /// Azure itself has spilled a request over, or has failed to.
    pub fn spilled(&self, failed: bool) {
        increment(&self.azure_spillovers, usize::from(failed));
    }

    /// A request ended with this backend's answer.
    pub fn answered(&self, ending: Ending) {
        increment(&self.responses, ending as usize);
    }

    /// The first byte of an answer arrived `elapsed` after the attempt's start.
    pub fn first_byte(&self, elapsed: Duration) {
        self.first_byte_duration.observe(elapsed.as_secs_f64());
    }

    /// Tokens of one answer.
    pub fn used(&self, usage: Usage) {
        self.tokens_prompt.inc_by(usage.prompt);
        self.tokens_completion.inc_by(usage.completion);
        self.tokens_cached.inc_by(usage.cached);
        self.tokens_reasoning.inc_by(usage.reasoning);
    }

    /// It was ejected; `reason` is the label of policy's [`Reason`].
    pub fn ejected(&self, reason: &str) {
        if let Some(index) = Reason::ALL.iter().position(|known| known.label() == reason) {
            increment(&self.ejections, index);
        }
    }

    /// A probe ended. `elapsed` goes to the histogram when it passed.
    pub fn probed(&self, result: ProbeResult, elapsed: Duration) {
        increment(&self.probes, result as usize);
        if result == ProbeResult::Passed {
            self.probe_duration.observe(elapsed.as_secs_f64());
        }
    }

    /// Its probe health changed.
    pub fn health_changed(&self, healthy: bool) {
        if healthy { self.became_healthy.inc() } else { self.became_unhealthy.inc() }
    }

    pub(super) fn forget(&self) {
        self.trail.forget();
    }
}

/// Which series a meter took, so that they can be removed with it.
#[derive(Default)]
pub(super) struct Trail(Vec<Box<dyn Fn() + Send + Sync>>);

impl Trail {
    pub(super) fn take<B: MetricVecBuilder + 'static>(&mut self, family: &MetricVec<B>, labels: &[&str]) -> B::M
    where
        MetricVec<B>: Send + Sync,
    {
        let series = family.with_label_values(labels);
        let (family, labels) = (family.clone(), labels.iter().map(|&label| label.to_owned()).collect::<Vec<_>>());
        self.0.push(Box::new(move || {
            // An error says that the series is gone already, which is what we want.
            let _ = family.remove_label_values(&labels);
        }));
        series
    }

    pub(super) fn forget(&self) {
        for remove in &self.0 {
            remove();
        }
    }
}

impl fmt::Debug for Trail {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Trail({})", self.0.len())
    }
}

fn increment(counters: &[IntCounter], index: usize) {
    if let Some(counter) = counters.get(index) {
        counter.inc();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The meters index by discriminant; the labels come from `ALL`.
    #[test]
    fn the_order_of_all_is_the_order_of_the_variants() {
        assert!(Outcome::ALL.iter().enumerate().all(|(index, outcome)| *outcome as usize == index));
        assert!(Ending::ALL.iter().enumerate().all(|(index, ending)| *ending as usize == index));
        assert!(Throttle::ALL.iter().enumerate().all(|(index, kind)| *kind as usize == index));
        assert!(Failure::ALL.iter().enumerate().all(|(index, kind)| *kind as usize == index));
        assert!(ProbeResult::ALL.iter().enumerate().all(|(index, result)| *result as usize == index));
    }
}
