//! Part of stations 5 and 7: what binds where a request's data may be processed, and that no attempt goes anywhere else.
//!
//! It is asked twice, in two ways. Once per request the compiled marks of the pool bar its backends; before each attempt the
//! chosen backend's own region and kind are held against the zones. The second asks nothing that the first has written but
//! the zones themselves.

use super::context::{Envelope, RequestContext, Residence};
use super::live::Live;
use crate::config::snapshot::{Backend, Located, Pool, Snapshot};
use crate::domain::{Caller, Denial, Fault, Zones};
use crate::policy::distance::Nearest;
use crate::policy::residency::{Said, Unbindable};
use crate::policy::screen::view::Country;
use crate::state::{Tried, Wanted};

/// Binds a routed request. `listener` names the one that it came to. What was looked up stands in `slot`, whatever comes of it.
pub(super) fn bind(
    slot: &mut Option<Residence>,
    (live, envelope, caller): (&Live, &Envelope, Option<&Caller>),
    (pool, listener): (usize, Option<&str>),
) -> Result<(), Denial> {
    let snapshot = &live.fleet.snapshot;
    let residence = slot.insert(Residence { barred: Tried::of(u64::MAX), ..Residence::default() });
    let pool = snapshot.pools.get(pool).ok_or(Denial::ResidencyUnserved)?;
    let asks_country = snapshot.residency.as_ref().is_some_and(|residency| residency.rules.asks_country());
    let nearest = pool.nearest == Nearest::Client;
    if asks_country || nearest {
        let Located { country, spot } = snapshot.locate(envelope.client.map(|client| client.ip()));
        residence.country = asks_country.then_some(country);
        residence.client = spot.filter(|_| nearest);
    }
    residence.zones = zones(snapshot, (caller, listener), residence.country.unwrap_or_default())?;
    residence.barred = barred(pool, residence.zones)?;
    Ok(())
}

impl Residence {
    /// Tells a pick what it may not use, and where the client is.
    pub(super) fn ask(&self, wanted: &mut Wanted) {
        wanted.barred = wanted.barred.union(self.barred);
        wanted.client = self.client;
    }
}

/// Names of the zones that bind a request, for the access log.
pub(super) fn names(ctx: &RequestContext) -> Vec<&str> {
    let zones = ctx.residence.map_or(Zones::NONE, |residence| residence.zones);
    let known = ctx.arrival.live.fleet.snapshot.residency.as_ref().map(|residency| residency.rules.zones());
    zones.indexes().filter_map(|index| Some(known?.get(index)?.name.as_str())).collect()
}

fn zones(
    snapshot: &Snapshot,
    (caller, listener): (Option<&Caller>, Option<&str>),
    country: Country,
) -> Result<Zones, Denial> {
    let Some(residency) = &snapshot.residency else { return Ok(Zones::NONE) };
    let listener = match residency.listeners.as_slice() {
        [] => None,
        // One that the configuration does not know was bound under another: what it says is not known.
        known => known.iter().find(|(name, _)| Some(name.as_str()) == listener).ok_or(Denial::ResidencyUnknown)?.1,
    };
    let consumers = snapshot.access.as_ref().map(|access| access.consumers.as_slice()).unwrap_or_default();
    let consumer = caller.and_then(|caller| consumers.get(caller.consumer)?.residency);
    let token = caller.map_or(Zones::NONE, |caller| caller.zones);
    residency.rules.bind(Said { listener, consumer, token, country }).map_err(|why| match why {
        Unbindable::Country => Denial::ResidencyUnknown,
        Unbindable::Conflict => Denial::ResidencyConflict,
    })
}

/// The backends of a pool that are outside of `zones`; not all of them.
fn barred(pool: &Pool, zones: Zones) -> Result<Tried, Denial> {
    let barred = Tried::of(pool.outside.of(zones));
    let inside = (0..pool.backends.len()).any(|index| !barred.contains(index));
    if inside { Ok(barred) } else { Err(Denial::ResidencyUnserved) }
}

/// The last word before an attempt: whether its backend processes data inside the zones, by what it states itself.
pub(super) fn assert_inside(
    snapshot: &Snapshot,
    residence: Option<&Residence>,
    backend: &Backend,
) -> Result<(), Fault> {
    let zones = residence.ok_or(Fault::Internal)?.zones;
    let holds = |residency: &crate::config::snapshot::Residency| {
        residency.rules.holds(zones, &backend.region, backend.site.kind)
    };
    if zones.is_empty() || snapshot.residency.as_ref().is_some_and(holds) {
        return Ok(());
    }
    log::error!("backend {}: outside the zones that bind a request; the attempt was stopped", backend.id);
    Err(Fault::ResidencyViolated)
}

#[cfg(test)]
mod tests;
