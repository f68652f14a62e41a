//! The lists of a pool's resources as one, one after the other. A page is of one resource: the client's cursor, an id,
//! says of which. Where that one's list is over, the request goes on to the next resource; so nothing is remembered, and nothing
//! but the beginning of a page is held.

use super::super::classify;
use super::super::context::{Pin, Reply, RequestContext, Verdict};
use super::super::select;
use super::listing::Listing;
use super::{asked, others};
use crate::domain::{Fault, Moment, Outcome};
use crate::openai::operation::without_parameters;
use crate::state::{Ticket, Tried};
use bytes::Bytes;
use http::{HeaderValue, StatusCode, header};
use pingora::http::RequestHeader;

/// What is told where the last list is over and had no pages.
const NOTHING: &[u8] = br#"{"object":"list","data":[],"first_id":null,"last_id":null,"has_more":false}"#;

/// Says which resources are listed, and of which the page is. What is disabled, or barred from the request, is not listed.
pub(super) fn begin(ctx: &mut RequestContext) {
    let Some(Pin { list: list @ Some(_), resource, .. }) = ctx.pin.as_deref_mut() else { return };
    let Some(index) = ctx.admission.as_ref().map(|admission| admission.pool) else { return };
    let live = &ctx.arrival.live;
    let outside = ctx.residence.map_or(Tried::NONE, |residence| residence.barred);
    let barred = ctx.attempts.wanted.barred.union(outside);
    let specs = live.fleet.snapshot.pools.get(index).map(|pool| pool.backends.as_slice()).unwrap_or_default();
    let mut resources = Vec::new();
    for (index, (backend, spec)) in live.pools.get(index).iter().flat_map(|pool| &pool.backends).zip(specs).enumerate()
    {
        if spec.enabled && !barred.contains(index) && !resources.contains(&backend.resource) {
            resources.push(backend.resource);
        }
    }
    let at = match *resource {
        Some(resource) => resources.iter().position(|one| *one == resource),
        None => Some(0),
    };
    *list = at.filter(|_| resources.len() > 1).map(|at| {
        let goes_on = resource.is_some();
        Box::new(Listing { resources, at, goes_on, barred })
    });
}

/// The list of this resource is over: the next one is asked, from its beginning. Else the verdict is in the context.
pub(in crate::proxy) fn go_on(request: &RequestHeader, ctx: &mut RequestContext, now: Moment) -> bool {
    classify::finish(ctx, Outcome::Served, None, now);
    // It was no failure: as many attempts as before are left.
    ctx.attempts.count = ctx.attempts.count.saturating_sub(1);
    match next(request, ctx, now) {
        Ok(ticket) => {
            ctx.attempts.next = Some(ticket);
            true
        }
        Err(verdict) => {
            ctx.verdict = Some(verdict);
            false
        }
    }
}

fn next(request: &RequestHeader, ctx: &mut RequestContext, now: Moment) -> Result<Ticket, Verdict> {
    let (path, query) = asked(ctx, request);
    let query = query.map(|query| without_parameters(query, &["after".to_owned()]).unwrap_or(query.to_owned()));
    let target = match query.filter(|query| !query.is_empty()) {
        Some(query) => format!("{path}?{query}"),
        None => path.to_owned(),
    };
    let pin = ctx.pin.as_deref_mut().ok_or(Fault::Internal)?;
    let list = pin.list.as_mut().ok_or(Fault::Internal)?;
    let Some(resource) = list.turn() else { return Err(nothing().into()) };
    pin.target = Some(target);
    let admission = ctx.admission.as_ref().ok_or(Fault::Internal)?;
    if now >= admission.deadline {
        return Err(Fault::DeadlinePassed.into());
    }
    let live = &ctx.arrival.live;
    let others = live.pools.get(admission.pool).map_or(Tried::NONE, |pool| others(pool, resource));
    ctx.attempts.wanted.barred = list.barred.union(others);
    let pool = live.fleet.pools.get(admission.pool).ok_or(Fault::Internal)?;
    Ok(select::pick(pool, &ctx.attempts, now)?)
}

fn nothing() -> Reply {
    let fields = vec![(header::CONTENT_TYPE, HeaderValue::from_static("application/json"))];
    Reply { status: StatusCode::OK, fields, body: Bytes::from_static(NOTHING) }
}
