//! Between authenticate and read: the rules engine. A redirect ends the request; a rewritten path is what all later
//! stations see; header changes wait for the backend's request and the client's answer. The decision is `policy::rules`.

use super::context::{Envelope, Reply, RequestContext, Ruled, Verdict};
use super::live::Live;
use super::route::host_of;
use crate::domain::{Denial, Fault};
use crate::openai::operation;
use crate::policy::rules::Matched;
use crate::policy::rules::action::{Asked, Change, HeaderChange, Redirect};
use crate::policy::rules::condition::Request;
use crate::policy::screen::view::{Place, View};
use bytes::Bytes;
use http::uri::PathAndQuery;
use http::{HeaderName, HeaderValue, StatusCode, Uri, Version, header};
use pingora::Result;
use pingora::http::{RequestHeader, ResponseHeader};
use pingora_proxy::Session;

impl Ruled {
    /// Names of the rules, for the access log.
    pub(super) fn names<'l>(&self, live: &'l Live) -> Vec<&'l str> {
        self.matched.of(&live.fleet.snapshot.rules).map(|rule| rule.name.as_str()).collect()
    }

    /// The pool instead of the route's.
    pub(super) fn pool(&self, live: &Live) -> Option<usize> {
        self.matched.pool(&live.fleet.snapshot.rules)
    }
}

/// What the client asked for, whatever rules have made of it.
pub(super) fn asked<'r>(ctx: &'r RequestContext, request: &'r RequestHeader) -> &'r Uri {
    ctx.ruled.as_ref().and_then(|ruled| ruled.asked.as_ref()).unwrap_or(&request.uri)
}

/// Runs the rules, once. Where one asks for the size of a body that was not announced it waits until `body` is read.
pub(super) fn rule(
    session: &mut Session,
    ruled: &mut Option<Ruled>,
    (live, envelope): (&Live, &Envelope),
    body: Option<usize>,
) -> Result<(), Verdict> {
    let rules = &live.fleet.snapshot.rules;
    if rules.list.is_empty() || ruled.is_some() {
        return Ok(());
    }
    let size = body.map(|length| length as u64).or_else(|| stated_size(session.req_header()));
    if size.is_none() && rules.needs_body_size() {
        return Ok(());
    }
    let matched = look(session, live, Some(envelope), size);
    for index in matched.indexes() {
        if let Some(meters) = live.rules.get(index) {
            meters.matched.inc();
        }
    }
    let redirect = matched.redirect(rules);
    let verdict = redirect.map(|redirect| redirected(redirect, session.req_header(), (live, envelope)));
    let rewritten = matched.rewrite(rules, session.req_header().uri.path());
    let asked = match rewritten {
        Some(path) => Some(rewrite(session.req_header_mut(), &path).ok_or(Fault::Internal)?),
        None => None,
    };
    *ruled = Some(Ruled { matched, asked });
    verdict.map_or(Ok(()), Err)
}

/// Changes the headers that a backend gets.
pub(super) fn dress(ctx: &RequestContext, outgoing: &mut RequestHeader) -> Result<()> {
    let Some(ruled) = &ctx.ruled else { return Ok(()) };
    for rule in ruled.matched.of(&ctx.arrival.live.fleet.snapshot.rules) {
        for HeaderChange { name, change } in &rule.actions.request {
            match change {
                Change::Append(value) => {
                    outgoing.append_header(name, value)?;
                }
                Change::Overwrite(value) => outgoing.insert_header(name, value)?,
                Change::Delete => {
                    outgoing.remove_header(name);
                }
            }
        }
    }
    Ok(())
}

/// Changes the headers that the client gets, from a backend or from us. An answer from before the rules ran gets those of
/// the rules that its request meets.
pub(super) fn mark(ctx: &RequestContext, session: &Session, answer: &mut ResponseHeader) -> Result<()> {
    let live = &ctx.arrival.live;
    let rules = &live.fleet.snapshot.rules;
    if rules.list.is_empty() {
        return Ok(());
    }
    let found;
    let matched = match &ctx.ruled {
        Some(ruled) => &ruled.matched,
        None => {
            found = look(session, live, ctx.envelope.as_ref(), stated_size(session.req_header()));
            &found
        }
    };
    for rule in matched.of(rules) {
        for HeaderChange { name, change } in &rule.actions.response {
            match change {
                Change::Append(value) => {
                    answer.append_header(name, value)?;
                }
                Change::Overwrite(value) => answer.insert_header(name, value)?,
                Change::Delete => {
                    answer.remove_header(name);
                }
            }
        }
    }
    Ok(())
}

