//! [`advice`]: how long a backend asks us to stay away, from whatever header says so.
//!
//! Never trusts a number, and where a backend contradicts itself it takes the cautious answer:
//!
//! | Told | Taken |
//! |---|---|
//! | a header twice, or a list in one line | the longest wait, the smallest quota (`all`) |
//! | a value that is negative, signed, infinite, with an exponent or unreadable | nothing: the header's other values, then the next header |
//! | a wait with decimals | that; of a quota nothing |
//! | a wait beyond a day | a day; a quota beyond any: nothing |
//! | `retry-after-ms` and `retry-after` within a second | the milliseconds: the other is rounded |
//! | a `retry-after` that is longer than that | `retry-after` |
//! | `retry-after` of zero and a reset time | zero: the explicit answer |
//!
//! What to make of the wait is decided in `policy`.

use std::time::{Duration, UNIX_EPOCH};

use crate::domain::{Budgets, Throttle};
use http::header::AsHeaderName;
use http::{HeaderMap, HeaderValue};

/// Longest wait believed: Azure's daily quota says `86400`.
const WAIT_MAX: Duration = Duration::from_secs(24 * 60 * 60);
/// Longest header value looked at, in bytes.
const VALUE_LENGTH_MAX: usize = 64;
/// What `retry-after` may say more than `retry-after-ms`: it has whole seconds.
const ROUNDED: Duration = Duration::from_secs(1);

/// Waits from here on are of a quota that is not Azure's minute.
pub(super) const LONG: Duration = Duration::from_secs(60 * 60);

/// A wait, and who said so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Advice {
    /// 0 to 24 hours; zero is a real answer.
    pub wait: Duration,
    /// The header.
    pub source: AdviceSource,
}

/// Header that an [`Advice`] was read from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum AdviceSource {
    /// `retry-after-ms`
    RetryAfterMs,
    /// `retry-after`
    RetryAfter,
    /// `x-ratelimit-reset-requests`
    ResetRequests,
    /// `x-ratelimit-reset-tokens`, or `x-rate-limit-reset-tokens` as Azure has spelled it
    ResetTokens,
}

impl AdviceSource {
    /// Label in the log: a closed set.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::RetryAfterMs => "retry_after_ms",
            Self::RetryAfter => "retry_after",
            Self::ResetRequests => "reset_requests",
            Self::ResetTokens => "reset_tokens",
        }
    }
}

/// The wait asked for by a 429: [`retry_after`] first, then the reset times of the rate limits. `now_unix` (seconds)
/// is for HTTP dates. A reset time of zero only counts when no other reset time is longer: that limit is not the one
/// that throttled.
#[must_use]
pub fn advice(headers: &HeaderMap, now_unix: u64) -> Option<Advice> {
    const RESETS: [(&str, AdviceSource); 3] = [
        ("x-ratelimit-reset-requests", AdviceSource::ResetRequests),
        ("x-ratelimit-reset-tokens", AdviceSource::ResetTokens),
        ("x-rate-limit-reset-tokens", AdviceSource::ResetTokens),
    ];
    retry_after(headers, now_unix).or_else(|| {
        let resets = || {
            RESETS.iter().filter_map(|(name, source)| {
                all(headers, *name, reset).max().map(|wait| Advice { wait, source: *source })
            })
        };
        resets().find(|advice| !advice.wait.is_zero()).or_else(|| resets().next())
    })
}

/// What a 429 is about, by its header alone.
#[must_use]
pub fn kind(budgets: &Budgets, advice: Option<Advice>) -> Throttle {
    let Budgets { tokens, requests } = budgets;
    if advice.is_some_and(|advice| advice.wait >= LONG) {
        return Throttle::DayQuota;
    }
    // A request may be refused for its size with tokens left; none is with requests left.
    if requests.remaining == Some(0) && tokens.remaining != Some(0) {
        return Throttle::CallRate;
    }
    if tokens.remaining.is_some() || tokens.reset.is_some_and(|reset| !reset.is_zero()) {
        return Throttle::TokenRate;
    }
    if requests.remaining.is_some() || requests.reset.is_some() {
        return Throttle::CallRate;
    }
    match advice.map(|advice| advice.source) {
        None => Throttle::Capacity,
        Some(AdviceSource::RetryAfterMs) => Throttle::Provisioned,
        Some(_) => Throttle::Unknown,
    }
}

