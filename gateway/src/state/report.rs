//! The fleet as the admin page shows it. Only reads.

use super::registry::Fleet;
use super::roster::{Member, bit};
use crate::domain::Moment;
use crate::policy::eject::Standing;
use serde::Serialize;
use std::time::Duration;

/// One backend, as JSON.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct BackendReport {
    /// Its pool.
    pub pool: String,
    /// Its name.
    pub backend: String,
    /// Its region.
    pub region: String,
    /// Lower first.
    pub priority: u32,
    /// Share inside the band.
    pub weight: u32,
    /// Operator's switch.
    pub enabled: bool,
    /// It may take a new request now; after a rest that is over, its trial.
    pub eligible: bool,
    /// `in_service`, `resting`, `trial`, `silent`, `unhealthy`, `unresolved`, `keyless` or `disabled`.
    pub state: &'static str,
    /// Why it rests.
    pub why: Option<&'static str>,
    /// Milliseconds until it may come back; zero: it waits for its trial.
    pub until_ms: Option<u64>,
    /// Attempts in flight.
    pub in_flight: u32,
    /// Of these, waiting for their first byte.
    pub waiting: u32,
    /// Smoothed time to first byte.
    pub ttfb_ms: Option<f64>,
    /// Smoothed round trip of probes.
    pub rtt_ms: Option<f64>,
    /// Great-circle distance from the home region.
    pub distance_km: Option<f64>,
    /// Resolved addresses.
    pub addresses: usize,
    /// Failures in a row.
    pub consecutive_failures: u32,
    /// What probes say.
    pub probe_healthy: bool,
    /// Slow-start share of its weight, 0.1 to 1.
    pub share: f32,
    /// Recent failures, decaying.
    pub penalty: f32,
    /// How full a provisioned deployment is; above 1 it refuses.
    pub utilization: Option<f64>,
    /// What is left of its quota.
    pub quota: QuotaReport,
}

/// What is left of a backend's quota, as far as that is known, as JSON.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct QuotaReport {
    /// Its name, where others share it.
    pub group: Option<String>,
    /// Tokens left in the minute under way.
    pub tokens_left: Option<u64>,
    /// Of how many.
    pub tokens_limit: Option<u64>,
    /// Requests that may be sent now.
    pub requests_left: Option<u64>,
    /// Of how many a minute.
    pub requests_limit: Option<u64>,
    /// The answers tell of less than is configured.
    pub cut: bool,
}

impl QuotaReport {
    /// Share of its tokens that is left; 1 where nothing is known.
    #[must_use]
    pub fn tokens_share(&self) -> f64 {
        share(self.tokens_left, self.tokens_limit)
    }

    /// The same of the requests of ten seconds.
    #[must_use]
    pub fn requests_share(&self) -> f64 {
        share(self.requests_left, self.requests_limit.map(|limit| limit.div_ceil(6)))
    }
}

fn share(left: Option<u64>, limit: Option<u64>) -> f64 {
    match (left, limit) {
        (Some(left), Some(limit)) => (left as f64 / limit.max(1) as f64).min(1.0),
        (Some(0), None) => 0.0,
        _ => 1.0,
    }
}

impl Fleet {
    /// Every backend, pool by pool, in the order of the file.
    #[must_use]
    pub fn report(&self, now: Moment) -> Vec<BackendReport> {
        let describe = |pool: &super::PoolState| {
            let slow_start = pool.core.selection.slow_start;
            let marks = pool.eligible_marks(now);
            let members = pool.core.members.iter().enumerate();
            let describe = |(index, member)| describe(member, marks & bit(index) != 0, slow_start, now);
            members.map(describe).collect::<Vec<_>>()
        };
        self.pools.iter().flat_map(describe).collect()
    }
}

fn describe(member: &Member, eligible: bool, slow_start: Duration, now: Moment) -> BackendReport {
    let state = &member.state;
    let standing = state.standing(now);
    let (why, until) = match standing {
        Standing::Open => (None, None),
        Standing::Resting { reason, until } | Standing::Trial { reason, until } => {
            (Some(reason.label()), Some(now.until(until)))
        }
    };
    let left = member.headroom.left(now);
    BackendReport {
        pool: state.id().pool.to_string(),
        backend: state.id().backend.to_string(),
        region: member.region.to_string(),
        priority: member.priority,
        weight: member.weight,
        enabled: member.enabled,
        eligible,
        state: label(member, standing, now),
        why,
        until_ms: until.map(|wait| u64::try_from(wait.as_millis()).unwrap_or(u64::MAX)),
        in_flight: state.in_flight(),
        waiting: state.waiting(),
        ttfb_ms: state.ttfb().map(millis),
        rtt_ms: state.rtt().map(millis),
        distance_km: member.distance_km,
        addresses: state.addresses().count(),
        consecutive_failures: state.consecutive_failures(),
        probe_healthy: state.is_probe_healthy(),
        share: state.share(slow_start, now),
        penalty: state.penalty(now),
        utilization: member.headroom.utilization(now),
        quota: QuotaReport {
            group: member.quota_group.as_ref().map(ToString::to_string),
            tokens_left: left.tokens,
            tokens_limit: left.tokens_limit,
            requests_left: left.requests,
            requests_limit: left.requests_limit,
            cut: left.cut,
        },
    }
}

fn label(member: &Member, standing: Standing, now: Moment) -> &'static str {
    let state = &member.state;
    if !member.enabled {
        "disabled"
    } else if state.addresses().count() == 0 {
        "unresolved"
    } else if member.is_keyless(now) {
        "keyless"
    } else if standing != Standing::Open {
        standing.label()
    } else if !state.is_probe_healthy() {
        "unhealthy"
    } else if state.is_silent(now) {
        "silent"
    } else {
        Standing::Open.label()
    }
}

fn millis(value: Duration) -> f64 {
    value.as_secs_f64() * 1e3
}
