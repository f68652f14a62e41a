//! Doors to the series of sealed ids.

use super::Metrics;
use crate::domain::IdFlaw;

/// The result of a request whose ids were all taken.
const OPENED: &str = "opened";

/// Every result: that, and each flaw.
pub(super) fn results() -> [&'static str; 1 + IdFlaw::ALL.len()] {
    let mut results = [OPENED; 1 + IdFlaw::ALL.len()];
    for (result, flaw) in results.iter_mut().skip(1).zip(IdFlaw::ALL) {
        *result = flaw.label();
    }
    results
}

impl Metrics {
    /// A request had ids of something stored: the first flaw of one, or none.
    pub fn id_met(&self, flaw: Option<IdFlaw>) {
        let at = flaw.map_or(0, |flaw| 1 + IdFlaw::ALL.iter().position(|known| *known == flaw).unwrap_or(0));
        if let Some(counter) = self.ids.get(at) {
            counter.inc();
        }
    }
}
