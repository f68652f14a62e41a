//! Station 9, classify: an attempt's end → outcome → state → `policy::failover` → relay, next attempt, or refuse.
//!
//! What follows from an outcome is decided in `policy::failover` alone; this file gathers what that decision needs.

use super::capable;
use super::context::{Admission, Current, Kind, RequestContext, Step, Verdict};
use super::hedge::view as hedge;
use super::hold;
use super::pin;
use super::select::RETRY_AFTER;
use crate::config::snapshot::Auth;
use crate::domain::{Denial, Failure, Fault, Moment, Outcome, Throttle};
use crate::openai::operation::Operation;
use crate::openai::sse::{StreamError, StreamErrorKind};
use crate::openai::trouble::About;
use crate::openai::{quota, spillover, throttle};
use crate::policy::eject::{Recorded, Standing, Transition};
use crate::policy::failover::{self, Next, Refusal, Situation};
use crate::state::{BackendState, Pick, PoolState};
use crate::telemetry::clock;
use http::{Version, header};
use pingora::ErrorType;
use pingora::http::ResponseHeader;
use std::sync::Arc;
use std::time::Duration;

mod outcome;

pub(super) use outcome::{by_error, by_status};

/// Raised by us to make Pingora's loop begin the next attempt, or end the request with our own answer.
pub(super) const ABANDONED: ErrorType = ErrorType::Custom("attempt_abandoned");

/// What becomes of the attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verb {
    /// Relay this answer.
    Relay,
    /// Another backend takes over.
    NextAttempt,
    /// We answer: the verdict is in the context.
    Refuse,
    /// The answer broke after its first byte, or nobody waits for one.
    End,
}

/// Classifies a response header.
pub(super) fn answered(ctx: &mut RequestContext, header: &ResponseHeader, now: Moment) -> Verb {
    let outcome = by_status(header.status);
    let budgets = quota::budgets(&header.headers);
    let advice = match outcome {
        Outcome::RateLimited => throttle::advice(&header.headers, clock::unix_ms() / 1000),
        _ => None,
    };
    if let Some(current) = ctx.attempts.current.as_mut() {
        current.status = header.status.as_u16();
        current.outcome = Some(outcome);
        current.unframed = is_unframed(header);
        // Only times that compare with others': a whole answer takes as long as it is long.
        let comparable = ctx.admission.as_ref().is_some_and(|a| a.facts.stream || a.operation == Operation::Embeddings);
        current.throttle = (outcome == Outcome::RateLimited).then(|| throttle::kind(&budgets, advice));
        current.failure = (outcome == Outcome::ServerError).then(|| Failure::of(current.status));
        current.spillover = spillover::read(&header.headers);
        current.ticket.told(&budgets, now);
        if let Some(share) = quota::utilization(&header.headers) {
            current.ticket.utilized(share, now);
        }
        current.ticket.first_byte(now, comparable && outcome == Outcome::Served);
        if let Some(pool) = ctx.admission.as_ref().and_then(|a| ctx.arrival.live.pools.get(a.pool))
            && let Some(bound) = pool.backends.get(current.backend)
            && outcome == Outcome::Served
        {
            bound.meters.first_byte(now.since(current.started));
        }
    }
    if outcome.is_success() {
        let current = ctx.attempts.current.as_mut();
        if let Some(current) = current.filter(|current| current.gated && hold::is_stream(header)) {
            current.advice = throttle::retry_after(&header.headers, clock::unix_ms() / 1000).map(|a| a.wait);
        } else {
            accept(ctx, now);
        }
        return Verb::Relay;
    }
    let advice = advice.map(|advice| advice.wait);
    if hedge::has_won(ctx) {
        finish(ctx, outcome, advice, now);
        return Verb::End;
    }
    let unclear = kind::is_unclear(ctx, header);
    let moves_on = unclear && moves_on(ctx, outcome, now);
    if let (Some(current), Some(admission)) = (ctx.attempts.current.as_mut().filter(|_| unclear), &ctx.admission) {
        current.unclear = !moves_on;
        if moves_on {
            current.advice = advice;
            admission.desk.look();
            return Verb::Relay;
        }
    }
    finish(ctx, outcome, advice, now);
    let verb = decide(ctx, outcome, now);
    if verb != Verb::Relay {
        kind::conclude(ctx, None, now);
    }
    verb
}

