//! The web application firewall on the way of a request: the envelope is judged before anything is read, what asks for
//! the body after it. The decision is `policy::screen`; without a policy this is one branch.
//!
//! The policy is found by what the envelope says: host, path, and the deployment in the path. Where the body then names a
//! deployment whose route has another policy, that one judges the request, too.

use super::context::{Envelope, Reply, Screened, Verdict};
use super::live::Live;
use super::route::host_of;
use crate::domain::{Denial, Moment};
use crate::openai::operation::{self, Operation};
use crate::policy::route;
use crate::policy::screen::body::Refused;
use crate::policy::screen::custom::{Key, RateLimit};
use crate::policy::screen::finding::Ruling;
use crate::policy::screen::ruleset::{Limiter, Policy, Screening};
use crate::policy::screen::view::{Place, View};
use crate::state::Rates;
use bytes::Bytes;
use http::{HeaderValue, Method, StatusCode, header};
use pingora::http::RequestHeader;
use std::sync::Arc;
use std::time::Duration;

/// What judging needs beside the request.
#[derive(Clone, Copy)]
pub(super) struct Bench<'a> {
    pub(super) envelope: &'a Envelope,
    pub(super) live: &'a Live,
    pub(super) now: Moment,
}

/// Counts at one moment.
struct Counting<'a>(&'a Rates, Moment);

impl Limiter for Counting<'_> {
    fn take(&self, limit: &RateLimit, key: &Key<'_>) -> Option<Duration> {
        self.0.take(limit, key, self.1)
    }
}

/// Judges the envelope. What was found stands in `slot`, whatever comes of it.
pub(super) fn begin(
    request: &RequestHeader,
    bench: Bench<'_>,
    slot: &mut Option<Box<Screened>>,
) -> Result<(), Verdict> {
    match bench.live.firewall.then(|| find(request, bench.live)).flatten() {
        Some(policy) => judge(request, &bench, policy, slot),
        None => Ok(()),
    }
}

/// Judges what waited for the body.
pub(super) fn read(
    request: &RequestHeader,
    bench: Bench<'_>,
    body: &[u8],
    slot: &mut Option<Box<Screened>>,
) -> Result<(), Verdict> {
    let Some(screened) = slot.as_deref_mut().filter(|screened| screened.waits) else { return Ok(()) };
    screened.waits = false;
    let policy = Arc::clone(&screened.policy);
    let view = View { body: Some(screened.body(body)), ..view(request, &bench, &policy) };
    verdict(policy.body(&view, &bench.limiter(), &mut screened.screening))
}

/// Judges by the policy of the route that was found, where it is another than the envelope's.
pub(super) fn routed(
    request: &RequestHeader,
    bench: Bench<'_>,
    (route, body): (usize, &[u8]),
    slot: &mut Option<Box<Screened>>,
) -> Result<(), Verdict> {
    if !bench.live.firewall {
        return Ok(());
    }
    let policy = bench.live.fleet.snapshot.routes.get(route).and_then(|route| route.waf.as_ref());
    match policy {
        Some(policy) if slot.as_ref().is_none_or(|screened| !Arc::ptr_eq(&screened.policy, policy)) => {
            judge(request, &bench, policy, slot)?;
            read(request, bench, body, slot)
        }
        _ => Ok(()),
    }
}

/// Judges the shape of an inference request's body, of which `operation` is the call.
pub(super) fn shape(
    request: &RequestHeader,
    (operation, body): (Operation, &[u8]),
    slot: &mut Option<Box<Screened>>,
) -> Result<(), Verdict> {
    let Some(screened) = slot.as_deref_mut() else { return Ok(()) };
    if request.method != Method::POST || !operation.model_in_body() {
        return Ok(());
    }
    let kind = request.headers.get(header::CONTENT_TYPE).map(HeaderValue::as_bytes);
    match screened.policy.shape(kind, body, &mut screened.screening) {
        None => Ok(()),
        Some(Refused { media_type: true, what, .. }) => Err(Denial::MediaTypeRefused { what }.into()),
        Some(Refused { what, .. }) => Err(Denial::BodyRefused { what }.into()),
    }
}

fn judge(
    request: &RequestHeader,
    bench: &Bench<'_>,
    policy: &Arc<Policy>,
    slot: &mut Option<Box<Screened>>,
) -> Result<(), Verdict> {
    let view = view(request, bench, policy);
    let mut screening = Screening::default();
    let ruling = policy.envelope(&view, &bench.limiter(), &mut screening);
    let screened = Screened { policy: Arc::clone(policy), screening, waits: ruling.is_none() };
    *slot = Some(Box::new(screened));
    ruling.map_or(Ok(()), verdict)
}

fn verdict(ruling: Ruling) -> Result<(), Verdict> {
    Err(match ruling {
        Ruling::Pass => return Ok(()),
        Ruling::Block { status, body } => Denial::Blocked { status, body }.into(),
        Ruling::RateLimited { retry_after } => Denial::RateLimited { retry_after }.into(),
        Ruling::Redirect { location } => {
            let location = HeaderValue::from_str(&location).unwrap_or(HeaderValue::from_static("/"));
            let fields =
                vec![(header::LOCATION, location), (header::CACHE_CONTROL, HeaderValue::from_static("no-store"))];
            Reply { status: StatusCode::FOUND, fields, body: Bytes::new() }.into()
        }
    })
}

impl<'a> Bench<'a> {
    fn limiter(&self) -> Counting<'a> {
        Counting(&self.live.fleet.rates, self.now)
    }
}

fn view<'a>(request: &'a RequestHeader, bench: &Bench<'_>, policy: &Policy) -> View<'a> {
    let client = bench.envelope.client.map(|address| address.ip());
    let socket = bench.envelope.hop.map_or(client, |hop| Some(hop.ip()));
    let waf = bench.live.fleet.snapshot.waf.as_ref().filter(|_| policy.needs_place());
    let look_up = |address| waf.map_or_else(Place::default, |waf| waf.place(address));
    let place = look_up(client);
    View {
        method: request.method.as_str(),
        target: request.raw_path(),
        host: host(request),
        tls: bench.envelope.tls,
        headers: &request.headers,
        socket,
        client,
        place,
        socket_place: if socket == client { place } else { look_up(socket) },
        body: None,
    }
}

/// Host as sent.
fn host(request: &RequestHeader) -> &str {
    let field = || request.headers.get(header::HOST).and_then(|host| host.to_str().ok());
    request.uri.authority().map(http::uri::Authority::as_str).or_else(field).unwrap_or_default()
}

/// The policy of the route that takes the envelope, else the one for all.
fn find<'l>(request: &RequestHeader, live: &'l Live) -> Option<&'l Arc<Policy>> {
    let snapshot = &live.fleet.snapshot;
    let path = request.uri.path();
    let target = operation::parse(path).ok();
    let deployment = target.as_ref().and_then(|target| live.deployment_in(target));
    match route::find_by_envelope(&live.matchers, host_of(request), path, deployment) {
        Some(index) => snapshot.routes.get(index)?.waf.as_ref(),
        None => snapshot.waf.as_ref()?.policy.as_ref(),
    }
}
