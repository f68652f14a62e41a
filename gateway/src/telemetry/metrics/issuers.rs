//! Series of token issuers: how fresh their keys are.

use super::{Metrics, clock, result, seconds};
use crate::config::snapshot::Snapshot;
use crate::domain::IssuerName;
use std::collections::HashSet;

impl Metrics {
    /// Gives every issuer of `snapshot` its series, and takes them from all others.
    pub fn issuers(&self, snapshot: &Snapshot) {
        let mut known = self.issuers.lock();
        let issuers = snapshot.access.iter().flat_map(|access| &access.issuers);
        let now: HashSet<IssuerName> = issuers.map(|issuer| issuer.name.clone()).collect();
        for name in known.difference(&now) {
            let name = name.as_str();
            for result in [result(true), result(false)] {
                // Gone already is as good.
                let _ = self.families.jwks_fetches.remove_label_values(&[name, result]);
            }
            let _ = self.families.jwks_last_success.remove_label_values(&[name]);
            let _ = self.families.jwks_keys.remove_label_values(&[name]);
        }
        for name in now.difference(&known) {
            for result in [result(true), result(false)] {
                self.families.jwks_fetches.with_label_values(&[name.as_str(), result]);
            }
            self.families.jwks_last_success.with_label_values(&[name.as_str()]);
            self.families.jwks_keys.with_label_values(&[name.as_str()]);
        }
        *known = now;
    }

    /// Somebody looked at an issuer's keys, and found this many; none where that failed.
    pub fn keys_seen(&self, issuer: &IssuerName, found: Option<usize>) {
        // A look that was under way when its issuer left the configuration.
        if !self.issuers.lock().contains(issuer) {
            return;
        }
        let name = issuer.as_str();
        self.families.jwks_fetches.with_label_values(&[name, result(found.is_some())]).inc();
        if let Some(count) = found {
            self.families.jwks_last_success.with_label_values(&[name]).set(seconds(clock::unix_ms()));
            self.families.jwks_keys.with_label_values(&[name]).set(i64::try_from(count).unwrap_or(i64::MAX));
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests may panic")]
impl Metrics {
    /// Gives one issuer series.
    pub(super) fn issuer_seen(&self) {
        let name = IssuerName::new("entra").unwrap();
        self.issuers.lock().insert(name.clone());
        self.keys_seen(&name, Some(2));
    }
}
