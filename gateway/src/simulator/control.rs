//! [`Control`]: faults, counters and latency of a running region, for this process and (as `/_sim/…`) for others.

use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use super::fault::{FaultError, FaultKind, FaultRule, Faults};
use super::options::{Latency, RECORDS_MAX};
use super::shared::Shared;
use super::socket::Cut;
use super::stats::{Record, Stats};

/// The handle of a running region. Cheap to clone; keeps working, without effect, after the region stopped.
#[derive(Clone)]
pub struct Control {
    pub(crate) shared: Arc<Shared>,
}

impl fmt::Debug for Control {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Control").field("region", &self.shared.options.region).finish_non_exhaustive()
    }
}

impl Control {
    /// Puts a fault in force, behind those that are. A `refuse` has taken effect when this returns.
    ///
    /// # Errors
    /// [`FaultError`] when the rule names an unknown preset or too many rules are in force.
    pub fn add_fault(&self, rule: FaultRule) -> Result<(), FaultError> {
        let refusal = match rule.kind {
            FaultKind::Refuse { keep_connections, for_ms } => Some((keep_connections, for_ms)),
            _ => None,
        };
        self.shared.with_faults(|faults| faults.add(rule))?;
        if let Some((keep_connections, for_ms)) = refusal {
            self.shared.refuse(keep_connections, for_ms.map(Duration::from_millis));
        }
        Ok(())
    }

    /// The faults in force, with what is left of their counts.
    #[must_use]
    pub fn faults(&self) -> Vec<FaultRule> {
        self.shared.with_faults(|faults| faults.list())
    }

    /// Takes all faults back. Requests that hang keep hanging until their client leaves.
    pub fn clear_faults(&self) {
        self.shared.with_faults(Faults::clear);
        self.shared.open();
    }

    /// Takes all faults back and forgets counters, records, quota use and whatever is stored.
    pub fn reset(&self) {
        self.clear_faults();
        self.shared.tally.lock().reset();
        self.shared.deployments.reset();
        self.shared.stored.lock().clear();
        self.shared.things.lock().clear();
    }

    /// The counters, with all records kept.
    #[must_use]
    pub fn stats(&self) -> Stats {
        self.stats_with(RECORDS_MAX)
    }

    /// The counters, with at most `records` of the latest records.
    #[must_use]
    pub fn stats_with(&self, records: usize) -> Stats {
        self.shared.tally.lock().read(records)
    }

    /// The latest requests, oldest first.
    #[must_use]
    pub fn records(&self) -> VecDeque<Record> {
        self.stats().records
    }

    /// Changes how fast the region answers from the next request on.
    pub fn set_latency(&self, latency: Latency) {
        self.shared.set_latency(latency);
    }

    /// Closes every connection now (FIN), idle or not; new ones are taken.
    pub fn end_connections(&self) {
        self.shared.end_connections(true, Cut::Close);
    }
}
