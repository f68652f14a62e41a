//! Tokens on the path: estimated before an attempt, asked for in a stream, its extra chunk taken out again, and counted where nobody
//! tells them.
//!
//! It decides no limit. Only the answer that was relayed is charged: attempts that failed over were never relayed.

use super::context::{Admission, Meter, Relay, RequestContext};
use super::live::{Live, Model};
use super::route::Routed;
use super::translate::Translation;
use crate::config::snapshot::Backend;
use crate::domain::{Consumed, Outcome, Region, Usage};
use crate::openai::estimate::{self, Encoding, Estimate, INLINE_MAX, Rules, by_length};
use crate::openai::operation::{self, Operation, Style};
use crate::openai::rewrite::{self, Segments};
use crate::openai::sse::{Produced, Scanner, Stripper};
use crate::openai::versions;
use crate::policy::price::Price;
use bytes::Bytes;
use pingora::http::RequestHeader;
use std::sync::Arc;

/// What a request will cost, from its body. A large one is counted on a thread that may block.
pub(super) async fn estimate(live: &Live, routed: &Routed, body: &Bytes) -> Estimate {
    if routed.multipart {
        return Estimate { exact: true, ..Estimate::default() };
    }
    let rules = rules(live, routed);
    if body.len() <= INLINE_MAX {
        return estimate::estimate(routed.operation, &routed.facts, body, &rules);
    }
    let (operation, facts, whole) = (routed.operation, routed.facts.clone(), body.clone());
    let counted = tokio::task::spawn_blocking(move || estimate::estimate(operation, &facts, &whole, &rules)).await;
    counted.unwrap_or_else(|error| {
        log::error!("a prompt could not be counted: {error}");
        let output_max = routed.facts.max_tokens.unwrap_or(rules.output_default);
        Estimate { prompt: by_length(body.len()), output_max, exact: false }
    })
}

/// The same by the length of its body, which costs next to nothing; `None` where only counting will do.
pub(super) fn rough(live: &Live, routed: &Routed, body: &Bytes) -> Option<Estimate> {
    let small = !routed.multipart && body.len() <= INLINE_MAX;
    small.then(|| estimate::rough(routed.operation, &routed.facts, body, &rules(live, routed))).flatten()
}

fn rules(live: &Live, routed: &Routed) -> Rules {
    let snapshot = &live.fleet.snapshot;
    let backend = snapshot.pools.get(routed.pool).and_then(|pool| pool.backends.first());
    Rules {
        encoding: Encoding::of(model(backend, routed.deployment.as_deref())),
        output_default: snapshot.usage.output_default,
    }
}

/// What the model of a backend is known by; where the file does not say it, the client's word.
fn model<'a>(backend: Option<&'a Backend>, asked: Option<&'a str>) -> &'a str {
    backend.and_then(Backend::model_known).or(asked).unwrap_or_default()
}

/// The model of the backend whose answer is relayed.
pub(super) fn model_served<'a>(ctx: &'a RequestContext, backend: Option<&'a Backend>) -> &'a str {
    model(backend, ctx.admission.as_ref().and_then(|a| a.deployment.as_deref()))
}

