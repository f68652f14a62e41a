//! The proof that nobody who is bound reaches a backend outside: every way from a listener, consumer, token or country over
//! route and pool to a backend, against the zone itself and against the marks that the request path will use.
//!
//! A request that several zones bind may use only what no single one of them bars: what is proved of each holds of all.

use crate::config::file::{self, ResidencyMode};
use crate::config::report::Report;
use crate::config::snapshot::{Access, Backend, Pool, Proof, Route};
use crate::domain::Zones;
use crate::policy::residency::{Kind, Residency, Zone};
use crate::policy::rules::Rules;
use crate::policy::token::Mapping;
use std::collections::{BTreeMap, BTreeSet};

/// The compiled parts that a way leads over.
pub(in crate::config::compile) struct Ways<'a> {
    pub(in crate::config::compile) file: &'a file::File,
    pub(in crate::config::compile) access: Option<&'a Access>,
    pub(in crate::config::compile) routes: &'a [Route],
    pub(in crate::config::compile) rules: &'a Rules,
    pub(in crate::config::compile) pools: &'a [Pool],
}

/// Those who are bound by one zone and may use one route.
struct Bound {
    /// The first of them, in words.
    first: String,
    count: u64,
}

/// Proves it, or reports the first way of each kind that leads outside.
pub(super) fn prove(
    residency: &Residency,
    listeners: &[Option<usize>],
    ways: &Ways<'_>,
    report: &mut Report<'_>,
) -> Proof {
    let mut proof = Proof::default();
    let mut told = BTreeSet::new();
    let bound = bound(residency, listeners, ways);
    for ((zone, route), bound) in &bound {
        let (Some(spec), Some(route)) = (residency.zones().get(*zone), ways.routes.get(*route)) else { continue };
        for (index, pool) in reached(route, ways).filter_map(|index| Some((index, ways.pools.get(index)?))) {
            let start =
                format!("{} (residency `{}`) → route `{}` → pool `{}`", bound.first, spec.name, route.name, pool.name);
            let inside = pool.backends.iter().filter(|backend| holds(spec, backend)).count() as u64;
            proof.inside += bound.count * inside;
            proof.barred += bound.count * (pool.backends.len() as u64 - inside);
            if told.insert((index, *zone)) {
                judge((index, pool), (*zone, spec), &start, ways.file, report);
            }
        }
    }
    if !bound.is_empty() {
        unstated(ways, report);
    }
    idle(residency, &bound, report);
    proof
}

/// Whom each zone binds, by zone and route.
fn bound(residency: &Residency, listeners: &[Option<usize>], ways: &Ways<'_>) -> BTreeMap<(usize, usize), Bound> {
    let mut bound: BTreeMap<(usize, usize), Bound> = BTreeMap::new();
    let mut add = |zone: usize, words: &dyn Fn() -> String, allowed: &dyn Fn(usize) -> bool| {
        for route in (0..ways.routes.len()).filter(|route| allowed(*route)) {
            bound.entry((zone, route)).or_insert_with(|| Bound { first: words(), count: 0 }).count += 1;
        }
    };
    let everywhere = |_: usize| true;
    for (typed, zone) in ways.file.listeners.iter().zip(listeners) {
        if let Some(zone) = zone {
            add(*zone, &|| format!("listener `{}`", typed.name), &everywhere);
        }
    }
    let consumers = ways.access.map(|access| access.consumers.as_slice()).unwrap_or_default();
    let may = |consumer: usize, route: usize| {
        let scopes = consumers.get(consumer).map(|consumer| consumer.scopes.as_slice()).unwrap_or_default();
        scopes.iter().all(|scope| scope.routes.is_empty() || scope.routes.contains(&route))
    };
    for (index, consumer) in consumers.iter().enumerate() {
        if let Some(zone) = consumer.residency {
            add(zone, &|| format!("consumer `{}`", consumer.name), &|route| may(index, route));
        }
    }
    for issuer in ways.access.iter().flat_map(|access| &access.issuers) {
        let Some(said) = &issuer.rules.residency else { continue };
        let whose: Vec<usize> = match &issuer.rules.consumer {
            Mapping::One(one) => vec![*one],
            Mapping::ByClaim { map, other, .. } => map.values().chain(other).copied().collect(),
        };
        for (value, zone) in &said.map {
            let words = || format!("token of `{}` with {} `{value}`", issuer.name, said.claim);
            add(*zone, &words, &|route| whose.iter().any(|one| may(*one, route)));
        }
    }
    for (zone, words) in residency.by_country() {
        add(zone, &|| words.clone(), &everywhere);
    }
    if let Some(zone) = residency.default_zone() {
        add(zone, &|| "everybody else".to_owned(), &everywhere);
    }
    bound
}

