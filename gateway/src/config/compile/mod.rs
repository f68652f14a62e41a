//! The typed file to a snapshot: every check of meaning. It collects problems in the report and goes on; what it returns
//! counts only when the report is clean.

mod acme;
mod address;
mod backend;
mod capabilities;
mod ceilings;
mod connections;
mod consumers;
mod cors;
mod framing;
mod header;
mod hops;
mod identities;
mod issuers;
mod key_vault;
mod models;
mod network;
mod pool;
mod probe;
mod process;
mod protection;
mod quota;
mod residency;
mod route;
mod rules;
mod secret;
mod shared_limits;
mod stateful;
mod streams;
mod time;
mod tls;
mod tokens;
mod url;
mod usage_limits;
mod vault_secret;
mod waf;

pub use secret::check as usable_secret;

use super::file::{self, Period, Size};
use super::regions;
use super::report::{Report, suggestion};
use super::snapshot::{Snapshot, Text};
use crate::domain::{NameError, Region};
use crate::policy::distance::{Point, Spot};
use crate::policy::limit::Limit;
use std::collections::BTreeMap;
use std::time::Duration;

/// Longest duration accepted anywhere: beyond it a zero too many is likelier than an intention.
const DURATION_MAX: Duration = Duration::from_secs(24 * 3600);

/// Compiles `file`; `None` only after a problem.
pub(super) fn compile(file: &file::File, digest: String, report: &mut Report<'_>) -> Option<Snapshot> {
    let mut tokens = identities::Wanted::start(file, report);
    let home = home_spot(file);
    let (listeners, admin) = process::listeners(file, report);
    let limits = process::limits(&file.limits, report);
    unique(file.pools.iter().map(|pool| pool.name.as_str()), "pools", "pools", report);
    let residency = residency::compile(file, report);
    let pools: Vec<_> =
        file.pools.iter().enumerate().map(|(index, typed)| pool::compile(typed, index, home, report)).collect();
    let cors = cors::compile(file.cors.as_ref(), "cors", report);
    let waf = waf::compile(file, report);
    let routes = route::compile(file, (cors.as_ref(), waf.as_ref()), report);
    let rules = rules::compile(file, routes.as_deref().unwrap_or_default(), report);
    let overload = ceilings::overload(&file.overload, routes.as_deref(), report);
    let shared_limits = shared_limits::compile(file.shared_limits.as_ref(), report);
    let usage_limits = usage_limits::compile(file, report);
    let http2 = ceilings::http2(&file.http2, report);
    let access = consumers::compile(file, routes.as_deref().unwrap_or_default(), report);
    let mut pools: Option<Vec<_>> = pools.into_iter().collect();
    quota::share(&file.pools, pools.as_deref_mut().unwrap_or_default(), report);
    residency::mark(residency.as_ref(), pools.as_deref_mut().unwrap_or_default());
    let ways = residency::Ways {
        file,
        access: access.as_ref(),
        routes: routes.as_deref().unwrap_or_default(),
        rules: &rules,
        pools: pools.as_deref().unwrap_or_default(),
    };
    let residency = residency::finish(residency, ways, report);
    tokens.assign(pools.as_deref_mut().unwrap_or_default(), report);
    let key_vault = key_vault::compile(file, &mut tokens, report);
    let limited = usage_limits.iter().flat_map(|limits| &limits.list).any(Limit::counts_tokens);
    let models = models::compile(file, routes.as_deref().unwrap_or_default(), report);
    let usage = tokens::compile(file, limited, pools.as_deref().unwrap_or_default(), report);
    let stateful = stateful::compile(file, access.is_some(), pools.as_deref().unwrap_or_default(), report);
    let mut snapshot = Snapshot {
        stateful,
        generation: 0,
        digest,
        home_region: home_region(file, report),
        listeners: listeners?,
        admin,
        process: process::process(&file.process, report),
        limits,
        http2,
        overload,
        framing: framing::strictness(&file.framing),
        headers: process::headers(&file.headers),
        hops: hops::compile(file, report),
        access_log: process::access_log(&file.access_log, report),
        dns: process::dns(&file.dns, report),
        cors,
        rules,
        waf,
        access,
        residency,
        locator: residency::database(file, report),
        usage_limits: usage_limits?,
        usage,
        models,
        own_tokens: tokens.finish(report),
        key_vault,
        text: Text::default(),
        pools: pools?,
        shared_limits,
        routes: routes?,
    };
    snapshot.models.names = snapshot.names();
    Some(snapshot)
}

