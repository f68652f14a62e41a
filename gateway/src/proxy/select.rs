//! Station 7, select: open the next attempt on the backend that `state` picks, and say how to reach it.

use super::context::{Admission, Attempts, Current, RequestContext};
use super::live::LiveBackend;
use super::residency;
use crate::config::snapshot::{Backend, Pool};
use crate::domain::{Fault, Moment};
use crate::openai::{affinity, quota};
use crate::policy::affinity::hash;
use crate::state::{Pick, PoolState, Ticket};
use pingora::protocols::ALPN;
use pingora::protocols::l4::ext::TcpKeepalive;
use pingora::upstreams::peer::HttpPeer;
use std::time::Duration;

/// Told to clients when nothing says when a backend will be back.
pub(super) const RETRY_AFTER: Duration = Duration::from_secs(1);

/// Finds a dead peer long before the idle timeout of a silent stream.
const KEEPALIVE: TcpKeepalive = TcpKeepalive {
    idle: Duration::from_secs(30),
    interval: Duration::from_secs(10),
    count: 3,
    user_timeout: Duration::from_secs(60),
};

/// Picks the backend of the first attempt, for [`select`] to take: a request that no backend can take is refused here already,
/// where its connection can be kept.
pub(super) fn first(ctx: &mut RequestContext, now: Moment) -> Result<(), Fault> {
    let admission = ctx.admission.as_ref().ok_or(Fault::Internal)?;
    let pool = ctx.arrival.live.fleet.pools.get(admission.pool).ok_or(Fault::Internal)?;
    let prompt = ctx.limited.as_ref().filter(|limited| limited.counted).map(|limited| limited.prompt);
    let body = if admission.multipart { 0 } else { admission.body.len() };
    ctx.attempts.prompt = quota::prompt(body, prompt);
    ctx.attempts.wanted.cost = quota::cost(admission.operation, &admission.facts, body, prompt);
    ctx.attempts.wanted.key = key(ctx, admission);
    if let Some(residence) = &ctx.residence {
        residence.ask(&mut ctx.attempts.wanted);
    }
    let ticket = pick(pool, &ctx.attempts, now)?;
    if let Some(home) = ticket.home()
        && let Some(pool) = ctx.arrival.live.pools.get(admission.pool)
    {
        pool.meters.kept(home);
    }
    ctx.attempts.next = Some(ticket);
    Ok(())
}

/// What keeps the request on one backend: one client's key has nothing to do with another's.
fn key(ctx: &RequestContext, admission: &Admission) -> Option<u64> {
    let snapshot = &ctx.arrival.live.fleet.snapshot;
    let by = snapshot.pools.get(admission.pool)?.affinity.filter(|_| !admission.multipart)?;
    let key = affinity::key(admission.operation, &admission.facts, &admission.body, by)?;
    let consumers = snapshot.access.as_ref().map(|access| &access.consumers);
    let consumer = ctx.caller.as_ref().and_then(|caller| consumers?.get(caller.consumer));
    let whose = consumer.map_or(0, |consumer| hash(0, consumer.name.as_str().as_bytes()));
    Some(hash(whose, key))
}

