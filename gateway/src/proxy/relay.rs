//! Station 10, relay: the backend's answer goes to the client as it comes, metered, never buffered.
//!
//! It decides no failover. A stream that breaks after its first byte is ended honestly here.

use super::context::{Meter, Relay, RequestContext};
use super::header::{self as fields, ATTEMPTS, REQUEST_ID, SHOULD_RETRY};
use super::limits;
use super::pin;
use super::tokens;
use crate::domain::{Moment, Outcome};
use crate::openai::answer::{self, Media};
use crate::openai::operation::Operation;
use crate::openai::refusal;
use crate::openai::sse;
use crate::openai::trouble::PREFIX_MAX;
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use pingora::http::ResponseHeader;
use pingora_proxy::Session;
use std::fmt::Write;

const SERVED_BY: HeaderName = HeaderName::from_static("x-served-by");
const PROCESSING_REGION: HeaderName = HeaderName::from_static("x-tidegate-region");
const RETRY_AFTER_MS: HeaderName = HeaderName::from_static("retry-after-ms");

/// Prepares the header for the client and the meter for the body.
pub(super) fn begin(ctx: &mut RequestContext, header: &mut ResponseHeader, now: Moment) {
    let media = answer::media(header.headers.get(header::CONTENT_TYPE));
    let meter = match media {
        _ if header.status == StatusCode::SWITCHING_PROTOCOLS => Meter::Tunnel,
        Media::EventStream => Meter::Events(Box::new(tokens::scanner(ctx))),
        Media::Json if header.status.is_success() => Meter::Body(Box::default()),
        Media::Json if header.status == StatusCode::BAD_REQUEST || ctx.attempts.unclear.is_some() => {
            Meter::Refusal(Vec::new())
        }
        Media::Json | Media::Other => Meter::Off,
    };
    let status = header.status.as_u16();
    let strip = if matches!(meter, Meter::Events(_)) { tokens::stripper(ctx) } else { None };
    let seal = pin::seal(ctx, header, media);
    fields::of_response(header, |headers| {
        if (strip.is_some() || seal.is_some()) && headers.remove(header::CONTENT_LENGTH).is_some() {
            // Its length changes; Pingora leaves this out on HTTP/2.
            headers.insert(header::TRANSFER_ENCODING, HeaderValue::from_static("chunked"));
        }
        mark(ctx, headers);
        limits::tell(ctx, headers);
        advise(ctx, headers, status, now);
    });
    let unframed = ctx.attempts.current.as_ref().is_some_and(|current| current.unframed);
    let relay = Relay { status, first_byte: now, meter, unframed, strip, seal, bytes: 0 };
    count_open(ctx, &relay, 1);
    ctx.relay = Some(relay);
}

/// The answer was not relayed after all.
pub(super) fn take_back(ctx: &mut RequestContext) {
    if let Some(relay) = ctx.relay.take() {
        count_open(ctx, &relay, -1);
    }
}

/// Counts an answer that stays open, when it begins and when it ends.
pub(super) fn count_open(ctx: &RequestContext, relay: &Relay, by: i64) {
    let Some(pool) = ctx.admission.as_ref().and_then(|a| ctx.arrival.live.pools.get(a.pool)) else { return };
    match relay.meter {
        Meter::Events(_) => pool.meters.streams_open.add(by),
        Meter::Tunnel => pool.meters.websockets_open.add(by),
        Meter::Body(_) | Meter::Refusal(_) | Meter::Off => {}
    }
}

/// Our own headers: request id, who served, the trail of attempts.
fn mark(ctx: &RequestContext, headers: &mut HeaderMap) {
    let snapshot = &ctx.arrival.live.fleet.snapshot;
    if let Some(envelope) = &ctx.envelope {
        headers.insert(REQUEST_ID, envelope.request_id.clone());
    }
    let backends = ctx.admission.as_ref().and_then(|a| snapshot.pools.get(a.pool)).map(|p| &p.backends);
    let serving = ctx.attempts.current.as_ref().map(|c| c.backend).or(ctx.attempts.trail.last().map(|s| s.backend));
    let serving = serving.and_then(|index| backends?.get(index));
    if let Some(backend) = serving.filter(|_| snapshot.headers.served_by) {
        headers.insert(SERVED_BY, backend.served_by.clone());
    }
    if let Some(place) = serving.filter(|_| snapshot.headers.region).and_then(|backend| backend.site.place.as_ref()) {
        headers.insert(PROCESSING_REGION, place.clone());
    }
    if snapshot.headers.attempts {
        headers.insert(ATTEMPTS, trail(ctx));
    }
}

/// `region/backend=outcome` for each attempt, in order. Categorical: no addresses, no texts.
pub(super) fn trail(ctx: &RequestContext) -> HeaderValue {
    let mut text = String::new();
    let pool = ctx.admission.as_ref().and_then(|a| ctx.arrival.live.fleet.snapshot.pools.get(a.pool));
    let finished = ctx.attempts.trail.iter().map(|step| (step.backend, step.outcome));
    let current = ctx.attempts.current.as_ref().map(|c| (c.backend, c.outcome.unwrap_or(Outcome::Served)));
    for (index, outcome) in finished.chain(current) {
        if let Some(backend) = pool.and_then(|p| p.backends.get(index)) {
            let gap = if text.is_empty() { "" } else { ", " };
            // Writing to a String does not fail.
            let _ = write!(text, "{gap}{}/{}={}", backend.region, backend.id.backend, outcome.label());
        }
    }
    HeaderValue::from_str(&text).unwrap_or(HeaderValue::from_static("-"))
}

