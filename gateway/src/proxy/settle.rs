//! Station 11, settle: the request has ended. Its attempt is closed, its ending named, meters and access log told.
//!
//! Runs exactly once for every request, whatever became of it.

use super::Gateway;
use super::classify;
use super::context::{Relay, RequestContext, Step, Verdict};
use super::relay;
use crate::domain::{Ending, Fault, Moment, Outcome, Usage};
use crate::config::snapshot::Backend;
use crate::telemetry::{AttemptRecord, Record, Timestamp, access_log, clock};
use pingora::{Error, ErrorSource};
use pingora_proxy::Session;
use std::time::Duration;

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
    let told = Told { ending, usage, sent };
    count(gateway, ctx, &told, now);
    tell(gateway, session, ctx, &told, now);
}

/// What meters and log are told.
struct Told {
    ending: Ending,
    usage: Option<Usage>,
    /// Body bytes sent to the client.
    sent: u64,
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

fn count(gateway: &Gateway, ctx: &RequestContext, told: &Told, now: Moment) {
    let Told { ending, usage, sent } = *told;
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
        backend.meters.answered(ending);
        if let Some(usage) = usage {
            backend.meters.used(usage);
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

/// Tells the access log. Everything in the line is borrowed from the request.
fn tell(gateway: &Gateway, session: &Session, ctx: &RequestContext, told: &Told, now: Moment) {
    let snapshot = &ctx.arrival.live.fleet.snapshot;
    let request = session.req_header();
    let admission = ctx.admission.as_ref();
    let envelope = ctx.envelope.as_ref();
    let pool = admission.and_then(|a| snapshot.pools.get(a.pool));
    let text = |name: &str| request.headers.get(name).and_then(|v| v.to_str().ok());
    let backend = |index: usize| pool.and_then(|p| p.backends.get(index));
    let attempts: Vec<AttemptRecord<'_>> = ctx.attempts.trail.iter().filter_map(|s| attempt(s, backend(s.backend)?)).collect();
    gateway.access_log.log(&Record {
        time: Timestamp(clock::unix_ms().saturating_sub(millis(now.since(ctx.arrival.at)))),
        request_id: envelope.and_then(|e| e.request_id.to_str().ok()).unwrap_or("-"),
        trace_id: text("traceparent").and_then(|t| t.get(3..35)),
        client: envelope.and_then(|e| e.client),
        listener: gateway.listener_of(session.server_addr()).unwrap_or("-"),
        protocol: if envelope.is_some_and(|e| e.http2) { "HTTP/2" } else { "HTTP/1.1" },
        method: request.method.as_str(),
        host: request.uri.host().or_else(|| text("host")).unwrap_or("-"),
        path: &access_log::scrub(request.uri.path(), request.uri.query()),
        route: admission.and_then(|a| snapshot.routes.get(a.route)).map(|r| r.name.as_str()),
        pool: pool.map(|p| p.name.as_str()),
        operation: admission.map(|a| a.operation.label()),
        deployment: admission.and_then(|a| a.deployment.as_deref()),
        stream: admission.is_some_and(|a| a.facts.stream),
        status: session.response_written().map(|r| r.status.as_u16()),
        ending: told.ending,
        code: ctx.verdict.as_ref().map(|v| v.refusal().code),
        served_by: serving(ctx).and_then(backend).and_then(|b| b.served_by.to_str().ok()),
        attempts: &attempts,
        bytes_in: admission.map_or(0, |a| a.body.len() as u64),
        bytes_out: told.sent,
        tokens: told.usage,
        first_byte: ctx.relay.as_ref().map(|r| r.first_byte.since(ctx.arrival.at)),
        total: now.since(ctx.arrival.at),
        user_agent: text("user-agent"),
        sdk_retry_count: envelope.map(|e| e.sdk_retries).filter(|n| *n > 0),
        generation: snapshot.generation,
    });
}

#[allow(clippy::unnecessary_wraps, reason = "used where a backend may be missing")]
fn attempt<'a>(step: &Step, backend: &'a Backend) -> Option<AttemptRecord<'a>> {
    Some(AttemptRecord {
        backend: backend.id.backend.as_str(),
        region: backend.region.as_str(),
        outcome: step.outcome,
        status: (step.status != 0).then_some(step.status),
        elapsed: step.took,
    })
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}