/// The wait asked for explicitly, on any status: `retry-after-ms`, or `retry-after` (integer, float or HTTP date) where that
/// is alone or says more than rounding does.
#[must_use]
pub fn retry_after(headers: &HeaderMap, now_unix: u64) -> Option<Advice> {
    let millis = all(headers, "retry-after-ms", |text| number(text, 1000.0)).max();
    let seconds = all(headers, "retry-after", |text| number(text, 1.0).or_else(|| date(text, now_unix))).max();
    let seconds = seconds.filter(|seconds| millis.is_none_or(|millis| *seconds > millis + ROUNDED));
    let told = |wait, source| Advice { wait, source };
    seconds
        .map(|wait| told(wait, AdviceSource::RetryAfter))
        .or_else(|| millis.map(|wait| told(wait, AdviceSource::RetryAfterMs)))
}

/// The values of a header that `read` understands, wherever it stands and however often.
pub(super) fn all<T>(
    headers: &HeaderMap,
    name: impl AsHeaderName,
    read: impl Fn(&str) -> Option<T> + Copy,
) -> impl Iterator<Item = T> {
    headers.get_all(name).into_iter().flat_map(move |value| parts(value, read))
}

/// What `read` understands of one line, or of the list that stands there.
pub(super) fn parts<T>(value: &HeaderValue, read: impl Fn(&str) -> Option<T>) -> impl Iterator<Item = T> {
    let text = value.to_str().ok().filter(|text| text.len() <= VALUE_LENGTH_MAX).unwrap_or("");
    let whole = read(text.trim());
    // A date has a comma of its own.
    let list = if whole.is_none() { text } else { "" };
    whole.into_iter().chain(list.split(',').filter_map(move |part| read(part.trim())))
}

/// A plain number, without sign or exponent; `per_second` of its units make a second.
fn number(text: &str, per_second: f64) -> Option<Duration> {
    if !text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.') {
        return None;
    }
    let seconds = text.parse::<f64>().ok()? / per_second;
    Duration::try_from_secs_f64(seconds.min(WAIT_MAX.as_secs_f64())).ok()
}

fn date(text: &str, now_unix: u64) -> Option<Duration> {
    let then = httpdate::parse_http_date(text).ok()?.duration_since(UNIX_EPOCH).ok()?;
    Some(then.saturating_sub(Duration::from_secs(now_unix)).min(WAIT_MAX))
}

