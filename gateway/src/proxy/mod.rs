//! The way of a request, top to bottom: eleven stations on Pingora's hooks.
//!
//! | # | Station | Hook | What happens |
//! |---|---|---|---|
//! | 1 | accept | `new_ctx`, `request_filter` | one configuration pinned; request id; limits of line and headers |
//! | 2 | screen | `request_filter` | method and framing, then the web application firewall |
//! | 3 | authenticate | `request_filter` | whom it comes from; its credential ends here |
//! | 4 | read | `request_filter` | the body, bounded |
//! | 5 | route | `request_filter` | operation, deployment → pool |
//! | 6 | admit | `request_filter` | deadline, attempts, the replay session |
//! | 7 | select | `upstream_peer`, once per attempt | the backend of this attempt |
//! | 8 | forward | `upstream_request_filter` | this backend's request |
//! | 9 | classify | `upstream_response_filter`, `fail_to_connect`, `error_while_proxy` | outcome → relay, next attempt, refuse |
//! | 10 | relay | `response_filter`, `response_body_filter` | the answer, metered, held until it begins |
//! | 11 | settle | `logging` | meters and the access log |
//!
//! `fail_to_proxy` is where `refuse` speaks, or where a stream that broke late is ended honestly.

mod accept;
mod admit;
mod authenticate;
mod capable;
mod challenge;
mod classify;
mod closing;
mod context;
mod cork;
mod cors;
mod deadline;
mod firewall;
mod forward;
mod gateway;
pub mod guard;
mod h2_writer;
mod header;
mod hedge;
mod hold;
mod hops;
mod limits;
mod live;
mod models;
mod overload;
mod pace;
mod pin;
mod read;
mod redirect;
mod refuse;
mod relay;
mod replay;
mod residency;
mod route;
mod rules;
mod screen;
mod select;
mod settle;
mod tokens;
mod translate;
mod tunnel;
mod wrapper;

pub use closing::Closing;
pub use context::RequestContext;
pub use gateway::Gateway;
pub use hops::Via;
pub use live::Live;
pub use overload::Doorman;
pub use pin::leads_to;

use crate::domain::{Denial, Outcome};
use crate::telemetry::clock;
use async_trait::async_trait;
use authenticate::Asked;
use bytes::Bytes;
use classify::{ABANDONED, Verb};
use context::{Pin, Verdict};
use firewall::Bench;
use gateway::Stop;
use hedge::race::CLIENT_LEFT;
use hold::LIST_OVER;
use pingora::http::{RequestHeader, ResponseHeader};
use pingora::modules::http::HttpModules;
use pingora::protocols::Digest;
use pingora::upstreams::peer::HttpPeer;
use pingora::{Error, Result};
use pingora_proxy::{FailToProxy, ProxyHttp, ProxyWarnLogContext, Session};
use std::os::fd::RawFd;
use std::sync::Arc;
use std::time::Duration;

