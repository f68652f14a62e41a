//! Series of usage limits: what they decided and what was charged to them. Limits are those of the configuration.

use super::meters::Trail;
use super::table::Families;
use crate::domain::LimitName;
use crate::policy::limit::Measure;
use parking_lot::Mutex;
use prometheus::{IntCounter, IntCounterVec, IntGauge};
use std::collections::{HashMap, HashSet};
use std::sync::Arc;

/// Result of a limit that has given what was asked for; and of one whose ceiling for one request was passed.
const PASSED: &str = "passed";
const CEILING: &str = "ceiling";

/// Series of one limit.
#[derive(Debug)]
pub struct LimitMeters {
    /// Requests that it let pass.
    pub passed: IntCounter,
    /// Requests that asked for more than one request may.
    pub ceiling: IntCounter,
    refused: [IntCounter; Measure::ALL.len()],
    strict: [IntCounter; 2],
    /// Tokens charged to it, weighted.
    pub tokens: IntCounter,
    trail: Trail,
}

impl LimitMeters {
    fn new(table: &LimitTable, limit: &LimitName) -> Self {
        let mut trail = Trail::default();
        let limit = limit.as_str();
        let mut result = |result| trail.take(&table.results, &[limit, result]);
        let (passed, ceiling) = (result(PASSED), result(CEILING));
        let refused = Measure::ALL.map(|measure| result(measure.label()));
        let strict = ["ok", "failed"].map(|result| trail.take(&table.strict, &[limit, result]));
        let tokens = trail.take(&table.tokens, &[limit]);
        Self { passed, ceiling, refused, strict, tokens, trail }
    }

    /// The server was asked about an admission, and has answered in time or not.
    pub fn asked(&self, answered: bool) {
        let [fine, failed] = &self.strict;
        if answered { fine.inc() } else { failed.inc() }
    }

    /// It has too little of `measure`.
    pub fn refused(&self, measure: Measure) {
        if let Some(counter) = self.refused.get(measure as usize) {
            counter.inc();
        }
    }
}

/// The meters of all limits.
#[derive(Debug)]
pub struct LimitTable {
    results: IntCounterVec,
    strict: IntCounterVec,
    tokens: IntCounterVec,
    connected: IntGauge,
    rounds: [IntCounter; 2],
    known: Mutex<HashMap<LimitName, Arc<LimitMeters>>>,
    /// Buckets in memory.
    pub buckets: IntGauge,
    /// How often somebody found no room for a bucket of its own.
    pub crowded: IntCounter,
}

impl LimitTable {
    pub(super) fn new(families: &Families) -> Self {
        Self {
            results: families.limit_results.clone(),
            strict: families.limit_strict.clone(),
            tokens: families.limit_tokens.clone(),
            connected: families.shared_limits_connected.with_label_values::<&str>(&[]),
            rounds: ["ok", "failed"].map(|result| families.shared_limits_rounds.with_label_values(&[result])),
            known: Mutex::default(),
            buckets: families.limit_buckets.with_label_values::<&str>(&[]),
            crowded: families.limit_crowded.with_label_values::<&str>(&[]),
        }
    }

    /// Meters of a limit. Takes a lock: look them up when a configuration comes into force, not per request.
    #[must_use]
    pub fn meters(&self, limit: &LimitName) -> Arc<LimitMeters> {
        let make = || Arc::new(LimitMeters::new(self, limit));
        Arc::clone(self.known.lock().entry(limit.clone()).or_insert_with(make))
    }

    /// A round of shared limits has ended.
    pub fn synced(&self, ok: bool) {
        let [fine, failed] = &self.rounds;
        if ok {
            fine.inc()
        } else {
            failed.inc()
        }
        if !ok && self.connected.get() == 1 {
            log::warn!("shared limits: no answer; every limit is held to this gateway's fair share");
        }
        self.connected.set(i64::from(ok));
    }

    /// Removes the series of limits that are not `kept`.
    pub(super) fn retain<'n>(&self, kept: impl Iterator<Item = &'n LimitName>) {
        let kept: HashSet<&LimitName> = kept.collect();
        self.known.lock().retain(|name, meters| {
            let stays = kept.contains(name);
            if !stays {
                meters.trail.forget();
            }
            stays
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The meters index by discriminant; the labels come from `ALL`.
    #[test]
    fn the_order_of_all_is_the_order_of_the_variants() {
        assert!(Measure::ALL.iter().enumerate().all(|(index, measure)| *measure as usize == index));
    }
}