/// Whether another attempt will follow, so that this answer is not relayed.
fn moves_on(ctx: &RequestContext, outcome: Outcome, now: Moment) -> bool {
    let (Some(admission), Some(pool)) = (&ctx.admission, pool_state(ctx)) else { return false };
    let situation = Situation {
        eligible_left: pool.has_eligible(&ctx.attempts.wanted, now),
        budget: pool.budget().grants(now),
        ..situation(ctx, admission, now)
    };
    failover::next(outcome, &situation) == Next::NextAttempt
}

/// As far as the request itself tells.
fn situation(ctx: &RequestContext, admission: &Admission, now: Moment) -> Situation {
    Situation {
        attempts: ctx.attempts.count,
        attempts_max: admission.attempts_max,
        eligible_left: false,
        deadline_passed: now >= admission.deadline,
        relayed: ctx.relay.is_some(),
        budget: true,
        replayable: true,
    }
}

/// Whether the answer ends with its connection, as HTTP/1.0 has it: a break looks like an end.
fn is_unframed(header: &ResponseHeader) -> bool {
    let has = |name| header.headers.contains_key(name);
    header.version < Version::HTTP_2 && !has(header::CONTENT_LENGTH) && !has(header::TRANSFER_ENCODING)
}

/// A stream is a success from its beginning on, not from its header.
pub(super) fn begun(ctx: &mut RequestContext) {
    if ctx.admission.as_ref().is_some_and(|admission| admission.desk.is_open()) {
        accept(ctx, clock::now());
    }
}

/// A success is told as soon as it is known: a trial need not wait for the end of a long answer.
fn accept(ctx: &mut RequestContext, now: Moment) {
    let Some(current) = ctx.attempts.current.as_mut() else { return };
    current.gated = false;
    if let Some(transition) = current.ticket.accept(now, fastrand::u64(..)) {
        tell(current.ticket.state(), &transition, now);
    }
}

/// Classifies an attempt that ended without a (usable) response header.
pub(super) fn failed(ctx: &mut RequestContext, outcome: Outcome, now: Moment) -> Verb {
    record(ctx, outcome, now);
    if outcome != Outcome::ClientGone && hedge::is_underway(ctx) {
        // Another attempt runs already: it is waited for before another one is made.
        ctx.attempts.pending = Some(outcome);
        return Verb::NextAttempt;
    }
    conclude(ctx, outcome, now)
}

/// Closes an attempt that ended so, with what its error has said.
fn record(ctx: &mut RequestContext, outcome: Outcome, now: Moment) {
    if let Some(about) = ctx.admission.as_ref().and_then(|admission| admission.desk.told()) {
        take_in(ctx, about);
    }
    finish(ctx, outcome, advised(ctx, outcome), now);
}

/// What follows.
pub(super) fn conclude(ctx: &mut RequestContext, outcome: Outcome, now: Moment) -> Verb {
    match decide(ctx, outcome, now) {
        Verb::Relay => {
            // The answer was held back for another attempt, and now there is none.
            ctx.verdict = Some(verdict(ctx, Refusal::Unreachable, now));
            Verb::Refuse
        }
        verb => verb,
    }
}

/// What a stream that turned out to be a 429 advises.
pub(super) fn advised(ctx: &RequestContext, outcome: Outcome) -> Option<Duration> {
    ctx.attempts.current.as_ref().filter(|_| outcome.is_throttled()).and_then(|current| current.advice)
}

