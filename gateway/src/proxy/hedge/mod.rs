//! The hedge: a second attempt beside one that is slow to begin. What begins first is relayed, the other is given up at once.
//!
//! The second attempt is a subrequest of Pingora's (`gateway/decisions/0018`): it runs the stations from `select` on with a
//! context of its own, which takes over what stations 1 to 6 have decided. The session of the first attempt begins it and
//! watches it (`replay`); where it wins, the first attempt is ended by an error, and `fail_to_proxy` relays the winner's answer.
//!
//! The decision when and how many is `policy::hedge`.

pub(super) mod race;
pub(super) mod view;

use super::classify;
use super::context::{Admission, Envelope, Pin, Relay, RequestContext, Residence, Ruled, Step};
use super::header::{self as fields, ATTEMPTS};
use super::live::Live;
use super::replay::Replay;
use super::{cors, limits, pin, relay, rules, wrapper};
use crate::domain::{Moment, Outcome};
use crate::openai::operation::Operation;
use crate::state::{Unhedged, Wanted};
use http::{HeaderValue, Method, StatusCode};
use pingora::http::{RequestHeader, ResponseHeader};
use pingora::protocols::http::HttpTask;
use pingora::{Error, ErrorType, Result};
use pingora_proxy::Session;
use race::{Begun, CLIENT_LEFT, Fate, HEDGE_WON, Hedged, Seed, Standing, Winner};
use std::sync::Arc;
use view::{hedged, is_underway, pool};

/// What a second attempt takes over: what the request is, and what has been decided about it.
struct Given {
    at: Moment,
    live: Arc<Live>,
    envelope: Envelope,
    ruled: Option<Ruled>,
    residence: Option<Residence>,
    pin: Option<Box<Pin>>,
    admission: Admission,
    wanted: Wanted,
    prompt: u64,
    request: RequestHeader,
}

/// What it came to.
struct Report {
    trail: Vec<Step>,
    relay: Option<Relay>,
}

/// Before a request's first attempt, its order placed: the pool's budget grows, and where this kind of request may be hedged the
/// session is told how.
pub(super) fn arm(session: &mut Session, ctx: &RequestContext) {
    let Some((pool, admission)) = pool(ctx).filter(|_| ctx.hedge.is_none() && ctx.attempts.count == 1) else { return };
    let Some(hedge) = pool.hedge else { return };
    let Some(state) = ctx.arrival.live.fleet.pools.get(admission.pool) else { return };
    let Some(after) = state.hedging().deposit(&hedge, admission.facts.stream) else { return };
    let Some(envelope) = ctx.envelope.as_ref().filter(|_| may_be_hedged(ctx, admission, session.req_header())) else {
        return;
    };
    let Some(spawner) = session.subrequest_spawner.take() else { return };
    let given = Given {
        at: ctx.arrival.at,
        live: Arc::clone(&ctx.arrival.live),
        envelope: envelope.clone(),
        ruled: ctx.ruled.clone(),
        residence: ctx.residence,
        pin: ctx.pin.as_ref().map(|pin| Box::new(pin.again())),
        admission: admission.again(),
        wanted: ctx.attempts.wanted,
        prompt: ctx.attempts.prompt,
        request: session.req_header().clone(),
    };
    admission.desk.arm(Box::new(Seed {
        after,
        fleet: Arc::clone(&ctx.arrival.live.fleet),
        pool: admission.pool,
        wanted: ctx.attempts.wanted,
        spawner,
        given: Box::new(given),
    }));
}

/// Whether a request may be worked on twice: a call of a model whose answer is kept nowhere, and that is not about anything kept.
fn may_be_hedged(ctx: &RequestContext, admission: &Admission, request: &RequestHeader) -> bool {
    let facts = &admission.facts;
    let kept = match admission.operation {
        Operation::ChatCompletions | Operation::Completions | Operation::Embeddings => facts.store == Some(true),
        Operation::Responses => facts.store != Some(false),
        _ => return false,
    };
    let upgrade = ctx.envelope.as_ref().is_some_and(|envelope| envelope.upgrade);
    !kept && !upgrade && facts.bound.is_none() && !pin::is_pinned(ctx) && request.method == Method::POST
}

