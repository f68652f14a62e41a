//! [`budgets`]: what `x-ratelimit-*` tell of a deployment's quotas; [`cost`]: what a request will take of them.
//!
//! Never trusts a number: what is negative, broken or beyond any quota is not there. A header that contradicts itself says
//! the smallest quota, the latest reset and the highest utilization (`throttle` has the table). What to make of it is
//! decided in `policy`.

use super::facts::Facts;
use super::operation::Operation;
use super::throttle::{all, parts, reset};
use crate::domain::{Budgets, Cost, Told};
use http::{HeaderMap, HeaderName, HeaderValue};
use std::time::Duration;

/// No deployment has more tokens or requests per minute.
const NUMBER_MAX: u64 = 1 << 40;
/// Ceiling of an answer whose request names none. Azure estimates it, and tells nobody how; its simulator takes this.
const OUTPUT_DEFAULT: u64 = 16;
/// No answer is longer, and nobody gets more of them.
const OUTPUT_MAX: u64 = 1 << 32;
/// No deployment is fuller, in percent.
const UTILIZATION_MAX: f64 = 1000.0;
/// How full a provisioned deployment is.
const UTILIZATION: HeaderName = HeaderName::from_static("azure-openai-deployment-utilization");
/// Bytes of a body that are taken for one token.
const BYTES_PER_TOKEN: usize = 4;

/// The quotas that a header tells. Every answer comes by here: its lines are gone through once.
#[must_use]
pub fn budgets(headers: &HeaderMap) -> Budgets {
    let (mut tokens, mut requests) = (Told::default(), Told::default());
    for (name, value) in headers {
        match name.as_str() {
            "x-ratelimit-limit-tokens" => smallest(&mut tokens.limit, value),
            "x-ratelimit-remaining-tokens" => smallest(&mut tokens.remaining, value),
            "x-ratelimit-reset-tokens" | "x-rate-limit-reset-tokens" => latest(&mut tokens.reset, value),
            "x-ratelimit-limit-requests" => smallest(&mut requests.limit, value),
            "x-ratelimit-remaining-requests" => smallest(&mut requests.remaining, value),
            "x-ratelimit-reset-requests" => latest(&mut requests.reset, value),
            _ => {}
        }
    }
    Budgets { tokens, requests }
}

/// What Azure counts when it admits a request: its prompt by length, and the ceiling of every answer asked for. `prompt`
/// is the count of tokens where one was made.
#[must_use]
pub fn cost(operation: Operation, facts: &Facts, body: usize, prompt: Option<u64>) -> Cost {
    let generates = matches!(operation, Operation::ChatCompletions | Operation::Completions | Operation::Responses);
    if !generates && operation != Operation::Embeddings {
        return Cost::default();
    }
    let prompt = self::prompt(body, prompt);
    let ceiling = if generates { facts.max_tokens.unwrap_or(OUTPUT_DEFAULT).min(OUTPUT_MAX) } else { 0 };
    let answers = facts.n.unwrap_or(1).clamp(1, OUTPUT_MAX);
    Cost { tokens: prompt.saturating_add(ceiling.saturating_mul(answers)) }
}

/// How full the header says that a provisioned deployment is: `61.4%` is 0.614.
#[must_use]
pub fn utilization(headers: &HeaderMap) -> Option<f64> {
    let shares = all(headers, UTILIZATION, |text| {
        let number = text.strip_suffix('%').unwrap_or(text).trim_end();
        let plain = number.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
        let percent: f64 = number.parse().ok().filter(|_| plain)?;
        (percent <= UTILIZATION_MAX).then_some(percent / 100.0)
    });
    shares.max_by(f64::total_cmp)
}

/// Tokens of a prompt: as counted, or by the length of its body.
#[must_use]
pub fn prompt(body: usize, counted: Option<u64>) -> u64 {
    counted.unwrap_or_else(|| u64::try_from(body.div_ceil(BYTES_PER_TOKEN)).unwrap_or(u64::MAX))
}

/// The smallest that is told.
fn smallest(least: &mut Option<u64>, value: &HeaderValue) {
    let plain = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    let numbers = parts(value, |text| text.parse().ok().filter(|number| plain(text) && *number <= NUMBER_MAX));
    *least = numbers.chain(*least).min();
}