/// Tells the client when to come back after a relayed 429, and the SDK not to repeat what we have already repeated.
fn advise(ctx: &RequestContext, headers: &mut HeaderMap, status: u16, now: Moment) {
    if status != 429 && status != 408 && status < 500 {
        return;
    }
    let pool = ctx.admission.as_ref().and_then(|a| ctx.arrival.live.fleet.pools.get(a.pool));
    let soonest = pool.and_then(|p| p.soonest(ctx.attempts.wanted.barred, now)).map(|at| now.until(at));
    if status == 429
        && let Some(wait) = soonest
    {
        let digits = |text: String| HeaderValue::try_from(text).unwrap_or(HeaderValue::from_static("1"));
        headers.insert(RETRY_AFTER_MS, digits(refusal::retry_after_ms(wait)));
        headers.insert(header::RETRY_AFTER, digits(refusal::retry_after(wait)));
        headers.insert(SHOULD_RETRY, HeaderValue::from_static(refusal::should_retry(wait)));
    } else if ctx.attempts.count > 1 {
        headers.insert(SHOULD_RETRY, HeaderValue::from_static("false"));
    }
}

/// Sees each chunk on its way; only the usage chunk that nobody asked for goes no further. `end`: it is the last.
pub(super) fn pass(ctx: &mut RequestContext, body: &mut Option<Bytes>, end: bool) {
    let Some(relay) = ctx.relay.as_mut() else { return };
    if let Some(chunk) = body.as_ref() {
        relay.bytes += chunk.len() as u64;
        match &mut relay.meter {
            Meter::Events(scanner) => scanner.feed(chunk),
            Meter::Body(scanner) => scanner.feed(chunk),
            Meter::Refusal(text) => {
                let room = PREFIX_MAX.saturating_sub(text.len()).min(chunk.len());
                text.extend_from_slice(chunk.get(..room).unwrap_or_default());
            }
            Meter::Tunnel | Meter::Off => {}
        }
    }
    if end
        && relay.is_cut()
        && let Some(admission) = ctx.admission.as_ref().filter(|a| ends_by_event(a.operation))
    {
        admission.desk.cut();
    }
    if let Some(strip) = &mut relay.strip {
        let passed = body.as_ref().map(|chunk| strip.feed(chunk));
        let rest = if end { strip.finish() } else { Bytes::new() };
        *body = match passed {
            Some(passed) if rest.is_empty() => Some(passed),
            Some(passed) => Some([passed, rest].concat().into()),
            None => (!rest.is_empty()).then_some(rest),
        };
    }
    if let Some(seal) = &mut relay.seal {
        seal.pass(body, end);
        if let Some((turn, admission)) = seal.turn(end).zip(ctx.admission.as_ref()) {
            admission.desk.turn(turn);
        }
    }
}

/// A whole stream of this operation says its end: `[DONE]`, or an event such as `response.completed`.
const fn ends_by_event(operation: Operation) -> bool {
    matches!(operation, Operation::ChatCompletions | Operation::Completions | Operation::Responses)
}

impl Relay {
    /// The answer is over, its framing does not say whether it is whole, and its events say that it is not.
    fn is_cut(&mut self) -> bool {
        let Meter::Events(scanner) = &mut self.meter else { return false };
        if !self.unframed {
            return false;
        }
        scanner.finish();
        !scanner.done() && scanner.error().is_none()
    }
}

/// Ends an answer that broke after its first byte: an event stream gets an error event and never a `[DONE]`; any other
/// body is cut, so that its framing shows the break.
pub(super) async fn end_broken(session: &mut Session, ctx: &RequestContext) {
    let Some(Relay { meter: Meter::Events(scanner), .. }) = &ctx.relay else { return };
    if scanner.done() {
        return;
    }
    let request_id = ctx.envelope.as_ref().and_then(|e| e.request_id.to_str().ok()).unwrap_or("-");
    let mut event = Vec::new();
    if !scanner.at_boundary() {
        event.extend_from_slice(b"\n\n");
    }
    let (message, code) = match ctx.attempts.trail.last().map(|step| step.outcome) {
        Some(outcome @ Outcome::StreamStalled) => {
            ("The backend's stream was too slow. What was received so far is incomplete.", outcome.label())
        }
        _ => {
            ("The backend's stream broke off before its end. What was received so far is incomplete.", "stream_broken")
        }
    };
    event.extend_from_slice(&sse::error_event(request_id, message, code));
    // HTTP/2 drops queued data on a reset, so there the stream ends after the event; on HTTP/1.1 the missing last chunk
    // tells the break to clients that do not read events.
    let http2 = ctx.envelope.as_ref().is_some_and(|e| e.http2);
    if let Err(error) = session.downstream_session.write_response_body(event.into(), http2).await {
        log::debug!("the client left before the error event: {error}");
    }
}