/// What the error of the attempt under way says about itself.
fn take_in(ctx: &mut RequestContext, about: About) {
    let Some(current) = ctx.attempts.current.as_mut() else { return };
    current.throttle = about.throttle.or(current.throttle);
    current.advice = current.advice.or(about.wait);
    current.short |= about.overloaded;
    if about.overloaded {
        current.failure = Some(Failure::Overloaded);
    }
}

/// The outcome of a stream that was relayed, by the error event that it ended with. What else the client caused is no outcome
/// of the backend's.
pub(super) fn hear(ctx: &mut RequestContext, error: StreamError) -> Option<Outcome> {
    take_in(ctx, error.about);
    match error.kind {
        _ if error.about.filtered => Some(Outcome::ContentFiltered),
        StreamErrorKind::TooManyRequests => Some(Outcome::StreamThrottled),
        StreamErrorKind::ServerError => Some(Outcome::StreamFailed),
        StreamErrorKind::Forbidden | StreamErrorKind::UserError => None,
    }
}

/// Records the outcome of the attempt under way and closes it.
pub(super) fn finish(ctx: &mut RequestContext, outcome: Outcome, advice: Option<Duration>, now: Moment) {
    let Some(current) = ctx.attempts.current.take() else { return };
    kind::conclude(ctx, None, now);
    let outdated = is_outdated(ctx, &current, outcome, now);
    hedge::learn(ctx, outcome, now.since(current.started), now);
    let Current { mut ticket, backend, started, status, throttle, failure, short, unclear, spillover, .. } = current;
    let kind = Kind::of(outcome, throttle, failure, short);
    let draw = fastrand::u64(..);
    if let Some(throttle) = kind.throttle {
        ticket.throttled(throttle);
    }
    let transition = if outdated { None } else { ticket.finish(outcome, advice, now, draw) };
    let state = Arc::clone(ticket.state());
    let Some(pool) = ctx.admission.as_ref().and_then(|a| ctx.arrival.live.pools.get(a.pool)) else { return };
    if let Some(bound) = pool.backends.get(backend) {
        bound.meters.attempted(outcome);
        if let Some(spillover) = &spillover {
            bound.meters.spilled(spillover.error.is_some());
        }
        bound.meters.in_flight.dec();
        if outcome == Outcome::ConnectFailed {
            bound.next_address();
        }
        if let Some(Standing::Resting { reason, .. }) = transition.map(|t| t.to) {
            bound.meters.ejected(reason.label());
        }
    }
    if unclear {
        let recorded = Recorded { kind: kind.throttle.unwrap_or(Throttle::Unknown), advice, at: now, draw };
        kind::leave_open(ctx, ticket, kind, recorded);
    } else {
        kind::tell(ctx, &ticket, kind, now);
    }
    if let Some(transition) = transition {
        tell(&state, &transition, now);
    }
    let Kind { throttle, failure, .. } = kind;
    let (took, hedge) = (now.since(started), ctx.hedge.is_some());
    ctx.attempts.trail.push(Step { backend, outcome, status, throttle, failure, spillover, took, hedge });
}

/// A 401 for a token of ours asks for another one. Whether there is another already: the refusal says nothing of that.
fn is_outdated(ctx: &RequestContext, current: &Current, outcome: Outcome, now: Moment) -> bool {
    let Some(version) = current.token.filter(|_| outcome == Outcome::BackendDenied && current.status == 401) else {
        return false;
    };
    let fleet = &ctx.arrival.live.fleet;
    let pool = ctx.admission.as_ref().and_then(|admission| fleet.snapshot.pools.get(admission.pool));
    let token = match pool.and_then(|pool| pool.backends.get(current.backend)).map(|backend| &backend.auth) {
        Some(Auth::Token(index)) => fleet.own_tokens.get(*index),
        _ => None,
    };
    token.is_some_and(|token| !token.refused(version, now))
}

