//! Station 11, settle: the request has ended. Its attempt is closed, its ending named, meters and access log told.
//!
//! Runs exactly once for every request, whatever became of it.

use super::Gateway;
use super::classify;
use super::context::{Meter, RequestContext, Screened, Step, Verdict};
use super::hedge::{self, race, view};
use super::limits;
use super::live::LivePool;
use super::pin;
use super::relay;
use super::residency;
use super::rules;
use super::tokens;
use crate::config::snapshot::{Backend, Consumer};
use crate::domain::{Denial, Ending, Failure, Fault, IdFlaw, Moment, Outcome, Throttle, Usage};
use crate::openai::operation;
use crate::openai::refusal::Refusal;
use crate::openai::sse::StreamError;
use crate::openai::trouble;
use crate::policy::screen::finding::Finding;
use crate::policy::trace;
use crate::telemetry::{AttemptRecord, AzureRecord, Record, Timestamp, TokensRecord, WafRecord};
use http::{HeaderName, Uri, header};
use pingora::{Error, ErrorSource};
use pingora_proxy::Session;
use std::borrow::Cow;

const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");

/// Closes the books of a request.
pub(super) fn settle(
    gateway: &Gateway,
    session: &Session,
    error: Option<&Error>,
    ctx: &mut RequestContext,
    now: Moment,
) {
    close_attempt(ctx, error, now);
    classify::kind::conclude(ctx, None, now);
    // What has ended the first of two attempts has not ended the request.
    let error = error.filter(|_| !view::has_won(ctx));
    let hedge = hedge::settle(ctx, now);
    let ending = ending(ctx, error, session.response_written().is_some());
    let consumed = tokens::consumed(ctx);
    let counted = tokens::counted(ctx, consumed);
    let sent = session.downstream_session.body_bytes_sent() as u64;
    // What goes through a tunnel is no body, and counts all the same.
    let received = match ctx.envelope.as_ref().is_some_and(|e| e.upgrade) {
        true => session.downstream_session.body_bytes_read(),
        false => ctx.admission.as_ref().map_or(0, |a| a.body.len()),
    };
    let told = Told {
        ending,
        hedge,
        usage: consumed.usage.or(counted),
        counted: counted.is_some(),
        sent,
        received: received as u64,
    };
    correct(ctx, consumed.usage, now);
    limits::settle(ctx, consumed, counted.map(|usage| usage.prompt), now);
    count(gateway, ctx, &told, now);
    if gateway.access_log.enabled() {
        tell(gateway, session, ctx, &told, now);
    }
}

/// Tells the backend's model what the request has used of what it was charged there: what was cached counts for nothing.
fn correct(ctx: &RequestContext, usage: Option<Usage>, now: Moment) {
    let pool = ctx.admission.as_ref().and_then(|a| ctx.arrival.live.fleet.pools.get(a.pool));
    if let (Some(pool), Some(usage), Some(step)) = (pool, usage, ctx.attempts.trail.last()) {
        let used = usage.prompt.saturating_sub(usage.cached).saturating_add(usage.completion);
        pool.used(step.backend, ctx.attempts.wanted.cost, used, now);
    }
}

/// What meters and log are told.
struct Told {
    ending: Ending,
    /// What became of its hedge.
    hedge: Option<&'static str>,
    usage: Option<Usage>,
    /// The usage was counted here, since the backend did not tell it.
    counted: bool,
    /// Body bytes sent to the client.
    sent: u64,
    /// Body bytes received from it.
    received: u64,
}

/// The attempt whose answer was relayed is still open.
pub(super) fn close_attempt(ctx: &mut RequestContext, error: Option<&Error>, now: Moment) {
    let Some(outcome) = ctx.attempts.current.as_ref().map(|c| c.outcome) else { return };
    let outcome = match error {
        Some(e) => view::seen(ctx, classify::by_error(e, ctx.relay.is_some())),
        None => match error_event(ctx) {
            Some(event) => classify::hear(ctx, event),
            None if is_filtered(ctx) => Some(Outcome::ContentFiltered),
            None => None,
        }
        .or(outcome)
        .unwrap_or(Outcome::ClientGone),
    };
    classify::finish(ctx, outcome, classify::advised(ctx, outcome), now);
}

