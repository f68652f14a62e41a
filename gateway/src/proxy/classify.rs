//! Station 9, classify: an attempt's end → outcome → state → `policy::failover` → relay, next attempt, or refuse.
//!
//! What follows from an outcome is decided in `policy::failover` alone; this file gathers what that decision needs.

use super::context::{Current, RequestContext, Step, Verdict};
use super::replay::{DEPLOYMENT_MISSING, FIRST_BYTE_TIMEOUT, IDLE_TIMEOUT, TOTAL_TIMEOUT};
use super::select::RETRY_AFTER;
use crate::domain::{Fault, Moment, Outcome};
use crate::openai::throttle;
use crate::policy::failover::{self, Next, Situation};
use crate::state::{Pick, Transition};
use crate::telemetry::clock;
use http::StatusCode;
use pingora::http::ResponseHeader;
use pingora::{Error, ErrorSource, ErrorType};
use std::time::Duration;

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
}

/// Classifies a response header.
pub(super) fn answered(ctx: &mut RequestContext, header: &ResponseHeader, now: Moment) -> Verb {
    let outcome = by_status(header.status);
    if let Some(current) = ctx.attempts.current.as_mut() {
        current.status = header.status.as_u16();
        current.outcome = Some(outcome);
        current.ticket.first_byte(now, outcome == Outcome::Served);
        if let Some(pool) = ctx.admission.as_ref().and_then(|a| ctx.arrival.live.pools.get(a.pool))
            && let Some(meters) = pool.backends.get(current.backend)
            && outcome == Outcome::Served
        {
            meters.first_byte(now.since(current.started));
        }
    }
    if outcome.is_success() {
        if std::mem::take(&mut ctx.attempts.budgeted)
            && let Some(pool) = pool_state(ctx)
        {
            pool.budget().refund();
        }
        return Verb::Relay;
    }
    let advice = match outcome {
        Outcome::RateLimited => throttle::advice(&header.headers, clock::unix_seconds()).map(|a| a.wait),
        _ => None,
    };
    finish(ctx, outcome, advice, now);
    decide(ctx, outcome, now)
}

/// Classifies an attempt that ended without a (usable) response header.
pub(super) fn failed(ctx: &mut RequestContext, outcome: Outcome, now: Moment) -> Verb {
    finish(ctx, outcome, None, now);
    decide(ctx, outcome, now)
}

/// The outcome of a status that a backend sent.
pub(super) fn by_status(status: StatusCode) -> Outcome {
    match status.as_u16() {
        401 | 403 => Outcome::BackendDenied,
        408 | 500.. => Outcome::ServerError,
        429 => Outcome::RateLimited,
        400..500 => Outcome::ClientError,
        _ => Outcome::Served,
    }
}

/// The outcome of an error that Pingora or the replay session raised while proxying.
pub(super) fn by_error(error: &Error, relayed: bool) -> Outcome {
    let kind = error.root_etype();
    if *kind == DEPLOYMENT_MISSING {
        return Outcome::DeploymentMissing;
    }
    if *kind == IDLE_TIMEOUT || *kind == TOTAL_TIMEOUT {
        return if relayed { Outcome::BrokenLate } else { Outcome::TimedOut };
    }
    if *kind == FIRST_BYTE_TIMEOUT {
        return Outcome::TimedOut;
    }
    if *error.esource() == ErrorSource::Downstream {
        return Outcome::ClientGone;
    }
    match kind {
        _ if relayed => Outcome::BrokenLate,
        ErrorType::ReadTimedout | ErrorType::WriteTimedout => Outcome::TimedOut,
        _ => Outcome::BrokenEarly,
    }
}

/// Records the outcome of the attempt under way and closes it.
pub(super) fn finish(ctx: &mut RequestContext, outcome: Outcome, advice: Option<Duration>, now: Moment) {
    let Some(current) = ctx.attempts.current.take() else { return };
    let Current { ticket, backend, started, status, .. } = current;
    let state = ticket.state().clone();
    let transition = ticket.finish(outcome, advice, now, fastrand::u64(..));
    let Some(pool) = ctx.admission.as_ref().and_then(|a| ctx.arrival.live.pools.get(a.pool)) else { return };
    if let Some(meters) = pool.backends.get(backend) {
        meters.attempted(outcome);
        meters.in_flight.dec();
        if let Some(reason) = transition.as_ref().and_then(Transition::ejection) {
            meters.ejected(reason.label());
        }
    }
    if let Some(transition) = transition {
        tell(&state.id().to_string(), &transition, now);
    }
    ctx.attempts.trail.push(Step { backend, outcome, status, took: now.since(started) });
}

/// One line per change of a backend's standing.
fn tell(backend: &str, transition: &Transition, now: Moment) {
    log::warn!("backend {backend}: {}", transition.describe(now));
}

fn pool_state(ctx: &RequestContext) -> Option<&crate::state::PoolState> {
    ctx.admission.as_ref().and_then(|a| ctx.arrival.live.fleet.pools.get(a.pool))
}

fn decide(ctx: &mut RequestContext, outcome: Outcome, now: Moment) -> Verb {
    let Some(admission) = ctx.admission.as_ref() else { return Verb::Refuse };
    let Some(pool) = ctx.arrival.live.fleet.pools.get(admission.pool) else { return Verb::Refuse };
    let meters = ctx.arrival.live.pools.get(admission.pool).map(|p| &p.meters);
    let mut situation = Situation {
        attempts: ctx.attempts.count,
        attempts_max: admission.attempts_max,
        eligible_left: false,
        deadline_passed: now >= admission.deadline,
        relayed: ctx.relay.is_some(),
        budget: true,
        replayable: true,
    };
    let mut held = None;
    if failover::may_repeat(outcome, &situation) {
        // The ticket is taken now, so that the decision rests on a backend that is really there.
        if let Pick::Attempt(ticket) = pool.pick(ctx.attempts.tried, now, fastrand::u64(..)) {
            situation.eligible_left = true;
            situation.budget = pool.budget().try_withdraw(now);
            if !situation.budget
                && let Some(meters) = meters
            {
                meters.budget_refusals.inc();
            }
            held = Some(ticket);
        }
    }
    match failover::next(outcome, &situation) {
        Next::Relay => Verb::Relay,
        Next::NextAttempt => {
            ctx.attempts.next = held;
            ctx.attempts.budgeted = true;
            if let Some(meters) = meters {
                meters.failed_over(outcome);
            }
            Verb::NextAttempt
        }
        Next::Refuse | Next::EndStream | Next::Settle => {
            ctx.verdict = Some(Verdict::Faulted(fault(ctx, outcome, now)));
            Verb::Refuse
        }
    }
}

/// What we say when the last attempt left nothing to relay.
fn fault(ctx: &RequestContext, outcome: Outcome, now: Moment) -> Fault {
    let soonest = pool_state(ctx).and_then(|p| p.soonest(now)).map(|at| now.until(at));
    if let Some(retry_after) = soonest
        && ctx.attempts.trail.iter().any(|step| step.outcome == Outcome::RateLimited)
    {
        return Fault::AllThrottled { retry_after };
    }
    match outcome {
        Outcome::TimedOut => Fault::DeadlinePassed,
        Outcome::BackendDenied | Outcome::DeploymentMissing => Fault::BackendMisconfigured,
        _ => Fault::Unreachable { retry_after: soonest.unwrap_or(RETRY_AFTER).max(RETRY_AFTER) },
    }
}
