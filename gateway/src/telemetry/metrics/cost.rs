//! Series of what was spent: by consumer, model, region and currency, all of them names of the configuration.

use super::{Metrics, entry};
use crate::config::snapshot::Snapshot;
use crate::domain::{ConsumerName, Region};
use prometheus::IntCounter;
use std::collections::HashSet;
use std::sync::Arc;

/// Where nobody is asked who they are.
const NOBODY: &str = "(none)";

/// Consumer, model, currency and region of a cost.
pub(super) type CostLabels = (Option<ConsumerName>, Arc<str>, Arc<str>, Region);

/// What was spent since the start.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Spending {
    /// Who; absent where nobody is asked.
    pub consumer: Option<String>,
    /// The model, as the price table names it.
    pub model: String,
    /// Region of the backends that did the work.
    pub region: String,
    /// Of the cost.
    pub currency: String,
    /// Billionths of the currency.
    pub billionths: u64,
}

impl Metrics {
    /// Everything that was spent, by consumer, model and region.
    #[must_use]
    pub fn spendings(&self) -> Vec<Spending> {
        let describe = |((consumer, model, currency, region), counter): (&CostLabels, &Arc<IntCounter>)| Spending {
            consumer: consumer.as_ref().map(ToString::to_string),
            model: model.to_string(),
            region: region.to_string(),
            currency: currency.to_string(),
            billionths: counter.get(),
        };
        let mut all: Vec<_> = self.costs.read().iter().map(describe).collect();
        all.sort_by(|one, other| {
            (&one.consumer, &one.model, &one.region).cmp(&(&other.consumer, &other.model, &other.region))
        });
        all
    }

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