/// The second attempt takes over what stations 1 to 6 have decided; `None` where there is nothing to take over.
pub(super) fn take_over(session: &mut Session, ctx: &mut RequestContext) -> Option<()> {
    let begun = session.subrequest_ctx.as_mut()?.user_ctx_mut()?.downcast_mut::<Option<Begun>>()?.take()?;
    let Begun { ticket, hedged, given } = begun;
    let given = *given.downcast::<Given>().ok()?;
    *session.req_header_mut() = given.request;
    ctx.arrival.at = given.at;
    ctx.arrival.live = given.live;
    ctx.envelope = Some(given.envelope);
    ctx.ruled = given.ruled;
    ctx.residence = given.residence;
    ctx.pin = given.pin;
    ctx.attempts.wanted = given.wanted;
    ctx.attempts.prompt = given.prompt;
    ctx.attempts.next = Some(ticket);
    let desk = wrapper::wrap(&mut session.downstream_session, Replay::default());
    ctx.admission = Some(Admission { desk, attempts_max: 1, ..given.admission });
    ctx.hedge = Some(hedged);
    Some(())
}

/// Ends a second attempt before anything is sent that nobody waits for any more.
pub(super) fn is_wanted(ctx: &RequestContext) -> Result<()> {
    match &ctx.hedge {
        Some(hedged) if hedged.standing() != Standing::Running => {
            let mut error = Error::new(ErrorType::ConnectionClosed);
            error.as_down();
            Err(error)
        }
        _ => Ok(()),
    }
}

/// Waits for a second attempt that runs, and for nothing else but the client.
///
/// # Errors
/// [`HEDGE_WON`], or [`CLIENT_LEFT`].
pub(super) async fn wait(session: &mut Session, ctx: &RequestContext) -> Result<()> {
    let Some(admission) = &ctx.admission else { return Ok(()) };
    admission.desk.hedge.wait(true);
    let waited = session.downstream_session.read_body_or_idle(true).await;
    admission.desk.hedge.wait(false);
    let kind = match waited {
        Ok(None) => return Ok(()),
        Err(error) if *error.root_etype() == HEDGE_WON => HEDGE_WON,
        Ok(Some(_)) | Err(_) => CLIENT_LEFT,
    };
    let mut error = Error::new(kind);
    error.as_down();
    Err(error)
}

/// An answer with this status that nobody is glad of, while a second attempt runs: it is waited for.
///
/// # Errors
/// As [`wait`].
pub(super) async fn outlasts(session: &mut Session, ctx: &RequestContext, status: StatusCode) -> Result<()> {
    if classify::by_status(status).is_success() || !is_underway(ctx) { Ok(()) } else { wait(session, ctx).await }
}

/// Relays the answer of the second attempt, where it has won, to its end: whether it did.
pub(super) async fn relay(session: &mut Session, ctx: &mut RequestContext) -> bool {
    let winner = ctx.admission.as_ref().and_then(|admission| admission.desk.hedge.winner());
    let Some(Winner { mut race, header }) = winner.map(|winner| *winner) else { return false };
    super::unwrap(session, ctx);
    // Pingora keeps no client's connection after an attempt that has failed, and this is one to it.
    session.downstream_session.set_keepalive(None);
    let header = match header {
        HttpTask::Header(mut header, end) => match dress(session, ctx, &mut header) {
            Ok(()) => HttpTask::Header(header, end),
            Err(_never) => return false,
        },
        other => other,
    };
    let client = &mut session.downstream_session;
    let (mut next, mut whole) = (Some(header), false);
    while let Some(task) = next {
        next = match client.response_duplex_vec(vec![task]).await {
            Ok(false) => tokio::select! {
                biased;
                task = race.next() => task,
                _left = client.read_body_or_idle(true) => None,
            },
            Ok(true) => {
                whole = true;
                None
            }
            Err(_left) => None,
        };
    }
    race.part(whole).await;
    if let Some(Report { trail, relay }) = hedged(ctx).and_then(|hedged| told(&hedged)) {
        ctx.attempts.trail.extend(trail);
        if let Some(relay) = relay {
            relay::count_open(ctx, &relay, 1);
            ctx.relay = Some(relay);
        }
    }
    true
}

