//! Station 11, settle: the request has ended. Its attempt is closed, its ending named, meters and access log told.
//!
//! Runs exactly once for every request, whatever became of it.

use super::Gateway;
use super::classify;
use super::context::{Relay, RequestContext, Verdict};
use super::relay;
use crate::domain::{Ending, Fault, Moment, Outcome, Usage};
use crate::openai::operation;
use crate::telemetry::{AttemptRecord, Record, Timestamp};
use pingora::{Error, ErrorSource};
use pingora_proxy::Session;
use std::time::Duration;

/// Longest user agent in the access log, bytes.
const USER_AGENT_LENGTH_MAX: usize = 128;

/// Closes the books of a request.
pub(super) fn settle(
    gateway: &Gateway,
    session: &Session,
    error: Option<&Error>,
    ctx: &mut RequestContext,
    now: Moment,
) {
    close_attempt(ctx, error, now);
    let ending = ending(ctx, error);
    let usage = ctx.relay.as_ref().and_then(relay::usage);
    let sent = session.downstream_session.body_bytes_sent() as u64;
    count(gateway, ctx, ending, usage, sent, now);
    if gateway.access_log.enabled() {
        gateway.access_log.log(&record(gateway, session, ctx, ending, usage, sent, now));
    }
}

/// The attempt whose answer was relayed is still open.
fn close_attempt(ctx: &mut RequestContext, error: Option<&Error>, now: Moment) {
    let Some(outcome) = ctx.attempts.current.as_ref().map(|c| c.outcome) else { return };
    let outcome = match error {
        Some(e) => classify::by_error(e, ctx.relay.is_some()),
        None => outcome.unwrap_or(Outcome::ClientGone),
    };
    classify::finish(ctx, outcome, None, now);
}

fn ending(ctx: &RequestContext, error: Option<&Error>) -> Ending {
    let last = ctx.attempts.trail.last().map(|step| step.outcome);
    let client_gone = last == Some(Outcome::ClientGone)
        || error.is_some_and(|e| *e.esource() == ErrorSource::Downstream && last != Some(Outcome::BrokenLate));
    if let Some(verdict) = &ctx.verdict {
        return match verdict {
            _ if client_gone => Ending::ClientGone,
            Verdict::Denied(_) => Ending::Denied,
            Verdict::Faulted(Fault::AllThrottled { .. }) => Ending::AllThrottled,
            Verdict::Faulted(Fault::DeadlinePassed) => Ending::TimedOut,
            Verdict::Faulted(Fault::Internal) => Ending::Faulted,
            Verdict::Faulted(_) => Ending::Unreachable,
        };
    }
    match (last, &ctx.relay) {
        _ if client_gone => Ending::ClientGone,
        (Some(Outcome::BrokenLate), _) => Ending::BrokenLate,
        (_, Some(relay)) => by_status(relay.status),
        (_, None) => Ending::ClientGone,
    }
}

fn by_status(status: u16) -> Ending {
    match status {
        429 => Ending::RateLimited,
        408 | 500.. => Ending::ServerError,
        400..500 => Ending::ClientError,
        _ => Ending::Served,
    }
}

fn count(gateway: &Gateway, ctx: &RequestContext, ending: Ending, usage: Option<Usage>, sent: u64, now: Moment) {
    match &ctx.verdict {
        Some(verdict @ Verdict::Denied(_)) => gateway.metrics.denied(verdict.refusal().code),
        Some(verdict @ Verdict::Faulted(_)) => gateway.metrics.faulted(verdict.refusal().code),
        None => {}
    }
    let live = &ctx.arrival.live;
    let Some(admission) = &ctx.admission else {
        gateway.metrics.unrouted().ended(ending);
        return;
    };
    if let Some(route) = live.routes.get(admission.route) {
        route.ended(ending);
    }
    let Some(pool) = live.pools.get(admission.pool) else { return };
    pool.meters.took(now.since(ctx.arrival.at));
    pool.meters.request_bytes.inc_by(admission.body.len() as u64);
    pool.meters.response_bytes.inc_by(sent);
    pool.meters.in_flight.dec();
    if let Some(backend) = serving(ctx).and_then(|index| pool.backends.get(index)) {
        backend.answered(ending);
        if let Some(usage) = usage {
            backend.used(usage);
        }
    }
    if ctx.relay.as_ref().is_some_and(Relay::streams) {
        pool.meters.streams_open.dec();
    }
}

