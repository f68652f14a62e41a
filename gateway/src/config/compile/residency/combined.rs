//! Combinations of what binds that leave a pool no backend: listener, consumer, token and country each allow some, and all of
//! them together none. Such requests are refused when they come; here their operator is told before.
//!
//! Only what can be listed is looked at, one of each zone, and only the shortest combinations are told.

use super::proof::{Ways, reached};
use crate::config::report::Report;
use crate::config::snapshot::Pool;
use crate::domain::Zones;
use crate::policy::residency::Residency;
use crate::policy::token::Mapping;
use std::collections::{BTreeMap, BTreeSet};

/// Combinations that are told.
const TOLD_MAX: usize = 8;
/// Combinations that are looked at.
const LOOKED_AT_MAX: usize = 100_000;

/// Something that binds by one zone: the first of its kind with that zone.
struct Source {
    zone: usize,
    words: String,
    path: String,
}

/// What binds a request: consumer, token, listener, country.
type Bindings<'a> = [Option<&'a Source>; 4];

/// Whom a request may come from: the zones of its consumer and of its token, each with its source.
type Callers = BTreeMap<(Option<usize>, Option<usize>), (Option<Source>, Option<Source>)>;

/// Warns of those combinations, a few by name and the rest by number.
pub(super) fn warn(residency: &Residency, listeners: &[Option<usize>], ways: &Ways<'_>, report: &mut Report<'_>) {
    let listeners = of_listeners(listeners, ways);
    let countries = of_countries(residency);
    let (mut left, mut found) = (LOOKED_AT_MAX, 0);
    for (index, pool) in ways.pools.iter().enumerate() {
        for (consumer, token) in callers(index, ways).values() {
            for listener in or_none(&listeners) {
                for country in or_none(&countries) {
                    let Some(next) = left.checked_sub(1) else { return more(found, true, report) };
                    left = next;
                    let bindings = [consumer.as_ref(), token.as_ref(), listener, country];
                    if is_shortest(pool, bindings) {
                        found += 1;
                        if found <= TOLD_MAX {
                            tell(residency, pool, bindings, report);
                        }
                    }
                }
            }
        }
    }
    more(found, false, report);
}

fn or_none(sources: &BTreeMap<usize, Source>) -> impl Iterator<Item = Option<&Source>> {
    std::iter::once(None).chain(sources.values().map(Some))
}

/// Together they leave the pool no backend, and without any one of them they leave one.
fn is_shortest(pool: &Pool, bindings: Bindings<'_>) -> bool {
    let several = bindings.iter().flatten().count() > 1;
    let without = |left_out: usize| {
        let mut fewer = bindings;
        fewer.get_mut(left_out).and_then(Option::take).is_none() || !is_empty(pool, fewer)
    };
    several && is_empty(pool, bindings) && (0..bindings.len()).all(without)
}

fn is_empty(pool: &Pool, bindings: Bindings<'_>) -> bool {
    let zones = bindings.iter().flatten().fold(Zones::NONE, |zones, source| zones.and(Zones::one(source.zone)));
    let outside = pool.outside.of(zones).count_ones();
    usize::try_from(outside).is_ok_and(|outside| outside >= pool.backends.len())
}

fn of_listeners(zones: &[Option<usize>], ways: &Ways<'_>) -> BTreeMap<usize, Source> {
    let mut sources = BTreeMap::new();
    for (index, (typed, zone)) in ways.file.listeners.iter().zip(zones).enumerate() {
        if let Some(zone) = *zone {
            let (words, path) = (format!("listener `{}`", typed.name), format!("listeners[{index}].residency"));
            sources.entry(zone).or_insert(Source { zone, words, path });
        }
    }
    sources
}

fn of_countries(residency: &Residency) -> BTreeMap<usize, Source> {
    let mut sources = BTreeMap::new();
    for (zone, words) in residency.by_country() {
        let path = match words.as_str() {
            "any other country" => "residency.other_countries".to_owned(),
            "an unknown country" => "residency.unknown_country".to_owned(),
            _ => format!("residency.zones[{zone}].countries"),
        };
        sources.entry(zone).or_insert(Source { zone, words, path });
    }
    sources
}

/// Those whose requests may come to the pool; nobody in particular where nobody is asked.
fn callers(pool: usize, ways: &Ways<'_>) -> Callers {
    let mut callers = Callers::new();
    let Some(access) = ways.access else { return Callers::from([((None, None), (None, None))]) };
    let routes: BTreeSet<usize> = (ways.routes.iter().enumerate())
        .filter(|(_, route)| reached(route, ways).any(|to| to == pool))
        .map(|(index, _)| index)
        .collect();
    let comes = |index: usize| {
        let scopes = access.consumers.get(index).map(|consumer| consumer.scopes.as_slice()).unwrap_or_default();
        let allowed = |route: &usize| scopes.iter().all(|one| one.routes.is_empty() || one.routes.contains(route));
        routes.iter().any(allowed)
    };
    let consumer = |index: usize| {
        let one = access.consumers.get(index)?;
        let zone = one.residency?;
        Some(Source { zone, words: format!("consumer `{}`", one.name), path: format!("consumers[{index}].residency") })
    };
    for index in (0..access.consumers.len()).filter(|index| comes(*index)) {
        let own = consumer(index);
        callers.entry((own.as_ref().map(|own| own.zone), None)).or_insert((own, None));
    }
    for (at, issuer) in access.issuers.iter().enumerate() {
        let Some(said) = &issuer.rules.residency else { continue };
        let whose: BTreeSet<usize> = match &issuer.rules.consumer {
            Mapping::One(one) => BTreeSet::from([*one]),
            Mapping::ByClaim { map, other, .. } => map.values().chain(other).copied().collect(),
        };
        for index in whose.into_iter().filter(|index| comes(*index)) {
            for (value, zone) in &said.map {
                let own = consumer(index);
                callers.entry((own.as_ref().map(|own| own.zone), Some(*zone))).or_insert_with(|| {
                    let words = format!("token of `{}` with {} `{value}`", issuer.name, said.claim);
                    let path = format!("authentication.issuers[{at}].residency.map.{value}");
                    (own, Some(Source { zone: *zone, words, path }))
                });
            }
        }
    }
    callers
}

fn tell(residency: &Residency, pool: &Pool, bindings: Bindings<'_>, report: &mut Report<'_>) {
    let words = bindings.iter().flatten().map(|source| {
        let zone = residency.zones().get(source.zone).map_or("", |zone| zone.name.as_str());
        format!("{} (residency `{zone}`, line {})", source.words, report.line(&source.path))
    });
    let words: Vec<String> = words.collect();
    let message = format!("{}: no backend of pool `{}` may serve it", words.join(" with "), pool.name);
    let path = bindings.iter().flatten().next().map_or("residency", |source| source.path.as_str());
    let help =
        "such requests are refused; where they are meant to be served, add a backend that is inside all of these zones";
    report.warn(path, message, help.to_owned());
}

/// `cut`: not all of them were looked at.
fn more(found: usize, cut: bool, report: &mut Report<'_>) {
    let untold = found.saturating_sub(TOLD_MAX);
    let message = match (cut, untold) {
        (true, _) => format!(
            "have too many combinations to look at all: of {LOOKED_AT_MAX}, {untold} more leave a pool without a backend"
        ),
        (false, 0) => return,
        (false, _) => format!("{untold} more combinations leave a pool without a backend"),
    };
    report.warn("residency", message, None);
}
