//! What binds where a request's data may be processed, and which backends that leaves.

use super::Ask;
use crate::config::snapshot::{Backend, Located, Snapshot};
use crate::domain::{Denial, Zones};
use crate::policy::distance::{Nearest, Spot};
use crate::policy::residency::{Kind, Said, Unbindable, Zone};
use serde::Serialize;

/// The zones of a request.
#[derive(Debug, Serialize)]
pub(super) struct ResidencyLine {
    /// Their names; empty where its data may be processed anywhere.
    pub(super) zones: Vec<String>,
    /// Who says so, in words.
    pub(super) said: Vec<String>,
}

/// What a request may not use, and where its client is.
#[derive(Debug, Default)]
pub(super) struct Bound<'s> {
    zones: Vec<&'s Zone>,
    client: Option<Spot>,
}

impl<'s> Bound<'s> {
    /// Why the backend is barred.
    pub(super) fn why_barred(&self, backend: &Backend) -> Option<String> {
        let zone = self.zones.iter().find(|zone| !zone.holds(&backend.region, backend.site.kind))?;
        let kind = backend.site.kind.map_or("kind not stated", Kind::label);
        Some(format!("barred: outside zone `{}` ({}, {kind})", zone.name, backend.region))
    }

    /// How far it is, and from where, in words.
    pub(super) fn distance(&self, backend: &Backend) -> Option<(f64, &'static str)> {
        let from_client = self.client.zip(backend.site.spot).map(|(client, spot)| client.distance_km(spot));
        from_client.map(|km| (km, "the client")).or_else(|| backend.distance_km.map(|km| (km, "home")))
    }

    /// Whether every backend of the pool is barred.
    fn bars_all(&self, backends: &[Backend]) -> bool {
        !self.zones.is_empty() && backends.iter().all(|backend| self.why_barred(backend).is_some())
    }
}

/// What binds the request in `pool`. Without zones of residency there is no line.
pub(super) fn explain<'s>(
    snapshot: &'s Snapshot,
    ask: &Ask,
    pool: usize,
) -> (Option<ResidencyLine>, Result<Bound<'s>, Denial>) {
    let Some(pool) = snapshot.pools.get(pool) else { return (None, Ok(Bound::default())) };
    let client = ask.country.filter(|_| pool.nearest == Nearest::Client).and_then(|at| Located::in_country(at).spot);
    let Some(residency) = &snapshot.residency else { return (None, Ok(Bound { zones: Vec::new(), client })) };
    let rules = &residency.rules;
    let index = |name: &str| rules.zones().iter().position(|zone| zone.name.as_str() == name);
    let listener = ask.listener.as_deref().and_then(|wanted| {
        residency.listeners.iter().find(|(name, _)| name.as_str() == wanted).and_then(|(_, zone)| *zone)
    });
    let consumers = snapshot.access.iter().flat_map(|access| &access.consumers);
    let named = ask.consumer.as_deref();
    let consumer = consumers.into_iter().find(|one| Some(one.name.as_str()) == named).and_then(|one| one.residency);
    let token =
        ask.zones.iter().filter_map(|name| index(name)).fold(Zones::NONE, |all, zone| all.and(Zones::one(zone)));
    let country = ask.country.unwrap_or_default();
    let name = |zone: usize| rules.zones().get(zone).map_or("", |zone| zone.name.as_str());
    let mut said = Vec::new();
    said.extend(listener.map(|zone| format!("its listener says `{}`", name(zone))));
    said.extend(consumer.map(|zone| format!("its consumer says `{}`", name(zone))));
    said.extend(token.indexes().map(|zone| format!("its token says `{}`", name(zone))));
    if rules.asks_country() {
        let known = if ask.country.is_some() { country.to_string() } else { "unknown (see --country)".to_owned() };
        said.push(format!("its country is {known}"));
    }
    let bound = match rules.bind(Said { listener, consumer, token, country }) {
        Ok(zones) => {
            let bound = Bound { zones: zones.indexes().filter_map(|zone| rules.zones().get(zone)).collect(), client };
            if bound.bars_all(&pool.backends) { Err((Denial::ResidencyUnserved, bound)) } else { Ok(bound) }
        }
        Err(Unbindable::Country) => Err((Denial::ResidencyUnknown, Bound::default())),
        Err(Unbindable::Conflict) => Err((Denial::ResidencyConflict, Bound::default())),
    };
    let zones = match &bound {
        Ok(bound) | Err((_, bound)) => bound.zones.iter().map(|zone| zone.name.to_string()).collect(),
    };
    (Some(ResidencyLine { zones, said }), bound.map_err(|(denial, _)| denial))
}

/// In words.
pub(super) fn words(line: &ResidencyLine) -> String {
    let said = if line.said.is_empty() { "nothing is said about it".to_owned() } else { line.said.join(", ") };
    match line.zones.as_slice() {
        [] => format!("anywhere: {said}"),
        zones => format!("{}: {said}", zones.join(" and ")),
    }
}