/// The backend whose answer was relayed.
fn serving(ctx: &RequestContext) -> Option<usize> {
    ctx.relay.as_ref().and(ctx.attempts.trail.last()).map(|step| step.backend)
}

fn record(
    gateway: &Gateway,
    session: &Session,
    ctx: &RequestContext,
    ending: Ending,
    usage: Option<Usage>,
    sent: u64,
    now: Moment,
) -> Record {
    let snapshot = &ctx.arrival.live.fleet.snapshot;
    let request = session.req_header();
    let admission = ctx.admission.as_ref();
    let pool = admission.and_then(|a| snapshot.pools.get(a.pool));
    let text = |name: &str| request.headers.get(name).and_then(|v| v.to_str().ok());
    let total = now.since(ctx.arrival.at);
    let backend_name = |index: usize| {
        pool.and_then(|p| p.backends.get(index)).map_or_else(String::new, |b| b.id.backend.to_string())
    };
    let region = |index: usize| {
        pool.and_then(|p| p.backends.get(index)).map_or_else(String::new, |b| b.region.to_string())
    };
    let attempts = ctx
        .attempts
        .trail
        .iter()
        .map(|step| AttemptRecord {
            backend: backend_name(step.backend),
            region: region(step.backend),
            outcome: step.outcome.label(),
            status: (step.status != 0).then_some(step.status),
            ms: millis(step.took),
        })
        .collect();
    let serving = serving(ctx);
    Record {
        time: Timestamp::now(),
        request_id: ctx.envelope.as_ref().and_then(|e| e.request_id.to_str().ok()).unwrap_or("-").to_owned(),
        client: ctx.envelope.as_ref().and_then(|e| e.client).map(|a| a.to_string()),
        listener: gateway.listener_of(session.server_addr()),
        protocol: if ctx.envelope.as_ref().is_some_and(|e| e.http2) { "HTTP/2" } else { "HTTP/1.1" },
        method: request.method.as_str().to_owned(),
        host: request.uri.host().or_else(|| text("host")).map(str::to_owned),
        path: scrubbed_path(request),
        route: admission.and_then(|a| snapshot.routes.get(a.route)).map(|r| r.name.to_string()),
        pool: pool.map(|p| p.name.to_string()),
        operation: admission.map(|a| a.operation.label()),
        deployment: admission.and_then(|a| a.deployment.clone()),
        stream: admission.is_some_and(|a| a.facts.stream),
        status: session.response_written().map(|r| r.status.as_u16()),
        ending: ending.label(),
        code: ctx.verdict.as_ref().map(|v| v.refusal().code),
        served_by: serving.map(|index| format!("{}/{}", region(index), backend_name(index))),
        attempts,
        bytes_in: admission.map_or(0, |a| a.body.len() as u64),
        bytes_out: sent,
        tokens: usage.map(Into::into),
        first_byte_ms: ctx.relay.as_ref().map(|r| millis(r.first_byte.since(ctx.arrival.at))),
        total_ms: millis(total),
        user_agent: text("user-agent").map(|ua| ua.chars().take(USER_AGENT_LENGTH_MAX).collect()),
        sdk_retry_count: ctx.envelope.as_ref().map_or(0, |e| e.sdk_retries),
        generation: snapshot.generation,
    }
}

/// Path and query as the client sent them, credentials in the query cut out.
fn scrubbed_path(request: &pingora::http::RequestHeader) -> String {
    match request.uri.query() {
        Some(query) => format!("{}?{}", request.uri.path(), operation::scrub_query(query)),
        None => request.uri.path().to_owned(),
    }
}

fn millis(time: Duration) -> f64 {
    // Three decimals are enough for a log.
    (time.as_secs_f64() * 1e6).round() / 1e3
}
