//! What a request knows of its hedge, and a hedge of its race.

use super::race::{Fate, Hedged, Standing};
use crate::config::snapshot::Pool;
use crate::domain::{Moment, Outcome};
use crate::proxy::context::{Admission, RequestContext};
use std::sync::Arc;
use std::time::Duration;

/// The pool of a request that was admitted.
pub(super) fn pool(ctx: &RequestContext) -> Option<(&Pool, &Admission)> {
    let admission = ctx.admission.as_ref()?;
    Some((ctx.arrival.live.fleet.snapshot.pools.get(admission.pool)?, admission))
}

/// The second attempt of a request, while and after it runs.
pub(super) fn hedged(ctx: &RequestContext) -> Option<Arc<Hedged>> {
    match ctx.admission.as_ref()?.desk.hedge.fate()? {
        Fate::Hedged(hedged) => Some(hedged),
        Fate::Unhedged(_) => None,
    }
}

/// Whether a second attempt runs.
pub(in crate::proxy) fn is_underway(ctx: &RequestContext) -> bool {
    hedged(ctx).is_some_and(|hedged| hedged.standing() == Standing::Running)
}

/// Whether it has won.
pub(in crate::proxy) fn has_won(ctx: &RequestContext) -> bool {
    hedged(ctx).is_some_and(|hedged| hedged.standing() == Standing::Won)
}

/// A further attempt does not go where the second one went.
pub(in crate::proxy) fn bar(ctx: &mut RequestContext) {
    if let Some(hedged) = hedged(ctx) {
        ctx.attempts.wanted.tried = ctx.attempts.wanted.tried.with(hedged.backend);
    }
}

/// What an attempt came to: one that was given up is none of the client's doing.
pub(in crate::proxy) fn seen(ctx: &RequestContext, outcome: Outcome) -> Outcome {
    let lost = ctx.hedge.as_ref().is_some_and(|hedged| hedged.standing() == Standing::Lost);
    if lost && outcome == Outcome::ClientGone { Outcome::Outraced } else { outcome }
}

/// The pool learns how long an answer took to begin: one that was given up at least so long as it was waited for.
pub(in crate::proxy) fn learn(ctx: &RequestContext, outcome: Outcome, waited: Duration, now: Moment) {
    let Some((pool, admission)) = pool(ctx) else { return };
    if pool.hedge.is_none() {
        return;
    }
    let time = match outcome {
        // A hedge that has lost was not waited for so long.
        Outcome::Outraced => Some(waited).filter(|_| ctx.hedge.is_none()),
        _ if outcome.is_success() => admission.desk.hedge.took(),
        _ => None,
    };
    if let Some((time, state)) = time.zip(ctx.arrival.live.fleet.pools.get(admission.pool)) {
        state.hedging().observe(admission.facts.stream, time, now);
    }
}

/// How long a second attempt is held until it begins: nobody sees it before, and what it races with has its own limit.
pub(in crate::proxy) const fn patience(ctx: &RequestContext, gate: Duration, left: Duration) -> Duration {
    if ctx.hedge.is_some() { left } else { gate }
}