/// Seconds, or a Go-like sum of units: `6m0s`, `1s`, `20ms`; a day at most.
pub(super) fn reset(text: &str) -> Option<Duration> {
    if let Some(wait) = number(text, 1.0) {
        return Some(wait);
    }
    let mut rest = text;
    let mut sum = Duration::ZERO;
    while !rest.is_empty() {
        let (value, after) = rest.split_at(rest.find(|c: char| !c.is_ascii_digit() && c != '.')?);
        let (unit, after) = after.split_at(after.find(|c: char| c.is_ascii_digit()).unwrap_or(after.len()));
        let per_second = match unit {
            "h" => 1.0 / 3600.0,
            "m" => 1.0 / 60.0,
            "s" => 1.0,
            "ms" => 1e3,
            "us" | "µs" => 1e6,
            "ns" => 1e9,
            _ => return None,
        };
        sum = sum.saturating_add(number(value, per_second)?);
        rest = after;
    }
    (!text.is_empty()).then_some(sum.min(WAIT_MAX))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests may panic")]
    use http::{HeaderName, HeaderValue};
    use proptest::prelude::{ProptestConfig, any, prop, prop_assert, proptest};

    use super::*;

    /// Tue, 15 Nov 1994 08:12:31 GMT
    const NOW: u64 = 784_887_151;

    fn ask(lines: &[(&'static str, &str)]) -> Option<(u128, AdviceSource)> {
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            headers.append(HeaderName::from_static(name), HeaderValue::from_str(value).unwrap());
        }
        advice(&headers, NOW).map(|advice| (advice.wait.as_millis(), advice.source))
    }

    #[test]
    fn explicit_waits_are_read() {
        use AdviceSource::{RetryAfter, RetryAfterMs};
        const DAY: u128 = 86_400_000;
        for (name, value, want) in [
            ("retry-after-ms", "1500", Some((1500, RetryAfterMs))),
            ("retry-after-ms", "0", Some((0, RetryAfterMs))),
            ("retry-after-ms", " 12.5 ", Some((12, RetryAfterMs))),
            ("retry-after-ms", "1s", None),
            ("retry-after", "60", Some((60_000, RetryAfter))),
            ("retry-after", "0", Some((0, RetryAfter))),
            ("retry-after", "0.25", Some((250, RetryAfter))),
            ("retry-after", "86400", Some((DAY, RetryAfter))),
            ("retry-after", "99999999999999999999999999", Some((DAY, RetryAfter))),
            ("retry-after", "Tue, 15 Nov 1994 08:12:41 GMT", Some((10_000, RetryAfter))),
            ("retry-after", "Tue, 15 Nov 1994 08:00:00 GMT", Some((0, RetryAfter))),
            ("retry-after", "Fri, 31 Dec 9999 23:59:59 GMT", Some((DAY, RetryAfter))),
            ("retry-after", "-1", None),
            ("retry-after", "+1", None),
            ("retry-after", "NaN", None),
            ("retry-after", "inf", None),
            ("retry-after", "1e3", None),
            ("retry-after", ".", None),
            ("retry-after", "1.2.3", None),
            ("retry-after", "", None),
            ("retry-after", "soon", None),
            ("retry-after", "Tue, 99 Nov 1994 08:12:41 GMT", None),
        ] {
            assert_eq!(ask(&[(name, value)]), want, "{name}: {value}");
        }
        let long = "1".repeat(65);
        assert_eq!(ask(&[("retry-after", &long)]), None);
    }

    #[test]
    fn reset_times_are_read() {
        for (value, want) in [
            ("1", Some(1000)),
            ("0.5", Some(500)),
            ("6m0s", Some(360_000)),
            ("1h1m1s", Some(3_661_000)),
            ("20ms", Some(20)),
            ("1.5s", Some(1500)),
            ("1m1.5s", Some(61_500)),
            ("999999h", Some(86_400_000)),
            ("1d", None),
            ("ms", None),
            ("-1s", None),
            ("1s ", Some(1000)),
            ("1s 2s", None),
            ("1..2s", None),
            ("", None),
        ] {
            let seen = ask(&[("x-ratelimit-reset-requests", value)]);
            assert_eq!(seen, want.map(|wait| (wait, AdviceSource::ResetRequests)), "{value}");
        }
    }

    #[test]
    fn a_429_tells_what_it_is_about() {
        use Throttle::{CallRate, Capacity, DayQuota, Provisioned, TokenRate, Unknown};
        const TOKENS: &str = "x-ratelimit-remaining-tokens";
        const REQUESTS: &str = "x-ratelimit-remaining-requests";
        for (lines, want) in [
            (vec![], Capacity),
            (vec![("retry-after", "soon")], Capacity),
            (vec![("retry-after", "45")], Unknown),
            (vec![("retry-after", "1"), ("retry-after-ms", "740")], Provisioned),
            (vec![("retry-after", "86400")], DayQuota),
            (vec![("retry-after-ms", "86400000"), (TOKENS, "0")], DayQuota),
            (vec![("retry-after", "9"), (REQUESTS, "0"), (TOKENS, "1200")], CallRate),
            (vec![("retry-after", "9"), (REQUESTS, "0")], CallRate),
            (vec![("retry-after-ms", "9000"), (REQUESTS, "7"), (TOKENS, "1200")], TokenRate),
            (vec![("retry-after", "9"), (REQUESTS, "0"), (TOKENS, "0")], TokenRate),
            (vec![("x-rate-limit-reset-tokens", "21")], TokenRate),
            (vec![("x-ratelimit-reset-requests", "3"), ("x-ratelimit-reset-tokens", "0")], CallRate),
            (vec![("retry-after", "9"), (TOKENS, "-3"), (REQUESTS, "NaN")], Unknown),
        ] {
            let mut headers = HeaderMap::new();
            for (name, value) in &lines {
                headers.append(HeaderName::from_static(name), HeaderValue::from_str(value).unwrap());
            }
            let budgets = crate::openai::quota::budgets(&headers);
            assert_eq!(kind(&budgets, advice(&headers, NOW)), want, "{lines:?}");
        }
    }

    #[test]
    fn headers_are_asked_in_order() {
        use AdviceSource::{ResetRequests, ResetTokens, RetryAfter, RetryAfterMs};
        for (lines, want) in [
            (vec![("retry-after", "9"), ("retry-after-ms", "8500")], (8500, RetryAfterMs)),
            (vec![("retry-after-ms", "x"), ("retry-after", "9")], (9000, RetryAfter)),
            (vec![("retry-after", "x"), ("retry-after", "7")], (7000, RetryAfter)),
            (vec![("retry-after", "7"), ("retry-after", "90"), ("retry-after", "0")], (90_000, RetryAfter)),
            (vec![("retry-after", "7, 90")], (90_000, RetryAfter)),
            (vec![("retry-after", "-7, 3,")], (3000, RetryAfter)),
            (vec![("retry-after", "5"), ("retry-after", "Tue, 15 Nov 1994 08:12:41 GMT")], (10_000, RetryAfter)),
            (vec![("retry-after-ms", "80"), ("retry-after-ms", "1500")], (1500, RetryAfterMs)),
            (vec![("retry-after-ms", "740"), ("retry-after", "1")], (740, RetryAfterMs)),
            (vec![("retry-after-ms", "0"), ("retry-after", "1")], (0, RetryAfterMs)),
            (vec![("retry-after-ms", "740"), ("retry-after", "60")], (60_000, RetryAfter)),
            (vec![("retry-after-ms", "0"), ("retry-after", "1.5")], (1500, RetryAfter)),
            (vec![("retry-after-ms", "90000"), ("retry-after", "1")], (90_000, RetryAfterMs)),
            (vec![("retry-after-ms", "740"), ("retry-after", "-60")], (740, RetryAfterMs)),
            (vec![("retry-after-ms", "1e9"), ("retry-after", "99999999999")], (86_400_000, RetryAfter)),
            (vec![("retry-after", "0"), ("x-ratelimit-reset-tokens", "7")], (0, RetryAfter)),
            (vec![("retry-after", "x"), ("x-ratelimit-reset-tokens", "7")], (7000, ResetTokens)),
            (vec![("x-ratelimit-reset-tokens", "7"), ("x-ratelimit-reset-requests", "3")], (3000, ResetRequests)),
            (vec![("x-ratelimit-reset-tokens", "7"), ("x-ratelimit-reset-requests", "0")], (7000, ResetTokens)),
            (vec![("x-ratelimit-reset-tokens", "0"), ("x-ratelimit-reset-requests", "0")], (0, ResetRequests)),
            (vec![("x-rate-limit-reset-tokens", "4")], (4000, ResetTokens)),
            (vec![("x-ratelimit-reset-tokens", "4"), ("x-ratelimit-reset-tokens", "1m")], (60_000, ResetTokens)),
        ] {
            assert_eq!(ask(&lines), Some(want), "{lines:?}");
        }
        assert_eq!(ask(&[]), None);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(512))]
        #[test]
        fn no_other_header_line_ever_shortens_a_wait(
            first in 0_u32..100_000, names in prop::collection::vec(any::<bool>(), 0..4), text in "[0-9.,-]{0,8}",
        ) {
            let mut headers = HeaderMap::new();
            headers.append("retry-after", HeaderValue::from(first));
            let alone = advice(&headers, NOW).unwrap().wait;
            for millis in names {
                let name = if millis { "retry-after-ms" } else { "retry-after" };
                headers.append(name, HeaderValue::from_str(&text).unwrap());
            }
            prop_assert!(advice(&headers, NOW).unwrap().wait + ROUNDED >= alone);
        }

        #[test]
        fn any_header_is_survived(
            raw in prop::collection::vec(any::<u8>(), 0..70), text in "[0-9.hmsun, GMTµ-]{0,30}", now in any::<u64>(),
        ) {
            for name in ["retry-after-ms", "retry-after", "x-ratelimit-reset-requests", "x-rate-limit-reset-tokens"] {
                for bytes in [raw.as_slice(), text.as_bytes()] {
                    let Ok(value) = HeaderValue::from_bytes(bytes) else { continue };
                    let headers = HeaderMap::from_iter([(HeaderName::from_static(name), value)]);
                    prop_assert!(advice(&headers, now).is_none_or(|advice| advice.wait <= WAIT_MAX));
                }
            }
        }
    }
}
