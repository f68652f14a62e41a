//! What is told of certificates: when they expire, and whether new ones can be obtained.

use super::{Metrics, seconds};
use std::collections::HashSet;

impl Metrics {
    /// The certificates that are served now, each by listener and path, with the end of its validity in Unix time. Those
    /// that are served no more leave.
    pub fn certificates(&self, served: &[(String, String, u64)]) {
        let mut known = self.certificates.lock();
        let now: HashSet<_> = served.iter().map(|(listener, path, _)| (listener.clone(), path.clone())).collect();
        for (listener, path) in known.difference(&now) {
            // Gone already is as good.
            let _ = self.families.certificate_expiry.remove_label_values(&[listener, path]);
        }
        for (listener, path, expiry) in served {
            let expiry = seconds(expiry.saturating_mul(1000));
            self.families.certificate_expiry.with_label_values(&[listener, path]).set(expiry);
        }
        *known = now;
    }

    /// So many orders in a row have brought no certificate for the listener; `None`: it is not looked after any more.
    pub fn acme_failures(&self, listener: &str, failures: Option<u32>) {
        match failures {
            Some(count) => self.families.acme_failures.with_label_values(&[listener]).set(i64::from(count)),
            // Gone already is as good.
            None => drop(self.families.acme_failures.remove_label_values(&[listener])),
        }
    }
}
