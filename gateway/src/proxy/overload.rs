//! Who may begin while the process is near its ceilings: `policy::overload` decides, this waits and refuses. A calm process
//! pays one count per request. Nothing here knows backends.

use crate::config::snapshot::Overload;
use crate::domain::Denial;
use crate::policy::overload::{self, Class, Pressure, Reason, Turn};
use crate::state::{Floor, Place, Slot, Stay};
use crate::telemetry::{Metrics, clock};
use pingora::http::RequestHeader;
use pingora_proxy::Session;
use pingora_timeout::timeout;
use std::sync::Arc;
use tokio::sync::Notify;

/// The doorman of all listeners. Clones share it.
#[derive(Clone, Debug, Default)]
pub struct Doorman {
    floor: Floor,
    /// A request has ended while others wait.
    freed: Arc<Notify>,
}

/// A request that has begun. Tells those that wait when it ends.
#[derive(Debug)]
pub(super) struct Begun {
    slot: Option<Slot>,
    doorman: Doorman,
}

impl Doorman {
    /// The counts behind it.
    #[must_use]
    pub const fn floor(&self) -> &Floor {
        &self.floor
    }

    /// Lets a request begin, now or after a short wait. The consumer's class holds unless the request asks for the lower one.
    pub(super) async fn admit(
        &self,
        session: &mut Session,
        rules: &Overload,
        (of_consumer, stay): (Option<Class>, Option<&Stay>),
        metrics: &Metrics,
    ) -> Result<Begun, Denial> {
        let class = class(session.req_header(), rules).or(of_consumer).unwrap_or(Class::Interactive);
        let load = self.floor.load();
        if load.pressure != Pressure::Calm {
            session.downstream_session.set_keepalive(None);
        }
        if stay.is_some_and(|stay| overload::is_beyond_share(&rules.ceilings, load, stay.share())) {
            return Err(shed(class, Reason::Share, metrics));
        }
        let reason = match overload::admit(&rules.ceilings, load, class) {
            Turn::Begin { below } => match self.begin(below) {
                Some(begun) => return Ok(begun),
                None => Reason::InFlight,
            },
            Turn::Wait { below } => match self.wait(rules, below, metrics).await {
                Ok(begun) => return Ok(begun),
                Err(reason) => reason,
            },
            Turn::Shed(reason) => reason,
        };
        Err(shed(class, reason, metrics))
    }

    /// A route of the batch class is known only now: it goes where its class would not have begun.
    pub(super) fn again(&self, route: usize, rules: &Overload, metrics: &Metrics) -> Result<(), Denial> {
        if !rules.batch_routes.contains(&route) {
            return Ok(());
        }
        let mut load = self.floor.load();
        // It is among those in flight itself.
        load.in_flight = load.in_flight.saturating_sub(1);
        match overload::admit(&rules.ceilings, load, Class::Batch) {
            Turn::Shed(reason) => Err(shed(Class::Batch, reason, metrics)),
            Turn::Begin { .. } | Turn::Wait { .. } => Ok(()),
        }
    }

    fn begin(&self, below: usize) -> Option<Begun> {
        self.floor.begin(below).map(|slot| Begun { slot: Some(slot), doorman: self.clone() })
    }

    /// The newest goes first: who has waited longest has the least time left to be served in.
    async fn wait(&self, rules: &Overload, below: usize, metrics: &Metrics) -> Result<Begun, Reason> {
        let Some(place) = self.floor.queue(below) else { return Err(Reason::InFlight) };
        let _queued = Queued::new(place, metrics);
        let end = clock::now().after(rules.ceilings.queue_timeout);
        loop {
            let freed = self.freed.notified();
            tokio::pin!(freed);
            // From here on no end of a request is missed.
            freed.as_mut().enable();
            if let Some(begun) = self.begin(rules.ceilings.in_flight_max) {
                return Ok(begun);
            }
            if timeout(clock::now().until(end), freed).await.is_err() {
                return Err(Reason::Waited);
            }
        }
    }
}

/// A request that waits, in the gauge too.
struct Queued<'a> {
    _place: Place,
    metrics: &'a Metrics,
}

impl<'a> Queued<'a> {
    fn new(place: Place, metrics: &'a Metrics) -> Self {
        metrics.waiting.inc();
        Self { _place: place, metrics }
    }
}

impl Drop for Queued<'_> {
    fn drop(&mut self) {
        self.metrics.waiting.dec();
    }
}

impl Drop for Begun {
    fn drop(&mut self) {
        self.slot = None;
        if self.doorman.floor.is_waited_for() {
            self.doorman.freed.notify_last();
        }
    }
}

/// The class that the request itself asks for: only ever the lower one.
fn class(request: &RequestHeader, rules: &Overload) -> Option<Class> {
    let batch = rules.batch_header.as_ref().is_some_and(|(name, value)| {
        request.headers.get(name).is_some_and(|told| told.as_bytes().eq_ignore_ascii_case(value.as_bytes()))
    });
    batch.then_some(Class::Batch)
}

fn shed(class: Class, reason: Reason, metrics: &Metrics) -> Denial {
    metrics.shed(class, reason);
    Denial::Shed { retry_after: overload::retry_after(fastrand::f64()) }
}