/// The body of an attempt that asks for the usage of its stream; `None` where nobody needs that, or this backend or the
/// request does not take it.
pub(super) fn asking(
    ctx: &RequestContext,
    incoming: &RequestHeader,
    (admission, backend): (&Admission, &Backend),
    (translation, own): (&Translation<'_>, Option<&Model>),
) -> Option<Segments> {
    let facts = &admission.facts;
    let wanted = ctx.arrival.live.fleet.snapshot.usage.inject && facts.stream && !facts.include_usage;
    let chunked = matches!(admission.operation, Operation::ChatCompletions | Operation::Completions);
    if !(wanted && chunked) || facts.own_data || admission.multipart {
        return None;
    }
    let known = match translation.style {
        Style::V1 => true,
        Style::Classic => match &backend.api_version {
            Some(version) => versions::takes_stream_options(version),
            None => incoming
                .uri
                .query()
                .and_then(operation::api_version_in_query)
                .is_some_and(|version| versions::takes_stream_options(&version)),
        },
        Style::Other => false,
    };
    known.then(|| rewrite::with_usage(&admission.body, facts, translation.model(own).as_deref())).flatten()
}

/// The reader of a stream: where something is charged by tokens, it counts what is produced.
pub(super) fn scanner(ctx: &RequestContext) -> Scanner {
    let Some(admission) = ctx.admission.as_ref().filter(|_| ctx.arrival.live.fleet.snapshot.usage.counted) else {
        return Scanner::new();
    };
    let pool = ctx.arrival.live.fleet.snapshot.pools.get(admission.pool);
    let backend = ctx.attempts.current.as_ref().and_then(|current| pool?.backends.get(current.backend));
    let encoding = Encoding::of(model_served(ctx, backend));
    Scanner::counting(Produced::new(admission.operation, encoding))
}

/// The filter of a stream whose usage we asked for and the client did not.
pub(super) fn stripper(ctx: &RequestContext) -> Option<Box<Stripper>> {
    ctx.attempts.current.as_ref().filter(|current| current.asked_usage).map(|_| Box::new(Stripper::new()))
}

/// What the request has consumed. Counts what is kept of a stream: ask once, when it is over.
pub(super) fn consumed(ctx: &RequestContext) -> Consumed {
    let Some(relay) = &ctx.relay else {
        // Nothing was answered yet: a backend that the client left at work has read the prompt at least.
        let left = ctx.attempts.trail.last().is_some_and(|step| step.outcome == Outcome::ClientGone);
        return Consumed { relayed: left, ..Consumed::default() };
    };
    let usage = told(relay);
    let relayed = relay.status < 400;
    let produced = if usage.is_none() && relayed { produced(ctx, relay) } else { 0 };
    Consumed { usage, produced, relayed }
}

/// Tokens of the answer, where it told them.
fn told(relay: &Relay) -> Option<Usage> {
    match &relay.meter {
        Meter::Events(scanner) => scanner.usage(),
        Meter::Body(scanner) => scanner.usage(),
        Meter::Refusal(_) | Meter::Tunnel | Meter::Off => None,
    }
}

fn produced(ctx: &RequestContext, relay: &Relay) -> u64 {
    if !ctx.arrival.live.fleet.snapshot.usage.counted {
        return 0;
    }
    match &relay.meter {
        Meter::Events(scanner) => scanner.produced().unwrap_or(0),
        // A whole answer without a usage that can be believed, or cut short: by its length.
        Meter::Body(_) if generates(ctx) => by_length(usize::try_from(relay.bytes).unwrap_or(usize::MAX)),
        Meter::Body(_) | Meter::Refusal(_) | Meter::Tunnel | Meter::Off => 0,
    }
}

fn generates(ctx: &RequestContext) -> bool {
    let operation = ctx.admission.as_ref().map(|admission| admission.operation);
    matches!(operation, Some(Operation::ChatCompletions | Operation::Completions | Operation::Responses))
}

/// What a request has cost.
pub(super) struct Cost<'a> {
    /// The price that it was charged by.
    pub(super) price: &'a Price,
    pub(super) currency: &'a Arc<str>,
    /// Of the backend that has worked for it.
    pub(super) region: &'a Region,
    /// In billionths of the currency.
    pub(super) billionths: u64,
}

/// The cost of these tokens; `None` where nothing is priced, or not this model.
pub(super) fn cost(ctx: &RequestContext, usage: Usage) -> Option<Cost<'_>> {
    let snapshot = &ctx.arrival.live.fleet.snapshot;
    let prices = snapshot.usage.prices.as_ref()?;
    let pool = snapshot.pools.get(ctx.admission.as_ref()?.pool)?;
    let backend = pool.backends.get(ctx.attempts.trail.last()?.backend)?;
    let price = prices.find(model_served(ctx, Some(backend)))?;
    Some(Cost { price, currency: &prices.currency, region: &backend.region, billionths: price.cost(usage) })
}

