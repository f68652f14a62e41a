//! Cross-origin use by browsers: a preflight is answered before anything is read, and every answer, ours or a backend's,
//! gets the headers of its policy. The decision is `policy::cors`.
//!
//! The policy is found by what the client asked for: host, path, and the deployment in the path.

use super::context::{Reply, RequestContext, Verdict};
use super::live::Live;
use super::route::host_of;
use super::rules::asked;
use crate::domain::Denial;
use crate::openai::operation;
use crate::policy::cors::{Cors, OWN, Preflight};
use crate::policy::route;
use bytes::Bytes;
use http::{Method, StatusCode, Uri, header};
use pingora::Result;
use pingora::http::{RequestHeader, ResponseHeader};

/// The answer to a preflight; `None` for every other request, and where no policy is configured.
pub(super) fn preflight(request: &RequestHeader, live: &Live) -> Option<Verdict> {
    if !live.cors || request.method != Method::OPTIONS {
        return None;
    }
    let origin = request.headers.get(header::ORIGIN)?;
    let method = request.headers.get(header::ACCESS_CONTROL_REQUEST_METHOD)?.as_bytes();
    let cors = find(&request.uri, request, live)?;
    let asked = request.headers.get_all(header::ACCESS_CONTROL_REQUEST_HEADERS).iter();
    let headers = asked.map(http::HeaderValue::as_bytes).collect::<Vec<_>>().join(&b',');
    Some(match cors.preflight(&Preflight { origin, method, headers: &headers }) {
        Ok(fields) => Reply { status: StatusCode::NO_CONTENT, fields, body: Bytes::new() }.into(),
        Err(refused) => Denial::CorsRefused { what: refused.what() }.into(),
    })
}

/// Puts the headers of the request's policy on an answer of ours.
pub(super) fn mark(ctx: &RequestContext, request: &RequestHeader, answer: &mut ResponseHeader) -> Result<()> {
    let live = &ctx.arrival.live;
    match live.cors.then(|| find(asked(ctx, request), request, live)).flatten() {
        Some(cors) => add(cors, request, answer),
        None => Ok(()),
    }
}

/// Puts them on a backend's answer, in place of its own.
pub(super) fn replace(ctx: &RequestContext, request: &RequestHeader, answer: &mut ResponseHeader) -> Result<()> {
    let live = &ctx.arrival.live;
    let Some(cors) = live.cors.then(|| find(asked(ctx, request), request, live)).flatten() else { return Ok(()) };
    for name in &OWN {
        answer.remove_header(name);
    }
    add(cors, request, answer)
}

fn add(cors: &Cors, request: &RequestHeader, answer: &mut ResponseHeader) -> Result<()> {
    for (name, value) in cors.mark(request.headers.get(header::ORIGIN)) {
        answer.append_header(name, value)?;
    }
    Ok(())
}

/// The policy of the route that takes the request, else the one for all.
fn find<'l>(asked: &Uri, request: &RequestHeader, live: &'l Live) -> Option<&'l Cors> {
    let snapshot = &live.fleet.snapshot;
    let path = asked.path();
    let target = operation::parse(path).ok();
    let deployment = target.as_ref().and_then(|target| live.deployment_in(target));
    match route::find_by_envelope(&live.matchers, host_of(request), path, deployment) {
        Some(index) => snapshot.routes.get(index)?.cors.as_deref(),
        None => snapshot.cors.as_deref(),
    }
}
