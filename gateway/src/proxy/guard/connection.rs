//! [`Connection`]: what guard, stream and request path tell each other about one client's connection. Atomics only, one
//! store where a request begins and one where it ends.

use crate::domain::Cutoff;
use pingora::http::ResponseHeader;
use pingora::protocols::raw_connect::ProxyDigest;
use pingora_proxy::Session;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU32, Ordering};
use tokio::sync::Notify;

/// Where an HTTP/1.1 connection is in its life. From [`Phase::REQUEST`] on the guard does nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Phase(u8);

impl Phase {
    /// No byte of the first request yet.
    pub(super) const FRESH: Self = Self(0);
    /// Some bytes of a request's header, or of the preface of HTTP/2.
    pub(super) const HEADER: Self = Self(1);
    /// Between two requests.
    pub(super) const IDLE: Self = Self(2);
    /// A request is on its way through the stations.
    pub(super) const REQUEST: Self = Self(3);
    /// HTTP/2, which carries many requests at a time and has limits of its own.
    pub(super) const MANY: Self = Self(4);
}

/// One client's connection.
#[derive(Debug, Default)]
pub(super) struct Connection {
    phase: AtomicU8,
    /// 0, or one more than the [`Cutoff`].
    cutoff: AtomicU8,
    requests: AtomicU32,
    retired: Notify,
}

impl Connection {
    /// The connection as Pingora carries it to every request on it.
    pub(super) fn digest(self: &Arc<Self>) -> Option<Arc<ProxyDigest>> {
        let unused = ResponseHeader::build(200, Some(0)).ok()?;
        Some(Arc::new(ProxyDigest::new(Box::new(unused), Some(Box::new(Arc::clone(self))))))
    }

    pub(super) fn phase(&self) -> Phase {
        Phase(self.phase.load(Ordering::Relaxed))
    }

    pub(super) fn enter(&self, phase: Phase) {
        self.phase.store(phase.0, Ordering::Relaxed);
    }

    /// It is to be closed, or was answered, for this reason; the first one stays.
    pub(super) fn cut_off(&self, cutoff: Cutoff) {
        let code = (cutoff as u8).saturating_add(1);
        let _ = self.cutoff.compare_exchange(0, code, Ordering::Relaxed, Ordering::Relaxed);
    }

    /// Why it is to be closed.
    pub(super) fn cutoff(&self) -> Option<Cutoff> {
        let code = usize::from(self.cutoff.load(Ordering::Relaxed));
        Cutoff::ALL.get(code.checked_sub(1)?).copied()
    }

    /// Whether it has to end now: no request is under way, and the client is too slow.
    pub(super) fn is_over(&self) -> bool {
        matches!(self.cutoff(), Some(Cutoff::FirstByteTimeout | Cutoff::HeaderTimeout))
    }

    /// Waits until it has had all its requests.
    pub(super) async fn retired(&self) {
        self.retired.notified().await;
    }

    /// A request begins. Says whether it is the last one.
    fn begin(&self, max: u32) -> bool {
        let many = self.phase() == Phase::MANY;
        if !many {
            self.enter(Phase::REQUEST);
        }
        let last = self.requests.fetch_add(1, Ordering::Relaxed).saturating_add(1) >= max;
        if last && many {
            self.retired.notify_one();
        }
        last
    }

    fn end(&self) {
        if self.phase() == Phase::REQUEST {
            self.enter(Phase::IDLE);
        }
    }
}

fn of(session: &Session) -> Option<&Connection> {
    let carried = session.downstream_session.digest()?.proxy_digest.as_ref()?.user_data.as_ref()?;
    carried.downcast_ref::<Arc<Connection>>().map(AsRef::as_ref)
}

/// A request begins: the deadlines of its header end. After `max` requests the connection is not kept.
pub(in crate::proxy) fn begin(session: &mut Session, max: u32) {
    if of(session).is_some_and(|connection| connection.begin(max)) {
        session.downstream_session.set_keepalive(None);
    }
}

/// A request has ended.
pub(in crate::proxy) fn end(session: &Session) {
    if let Some(connection) = of(session) {
        connection.end();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_counted_and_the_last_one_is_told() {
        let connection = Connection::default();
        assert!(!connection.begin(2));
        assert_eq!(connection.phase(), Phase::REQUEST);
        connection.end();
        assert_eq!(connection.phase(), Phase::IDLE);
        assert!(connection.begin(2));
        let many = Connection::default();
        many.enter(Phase::MANY);
        assert!(!many.begin(9));
        many.end();
        assert_eq!(many.phase(), Phase::MANY);
    }

    #[test]
    fn the_first_cutoff_stays() {
        let connection = Connection::default();
        assert_eq!(connection.cutoff(), None);
        for cutoff in [Cutoff::HeaderTimeout, Cutoff::WriteTimeout] {
            connection.cut_off(cutoff);
            assert_eq!(connection.cutoff(), Some(Cutoff::HeaderTimeout));
        }
    }
}