fn home_region(file: &file::File, report: &mut Report<'_>) -> Option<Region> {
    let region = file.home_region.as_deref()?;
    let name = region_name(region, "home_region", report);
    if file.home_coordinates.is_none() {
        known_region(region, "home_region", Some("home_coordinates"), report);
    }
    name
}

fn home_spot(file: &file::File) -> Option<Spot> {
    file.home_coordinates.map(point).or_else(|| regions::find(file.home_region.as_deref()?)).map(Point::spot)
}

const fn point(typed: file::Coordinates) -> Point {
    Point { latitude: typed.latitude, longitude: typed.longitude }
}

/// The region's slug, or a problem that knows the slug of a display name such as `West Europe`.
fn region_name(typed: &str, path: &str, report: &mut Report<'_>) -> Option<Region> {
    let squeezed: String = typed.chars().filter(|c| !c.is_whitespace()).collect::<String>().to_ascii_lowercase();
    let slug = regions::find(&squeezed).map(|_| format!("its slug is `{squeezed}`"));
    Region::new(typed).map_err(|error| report.problem(path, error.to_string(), slug)).ok()
}

/// Warns of a region that the table does not know.
fn known_region(region: &str, path: &str, coordinates: Option<&str>, report: &mut Report<'_>) {
    if regions::find(region).is_some() {
        return;
    }
    let near = super::report::nearest(region, regions::names());
    let near = near.map(|near| format!("did you mean `{near}`? ")).unwrap_or_default();
    let far = |key| format!("{near}Its distance is unknown until latency is measured; `{key}` says where it is");
    let help = coordinates.map(far).or_else(|| Some(near.trim_end().to_owned()).filter(|near| !near.is_empty()));
    report.warn(path, format!("`{region}` is no Azure region that we know"), help);
}

/// The name, or a problem at `path`.
fn name<T>(checked: Result<T, NameError>, path: &str, report: &mut Report<'_>) -> Option<T> {
    checked.map_err(|error| report.problem(path, error.to_string(), None)).ok()
}

/// A problem for every name that was there before.
fn unique<'n>(names: impl Iterator<Item = &'n str>, path: &str, what: &str, report: &mut Report<'_>) {
    let mut seen: BTreeMap<&str, usize> = BTreeMap::new();
    for (index, name) in names.enumerate() {
        if let Some(first) = seen.get(name) {
            let message = format!("two {what} are named `{name}`");
            report.problem(&format!("{path}[{index}].name"), message, format!("the other is {path}[{first}]"));
        } else {
            seen.insert(name, index);
        }
    }
}

/// A duration from 1 ms to a day.
fn positive(typed: Period, path: &str, report: &mut Report<'_>) -> Duration {
    if typed.0.is_zero() {
        report.problem(path, "must be longer than zero", None);
    }
    zero_or_more(typed, path, report)
}

/// A duration from zero to a day.
fn zero_or_more(typed: Period, path: &str, report: &mut Report<'_>) -> Duration {
    if typed.0 > DURATION_MAX {
        report.problem(path, format!("{typed} is longer than {}", Period(DURATION_MAX)), None);
    }
    typed.0
}

/// A size within bounds, in bytes.
fn size(typed: Size, low: u64, high: u64, path: &str, report: &mut Report<'_>) -> u64 {
    if !(low..=high).contains(&typed.0) {
        report.problem(path, format!("{typed} is out of range, it must be from {} to {}", Size(low), Size(high)), None);
    }
    typed.0
}

/// A problem where `small` exceeds `large`.
fn ordered(small: (&str, Period), large: (&str, Period), path: &str, report: &mut Report<'_>) {
    if small.1.0 > large.1.0 {
        let message = format!("{} is longer than `{}` ({})", small.1, large.0, large.1);
        report.problem(&format!("{path}.{}", small.0), message, None);
    }
}

/// A problem for a reference to a pool that does not exist.
fn unknown_pool(name: &str, file: &file::File, path: &str, report: &mut Report<'_>) {
    // A pool whose name is wrong was reported already, and may be the one that is meant.
    if !report.any_replaced("pools", ".name") {
        let help = suggestion(name, file.pools.iter().map(|pool| pool.name.as_str()), "pools defined");
        report.problem(path, format!("no pool is named `{name}`"), help);
    }
}
