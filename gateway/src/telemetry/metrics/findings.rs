//! Doors to the series of the web application firewall.

use super::{BARE, Metrics, entry};
use crate::config::snapshot::Snapshot;
use std::sync::Arc;

impl Metrics {
    /// A rule of the web application firewall matched. Rules are those of the configuration.
    pub fn waf_found(&self, policy: &Arc<str>, rule: &Arc<str>, action: &'static str, mode: &'static str) {
        let key = (Arc::clone(policy), Arc::clone(rule), action, mode);
        let make = || self.families.waf_findings.with_label_values(&[&**policy, &**rule, action, mode]);
        entry(&self.findings, key, make).inc();
    }

    /// So many requests in all passed the firewall's rate limits because every counter was taken.
    pub fn waf_uncounted(&self, total: u64) {
        let counter = self.families.waf_uncounted.with_label_values(BARE);
        counter.inc_by(total.saturating_sub(counter.get()));
    }

    /// Removes the series of policies that `snapshot` does not have.
    pub(super) fn retain_findings(&self, snapshot: &Snapshot) {
        let policies = || snapshot.waf.iter().flat_map(|waf| &waf.policies);
        self.findings.write().retain(|(policy, rule, action, mode), _| {
            let kept = policies().any(|one| one.name == *policy);
            if !kept {
                // It is there, or it was never made.
                let _ = self.families.waf_findings.remove_label_values(&[&**policy, &**rule, action, mode]);
            }
            kept
        });
    }
}