/// One line per change of a backend's standing.
fn tell(state: &BackendState, transition: &Transition, now: Moment) {
    match transition.to {
        Standing::Resting { reason, until } => {
            log::warn!("backend {}: set aside for {:.1?} ({})", state.id(), now.until(until), reason.label());
        }
        Standing::Trial { .. } => log::info!("backend {}: on trial", state.id()),
        Standing::Open => log::warn!("backend {}: back in service", state.id()),
    }
}

fn pool_state(ctx: &RequestContext) -> Option<&PoolState> {
    ctx.admission.as_ref().and_then(|a| ctx.arrival.live.fleet.pools.get(a.pool))
}

fn decide(ctx: &mut RequestContext, outcome: Outcome, now: Moment) -> Verb {
    hedge::bar(ctx);
    let Some(admission) = ctx.admission.as_ref() else { return Verb::Refuse };
    let Some(pool) = ctx.arrival.live.fleet.pools.get(admission.pool) else { return Verb::Refuse };
    let meters = ctx.arrival.live.pools.get(admission.pool).map(|p| &p.meters);
    let mut situation = situation(ctx, admission, now);
    if outcome == Outcome::ContextExceeded
        && let Some(last) = ctx.attempts.trail.last()
        && let Some(spec) = ctx.arrival.live.fleet.snapshot.pools.get(admission.pool)
    {
        let barred = capable::no_roomier(spec, last.backend);
        ctx.attempts.wanted.barred = ctx.attempts.wanted.barred.union(barred);
    }
    let mut held = None;
    if failover::next(outcome, &Situation { eligible_left: true, ..situation }) == Next::NextAttempt {
        situation.budget = pool.budget().grants(now);
        if !situation.budget
            && let Some(meters) = meters
        {
            meters.budget_refusals.inc();
        }
    }
    if situation.budget && failover::next(outcome, &Situation { eligible_left: true, ..situation }) == Next::NextAttempt
    {
        // The ticket is taken now, so that the decision rests on a backend that is really there.
        if let Pick::Attempt(ticket) = pool.pick_for(&ctx.attempts.wanted, now, fastrand::u64(..)) {
            situation.eligible_left = true;
            held = Some(ticket);
        }
    }
    match failover::next(outcome, &situation) {
        Next::Relay => Verb::Relay,
        Next::NextAttempt => {
            ctx.attempts.next = held;
            if let Some(meters) = meters {
                meters.failed_over(outcome);
            }
            Verb::NextAttempt
        }
        Next::Refuse(refusal) => {
            ctx.verdict = Some(verdict(ctx, refusal, now));
            Verb::Refuse
        }
        Next::EndStream | Next::Settle => Verb::End,
    }
}

/// What we say when the last attempt left nothing to relay.
fn verdict(ctx: &RequestContext, refusal: Refusal, now: Moment) -> Verdict {
    let soonest = pool_state(ctx).and_then(|p| p.soonest(ctx.attempts.wanted.barred, now)).map(|at| now.until(at));
    if let Some(retry_after) = soonest
        && ctx.attempts.trail.iter().any(|step| step.outcome.is_throttled())
    {
        return Fault::AllThrottled { retry_after }.into();
    }
    let later = soonest.unwrap_or(RETRY_AFTER).max(RETRY_AFTER);
    match refusal {
        Refusal::ContextExceeded => return Denial::ContextExceeded { max: 0 }.into(),
        Refusal::DeadlinePassed => Fault::DeadlinePassed,
        Refusal::BackendMisconfigured => Fault::BackendMisconfigured,
        Refusal::Failing => Fault::NoBackend { retry_after: later },
        // Nobody else could answer: it is this backend that is not there now.
        Refusal::Unreachable if pin::is_alone(ctx) => Fault::NoBackend { retry_after: later },
        Refusal::Unreachable => Fault::Unreachable { retry_after: later },
    }
    .into()
}

pub(super) mod kind;