/// Asks the rules.
fn look(session: &Session, live: &Live, envelope: Option<&Envelope>, body_size: Option<u64>) -> Matched {
    let request = session.req_header();
    let socket = session.client_addr().and_then(|address| address.as_inet()).map(std::net::SocketAddr::ip);
    let client = envelope.and_then(|envelope| envelope.client).map(|address| address.ip()).or(socket);
    let snapshot = &live.fleet.snapshot;
    let known = snapshot.waf.as_ref().filter(|_| snapshot.rules.needs_place());
    let look_up = |address| known.map_or_else(Place::default, |waf| waf.place(address));
    let place = look_up(client);
    let tls = session.digest().and_then(|digest| digest.ssl_digest.as_ref());
    let target = request.uri.path_and_query().map_or("/", PathAndQuery::as_str);
    let sent_host = match request.uri.authority() {
        Some(authority) => authority.as_str(),
        None => request.headers.get(header::HOST).and_then(|host| host.to_str().ok()).unwrap_or(""),
    };
    let host = &host_of(request).to_ascii_lowercase();
    snapshot.rules.decide(&Request {
        view: View {
            method: request.method.as_str(),
            target: target.as_bytes(),
            host: sent_host,
            tls: tls.is_some(),
            headers: &request.headers,
            socket,
            client,
            place,
            socket_place: if socket == client { place } else { look_up(socket) },
            body: None,
        },
        host,
        http_version: match request.version {
            Version::HTTP_2 => "2",
            Version::HTTP_10 => "1.0",
            _ => "1.1",
        },
        tls_version: tls.map(|tls| if tls.version.ends_with('3') { "1.3" } else { "1.2" }),
        server_port: session.server_addr().and_then(|address| address.as_inet()).map(std::net::SocketAddr::port),
        body_size,
    })
}

/// Size of the body before it is read: as stated, or nothing where HTTP/1.1 announces none.
fn stated_size(request: &RequestHeader) -> Option<u64> {
    match request.headers.get(header::CONTENT_LENGTH) {
        Some(length) => length.to_str().ok()?.parse().ok(),
        None if request.version == Version::HTTP_2 => None,
        None => (!request.headers.contains_key(header::TRANSFER_ENCODING)).then_some(0),
    }
}

/// The answer that leads elsewhere. The client's credentials stay out of a query that another host gets.
fn redirected(redirect: &Redirect, request: &RequestHeader, (live, envelope): (&Live, &Envelope)) -> Verdict {
    let query = request.uri.query().map(|query| match &redirect.host {
        Some(_) => operation::without_credentials(query),
        None => query.into(),
    });
    let host = &host_of(request).to_ascii_lowercase();
    let asked = Asked { tls: envelope.tls, host, path: request.uri.path(), query: query.as_deref() };
    let Some(location) = redirect.location(&asked, &live.fleet.snapshot.rules.hosts) else {
        return Denial::RouteNotFound.into();
    };
    let status = StatusCode::from_u16(redirect.status).unwrap_or(StatusCode::TEMPORARY_REDIRECT);
    match HeaderValue::from_str(&location) {
        Ok(location) => {
            Reply { status, fields: vec![(HeaderName::from_static("location"), location)], body: Bytes::new() }.into()
        }
        Err(_) => Denial::BadPath { what: "it cannot be sent elsewhere" }.into(),
    }
}

/// Puts another path in place, keeps the query, and gives what was there; `None` where no URI holds it.
fn rewrite(request: &mut RequestHeader, path: &str) -> Option<Uri> {
    let target = match request.uri.query() {
        Some(query) => PathAndQuery::try_from(format!("{path}?{query}")),
        None => PathAndQuery::try_from(path),
    };
    let asked = request.uri.clone();
    let mut parts = asked.clone().into_parts();
    parts.path_and_query = Some(target.ok()?);
    request.set_uri(Uri::from_parts(parts).ok()?);
    Some(asked)
}
