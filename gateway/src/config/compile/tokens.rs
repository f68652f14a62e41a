//! Compiles how tokens are counted and what they cost.

use super::route;
use crate::config::file::{self, Inject};
use crate::config::report::Report;
use crate::config::snapshot::{Pool, TokenUsage};
use crate::openai::estimate::Encoding;
use crate::policy::price::{Price, Prices};
use std::collections::HashMap;

/// Billionths in one.
const BILLION: f64 = 1e9;
/// Letters of a currency.
const CURRENCY_LENGTH_MAX: usize = 8;

/// `limited`: a limit of tokens holds somewhere.
pub(super) fn compile(file: &file::File, limited: bool, pools: &[Pool], report: &mut Report<'_>) -> TokenUsage {
    let prices = file.prices.as_ref().map(|typed| prices(typed, pools, report));
    let counted = limited || prices.is_some();
    TokenUsage {
        inject: match file.usage.inject {
            Inject::Auto => counted,
            Inject::Always => true,
            Inject::Never => false,
        },
        counted,
        output_default: file.usage.output_default.into(),
        encodings: if counted { encodings(pools) } else { Vec::new() },
        prices,
    }
}

/// The newer tokenizer, and the older one where a model is named that uses it.
fn encodings(pools: &[Pool]) -> Vec<Encoding> {
    let mut found = vec![Encoding::O200k];
    let mut names = pools.iter().flat_map(|pool| &pool.backends).filter_map(|backend| backend.model_known());
    if names.any(|name| Encoding::of(name) == Encoding::Cl100k) {
        found.push(Encoding::Cl100k);
    }
    found
}

fn prices(typed: &file::Prices, pools: &[Pool], report: &mut Report<'_>) -> Prices {
    let letters = typed.currency.bytes().all(|byte| byte.is_ascii_alphabetic());
    if typed.currency.is_empty() || typed.currency.len() > CURRENCY_LENGTH_MAX || !letters {
        report.problem("prices.currency", "is not 1 to 8 letters", "such as USD".to_owned());
    }
    let mut seen: HashMap<&str, usize> = HashMap::new();
    let mut models = Vec::with_capacity(typed.models.len());
    for (index, one) in typed.models.iter().enumerate() {
        let path = format!("prices.models[{index}]");
        if let Some(first) = seen.insert(&one.model, index) {
            let help = format!("the other is prices.models[{first}]");
            report.problem(&format!("{path}.model"), format!("two prices are for `{}`", one.model), help);
        }
        match route::deployment(Some(&one.model)) {
            Ok(matcher) => models.push(Price {
                model: one.model.as_str().into(),
                matcher,
                input: billionths(one.input),
                cached_input: billionths(one.cached_input.unwrap_or(one.input)),
                output: billionths(one.output),
            }),
            Err(message) => report.problem(&format!("{path}.model"), message, "write gpt-4o or gpt-4*".to_owned()),
        }
    }
    let prices = Prices { currency: typed.currency.as_str().into(), models };
    unpriced(&prices, pools, report);
    prices
}

/// Warns of what would be used for nothing.
fn unpriced(prices: &Prices, pools: &[Pool], report: &mut Report<'_>) {
    for (index, pool) in pools.iter().enumerate() {
        for (at, backend) in pool.backends.iter().enumerate() {
            if let Some(model) = backend.model_known().filter(|model| prices.find(model).is_none()) {
                let message = format!("`prices` has no price for `{model}`: it costs nothing in log and metrics");
                report.warn(&format!("pools[{index}].backends[{at}]"), message, None);
            }
        }
    }
}

#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "the schema says 0 to a million")]
fn billionths(price: f64) -> u64 {
    (price * BILLION).round() as u64
}
