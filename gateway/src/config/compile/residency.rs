//! Compiles residency: zones, their countries, and references to them. What can be reached from where is proved in `proof`.

mod combined;
mod proof;

pub(super) use proof::Ways;

use super::tls::read_limited;
use super::waf::DATABASE_SIZE_MAX;
use super::{known_region, name, region_name, unique};
use crate::config::file::{self, DataZone};
use crate::config::regions;
use crate::config::report::{Report, suggestion};
use crate::config::snapshot::{self, Databases, Pool, Site};
use crate::domain::{ListenerName, Region, ZoneName};
use crate::policy::distance::Spot;
use crate::policy::residency::{DataZones, Kind, Kinds, Outside, REGIONS_MAX, Residency, Unlisted, Zone};
use crate::policy::screen::view::Country;
use http::HeaderValue;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// The zones; `None` where there are none, or after a problem.
pub(super) fn compile(file: &file::File, report: &mut Report<'_>) -> Option<Residency> {
    let typed = file.residency.as_ref()?;
    unique(typed.zones.iter().map(|zone| zone.name.as_str()), "residency.zones", "zones", report);
    let data_zones = data_zones(&typed.data_zones, report);
    let mut countries = BTreeMap::new();
    let mut zones = Vec::with_capacity(typed.zones.len());
    for (index, one) in typed.zones.iter().enumerate() {
        let path = format!("residency.zones[{index}]");
        zones.push(zone(one, &path, &data_zones, report));
        list_countries(one, (index, &path), (&typed.zones, &mut countries), report);
    }
    let database = "residency.database";
    if !countries.is_empty() && !locates(file) {
        let help = "add it, the path of a MaxMind country or city database, or `waf.geo.database`".to_owned();
        report.problem("residency", "zones list countries, and no database tells where clients are", help);
    } else if typed.database.is_some() && countries.is_empty() && !asks_for_clients(file) {
        report.warn(database, "is of no use: no zone lists countries, and no pool has `nearest: client`", None);
    }
    let mut unlisted = |typed: &file::Unlisted, key: &str| match typed {
        file::Unlisted::Refuse => Unlisted::Refuse,
        file::Unlisted::Unbound => Unlisted::Unbound,
        file::Unlisted::Zone(wanted) => {
            let path = format!("residency.{key}.zone");
            named(Some(wanted), file, &path, report).map_or(Unlisted::Refuse, Unlisted::Zone)
        }
    };
    let other = unlisted(&typed.other_countries, "other_countries");
    let unknown = unlisted(&typed.unknown_country, "unknown_country");
    let default = named(typed.default.as_ref(), file, "residency.default", report);
    let zones: Option<Vec<Zone>> = zones.into_iter().collect();
    let of_zones = typed.zones.iter().flat_map(|zone| zone.regions.iter().map(String::as_str));
    let built_in = data_zones.eu.iter().chain(&data_zones.us).map(Region::as_str);
    if of_zones.chain(built_in).collect::<BTreeSet<_>>().len() > REGIONS_MAX {
        report.problem("residency.zones", format!("have more than {REGIONS_MAX} regions together"), None);
    }
    Some(Residency::new(zones?, countries).with(other, unknown, default))
}

/// Binds pools and listeners to the zones, and proves that nobody who is bound gets outside.
pub(super) fn finish(rules: Option<Residency>, ways: Ways<'_>, report: &mut Report<'_>) -> Option<snapshot::Residency> {
    let mut zone = |typed: &file::Listener, index: usize| {
        named(typed.residency.as_ref(), ways.file, &format!("listeners[{index}].residency"), report)
    };
    let listeners: Vec<_> = ways.file.listeners.iter().enumerate().map(|(index, typed)| zone(typed, index)).collect();
    let rules = rules?;
    let proof = proof::prove(&rules, &listeners, &ways, report);
    combined::warn(&rules, &listeners, &ways, report);
    let names = ways.file.listeners.iter().map(|typed| ListenerName::new(&typed.name).ok());
    let listeners = names.zip(listeners).map(|(name, zone)| Some((name?, zone))).collect::<Option<Vec<_>>>()?;
    let bind = listeners.iter().any(|(_, zone)| zone.is_some());
    Some(snapshot::Residency { rules, listeners: if bind { listeners } else { Vec::new() }, proof })
}

/// Marks the backends of every pool that are outside of each zone.
pub(super) fn mark(residency: Option<&Residency>, pools: &mut [Pool]) {
    for pool in pools {
        let sites = pool.backends.iter().map(|backend| (&backend.region, backend.site.kind));
        pool.outside = residency.map(|residency| Outside::new(residency, sites)).unwrap_or_default();
    }
}

/// The zone of this name, by its index.
pub(super) fn named(wanted: Option<&String>, file: &file::File, path: &str, report: &mut Report<'_>) -> Option<usize> {
    let wanted = wanted?;
    let zones = file.residency.iter().flat_map(|residency| &residency.zones);
    let found = zones.clone().position(|zone| zone.name == *wanted);
    if found.is_none() && !report.any_replaced("residency", ".name") {
        let help = suggestion(wanted, zones.map(|zone| zone.name.as_str()), "zones defined");
        let help = help.or_else(|| Some("define it in `residency.zones`".to_owned()));
        report.problem(path, format!("no zone of residency is named `{wanted}`"), help);
    }
    found
}

