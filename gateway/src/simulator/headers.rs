//! The headers of Azure's answers: ids, region, deployment, budgets, advised wait. `azure.md` 3.4.

use std::time::Duration;

use http::header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};

use super::deployment::Deployment;
use super::quota::Budget;
use super::shared::Shared;

const JSON: HeaderValue = HeaderValue::from_static("application/json; charset=utf-8");

/// What every answer carries, besides its content type.
pub(crate) fn common(shared: &Shared, id: u64) -> HeaderMap {
    let mut headers = HeaderMap::with_capacity(24);
    headers.insert(CONTENT_TYPE, JSON);
    headers.insert("apim-request-id", text(&uuid(shared.options.seed, id.wrapping_mul(2))));
    headers.insert("x-request-id", text(&uuid(shared.options.seed, id.wrapping_mul(2).wrapping_add(1))));
    headers.insert("x-ms-region", text(&shared.display));
    headers
        .insert("strict-transport-security", HeaderValue::from_static("max-age=31536000; includeSubDomains; preload"));
    headers.insert("x-content-type-options", HeaderValue::from_static("nosniff"));
    headers
}

/// What an answer of a deployment carries too.
pub(crate) fn served(headers: &mut HeaderMap, deployment: &Deployment, client_id: Option<&HeaderValue>) {
    headers.insert("x-ms-deployment-name", deployment.name_header.clone());
    headers.insert("azureml-model-session", HeaderValue::from_static("d014-20250601093023"));
    headers.insert("x-ms-rai-invoked", HeaderValue::from_static("true"));
    headers.insert("x-ms-client-request-id", client_id.cloned().unwrap_or(HeaderValue::from_static("Not-Set")));
}

/// What an answer carries when Azure itself has spilled it over from `from`.
pub(crate) fn spilled(headers: &mut HeaderMap, from: &Deployment) {
    headers.insert("x-ms-spillover-from-deployment", from.name_header.clone());
}

/// The budgets of a standard deployment.
pub(crate) fn budget(headers: &mut HeaderMap, budget: &Budget) {
    let numbers = [
        ("x-ratelimit-limit-requests", budget.limit_requests),
        ("x-ratelimit-limit-tokens", budget.limit_tokens),
        ("x-ratelimit-remaining-requests", budget.remaining_requests),
        ("x-ratelimit-remaining-tokens", budget.remaining_tokens),
        ("x-ratelimit-reset-requests", seconds(budget.reset_requests)),
        ("x-ratelimit-reset-tokens", seconds(budget.reset_tokens)),
    ];
    for (name, number) in numbers {
        headers.insert(HeaderName::from_static(name), HeaderValue::from(number));
    }
}

/// The advised wait, exact in milliseconds and in whole seconds.
pub(crate) fn retry_after(headers: &mut HeaderMap, wait: Duration) {
    headers.insert("retry-after-ms", HeaderValue::from(u64::try_from(wait.as_millis()).unwrap_or(u64::MAX)));
    headers.insert("retry-after", HeaderValue::from(seconds(wait)));
}

/// A header value of `value`; empty when it cannot be one.
pub(crate) fn text(value: &str) -> HeaderValue {
    HeaderValue::from_str(value).unwrap_or(HeaderValue::from_static(""))
}

fn seconds(wait: Duration) -> u64 {
    u64::try_from(wait.as_micros().div_ceil(1_000_000)).unwrap_or(u64::MAX)
}

/// A reproducible id in the form of a UUID.
pub(crate) fn uuid(seed: u64, n: u64) -> String {
    let (a, b) = (mix(seed ^ n.rotate_left(32)), mix(seed.wrapping_add(n).wrapping_add(1)));
    let (first, second, third) = (a >> 32, (a >> 16) & 0xffff, a & 0x0fff);
    format!("{first:08x}-{second:04x}-4{third:03x}-8{:03x}-{:012x}", (b >> 48) & 0x0fff, b & 0xffff_ffff_ffff)
}

/// `SplitMix64`.
const fn mix(n: u64) -> u64 {
    let n = n.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let n = (n ^ (n >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let n = (n ^ (n >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    n ^ (n >> 31)
}
