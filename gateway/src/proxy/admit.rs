//! Station 6, admit: deadline and attempts of the request, and the replay session that carries it.

use super::closing::Closing;
use super::context::{Admission, Envelope};
use super::live::Live;
use super::replay::Replay;
use super::route::Routed;
use super::tunnel::Tunnel;
use super::wrapper;
use crate::domain::Moment;
use crate::policy::failover;
use crate::state::Reservation;
use bytes::Bytes;
use pingora::protocols::http::ServerSession;

/// Takes a routed request in. From here on the downstream session replays its body.
pub(super) fn admit(
    session: &mut Box<ServerSession>,
    arrival: (Moment, &Live),
    envelope: &Envelope,
    routed: Routed,
    (body, memory): (Bytes, Reservation),
    closing: &Closing,
) -> Admission {
    let (at, live) = arrival;
    if let Some(pool) = live.pools.get(routed.pool) {
        pool.meters.in_flight.inc();
    }
    let rules = live.fleet.snapshot.pools.get(routed.pool).map(|p| &p.failover);
    Admission {
        route: routed.route,
        pool: routed.pool,
        operation: routed.operation,
        shape: routed.shape,
        deployment: routed.deployment,
        alias: routed.alias,
        facts: routed.facts,
        multipart: routed.multipart,
        body,
        _memory: Some(memory),
        desk: if envelope.upgrade {
            wrapper::wrap(session, Tunnel::new(closing))
        } else {
            wrapper::wrap(session, Replay::default())
        },
        deadline: rules.map_or(at, |r| at.after(r.deadline)),
        attempts_max: rules.map_or(1, |r| failover::attempts_allowed(r.attempts_max, envelope.sdk_retries)),
    }
}
