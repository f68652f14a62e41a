//! What a 429 or a 5xx is about, where only its body tells. Where another attempt makes up for it, its body is looked at
//! before (`hold`). Where it is relayed nothing waits: its rest begins at its header, and what its body says on its way to
//! the client is taken in then, by rest, meters and log.

use crate::domain::{Failure, Moment, Outcome, Throttle};
use crate::openai::answer::{self, Media};
use crate::openai::trouble::{self, About};
use crate::policy::eject::Recorded;
use crate::proxy::context::{Kind, Meter, Relay, RequestContext, Unclear};
use crate::state::Ticket;
use http::header;
use pingora::http::ResponseHeader;

impl Kind {
    /// By what an attempt's answer has told so far.
    pub(super) fn of(outcome: Outcome, throttle: Option<Throttle>, failure: Option<Failure>, short: bool) -> Self {
        let failed = matches!(outcome, Outcome::ServerError | Outcome::StreamFailed);
        let throttle = outcome.is_throttled().then(|| throttle.unwrap_or(Throttle::Unknown));
        let failure = failed.then(|| failure.unwrap_or(Failure::Internal));
        Self { throttle, failure, short }
    }

    fn take_in(&mut self, about: About) {
        self.throttle = self.throttle.map(|kind| about.throttle.unwrap_or(kind));
        self.failure = self.failure.map(|kind| if about.overloaded { Failure::Overloaded } else { kind });
        self.short |= about.overloaded;
    }
}

/// Whether only the body tells what this answer is about.
pub(super) fn is_unclear(ctx: &RequestContext, header: &ResponseHeader) -> bool {
    let current = ctx.attempts.current.as_ref();
    let unclear = match current.map(|current| (current.throttle, current.failure)) {
        Some((Some(kind), _)) => matches!(kind, Throttle::Capacity | Throttle::Unknown),
        Some((_, Some(failure))) => failure == Failure::Internal,
        _ => false,
    };
    let upgrade = ctx.envelope.as_ref().is_some_and(|envelope| envelope.upgrade);
    unclear && !upgrade && answer::media(header.headers.get(header::CONTENT_TYPE)) == Media::Json
}

/// The attempt is over, and its body will tell more.
pub(super) fn leave_open(ctx: &mut RequestContext, ticket: Ticket, kind: Kind, recorded: Recorded) {
    ctx.attempts.unclear = Some(Box::new(Unclear { ticket, kind, recorded }));
}

/// Looks at what has been relayed of an unclear answer; `end`: that was all of it.
pub(in crate::proxy) fn hear(ctx: &mut RequestContext, end: bool, now: Moment) {
    let Some(Relay { meter: Meter::Refusal(text), .. }) = ctx.relay.as_ref().filter(|_| ctx.attempts.unclear.is_some())
    else {
        return;
    };
    let about = trouble::about(text);
    if end || about.is_some() {
        conclude(ctx, about, now);
    }
}

/// Nothing more will be known of an unclear answer than `about`.
pub(in crate::proxy) fn conclude(ctx: &mut RequestContext, about: Option<About>, now: Moment) {
    let Some(unclear) = ctx.attempts.unclear.take() else { return };
    let Unclear { ticket, mut kind, recorded } = *unclear;
    kind.take_in(about.unwrap_or(About::NONE));
    if let Some(throttle) = kind.throttle {
        let advice = recorded.advice.or(about.and_then(|about| about.wait));
        ticket.revise(&recorded, &Recorded { kind: throttle, advice, ..recorded }, now);
    }
    if let Some(step) = ctx.attempts.trail.last_mut() {
        step.throttle = kind.throttle;
        step.failure = kind.failure;
    }
    tell(ctx, &ticket, kind, now);
}

/// Tells the meters and the region.
pub(super) fn tell(ctx: &RequestContext, ticket: &Ticket, kind: Kind, now: Moment) {
    if kind.short || kind.throttle == Some(Throttle::Capacity) {
        ticket.region_is_short(now);
    }
    let pool = ctx.admission.as_ref().and_then(|a| ctx.arrival.live.pools.get(a.pool));
    let Some(bound) = pool.and_then(|pool| pool.backends.get(ticket.index())) else { return };
    if let Some(throttle) = kind.throttle {
        bound.meters.throttled(throttle);
    }
    if let Some(failure) = kind.failure {
        bound.meters.failed(failure);
    }
}
