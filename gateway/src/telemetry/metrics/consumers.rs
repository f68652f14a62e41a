//! Doors to the series of consumers. Their number is that of the configuration.

use super::{Metrics, entry, prune};
use crate::config::snapshot::Snapshot;
use crate::domain::{ConsumerName, Unproven};
use crate::telemetry::ConsumerMeters;
use std::collections::HashSet;
use std::sync::Arc;

impl Metrics {
    /// A client was not who it would have to be.
    pub fn unproven(&self, why: Unproven) {
        let counters = Unproven::ALL.iter().zip(&self.unproven);
        if let Some((_, counter)) = counters.into_iter().find(|(known, _)| **known == why) {
            counter.inc();
        }
    }

    /// Meters of a consumer. Takes a lock, as [`Metrics::route`].
    #[must_use]
    pub fn consumer(&self, consumer: &ConsumerName) -> Arc<ConsumerMeters> {
        entry(&self.consumers, consumer.clone(), || ConsumerMeters::new(&self.families, consumer))
    }

    /// Removes the series of consumers that `snapshot` does not have.
    pub(super) fn retain_consumers(&self, snapshot: &Snapshot) {
        let consumers = snapshot.access.iter().flat_map(|access| &access.consumers);
        let keep: HashSet<_> = consumers.map(|consumer| consumer.name.clone()).collect();
        prune(&self.consumers, &keep, ConsumerMeters::forget);
    }
}