/// What a second attempt came to, once its pipeline has ended.
fn told(hedged: &Hedged) -> Option<Report> {
    hedged.told()?.downcast().ok().map(|report| *report)
}

/// What the client gets of its own with the header of the winner.
fn dress(session: &Session, ctx: &RequestContext, header: &mut ResponseHeader) -> Result<()> {
    cors::replace(ctx, session.req_header(), header)?;
    fields::of_response(header, |headers| {
        limits::tell(ctx, headers);
        if let Some(own) = headers.get(ATTEMPTS).and_then(|own| own.to_str().ok()) {
            let before = relay::trail(ctx);
            let both = format!("{}, {own}", before.to_str().unwrap_or("-"));
            headers.insert(ATTEMPTS, HeaderValue::try_from(both).unwrap_or(before));
        }
    });
    rules::mark(ctx, session, header)
}

/// The pipeline of a second attempt has ended: the request is told. Not a request of its own, it has no line in the access log.
pub(super) fn report(ctx: &mut RequestContext) {
    let Some(hedged) = ctx.hedge.clone() else { return };
    let relay = ctx.relay.take();
    if let Some(relay) = &relay {
        relay::count_open(ctx, relay, -1);
    }
    hedged.tell(Box::new(Report { trail: std::mem::take(&mut ctx.attempts.trail), relay }));
}

/// At the end of a request: its second attempt gets its place among the others, and is counted. What became of it, for the log.
pub(super) fn settle(ctx: &mut RequestContext, now: Moment) -> Option<&'static str> {
    let fate = ctx.admission.as_ref()?.desk.hedge.fate()?;
    let meters = ctx.arrival.live.pools.get(ctx.admission.as_ref()?.pool).map(|pool| Arc::clone(&pool.meters))?;
    let hedged = match fate {
        Fate::Unhedged(why) => {
            let label = match why {
                Unhedged::OverBudget => "over_budget",
                Unhedged::NoBackend => "no_backend",
            };
            meters.hedged(label);
            return Some(label);
        }
        Fate::Hedged(hedged) => hedged,
    };
    let (label, outcome) = match hedged.standing() {
        Standing::Won => ("won", None),
        Standing::Lost => ("lost", Some(Outcome::Outraced)),
        Standing::Failed => ("failed", Some(Outcome::BrokenEarly)),
        Standing::Running | Standing::Abandoned => ("abandoned", Some(Outcome::ClientGone)),
    };
    meters.hedged(label);
    if matches!(label, "won" | "lost") {
        meters.hedge_prompt_tokens.inc_by(ctx.attempts.prompt);
    }
    if let Some(outcome) = outcome {
        // Its own pipeline may still be on its way to its end.
        let told = told(&hedged).and_then(|mut report| report.trail.pop());
        let step = told.unwrap_or_else(|| Step {
            backend: hedged.backend,
            outcome,
            status: 0,
            throttle: None,
            failure: None,
            spillover: None,
            took: now.since(hedged.started),
            hedge: true,
        });
        let place = ctx.attempts.trail.len().saturating_sub(1);
        ctx.attempts.trail.insert(place, step);
    }
    Some(label)
}

/// What an attempt that failed beside a running second one came to is decided when that one is over.
pub(super) async fn after(session: &mut Session, ctx: &mut RequestContext, now: fn() -> Moment) -> Result<()> {
    let Some(outcome) = ctx.attempts.pending.take() else { return Ok(()) };
    wait(session, ctx).await?;
    match classify::conclude(ctx, outcome, now()) {
        classify::Verb::NextAttempt => Ok(()),
        _ => Err(Error::new(classify::ABANDONED)),
    }
}
