//! Station 8, forward: the client's request becomes this backend's request.
//!
//! Path, deployment, api-version, credentials and framing are this backend's own; everything else stays the client's.

use super::capable;
use super::context::{Admission, Envelope, RequestContext};
use super::cork::{BODY_MAX, Cork};
use super::header::{self as fields, API_KEY, ATTEMPTS, REQUEST_ID, SPILLOVER};
use super::hedge::view as hedge;
use super::hold::Watch;
use super::hops::{self, Via};
use super::pace::Limits;
use super::pin;
use super::rules;
use super::select::first_byte_timeout;
use super::tokens;
use super::translate::Translation;
use super::wrapper::Order;
use crate::config::snapshot::{Auth, Backend, Pace, Pool};
use crate::domain::Moment;
use crate::openai::rewrite::Segments;
use crate::telemetry::clock;
use http::{HeaderMap, HeaderName, HeaderValue, header};
use pingora::http::RequestHeader;
use pingora::protocols::ALPN;
use pingora::upstreams::peer::HttpPeer;
use pingora::{Error, ErrorType, Result};
use std::os::fd::RawFd;
use std::time::Instant;

/// Headers of the client that no backend sees. Credentials are gone already.
const WITHHELD: [HeaderName; 5] =
    [header::EXPECT, header::ACCEPT_ENCODING, header::TRANSFER_ENCODING, header::COOKIE, ATTEMPTS];

/// Notes the connection of an attempt, where it speaks HTTP/1.1.
pub(super) fn connected(ctx: &mut RequestContext, peer: &HttpPeer, socket: RawFd) {
    if let Some(current) = ctx.attempts.current.as_mut() {
        current.socket = matches!(peer.options.alpn, ALPN::H1).then_some(socket);
    }
}

/// Rewrites the request and places the order for the replay session.
pub(super) fn forward(
    incoming: &RequestHeader,
    outgoing: &mut RequestHeader,
    (ctx, via): (&mut RequestContext, &Via),
    placed: Instant,
) -> Result<()> {
    let now = clock::moment(placed);
    let lost = || Error::explain(ErrorType::InternalError, "forward before select");
    let admission = ctx.admission.as_ref().ok_or_else(lost)?;
    let envelope = ctx.envelope.as_ref().ok_or_else(lost)?;
    let index = ctx.attempts.current.as_ref().ok_or_else(lost)?.backend;
    let pool = ctx.arrival.live.fleet.snapshot.pools.get(admission.pool).ok_or_else(lost)?;
    let backend = pool.backends.get(index).ok_or_else(lost)?;

    rules::dress(ctx, outgoing)?;
    let bound = ctx.arrival.live.pools.get(admission.pool).and_then(|p| p.backends.get(index));
    let model = bound.and_then(|b| b.model.as_ref());
    let translation = Translation::new(admission, backend, incoming.uri.path());
    let asking = tokens::asking(ctx, incoming, (admission, backend), (&translation, model));
    let asked_usage = asking.is_some();
    let body = (!envelope.upgrade).then(|| asking.unwrap_or_else(|| translation.body(incoming, model)));
    let length = body.as_ref().map(Segments::len);
    let stated = length.filter(|length| *length > 0 || incoming.headers.contains_key(header::CONTENT_LENGTH));
    let token = match backend.auth {
        Auth::Token(token) => ctx.arrival.live.fleet.own_tokens.get(token).and_then(|token| token.usable(now)),
        Auth::None | Auth::ApiKey(_) | Auth::Bearer(_) => None,
    };
    let token = token.as_ref().and_then(|held| held.as_ref());
    fields::of_request(outgoing, |headers| {
        hops::sign(incoming, headers, envelope, via);
        rewrite_headers(headers, envelope, (backend, token.map(|held| &held.header)), stated);
    });
    let version = token.map(|held| held.version);
    outgoing.set_raw_path(translation.path(pin::asked(ctx, incoming)).as_bytes())?;
    if let Some(current) = ctx.attempts.current.as_mut() {
        current.token = version;
    }
    let Some(body) = body else {
        admission.desk.place(tunnel_order(pool, admission, (placed, now)));
        return Ok(());
    };
    let total = pool.timeouts.total.saturating_sub(now.since(ctx.arrival.at));
    let state = ctx.arrival.live.fleet.pools.get(admission.pool);
    let too_long = state.is_some_and(|state| {
        capable::roomier(pool, index, &ctx.attempts.wanted).is_some_and(|wanted| state.has_eligible(&wanted, now))
    });
    let mut watch = Watch { too_long, page: pin::is_listing(ctx), ..watch(admission, backend, pool) };
    if let Some(gate) = &mut watch.gate {
        gate.time = hedge::patience(ctx, gate.time, now.until(admission.deadline));
    }
    let pace = pace(pool, admission, ctx.attempts.prompt, now);
    admission.desk.place(Order {
        placed,
        cork: cork(ctx, body.len()),
        body,
        first_byte: pace.first_token.unwrap_or_else(|| first_byte_timeout(pool, admission, now)),
        idle: pool.timeouts.idle,
        pace,
        total: placed.checked_add(total),
        watch,
        hedge: None,
    });
    if let Some(current) = ctx.attempts.current.as_mut() {
        current.asked_usage = asked_usage;
        current.gated = watch.gate.is_some();
    }
    Ok(())
}