impl Gateway {
    /// Stations 1 to 6.
    async fn take_in(&self, session: &mut Session, ctx: &mut RequestContext) -> Result<(), Stop> {
        let live = Arc::clone(&ctx.arrival.live);
        let snapshot = &live.fleet.snapshot;
        guard::begin(session, snapshot.limits.connections.requests_max);
        let envelope = ctx.envelope.insert(accept::accept(session, &snapshot.limits, &snapshot.headers)?);
        if session.downstream_session.get_keepalive().is_some() {
            session.downstream_session.set_keepalive(Some(snapshot.limits.keepalive_timeout.as_secs().max(1)));
        }
        if let Some(reply) = challenge::reply(session.req_header(), &self.challenges) {
            return Err(Verdict::from(reply).into());
        }
        if !snapshot.hops.is_plain() {
            let ready = || self.metrics.draining.get() == 0 && live.fleet.lacking(clock::now()).next().is_none();
            hops::identify(session, envelope, &snapshot.hops, self.listener_of(session.server_addr()), ready)?;
        }
        hops::passes(session.req_header(), &snapshot.hops, &self.via)?;
        hops::trace(session.req_header_mut(), &snapshot.hops);
        if !self.redirecting.is_empty() && redirect::applies(&self.redirecting, session.server_addr()) {
            return Err(Verdict::from(redirect::reply(session.req_header())?).into());
        }
        if envelope.http2 {
            // A client that gives no window holds its stream and its backend no longer than this.
            session.downstream_session.set_write_timeout(Some(snapshot.http2.stalled_timeout));
        }
        screen::screen(session, snapshot.framing, &self.metrics)?;
        let bench = Bench { envelope, live: &live, now: ctx.arrival.at };
        firewall::begin(session.req_header(), bench, &mut ctx.screened)?;
        if let Some(verdict) = cors::preflight(session.req_header(), &live) {
            return Err(verdict.into());
        }
        let asked = Asked { live: &live, envelope, now: ctx.arrival.at, second: clock::unix_seconds };
        ctx.caller = authenticate::authenticate(session.req_header_mut(), asked, &self.metrics).await?;
        authenticate::from_here(ctx.caller.as_ref(), envelope, &live)?;
        ctx.stay = authenticate::stay(ctx.caller.as_ref(), &live);
        let who = (authenticate::class(ctx.caller.as_ref(), &live), ctx.stay.as_ref());
        ctx.begun = Some(self.doorman.admit(session, &snapshot.overload, who, &self.metrics).await?);
        if !envelope.upgrade && session.downstream_session.is_upgrade_req() {
            // Not an upgrade of ours to make: the request is answered as it is.
            session.req_header_mut().remove_header("upgrade");
        }
        rules::rule(session, &mut ctx.ruled, (&live, envelope), None)?;
        let asking = limits::Asking { live: &live, envelope, caller: ctx.caller.as_ref() };
        limits::early(&mut ctx.limited, &asking).await?;
        let mut body = if envelope.upgrade {
            (Bytes::new(), self.memory.reserve(0).ok_or(Denial::Overloaded { retry_after: select::RETRY_AFTER })?)
        } else {
            read::read(&mut session.downstream_session, &snapshot.limits, &self.memory).await?
        };
        firewall::read(session.req_header(), bench, &body.0, &mut ctx.screened)?;
        if !body.0.is_empty() {
            screen::body(session, snapshot.framing, &self.metrics)?;
        }
        rules::rule(session, &mut ctx.ruled, (&live, envelope), Some(body.0.len()))?;
        let (caller, forced) = (ctx.caller.as_ref(), ctx.ruled.as_ref().and_then(|ruled| ruled.pool(&live)));
        let call = (session.req_header(), &route::target(session.req_header())?);
        models::answer(call, &live, authenticate::scopes(caller, &live))?;
        ctx.pin = pin::open(call, &mut body.0, (caller, &live))?;
        let routed = pin::route(call, &body.0, (ctx.pin.as_deref(), caller, &live), forced)?;
        authenticate::allowed(caller, (&routed, ctx.pin.as_deref().is_some_and(Pin::is_bound)), &live)?;
        authenticate::may_spill(caller, session.req_header(), &routed, &live)?;
        let (bound, listener) = ((&*live, &*envelope, caller), self.listener_of(session.server_addr()));
        residency::bind(&mut ctx.residence, bound, (routed.pool, listener))?;
        firewall::routed(session.req_header(), bench, (routed.route, &body.0), &mut ctx.screened)?;
        firewall::shape(session.req_header(), (routed.operation, &body.0), &mut ctx.screened)?;
        self.doorman.again(routed.route, &snapshot.overload, &self.metrics)?;
        limits::routed(&mut ctx.limited, &asking, &routed, &body.0).await?;
        capable::bar(&mut ctx.attempts, &ctx.limited, (&live, session.req_header()), (&routed, &body.0)).await?;
        let at = (ctx.arrival.at, &*live);
        ctx.admission = Some(admit::admit(&mut session.downstream_session, at, envelope, routed, body, &self.closing));
        pin::bar(ctx)?;
        Ok(select::first(ctx, clock::now())?)
    }
}

#[async_trait]
impl ProxyHttp for Gateway {
    /// Boxed: Pingora's futures hold it by value, thrice, and are copied for every request.
    type CTX = Box<RequestContext>;