/// Opens the next attempt: the ticket that `classify` already holds, or a pick of its own.
pub(super) fn select(ctx: &mut RequestContext, now: Moment) -> Result<HttpPeer, Fault> {
    let live = &ctx.arrival.live;
    let admission = ctx.admission.as_ref().ok_or(Fault::Internal)?;
    let pool = live.fleet.pools.get(admission.pool).ok_or(Fault::Internal)?;
    let spec = live.fleet.snapshot.pools.get(admission.pool).ok_or(Fault::Internal)?;
    let attempts = &mut ctx.attempts;
    let upgrade = ctx.envelope.as_ref().is_some_and(|e| e.upgrade);
    let length = admission.body.len();
    if let Some(current) = attempts.current.as_mut().filter(|c| c.fresh) {
        // A stale keep-alive connection: the same attempt again, on a new connection.
        let backend = spec.backends.get(current.backend).ok_or(Fault::Internal)?;
        let bound =
            live.pools.get(admission.pool).and_then(|p| p.backends.get(current.backend)).ok_or(Fault::Internal)?;
        residency::assert_inside(&live.fleet.snapshot, ctx.residence.as_ref(), backend)?;
        return peer((spec, backend, bound), &current.ticket, (true, upgrade, length)).ok_or(Fault::Internal);
    }
    let ticket = match attempts.next.take() {
        Some(ticket) => ticket,
        None => pick(pool, attempts, now)?,
    };
    let index = ticket.index();
    let backend = spec.backends.get(index).ok_or(Fault::Internal)?;
    let bound = live.pools.get(admission.pool).and_then(|p| p.backends.get(index)).ok_or(Fault::Internal)?;
    residency::assert_inside(&live.fleet.snapshot, ctx.residence.as_ref(), backend)?;
    let peer = peer((spec, backend, bound), &ticket, (false, upgrade, length))
        .ok_or(Fault::NoBackend { retry_after: RETRY_AFTER })?;
    bound.meters.in_flight.inc();
    attempts.count += 1;
    attempts.wanted.tried = attempts.wanted.tried.with(index);
    attempts.current = Some(Current {
        ticket,
        backend: index,
        socket: None,
        started: now,
        outcome: None,
        status: 0,
        throttle: None,
        failure: None,
        short: false,
        unclear: false,
        spillover: None,
        asked_usage: false,
        gated: false,
        advice: None,
        unframed: false,
        fresh: false,
        token: None,
    });
    Ok(peer)
}

/// The backend of an attempt.
pub(super) fn pick(pool: &PoolState, attempts: &Attempts, now: Moment) -> Result<Ticket, Fault> {
    match pool.pick_for(&attempts.wanted, now, fastrand::u64(..)) {
        Pick::Attempt(ticket) => Ok(ticket),
        Pick::AllThrottled { soonest } => Err(Fault::AllThrottled { retry_after: now.until(soonest) }),
        Pick::None { soonest } => {
            Err(Fault::NoBackend { retry_after: soonest.map_or(RETRY_AFTER, |at| now.until(at).max(RETRY_AFTER)) })
        }
    }
}

/// How to reach a backend; `None` while its name has never resolved.
fn peer(
    (pool, backend, bound): (&Pool, &Backend, &LiveBackend),
    ticket: &Ticket,
    (fresh, upgrade, length): (bool, bool, usize),
) -> Option<HttpPeer> {
    let address = bound.address(ticket.state())?;
    let mut peer = HttpPeer::new(address, backend.url.tls, backend.url.trust.server_name.clone());
    let timeouts = &pool.timeouts;
    let options = &mut peer.options;
    options.connection_timeout = Some(timeouts.connect);
    options.total_connection_timeout = Some(timeouts.handshake);
    // None: the replay session keeps the deadlines, and a tunnel may be silent for as long as it likes.
    options.read_timeout = None;
    options.tcp_keepalive = Some(KEEPALIVE);
    // A large body leaves in one write: it is allowed the time of as many writes as it has mebibytes.
    let writes = u32::try_from(length.div_ceil(1024 * 1024)).unwrap_or(u32::MAX).max(1);
    options.write_timeout = Some(timeouts.write.saturating_mul(writes));
    options.idle_timeout = Some(timeouts.keepalive);
    // An upgrade is HTTP/1.1's: HTTP/2 would lose it.
    if backend.http2 && backend.url.tls && !upgrade {
        options.alpn = ALPN::H2H1;
        options.max_h2_streams = 100;
    }
    options.ca = bound.trust.clone();
    peer.client_cert_key = bound.identity.clone();
    peer.group_key = if fresh { fastrand::u64(1..) } else { bound.group };
    Some(peer)
}

/// From the start of an attempt to its response header: the timeout of its kind, cut by the deadline of the request.
pub(super) fn first_byte_timeout(pool: &Pool, admission: &Admission, now: Moment) -> Duration {
    let timeout =
        if admission.facts.stream { pool.failover.stream_first_byte_timeout } else { pool.failover.first_byte_timeout };
    timeout.min(now.until(admission.deadline))
}