/// The pools that requests of a route may come to: its own, and those that rules send requests to.
pub(super) fn reached<'a>(route: &'a Route, ways: &'a Ways<'_>) -> impl Iterator<Item = usize> + 'a {
    let diverted: BTreeSet<usize> = ways.rules.list.iter().filter_map(|rule| rule.actions.pool).collect();
    std::iter::once(route.pool).chain(diverted.into_iter().filter(|pool| *pool != route.pool))
}

fn holds(zone: &Zone, backend: &Backend) -> bool {
    zone.holds(&backend.region, backend.site.kind)
}

/// Reports what leads outside of the pool, or nowhere.
fn judge(
    (index, pool): (usize, &Pool),
    (zone, spec): (usize, &Zone),
    start: &str,
    file: &file::File,
    report: &mut Report<'_>,
) {
    let barred = pool.outside.of(Zones::one(zone));
    let typed = file.pools.get(index);
    let mode =
        typed.and_then(|pool| pool.residency).or_else(|| Some(file.residency.as_ref()?.mode)).unwrap_or_default();
    let mut outside = 0;
    for (at, backend) in pool.backends.iter().enumerate() {
        if holds(spec, backend) {
            continue;
        }
        outside += 1;
        let open = barred & 1_u64.checked_shl(u32::try_from(at).unwrap_or(64)).unwrap_or(0) == 0;
        if open || mode == ResidencyMode::Strict {
            let kind = backend.site.kind.map_or("kind not stated", Kind::label);
            let (name, region) = (&backend.id.backend, &backend.region);
            let message = format!("{start} → backend `{name}` ({region}, {kind}): outside zone `{}`", spec.name);
            let help = "give them a route and pool of their own, or write `residency: filter` in the pool: \
                        it then holds such requests back from what is outside their zone";
            report.problem(&format!("pools[{index}].backends[{at}]"), message, help.to_owned());
        }
    }
    if outside == pool.backends.len() && mode == ResidencyMode::Filter {
        let message = format!("{start}: no backend is inside zone `{}`", spec.name);
        report.problem(&format!("pools[{index}].backends"), message, None);
    }
}

/// Warns of backends whose kind nobody knows.
fn unstated(ways: &Ways<'_>, report: &mut Report<'_>) {
    for (index, pool) in ways.pools.iter().enumerate() {
        for (at, _) in pool.backends.iter().enumerate().filter(|(_, backend)| backend.site.kind.is_none()) {
            let help =
                "write `regional`, `data_zone_eu`, `data_zone_us` or `global`: Azure calls it the deployment type";
            let path = format!("pools[{index}].backends[{at}]");
            report.warn(&path, "states no `kind`: it counts as outside every zone", help.to_owned());
        }
    }
}

/// Warns of zones that bind nobody.
fn idle(residency: &Residency, bound: &BTreeMap<(usize, usize), Bound>, report: &mut Report<'_>) {
    for (index, zone) in residency.zones().iter().enumerate() {
        if !bound.keys().any(|(used, _)| *used == index) {
            let path = format!("residency.zones[{index}].name");
            report.warn(&path, format!("the zone `{}` binds nobody", zone.name), None);
        }
    }
}