    fn new_ctx(&self) -> Self::CTX {
        Box::new(RequestContext::new(clock::now(), self.live.load_full(), self.gauges.request()))
    }

    /// None: answers are relayed as they come. (Pingora's default is a compressor, switched off.)
    fn init_downstream_modules(&self, _modules: &mut HttpModules) {}

    fn allow_spawning_subrequest(&self, session: &Session, ctx: &Self::CTX) -> bool {
        ctx.arrival.live.hedges && session.subrequest_ctx.is_none()
    }

    async fn request_filter(&self, session: &mut Session, ctx: &mut Self::CTX) -> Result<bool> {
        if session.subrequest_ctx.is_some() {
            // A second attempt begins at station 7.
            return Ok(hedge::take_over(session, ctx).is_none());
        }
        match self.take_in(session, ctx).await {
            Ok(()) => Ok(false),
            Err(Stop::Refuse(verdict)) => {
                ctx.verdict = Some(verdict.clone());
                refuse::refuse(session, ctx, &verdict).await?;
                Ok(true)
            }
            Err(Stop::ClientGone) => {
                session.downstream_session.set_keepalive(None);
                Ok(true)
            }
        }
    }

    async fn upstream_peer(&self, session: &mut Session, ctx: &mut Self::CTX) -> Result<Box<HttpPeer>> {
        hedge::after(session, ctx, clock::now).await?;
        match select::select(ctx, clock::now()) {
            Ok(peer) => Ok(Box::new(peer)),
            Err(fault) => {
                ctx.verdict = Some(fault.into());
                Error::e_explain(ABANDONED, "no backend for an attempt")
            }
        }
    }

    async fn connected_to_upstream(
        &self,
        _session: &mut Session,
        _reused: bool,
        peer: &HttpPeer,
        fd: RawFd,
        _digest: Option<&Digest>,
        ctx: &mut Self::CTX,
    ) -> Result<()> {
        forward::connected(ctx, peer, fd);
        Ok(())
    }

    async fn upstream_request_filter(
        &self,
        session: &mut Session,
        upstream_request: &mut RequestHeader,
        ctx: &mut Self::CTX,
    ) -> Result<()> {
        hedge::is_wanted(ctx)?;
        forward::forward(session.req_header(), upstream_request, (ctx, &self.via), deadline::now())?;
        hedge::arm(session, ctx);
        Ok(())
    }

    async fn upstream_response_filter(
        &self,
        session: &mut Session,
        upstream_response: &mut ResponseHeader,
        ctx: &mut Self::CTX,
    ) -> Result<()> {
        if upstream_response.status.is_informational() && upstream_response.status != 101 {
            return Ok(());
        }
        let raced = hedge::outlasts(session, ctx, upstream_response.status).await;
        if raced.as_ref().is_err_and(|error| *error.root_etype() == CLIENT_LEFT) {
            return raced;
        }
        match classify::answered(ctx, upstream_response, clock::now()) {
            Verb::Relay => Ok(()),
            _ if raced.is_err() => raced,
            verb => {
                let mut error = Error::new(ABANDONED);
                error.as_up();
                error.set_retry(verb == Verb::NextAttempt);
                Err(error)
            }
        }
    }

    fn fail_to_connect(
        &self,
        _session: &mut Session,
        _peer: &HttpPeer,
        ctx: &mut Self::CTX,
        mut e: Box<Error>,
    ) -> Box<Error> {
        log::debug!("connect failed: {e}");
        let verb = classify::failed(ctx, Outcome::ConnectFailed, clock::now());
        e.set_retry(verb == Verb::NextAttempt);
        e
    }