/// The error event that a relayed stream has ended with.
fn error_event(ctx: &RequestContext) -> Option<StreamError> {
    match ctx.relay.as_ref().map(|relay| &relay.meter) {
        Some(Meter::Events(scanner)) => scanner.error(),
        _ => None,
    }
}

/// The content filter has refused the request.
fn is_filtered(ctx: &RequestContext) -> bool {
    match ctx.relay.as_ref().map(|relay| &relay.meter) {
        Some(Meter::Refusal(text)) => trouble::about(text).is_some_and(|about| about.filtered),
        _ => false,
    }
}

/// `told`: the client has got a header. Our own deadlines end an attempt as if the client had: after a verdict that it was
/// told, it has not left.
fn ending(ctx: &RequestContext, error: Option<&Error>, told: bool) -> Ending {
    let last = ctx.attempts.trail.last().map(|step| step.outcome);
    let client_gone = last == Some(Outcome::ClientGone)
        || error.is_some_and(|e| {
            let ours = matches!(last, Some(Outcome::BrokenLate | Outcome::StreamStalled))
                && *e.root_etype() != race::CLIENT_LEFT;
            *e.esource() == ErrorSource::Downstream && !ours
        });
    if let Some(verdict) = &ctx.verdict {
        return match verdict {
            _ if client_gone && !told => Ending::ClientGone,
            Verdict::Answered(_) => Ending::Answered,
            Verdict::Denied(_) => Ending::Denied,
            Verdict::Faulted(Fault::AllThrottled { .. }) => Ending::AllThrottled,
            Verdict::Faulted(Fault::DeadlinePassed) => Ending::TimedOut,
            Verdict::Faulted(Fault::Internal | Fault::ResidencyViolated) => Ending::Faulted,
            Verdict::Faulted(_) => Ending::Unreachable,
        };
    }
    match (last, &ctx.relay) {
        _ if client_gone => Ending::ClientGone,
        (Some(Outcome::BrokenLate), _) => Ending::BrokenLate,
        (Some(Outcome::ContentFiltered), _) => Ending::ContentFiltered,
        (Some(Outcome::StreamStalled), _) => Ending::StreamStalled,
        (Some(Outcome::StreamThrottled | Outcome::StreamFailed), _) => Ending::StreamFailed,
        (_, Some(relay)) => match error_event(ctx) {
            Some(_) => Ending::ClientError,
            None => by_status(relay.status),
        },
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
    let Told { ending, usage, sent, received, .. } = *told;
    match &ctx.verdict {
        Some(Verdict::Denied(denial)) => gateway.metrics.denied(Refusal::from(denial).code),
        Some(Verdict::Faulted(fault)) => {
            gateway.metrics.faulted(Refusal::from(fault).code);
            let leaked = *fault == Fault::ResidencyViolated;
            gateway.metrics.residency_violations.inc_by(u64::from(leaked));
        }
        Some(Verdict::Answered(_)) | None => {}
    }
    match id_flaw(ctx) {
        Some(flaw) => gateway.metrics.id_met(Some(flaw)),
        None if pin::is_pinned(ctx) => gateway.metrics.id_met(None),
        None => {}
    }
    if let Some(screened) = &ctx.screened {
        for finding in screened.findings().kept() {
            gateway.metrics.waf_found(screened.policy(), &finding.rule, finding.deed.label(), finding.mode.label());
        }
    }
    let live = &ctx.arrival.live;
    if let Some(meters) = ctx.caller.as_ref().and_then(|caller| live.consumers.get(caller.consumer)) {
        meters.ended(ending);
    }
    let Some(admission) = &ctx.admission else {
        gateway.metrics.unrouted().ended(ending);
        return;
    };
    match ctx.ruled.as_ref().and_then(|ruled| ruled.pool(live)) {
        Some(pool) => diverted(gateway, ctx, (admission.route, pool), ending),
        None => {
            if let Some(route) = live.routes.get(admission.route) {
                route.ended(ending);
            }
        }
    }
    let Some(pool) = live.pools.get(admission.pool) else { return };
    pool.meters.took(now.since(ctx.arrival.at));
    pool.meters.request_bytes.inc_by(received);
    pool.meters.response_bytes.inc_by(sent);
    pool.meters.in_flight.dec();
    if let Some(backend) = serving(ctx).and_then(|index| pool.backends.get(index)) {
        backend.meters.answered(ending);
    }
    if let Some(usage) = usage {
        charge(gateway, ctx, pool, usage);
    }
    if let Some(relay) = &ctx.relay {
        relay::count_open(ctx, relay, -1);
    }
}

/// Tokens of the backend that has worked, and what they cost.
fn charge(gateway: &Gateway, ctx: &RequestContext, pool: &LivePool, usage: Usage) {
    if let Some(backend) = ctx.attempts.trail.last().and_then(|step| pool.backends.get(step.backend)) {
        backend.meters.used(usage);
    }
    if let Some(cost) = tokens::cost(ctx, usage) {
        gateway.metrics.spent(
            consumer(ctx).map(|c| &c.name),
            (&cost.price.model, cost.currency),
            cost.region,
            cost.billionths,
        );
    }
}

/// Why an id of the request was not taken.
const fn id_flaw(ctx: &RequestContext) -> Option<IdFlaw> {
    match &ctx.verdict {
        Some(Verdict::Denied(Denial::IdNotTaken { flaw, .. })) => Some(*flaw),
        _ => None,
    }
}

/// Who is charged.
fn consumer(ctx: &RequestContext) -> Option<&Consumer> {
    let access = ctx.arrival.live.fleet.snapshot.access.as_ref()?;
    access.consumers.get(ctx.caller.as_ref()?.consumer)
}

/// A rule has sent the request to another pool than its route's: that pool's series counts it.
fn diverted(gateway: &Gateway, ctx: &RequestContext, (route, pool): (usize, usize), ending: Ending) {
    let snapshot = &ctx.arrival.live.fleet.snapshot;
    if let (Some(route), Some(pool)) = (snapshot.routes.get(route), snapshot.pools.get(pool)) {
        gateway.metrics.route(&route.name, &pool.name).ended(ending);
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
    let certificate = envelope.and_then(|e| e.certificate.as_deref());
    let access = snapshot.access.as_ref();
    let (suspect, unproven) = unproven(ctx);
    let consumer = ctx.caller.as_ref().map(|caller| caller.consumer).or(suspect);
    let consumer = consumer.and_then(|index| access?.consumers.get(index));
    let pool = admission.and_then(|a| snapshot.pools.get(a.pool));
    let text = |name: HeaderName| request.headers.get(name).and_then(|v| v.to_str().ok());
    let backend = |index: usize| pool.and_then(|p| p.backends.get(index));
    let attempts = ctx.attempts.trail.iter().filter_map(|step| Some(attempt(step, backend(step.backend)?))).collect();
    gateway.access_log.log(&Record {
        time: Timestamp::now(),
        request_id: envelope.and_then(|e| e.request_id.to_str().ok()).unwrap_or("-").into(),
        trace_id: request.headers.get(TRACEPARENT).and_then(|v| trace::trace_id(v.as_bytes())).map(Into::into),
        client: envelope.and_then(|e| e.client),
        client_subject: certificate.map(|c| c.subject.as_str().into()),
        client_fingerprint: certificate.map(|c| c.fingerprint.as_str().into()),
        consumer: consumer.map(|c| c.name.as_str().into()),
        plan: consumer.and_then(|c| access?.plans.get(c.plan?)).map(|plan| plan.as_str().into()),
        proof: ctx.caller.as_ref().map(|caller| caller.proof.label()),
        unproven,
        country: ctx
            .residence
            .as_ref()
            .and_then(|residence| residence.country)
            .map(|country| country.to_string().into()),
        residency: residency::names(ctx),
        peer: envelope.and_then(|e| e.hop),
        listener: gateway.listener_of(session.server_addr()).map(Into::into),
        protocol: if envelope.is_some_and(|e| e.http2) { "HTTP/2" } else { "HTTP/1.1" },
        method: request.method.as_str().into(),
        host: request.uri.host().or_else(|| text(header::HOST)).map(Into::into),
        path: scrubbed_path(rules::asked(ctx, request)),
        rules: ctx.ruled.as_ref().map(|ruled| ruled.names(&ctx.arrival.live)).unwrap_or_default(),
        route: admission.and_then(|a| snapshot.routes.get(a.route)).map(|r| r.name.as_str().into()),
        pool: pool.map(|p| p.name.as_str().into()),
        operation: admission.map(|a| a.operation.label()),
        deployment: admission.and_then(|a| a.deployment.as_deref()).map(Into::into),
        alias: admission.and_then(|a| a.alias.as_deref()).map(Into::into),
        stream: admission.is_some_and(|a| a.facts.stream),
        pinned: pin::is_pinned(ctx),
        id_flaw: id_flaw(ctx).map(IdFlaw::label),
        status: session.response_written().map(|r| r.status.as_u16()),
        ending: told.ending.label(),
        code: ctx.verdict.as_ref().and_then(Verdict::refusal).map(|r| r.code),
        limit: limits::refusing(ctx).map(|limit| limit.as_str().into()),
        processing: serving(ctx).and_then(backend).and_then(|b| b.site.place.as_ref()?.to_str().ok()).map(Into::into),
        served_by: serving(ctx).and_then(backend).and_then(|b| b.served_by.to_str().ok()).map(Into::into),
        attempts,
        hedge: told.hedge,
        waf: ctx.screened.as_deref().map(waf).unwrap_or_default(),
        bytes_in: told.received,
        bytes_out: told.sent,
        tokens: told.usage.map(|usage| TokensRecord { counted: told.counted, ..usage.into() }),
        cost: told.usage.and_then(|usage| tokens::cost(ctx, usage)).map(|cost| cost.billionths),
        first_byte: ctx.relay.as_ref().map(|r| r.first_byte.since(ctx.arrival.at)),
        total: now.since(ctx.arrival.at),
        user_agent: text(header::USER_AGENT).map(Into::into),
        sdk_retry_count: envelope.map_or(0, |e| e.sdk_retries),
        generation: snapshot.generation,
    });
}

/// The consumer, by index, that a client would have been, and why it was not.
fn unproven(ctx: &RequestContext) -> (Option<usize>, Option<&'static str>) {
    match &ctx.verdict {
        Some(Verdict::Denied(Denial::Unauthenticated { why, consumer })) => (*consumer, Some(why.label())),
        _ => (None, None),
    }
}

/// Path and query as the client sent them, credentials in the query cut out.
fn scrubbed_path(asked: &Uri) -> Cow<'_, str> {
    match asked.query().map(operation::scrub_query) {
        Some(Cow::Owned(scrubbed)) => format!("{}?{scrubbed}", asked.path()).into(),
        _ => asked.path_and_query().map_or("", |both| both.as_str()).into(),
    }
}

fn attempt<'a>(step: &'a Step, backend: &'a Backend) -> AttemptRecord<'a> {
    AttemptRecord {
        backend: backend.id.backend.as_str().into(),
        region: backend.region.as_str().into(),
        outcome: step.outcome.label(),
        status: (step.status != 0).then_some(step.status),
        throttle: step.throttle.map(Throttle::label),
        failure: step.failure.map(Failure::label),
        azure: step.spillover.as_deref().map(|spillover| AzureRecord {
            from: spillover.from.as_deref().map(Into::into),
            deployment: spillover.deployment.as_deref().map(Into::into),
            error: spillover.error.as_deref().map(Into::into),
        }),
        took: step.took,
        hedge: step.hedge,
    }
}

fn waf<'a>(screened: &'a Screened) -> Vec<WafRecord<'a>> {
    let record = |finding: &'a Finding| {
        let Finding { rule, variable, data, score, deed, mode } = finding;
        let (action, mode) = (deed.label(), mode.label());
        WafRecord {
            rule: (&**rule).into(),
            variable: (&**variable).into(),
            data: data.into(),
            action,
            score: *score,
            mode,
        }
    };
    screened.findings().kept().iter().map(record).collect()
}
