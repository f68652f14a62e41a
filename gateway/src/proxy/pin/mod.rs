//! Between read and route: what is stored lives somewhere. Sealed ids are opened and say where; the request goes there and nowhere
//! else, however that backend is. On the way back the ids of an answer are sealed. What an id is, is `policy::seal`'s; where ids
//! stand, `openai::ids`'s.

mod batch;
mod list;
mod listing;
mod opening;
mod sealing;

pub(super) use list::go_on;
pub(super) use listing::Listing;
pub(super) use sealing::Seal;

use super::authenticate::scopes;
use super::context::{Pin, RequestContext};
use super::live::{Live, LivePool};
use super::route::{Asked, Call, Routed, is_multipart};
use crate::config::snapshot::{Lists, Snapshot, Stateful};
use crate::domain::{Caller, Denial, IdFlaw};
use crate::openai::answer::Media;
use crate::openai::ids;
use crate::openai::operation::{Operation, Style, Target, parameters};
use crate::policy::route::{self as policy, Match};
use crate::policy::seal::{self, MARK, Owner, Sealer, digest_of};
use crate::state::Tried;
use bytes::Bytes;
use http::{Method, header};
use opening::Opening;
use pingora::http::{RequestHeader, ResponseHeader};

/// End of the paths whose answers are files: what is in them is the client's own.
const CONTENT: &str = "/content";

/// Opens the ids of a request, and says where they lead. `None` where it is about nothing that is stored.
pub(super) fn open(
    call: Call<'_>,
    body: &mut Bytes,
    (caller, live): (Option<&Caller>, &Live),
) -> Result<Option<Box<Pin>>, Denial> {
    batch::name(call, body, live);
    let sealer = live.ids.as_ref().map(|ids| &ids.sealer);
    look((call, body), &live.fleet.snapshot.stateful, (sealer, consumer_of(caller, live)))
}

/// What ids tell of the client.
fn consumer_of(caller: Option<&Caller>, live: &Live) -> u64 {
    live.ids.as_ref().and_then(|ids| ids.consumers.get(caller?.consumer).copied()).unwrap_or(0)
}

/// The resource to which the ids in the path and query of a request lead, as far as the configuration's keys open them: for
/// `tidegate explain`.
///
/// # Errors
/// What a client would be told.
pub fn leads_to(
    snapshot: &Snapshot,
    consumer: Option<&str>,
    method: &str,
    target: &str,
) -> Result<Option<u64>, Denial> {
    let stateful = &snapshot.stateful;
    let sealer = (stateful.sealed && !stateful.keys.is_empty()).then(|| Sealer::new(stateful.keys.iter().cloned()));
    let consumer = consumer.map_or(0, |name| digest_of("consumer", name));
    let request = RequestHeader::build(method, target.as_bytes(), None);
    let request = request.map_err(|_error| Denial::BadPath { what: "it cannot be sent" })?;
    let call = (&request, &super::route::target(&request)?);
    let pin = look((call, &mut Bytes::new()), stateful, (sealer.as_ref(), consumer))?;
    Ok(pin.and_then(|pin| pin.resource))
}