    fn error_while_proxy(
        &self,
        _peer: &HttpPeer,
        session: &mut Session,
        mut e: Box<Error>,
        ctx: &mut Self::CTX,
        client_reused: bool,
    ) -> Box<Error> {
        // Pingora panics on an undecided retry.
        e.retry.decide_reuse(client_reused);
        if *e.root_etype() == ABANDONED {
            return e; // decided by `answered`
        }
        let written = session.response_written().is_some_and(|r| !r.status.is_informational() || r.status == 101);
        let outcome = hedge::view::seen(ctx, classify::by_error(&e, written));
        if outcome == Outcome::BrokenEarly
            && client_reused
            && let Some(current) = ctx.attempts.current.as_mut().filter(|c| !c.fresh && c.outcome.is_none())
        {
            // A keep-alive connection that the backend had closed: no failure, the same attempt on a new connection.
            current.fresh = true;
            e.set_retry(true);
            return e;
        }
        if !written {
            relay::take_back(ctx);
        }
        if *e.root_etype() == LIST_OVER {
            e.set_retry(pin::go_on(session.req_header(), ctx, clock::now()));
            return e;
        }
        let verb = classify::failed(ctx, outcome, clock::now());
        e.set_retry(verb == Verb::NextAttempt);
        e
    }

    async fn response_filter(
        &self,
        session: &mut Session,
        upstream_response: &mut ResponseHeader,
        ctx: &mut Self::CTX,
    ) -> Result<()> {
        if upstream_response.status.is_informational() && upstream_response.status != 101 {
            return Ok(());
        }
        cors::replace(ctx, session.req_header(), upstream_response)?;
        relay::begin(ctx, upstream_response, clock::now());
        rules::mark(ctx, session, upstream_response)
    }

    fn response_body_filter(
        &self,
        _session: &mut Session,
        body: &mut Option<Bytes>,
        end_of_stream: bool,
        ctx: &mut Self::CTX,
    ) -> Result<Option<Duration>> {
        if ctx.attempts.current.as_ref().is_some_and(|current| current.gated) {
            classify::begun(ctx);
        }
        relay::pass(ctx, body, end_of_stream);
        if ctx.attempts.unclear.is_some() {
            classify::kind::hear(ctx, end_of_stream, clock::now());
        }
        Ok(None)
    }

    async fn fail_to_proxy(&self, session: &mut Session, e: &Error, ctx: &mut Self::CTX) -> FailToProxy {
        let gone = FailToProxy { error_code: 0, can_reuse_downstream: false };
        if hedge::relay(session, ctx).await || ctx.hedge.is_some() && session.response_written().is_none() {
            return gone;
        }
        if ctx.attempts.trail.last().is_some_and(|step| step.outcome == Outcome::ClientGone)
            || *e.root_etype() == CLIENT_LEFT
        {
            return gone;
        }
        if session.response_written().is_some_and(|r| !r.status.is_informational() || r.status == 101) {
            relay::end_broken(session, ctx).await;
            return gone;
        }
        let verdict = ctx.verdict.clone().unwrap_or(Verdict::Faulted(crate::domain::Fault::Internal));
        ctx.verdict = Some(verdict.clone());
        // Pingora keeps no client's connection after a failed attempt, whatever we return: the client is told so.
        unwrap(session, ctx);
        session.downstream_session.set_keepalive(None);
        match refuse::refuse(session, ctx, &verdict).await {
            Ok(error_code) => FailToProxy { error_code, can_reuse_downstream: false },
            Err(_client_left) => gone,
        }
    }

    async fn logging(&self, session: &mut Session, e: Option<&Error>, ctx: &mut Self::CTX) {
        if ctx.hedge.is_some() {
            settle::close_attempt(ctx, e, clock::now());
            classify::kind::conclude(ctx, None, clock::now());
            hedge::report(ctx);
            return unwrap(session, ctx);
        }
        settle::settle(self, session, e, ctx, clock::now());
        unwrap(session, ctx);
        guard::end(session);
    }

    fn suppress_error_log(&self, _session: &Session, _ctx: &Self::CTX, _error: &Error) -> bool {
        true // one line per request is the access log's
    }

    fn suppress_proxy_warn_log(
        &self,
        _session: &Session,
        _ctx: &Self::CTX,
        _error: &Error,
        _context: ProxyWarnLogContext,
    ) -> bool {
        true // attempts are in the access log and in metrics
    }
}

/// The real downstream session is in its place again.
fn unwrap(session: &mut Session, ctx: &RequestContext) {
    if let Some(admission) = &ctx.admission {
        wrapper::unwrap(&mut session.downstream_session, &admission.desk);
    }
}