/// The latest that is told.
fn latest(last: &mut Option<Duration>, value: &HeaderValue) {
    *last = parts(value, reset).chain(*last).max();
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests may panic")]
    use super::*;
    use proptest::prelude::{ProptestConfig, any, prop, prop_assert, prop_assert_eq, proptest};

    fn told(lines: &[(&'static str, &str)]) -> Budgets {
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            headers.append(HeaderName::from_static(name), HeaderValue::from_str(value).unwrap());
        }
        budgets(&headers)
    }

    #[test]
    fn both_quotas_are_read() {
        let seen = told(&[
            ("x-ratelimit-limit-tokens", "450000"),
            ("x-ratelimit-remaining-tokens", "449000"),
            ("x-ratelimit-reset-tokens", "37"),
            ("x-ratelimit-limit-requests", "4500"),
            ("x-ratelimit-remaining-requests", "0"),
            ("x-ratelimit-reset-requests", "20ms"),
        ]);
        let tokens = Told { limit: Some(450_000), remaining: Some(449_000), reset: Some(Duration::from_secs(37)) };
        let requests = Told { limit: Some(4500), remaining: Some(0), reset: Some(Duration::from_millis(20)) };
        assert_eq!(seen, Budgets { tokens, requests });
        let older = told(&[("x-rate-limit-reset-tokens", "4")]);
        assert_eq!(older.tokens.reset, Some(Duration::from_secs(4)));
        assert_eq!(told(&[]), Budgets::default());
    }

    #[test]
    fn numbers_that_no_quota_has_are_not_there() {
        for value in ["-1", "NaN", "inf", "1e9", "1.5", "", "many", "0x10", "99999999999999999999", "1099511627777"] {
            let seen = told(&[("x-ratelimit-limit-tokens", value), ("x-ratelimit-remaining-requests", value)]);
            assert_eq!(seen, Budgets::default(), "{value}");
        }
    }

    #[test]
    fn a_quota_that_contradicts_itself_is_the_smallest_and_back_the_latest() {
        const REMAINING: &str = "x-ratelimit-remaining-tokens";
        const RESET: &str = "x-ratelimit-reset-tokens";
        for (lines, remaining, reset) in [
            (vec![(REMAINING, "900"), (REMAINING, "20")], Some(20), None),
            (vec![(REMAINING, "20"), (REMAINING, "900")], Some(20), None),
            (vec![(REMAINING, "900, 20")], Some(20), None),
            (vec![(REMAINING, "900,, many, -1")], Some(900), None),
            (vec![(REMAINING, "-1"), (REMAINING, "900")], Some(900), None),
            (vec![(REMAINING, "1.5"), (REMAINING, "+3"), (REMAINING, "99999999999999999999")], None, None),
            (vec![(RESET, "1s"), (RESET, "2m"), (RESET, "3")], None, Some(120)),
            (vec![(RESET, "1"), ("x-rate-limit-reset-tokens", "40")], None, Some(40)),
            (vec![(RESET, "50"), ("x-rate-limit-reset-tokens", "40")], None, Some(50)),
            (vec![(RESET, "1s, 6m0s")], None, Some(360)),
        ] {
            let tokens = Told { limit: None, remaining, reset: reset.map(Duration::from_secs) };
            assert_eq!(told(&lines), Budgets { tokens, ..Budgets::default() }, "{lines:?}");
        }
    }

    #[test]
    fn utilization_is_read_in_percent_and_nothing_else() {
        for (value, want) in [
            ("61.4%", Some(0.614)),
            ("100", Some(1.0)),
            ("0 %", Some(0.0)),
            ("250%", Some(2.5)),
            ("-3%", None),
            ("NaN", None),
            ("inf%", None),
            ("1e300%", None),
            ("99999%", None),
            ("", None),
            ("%", None),
            ("much", None),
        ] {
            let headers = HeaderMap::from_iter([(
                HeaderName::from_static("azure-openai-deployment-utilization"),
                HeaderValue::from_static(value),
            )]);
            let seen = utilization(&headers);
            assert_eq!(
                seen.map(|share| (share * 1e6).round()),
                want.map(|share: f64| (share * 1e6).round()),
                "{value}"
            );
        }
    }

    #[test]
    fn a_request_costs_its_prompt_and_the_ceiling_of_every_answer() {
        let facts = |max_tokens, n| Facts { max_tokens, n, ..Facts::default() };
        let chat = Operation::ChatCompletions;
        for (operation, facts, body, prompt, want) in [
            (chat, facts(None, None), 4000, None, 1016),
            (chat, facts(Some(500), None), 4001, None, 1501),
            (chat, facts(Some(500), Some(3)), 4000, None, 2500),
            (chat, facts(Some(500), Some(0)), 4000, Some(700), 1200),
            (Operation::Embeddings, facts(Some(500), Some(9)), 4000, None, 1000),
            (Operation::AudioSpeech, facts(None, None), 4000, None, 0),
        ] {
            assert_eq!(cost(operation, &facts, body, prompt).tokens, want, "{operation:?} {facts:?}");
        }
        let absurd = facts(Some(u64::MAX), Some(u64::MAX));
        assert_eq!(cost(chat, &absurd, usize::MAX, None).tokens, u64::MAX, "nothing overflows");
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(256))]
        #[test]
        fn the_smallest_quota_counts_in_any_order_and_form(
            numbers in prop::collection::vec(0..NUMBER_MAX, 1..4), noise in "[a-z.+-]{0,5}", listed in any::<bool>(),
        ) {
            let name = HeaderName::from_static("x-ratelimit-remaining-requests");
            let mut texts: Vec<String> = numbers.iter().map(u64::to_string).chain([noise]).collect();
            if listed {
                texts = vec![texts.join(", ")];
            }
            let values = texts.iter().map(|text| (name.clone(), HeaderValue::from_str(text).unwrap()));
            let mut headers = HeaderMap::new();
            values.for_each(|(name, value)| { headers.append(name, value); });
            prop_assert_eq!(budgets(&headers).requests.remaining, numbers.iter().min().copied());
        }

        #[test]
        fn any_header_is_survived(raw in prop::collection::vec(any::<u8>(), 0..70)) {
            let Ok(value) = HeaderValue::from_bytes(&raw) else { return Ok(()) };
            let names = ["x-ratelimit-limit-tokens", "x-ratelimit-reset-tokens", "x-ratelimit-remaining-requests"];
            let headers = names.map(|name| (HeaderName::from_static(name), value.clone()));
            let seen = budgets(&HeaderMap::from_iter(headers));
            prop_assert!(seen.tokens.limit.is_none_or(|limit| limit <= NUMBER_MAX));
        }
    }
}