/// Where a backend is, and where it processes data.
pub(super) fn site(region: &Region, typed: Option<file::Kind>, spot: Option<Spot>) -> Site {
    let kind = typed.map(kind);
    Site { kind, spot, place: kind.and_then(|kind| HeaderValue::from_str(kind.place(region)).ok()) }
}

/// The database that residency has for itself; a pool that needs one where there is none is a problem.
pub(super) fn database(file: &file::File, report: &mut Report<'_>) -> Option<Arc<Databases>> {
    const PATH: &str = "residency.database";
    nearest(file, report);
    let typed = file.residency.as_ref()?.database.as_ref()?;
    let path = report.resolve(typed);
    let bytes = read_limited(&path, DATABASE_SIZE_MAX);
    let bytes =
        bytes.map_err(|error| report.problem(PATH, format!("{} cannot be read: {error}", path.display()), None));
    let wanted = "wanted is a Country, City or Enterprise database";
    let opened = Databases::new(Some(bytes.ok()?), None);
    opened.map(Arc::new).map_err(|(_, error)| report.problem(PATH, error.to_string(), wanted.to_owned())).ok()
}

/// A problem for every pool that asks where clients are, where no database tells it.
fn nearest(file: &file::File, report: &mut Report<'_>) {
    for (index, pool) in file.pools.iter().enumerate() {
        if pool.selection.nearest == file::Nearest::Client && !locates(file) {
            let help =
                "add `residency.database`, the path of a MaxMind country or city database, or `waf.geo.database`";
            let path = format!("pools[{index}].selection.nearest");
            report.problem(&path, "no database tells where clients are", help.to_owned());
        }
    }
}

fn locates(file: &file::File) -> bool {
    let own = file.residency.as_ref().is_some_and(|residency| residency.database.is_some());
    let firewall = || file.waf.as_ref()?.databases.as_ref()?.database.as_ref();
    own || firewall().is_some()
}

fn asks_for_clients(file: &file::File) -> bool {
    file.pools.iter().any(|pool| pool.selection.nearest == file::Nearest::Client)
}

fn data_zones(typed: &file::DataZones, report: &mut Report<'_>) -> DataZones {
    let mut list = |typed: &[String], built_in: &[&str], key: &str| -> Vec<Region> {
        if typed.is_empty() {
            return built_in.iter().filter_map(|region| Region::new(region).ok()).collect();
        }
        regions_of(typed, &format!("residency.data_zones.{key}"), report)
    };
    DataZones { eu: list(&typed.eu, &regions::DATA_ZONE_EU, "eu"), us: list(&typed.us, &regions::DATA_ZONE_US, "us") }
}

fn regions_of(typed: &[String], path: &str, report: &mut Report<'_>) -> Vec<Region> {
    let mut list = Vec::with_capacity(typed.len());
    for (index, text) in typed.iter().enumerate() {
        let path = format!("{path}[{index}]");
        if let Some(region) = region_name(text, &path, report) {
            known_region(text, &path, None, report);
            list.push(region);
        }
    }
    list
}

fn zone(typed: &file::Zone, path: &str, data_zones: &DataZones, report: &mut Report<'_>) -> Option<Zone> {
    let mut regions = regions_of(&typed.regions, &format!("{path}.regions"), report);
    for one in &typed.data_zones {
        let kind = match one {
            DataZone::Eu => Kind::DataZoneEu,
            DataZone::Us => Kind::DataZoneUs,
        };
        regions.extend(data_zones.of(kind).iter().cloned());
    }
    if typed.regions.is_empty() && typed.data_zones.is_empty() {
        let help = "list `regions`, `data_zones` or both".to_owned();
        report.problem(path, "names no region: nothing could be processed anywhere", help);
    }
    let kinds: Kinds = typed.kinds.iter().copied().map(kind).collect();
    Some(Zone::new(name(ZoneName::new(&typed.name), &format!("{path}.name"), report)?, &regions, kinds, data_zones))
}

fn list_countries(
    typed: &file::Zone,
    (zone, path): (usize, &str),
    (zones, countries): (&[file::Zone], &mut BTreeMap<Country, usize>),
    report: &mut Report<'_>,
) {
    for (index, text) in typed.countries.iter().enumerate() {
        let path = format!("{path}.countries[{index}]");
        let Some(country) = Country::new(text).filter(|country| *country != Country::UNKNOWN) else {
            let help = "write its two letters (ISO 3166-1) in quotes: \"SE\"; `unknown_country` is for unknown ones";
            report.problem(&path, format!("`{text}` is no country"), help.to_owned());
            continue;
        };
        if let Some(other) = countries.insert(country, zone) {
            let other = zones.get(other).map_or("", |zone| zone.name.as_str());
            report.problem(&path, format!("{country} is in the zone `{other}` already"), None);
        }
    }
}

const fn kind(typed: file::Kind) -> Kind {
    match typed {
        file::Kind::Regional => Kind::Regional,
        file::Kind::DataZoneEu => Kind::DataZoneEu,
        file::Kind::DataZoneUs => Kind::DataZoneUs,
        file::Kind::Global => Kind::Global,
    }
}

#[cfg(test)]
mod tests;