/// What is charged where the backend did not tell: the prompt as it was counted, or is now, and what was produced.
pub(super) fn counted(ctx: &RequestContext, consumed: Consumed) -> Option<Usage> {
    let admission = ctx.admission.as_ref()?;
    let paid = generates(ctx) || admission.operation == Operation::Embeddings;
    if consumed.usage.is_some() || !consumed.relayed || !paid || !ctx.arrival.live.fleet.snapshot.usage.counted {
        return None;
    }
    let prompt = match ctx.limited.as_ref().filter(|limited| limited.counted) {
        Some(limited) => limited.prompt,
        None if admission.body.len() > INLINE_MAX => by_length(admission.body.len()),
        None => {
            let rules = Rules { encoding: Encoding::of(model_served(ctx, None)), output_default: 0 };
            estimate::estimate(admission.operation, &admission.facts, &admission.body, &rules).prompt
        }
    };
    Some(consumed.charged(prompt))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests may panic")]
mod tests {
    use super::*;
    use crate::config::load_text;
    use crate::openai::facts;
    use crate::state::Registry;
    use crate::telemetry::Metrics;
    use std::path::Path;
    use std::sync::atomic::{AtomicUsize, Ordering};

    /// A chat of so many bytes.
    fn chat(bytes: usize) -> Bytes {
        let bare = r#"{"model":"gpt-4o","messages":[{"role":"user","content":""}]}"#;
        let words = "word ".repeat(bytes / 5 + 1);
        bare.replace("\"\"", &format!("\"{}\"", &words[..bytes - bare.len()])).into()
    }

    fn routed(body: &Bytes) -> Routed {
        let target = operation::parse("/openai/v1/chat/completions").unwrap();
        let (operation, shape) = (target.operation, target.shape("/openai/v1/chat/completions"));
        let facts = facts::from_json(body, true).unwrap();
        let deployment = Some("gpt-4o".to_owned());
        Routed { route: 0, pool: 0, operation, shape, deployment, alias: None, facts, multipart: false }
    }

    #[test]
    fn a_large_prompt_is_counted_exactly_and_not_on_an_async_thread() {
        let text = "version: 1\nlisteners: [ { name: a, address: \"127.0.0.1:0\" } ]\npools:\n  - name: chat\n    backends: [ { name: b, \
                    region: eastus, url: \"http://127.0.0.1:9\", auth: none } ]\n";
        let (snapshot, _) = load_text("x.yaml", text, Path::new("."), &|_| None).unwrap();
        let live = Live::new(Registry::default().bind(Arc::new(snapshot)), &Metrics::new().unwrap());
        for (bytes, elsewhere) in [(1000, false), (INLINE_MAX, false), (INLINE_MAX + 1, true), (200 * 1024, true)] {
            let body = chat(bytes);
            assert_eq!(body.len(), bytes);
            // The one async thread is this one: every thread that starts is one that may block.
            let started = Arc::new(AtomicUsize::new(0));
            let count = Arc::clone(&started);
            let mut builder = tokio::runtime::Builder::new_current_thread();
            let runtime = builder
                .on_thread_start(move || {
                    count.fetch_add(1, Ordering::AcqRel);
                })
                .build()
                .unwrap();
            let estimate = runtime.block_on(estimate(&live, &routed(&body), &body));
            let words = (bytes - chat(100).len() + 40) as u64 / 5;
            assert!(estimate.exact && estimate.prompt.abs_diff(words) < 20, "{bytes}: {estimate:?}");
            assert_eq!(started.load(Ordering::Acquire), usize::from(elsewhere), "{bytes}");
        }
    }
}
