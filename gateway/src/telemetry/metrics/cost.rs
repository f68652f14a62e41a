//! Series of what was spent: by consumer, model, region and currency, all of them names of the configuration.

use super::{Metrics, entry};
use crate::config::snapshot::Snapshot;
use crate::domain::{ConsumerName, Region};
use std::collections::HashSet;
use std::sync::Arc;

/// Where nobody is asked who they are.
const NOBODY: &str = "(none)";

/// Consumer, model, currency and region of a cost.
pub(super) type CostLabels = (Option<ConsumerName>, Arc<str>, Arc<str>, Region);

impl Metrics {
    /// Tokens were used: `billionths` of the currency, by the price of a model.
    pub fn spent(
        &self,
        consumer: Option<&ConsumerName>,
        price: (&Arc<str>, &Arc<str>),
        region: &Region,
        billionths: u64,
    ) {
        let (model, currency) = price;
        let key = (consumer.cloned(), Arc::clone(model), Arc::clone(currency), region.clone());
        let labels = [consumer.map_or(NOBODY, ConsumerName::as_str), model, region.as_str(), currency];
        entry(&self.costs, key, || self.families.cost.with_label_values(&labels)).inc_by(billionths);
    }

    /// Removes the series of consumers, prices and regions that `snapshot` does not have.
    pub(super) fn retain_costs(&self, snapshot: &Snapshot) {
        let consumers: HashSet<_> =
            snapshot.access.iter().flat_map(|access| &access.consumers).map(|consumer| &consumer.name).collect();
        let regions: HashSet<_> =
            snapshot.pools.iter().flat_map(|pool| &pool.backends).map(|backend| &backend.region).collect();
        let prices = snapshot.usage.prices.as_ref();
        self.costs.write().retain(|(consumer, model, currency, region), _| {
            let priced = prices.is_some_and(|prices| {
                prices.currency == *currency && prices.models.iter().any(|price| price.model == *model)
            });
            let known = match consumer {
                Some(name) => consumers.contains(name),
                None => true,
            };
            let kept = priced && known && regions.contains(region);
            if !kept {
                let labels =
                    [consumer.as_ref().map_or(NOBODY, ConsumerName::as_str), &**model, region.as_str(), &**currency];
                // It is there, or it was never made.
                let _ = self.families.cost.remove_label_values(&labels);
            }
            kept
        });
    }
}