fn look(
    ((request, target), body): (Call<'_>, &mut Bytes),
    rules: &Stateful,
    (sealer, consumer): (Option<&Sealer>, u64),
) -> Result<Option<Box<Pin>>, Denial> {
    if sealer.is_none() && !rules.refuse_unknown && rules.lists != Lists::Refuse {
        return Ok(None);
    }
    let path = request.uri.path();
    let bound = target.bound().is_some();
    let unknown = target.operation == Operation::Other && !bound;
    if unknown && rules.refuse_unknown {
        return Err(Denial::OperationUnknown);
    }
    let kept = bound || target.operation == Operation::Responses || (unknown && target.style != Style::Other);
    let mut opening = Opening::new(sealer, consumer, kept && !unknown);
    let asked = read(request, body, (target, kept), &mut opening);
    if let Some((flaw, kind)) = opening.flaw {
        return Err(Denial::IdNotTaken { flaw, kind });
    }
    let reads = matches!(request.method, Method::GET | Method::HEAD);
    let lists = reads && !opening.named && bound;
    if lists && rules.lists == Lists::Refuse {
        return Err(Denial::ListRefused);
    }
    if sealer.is_none() || !(kept || opening.resource.is_some()) {
        return Ok(None);
    }
    let seals = (kept && !path.ends_with(CONTENT)).then_some(consumer);
    let merged = lists && rules.lists == Lists::Merged && request.method == Method::GET && !goes_back(request);
    let list = merged.then(Box::default);
    Ok(Some(Box::new(Pin { resource: opening.resource, target: asked, seals, list })))
}

/// Whether a list is asked for what comes before an item: that much is of one resource.
fn goes_back(request: &RequestHeader) -> bool {
    parameters(request.uri.query().unwrap_or_default(), &["before".to_owned()]).any(|before| !before.is_empty())
}

/// Reads whatever may hold an id: path and query with other ids, where they have changed. The body is replaced where it has.
fn read(
    request: &RequestHeader,
    body: &mut Bytes,
    (target, kept): (&Target<'_>, bool),
    opening: &mut Opening<'_>,
) -> Option<String> {
    let (path, query) = (request.uri.path(), request.uri.query());
    let asked = (kept || query.is_some_and(|query| seal::may_hold(query.as_bytes())))
        .then(|| ids::target(target, (path, query), target.bound().is_some(), opening))
        .flatten();
    let content_type = request.headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or("");
    let told = if is_multipart(content_type) {
        let form = ids::form(body, MARK, opening);
        batch::open((request, target), form.as_ref().unwrap_or(body), opening).or(form)
    } else if kept || seal::may_hold(body) {
        ids::body(body, opening)
    } else {
        None
    };
    if let Some(told) = told {
        *body = told;
    }
    asked
}

/// Station 5 with what the ids say: route and pool. `forced`: the pool of a rule, instead of the routes' own.
pub(super) fn route(
    call: Call<'_>,
    body: &Bytes,
    (pin, caller, live): (Option<&Pin>, Option<&Caller>, &Live),
    forced: Option<usize>,
) -> Result<Routed, Denial> {
    let bound = call.1.bound().is_some();
    let routed = super::route::route(call, body, live, |asked| find((pin, bound), (caller, live), asked, forced))?;
    Ok(Routed { pool: forced.unwrap_or(routed.pool), ..routed })
}

fn find(
    (pin, bound): (Option<&Pin>, bool),
    (caller, live): (Option<&Caller>, &Live),
    asked: Asked<'_>,
    forced: Option<usize>,
) -> Result<Match, Denial> {
    let (host, path, deployment) = asked;
    let routes = &live.fleet.snapshot.routes;
    let found = policy::find(&live.matchers, host, path, deployment);
    let anywhere = || match found {
        Match::NoRoute if bound && deployment.is_none() => {
            without_deployment(live, (host, path)).map_or(found, Match::Route)
        }
        found => found,
    };
    let Some(resource) = pin.and_then(|pin| pin.resource) else { return Ok(anywhere()) };
    let fits = |index: usize| {
        let pool = forced.or(routes.get(index).map(|route| route.pool));
        pool.is_some_and(|pool| live.pools.get(pool).is_some_and(|pool| has(pool, resource)))
            && scopes(caller, live).iter().all(|scope| scope.takes_route(index))
    };
    if pin.is_some_and(|pin| pin.list.is_some())
        && let Match::Route(index) = anywhere()
        && fits(index)
    {
        // A list goes on in the pool in which it began.
        return Ok(Match::Route(index));
    }
    match (policy::find_stored(&live.matchers, host, path, deployment, fits), found) {
        (Some(index), _) => Ok(Match::Route(index)),
        (None, Match::NoDeployment) => Ok(Match::NoDeployment),
        (None, _) => Err(Denial::IdNotTaken { flaw: IdFlaw::Gone, kind: opening::ANYTHING }),
    }
}

/// The route of a call that could name no deployment.
fn without_deployment(live: &Live, (host, path): (&str, &str)) -> Option<usize> {
    let routes = &live.fleet.snapshot.routes;
    let says = |index: usize| routes.get(index).is_some_and(|route| route.stateful);
    policy::find_without_deployment(&live.matchers, host, path, says, |index| routes.get(index).map(|route| route.pool))
}

/// Bars every backend that is not on the resource of the request. Where that may not process its data, nobody may.
pub(super) fn bar(ctx: &mut RequestContext) -> Result<(), Denial> {
    list::begin(ctx);
    let leads = |pin: &Pin| pin.list.as_ref().map_or(pin.resource, |list| list.resource());
    let Some(resource) = ctx.pin.as_deref().and_then(leads) else { return Ok(()) };
    let pool = ctx.admission.as_ref().and_then(|admission| ctx.arrival.live.pools.get(admission.pool));
    let Some(pool) = pool else { return Err(Denial::ResidencyUnserved) };
    let others = others(pool, resource);
    let outside = ctx.residence.map_or(Tried::NONE, |residence| residence.barred).union(others);
    ctx.attempts.wanted.barred = ctx.attempts.wanted.barred.union(others);
    let left = (0..pool.backends.len()).any(|index| !outside.contains(index));
    if left { Ok(()) } else { Err(Denial::ResidencyUnserved) }
}

/// The backends that are not on this resource.
fn others(pool: &LivePool, resource: u64) -> Tried {
    let others = pool.backends.iter().enumerate().filter(|(_, backend)| backend.resource != resource);
    others.fold(Tried::NONE, |all, (index, _)| all.with(index))
}

/// Whether one resource alone can answer.
pub(super) fn is_pinned(ctx: &RequestContext) -> bool {
    ctx.pin.as_deref().is_some_and(Pin::is_bound)
}

/// The same, or one resource's turn in a list.
pub(super) fn is_alone(ctx: &RequestContext) -> bool {
    is_pinned(ctx) || is_listing(ctx)
}

/// Whether the lists of several resources stand for one.
pub(super) fn is_listing(ctx: &RequestContext) -> bool {
    ctx.pin.as_deref().is_some_and(|pin| pin.list.is_some())
}

/// What seals an answer with this header; `None` where it has no ids, or none that can be read.
pub(super) fn seal(ctx: &RequestContext, header: &ResponseHeader, media: Media) -> Option<Box<Seal>> {
    let (live, admission) = (&ctx.arrival.live, ctx.admission.as_ref()?);
    let stored = admission.operation == Operation::ChatCompletions && admission.facts.store == Some(true);
    let (consumer, all) = match ctx.pin.as_ref().and_then(|pin| pin.seals) {
        Some(consumer) => (consumer, true),
        None if stored => (consumer_of(ctx.caller.as_ref(), live), false),
        None => return None,
    };
    let pool = live.pools.get(admission.pool)?;
    let resource = pool.backends.get(ctx.attempts.current.as_ref()?.backend)?.resource;
    if !header.status.is_success() || header.headers.contains_key(header::CONTENT_ENCODING) {
        return None;
    }
    let mut seal = Seal::new(media, (&live.ids.as_ref()?.sealer, Owner { resource, consumer }), all)?;
    if media == Media::Json {
        seal.page = ctx.pin.as_ref().and_then(|pin| pin.list.as_ref()).map(|list| list.page());
    }
    Some(Box::new(seal))
}

/// Path and query as a backend knows them.
pub(super) fn asked<'r>(ctx: &'r RequestContext, request: &'r RequestHeader) -> (&'r str, Option<&'r str>) {
    match ctx.pin.as_ref().and_then(|pin| pin.target.as_deref()) {
        Some(target) => target.split_once('?').map_or((target, None), |(path, query)| (path, Some(query))),
        None => (request.uri.path(), request.uri.query()),
    }
}

fn has(pool: &LivePool, resource: u64) -> bool {
    pool.backends.iter().any(|backend| backend.resource == resource)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests may panic")]
mod tests;
