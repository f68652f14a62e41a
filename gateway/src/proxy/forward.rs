//! Station 8, forward: the client's request becomes this backend's request.
//!
//! Path, deployment, api-version, credentials and framing are this backend's own; everything else stays the client's.

use super::context::{Admission, Envelope, RequestContext};
use super::deadline;
use super::hold::Watch;
use super::hops::{self, Via};
use super::replay::Order;
use super::rules;
use super::select::first_byte_timeout;
use crate::config::snapshot::{Auth, Backend, Pool};
use crate::domain::Moment;
use crate::openai::operation;
use crate::openai::rewrite::{self, Replacement, Segments};
use http::{HeaderValue, header};
use pingora::http::RequestHeader;
use pingora::{Error, ErrorType, Result};

/// Headers of the client that no backend sees. Credentials are gone already.
const WITHHELD: [&str; 7] = [
    "expect",
    "accept-encoding",
    "transfer-encoding",
    "content-length",
    "x-tidegate-attempts",
    "x-request-id",
    "cookie",
];

/// Rewrites the request and places the order for the replay session.
pub(super) fn forward(
    incoming: &RequestHeader,
    outgoing: &mut RequestHeader,
    (ctx, via): (&RequestContext, &Via),
    now: Moment,
) -> Result<()> {
    let lost = || Error::explain(ErrorType::InternalError, "forward before select");
    let admission = ctx.admission.as_ref().ok_or_else(lost)?;
    let envelope = ctx.envelope.as_ref().ok_or_else(lost)?;
    let current = ctx.attempts.current.as_ref().ok_or_else(lost)?;
    let pool = ctx.arrival.live.fleet.snapshot.pools.get(admission.pool).ok_or_else(lost)?;
    let backend = pool.backends.get(current.backend).ok_or_else(lost)?;

    outgoing.set_raw_path(target(incoming, backend)?.as_bytes())?;
    rules::dress(ctx, outgoing)?;
    hops::sign(incoming, outgoing, envelope, via)?;
    headers(outgoing, envelope, backend)?;
    if envelope.upgrade {
        admission.desk.place(tunnel_order(pool, admission, now));
        return Ok(());
    }
    let body = body_for(admission, backend);
    if !body.is_empty() || incoming.headers.contains_key(header::CONTENT_LENGTH) {
        outgoing.insert_header(header::CONTENT_LENGTH, HeaderValue::from(body.len()))?;
    }
    let total = pool.timeouts.total.saturating_sub(now.since(ctx.arrival.at));
    admission.desk.place(Order {
        body,
        first_byte: first_byte_timeout(pool, admission, now),
        idle: pool.timeouts.idle,
        total: deadline::now().checked_add(total),
        watch: watch(ctx, admission, backend, now),
    });
    Ok(())
}

/// A WebSocket has no body, no end that could be foreseen, and a 101 that comes as fast as the beginning of a stream.
fn tunnel_order(pool: &Pool, admission: &Admission, now: Moment) -> Order {
    Order {
        body: Segments::default(),
        first_byte: pool.failover.stream_first_byte_timeout.min(now.until(admission.deadline)),
        idle: pool.timeouts.websocket_idle,
        total: None,
        watch: Watch::default(),
    }
}

/// Which answers are held: a 404 that may be about our own deployment name, and the first event of a stream as long as
/// another backend could answer instead. The last answer is relayed as received.
fn watch(ctx: &RequestContext, admission: &Admission, backend: &Backend, now: Moment) -> Watch {
    let missing =
        backend.deployment.is_some() || admission.facts.model.is_some() || admission.operation.model_in_body();
    let repeats = || {
        let pool = ctx.arrival.live.fleet.pools.get(admission.pool);
        ctx.attempts.count < admission.attempts_max && pool.is_some_and(|p| p.has_eligible(ctx.attempts.tried, now))
    };
    Watch { missing, stream: admission.facts.stream && repeats() }
}

fn target(incoming: &RequestHeader, backend: &Backend) -> Result<String> {
    let parsed = operation::parse(incoming.uri.path())
        .map_err(|_checked| Error::explain(ErrorType::InternalError, "the path no longer parses"))?;
    Ok(operation::rewrite_path(
        &parsed,
        &backend.url.path,
        backend.deployment.as_ref().map(|d| d.as_str()),
        incoming.uri.query(),
        backend.api_version.as_deref(),
    ))
}

/// The body with this backend's deployment name in it, without copying the rest.
fn body_for(admission: &Admission, backend: &Backend) -> Segments {
    match (&admission.facts.model, &backend.deployment) {
        (Some(model), Some(deployment)) if model.value != deployment.as_str() => {
            let replacement = if admission.multipart {
                Replacement::raw(deployment.as_str())
            } else {
                Replacement::json(deployment.as_str())
            };
            rewrite::replace(&admission.body, model.span.clone(), &replacement)
        }
        _ => Segments::whole(admission.body.clone()),
    }
}

fn headers(outgoing: &mut RequestHeader, envelope: &Envelope, backend: &Backend) -> Result<()> {
    for name in WITHHELD {
        outgoing.remove_header(name);
    }
    outgoing.insert_header(header::HOST, &backend.url.authority)?;
    outgoing.insert_header("x-request-id", &envelope.request_id)?;
    match &backend.auth {
        Auth::None => {}
        Auth::ApiKey(key) => outgoing.insert_header("api-key", key)?,
        Auth::Bearer(token) => outgoing.insert_header(header::AUTHORIZATION, token)?,
    }
    for (name, value) in &backend.headers {
        outgoing.insert_header(name, value)?;
    }
    Ok(())
}