/// The header waits for a body that leaves with it.
fn cork(ctx: &RequestContext, length: usize) -> Option<Cork> {
    let socket = ctx.attempts.current.as_ref().and_then(|current| current.socket)?;
    (1..=BODY_MAX).contains(&length).then(|| Cork::put(socket)).flatten()
}

/// A WebSocket has no body, no end that could be foreseen, and a 101 that comes as fast as the beginning of a stream.
fn tunnel_order(pool: &Pool, admission: &Admission, (placed, now): (Instant, Moment)) -> Order {
    Order {
        placed,
        body: Segments::default(),
        cork: None,
        first_byte: pool.failover.stream_first_byte_timeout.min(now.until(admission.deadline)),
        idle: pool.timeouts.websocket_idle,
        total: None,
        pace: Limits::default(),
        watch: Watch::default(),
        hedge: None,
    }
}

/// What a stream must keep to. A prompt of `prompt` tokens has to be read before the first one can be told.
fn pace(pool: &Pool, admission: &Admission, prompt: u64, now: Moment) -> Limits {
    let measured = pool.hedge.is_some();
    if !admission.facts.stream {
        return Limits { measured, ..Limits::default() };
    }
    let Pace { first_token, stall, rate } = pool.pace;
    let left = now.until(admission.deadline);
    Limits { first_token: first_token.map(|first| first.limit(prompt, left)), stall, rate, measured }
}

/// Which answers are held: a 404 that may be about our own deployment name, and a stream until its first delta.
fn watch(admission: &Admission, backend: &Backend, pool: &Pool) -> Watch {
    let missing =
        backend.deployment.is_some() || admission.facts.model.is_some() || admission.operation.model_in_body();
    Watch { missing, too_long: false, trouble: false, page: false, gate: pool.gate.filter(|_| admission.facts.stream) }
}

/// `length` is the length of the body as it is sent, where it is stated.
fn rewrite_headers(
    headers: &mut HeaderMap,
    envelope: &Envelope,
    (backend, own): (&Backend, Option<&HeaderValue>),
    length: Option<usize>,
) {
    fields::remove_all(headers, &WITHHELD);
    headers.insert(header::HOST, backend.url.authority.clone());
    headers.insert(REQUEST_ID, envelope.request_id.clone());
    match &backend.auth {
        Auth::None => {}
        Auth::ApiKey(key) => drop(headers.insert(API_KEY, key.clone())),
        Auth::Bearer(token) => drop(headers.insert(header::AUTHORIZATION, token.clone())),
        Auth::Token(_) => drop(own.map(|token| headers.insert(header::AUTHORIZATION, token.clone()))),
    }
    for (name, value) in &backend.headers {
        headers.insert(name, value.clone());
    }
    if let Some(deployment) = &backend.spillover {
        headers.insert(SPILLOVER, deployment.clone());
    }
    match length {
        Some(length) => headers.insert(header::CONTENT_LENGTH, HeaderValue::from(length)),
        None => headers.remove(header::CONTENT_LENGTH),
    };
}
