//! [`Prices`]: what tokens cost. Whole numbers only: prices in billionths of the currency per million tokens, cost in billionths.

use super::route::DeploymentMatch;
use crate::domain::Usage;
use std::sync::Arc;

/// Tokens that a price is for.
const MILLION: u128 = 1_000_000;

/// The price table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Prices {
    /// What the prices are in, such as `USD`.
    pub currency: Arc<str>,
    /// Prices, in the order of the file: the first that fits a model counts.
    pub models: Vec<Price>,
}

/// The price of one model, or of all whose names begin alike. Billionths of the currency per million tokens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Price {
    /// As it is written in the file: its name in metrics.
    pub model: Arc<str>,
    /// Which models it is for.
    pub matcher: DeploymentMatch,
    /// Prompt tokens that no cache had.
    pub input: u64,
    /// Prompt tokens from the prompt cache.
    pub cached_input: u64,
    /// Completion tokens, reasoning ones included.
    pub output: u64,
}

impl Prices {
    /// The price of a model.
    #[must_use]
    pub fn find(&self, model: &str) -> Option<&Price> {
        self.models.iter().find(|price| price.matcher.takes(Some(model)))
    }
}

impl Price {
    /// What `usage` costs, in billionths of the currency, rounded once, half up.
    #[must_use]
    pub fn cost(&self, usage: Usage) -> u64 {
        let part = |tokens: u64, price: u64| u128::from(tokens).saturating_mul(u128::from(price));
        let cached = usage.cached.min(usage.prompt);
        let sum = part(usage.prompt.saturating_sub(cached), self.input)
            .saturating_add(part(cached, self.cached_input))
            .saturating_add(part(usage.completion, self.output));
        u64::try_from(sum.saturating_add(MILLION / 2) / MILLION).unwrap_or(u64::MAX)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests may panic")]
mod tests {
    use super::*;

    fn price(model: &str, input: u64) -> Price {
        let matcher = DeploymentMatch::Prefix(model.to_owned());
        Price { model: model.into(), matcher, input, cached_input: input / 2, output: 4 * input }
    }

    #[test]
    fn cost_is_exact_and_rounded_once() {
        let usage = |prompt, cached, completion| Usage { prompt, cached, completion, reasoning: 0 };
        // 2.50, 1.25 and 10.00 per million.
        let gpt = price("gpt", 2_500_000_000);
        for (usage, want) in [
            (usage(0, 0, 0), 0),
            (usage(1, 0, 0), 2500),
            (usage(10, 4, 3), 6 * 2500 + 4 * 1250 + 3 * 10_000),
            (usage(10, 99, 0), 10 * 1250),
            (usage(1_000_000, 0, 0), 2_500_000_000),
        ] {
            assert_eq!(gpt.cost(usage), want, "{usage:?}");
        }
        let cheap = Price { cached_input: 0, output: 200_000, ..price("cheap", 300_000) };
        assert_eq!((cheap.cost(usage(1, 0, 0)), cheap.cost(usage(1, 0, 1)), cheap.cost(usage(2, 0, 0))), (0, 1, 1));
        let dear = price("dear", u64::MAX / 4);
        assert_eq!(dear.cost(usage(u64::MAX, 0, u64::MAX)), u64::MAX);
    }

    #[test]
    fn the_first_price_that_fits_counts() {
        let prices = Prices { currency: "USD".into(), models: vec![price("gpt-4o-mini", 1), price("gpt-4o", 2)] };
        assert_eq!(prices.find("gpt-4o-mini-prod").unwrap().input, 1);
        assert_eq!(prices.find("gpt-4o").unwrap().input, 2);
        assert_eq!(prices.find("o3"), None);
    }
}
