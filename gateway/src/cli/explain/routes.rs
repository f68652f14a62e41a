//! Why a route takes a request and the others do not: asks `policy::route` about one route, and one condition, at a time.

use crate::config::snapshot::{Pool, Route, Snapshot};
use crate::domain::{Denial, IdFlaw};
use crate::policy::route::{self, DeploymentMatch, HostMatch, Match, Matcher, PathMatch};
use serde::Serialize;

/// One route and its part in the decision.
#[derive(Debug, Serialize)]
pub(super) struct RouteLine {
    pub(super) route: String,
    pub(super) pool: String,
    pub(super) chosen: bool,
    pub(super) why: String,
}

/// What the request is about, where that is stored.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Stored {
    /// Its path is about something stored.
    pub(super) bound: bool,
    /// The resource to which its ids lead.
    pub(super) resource: Option<u64>,
}

/// What the look-up came to.
#[derive(Debug)]
pub(super) enum Found {
    /// Index of the pool.
    Pool(usize),
    /// No route takes it.
    Refused(Denial),
}

/// Every route, most specific first, with the reason for or against it.
pub(super) fn explain(
    snapshot: &Snapshot,
    host: &str,
    path: &str,
    (deployment, stored): (Option<&str>, Stored),
) -> (Vec<RouteLine>, Found) {
    let host = without_port(host);
    let found = found(snapshot, (host, path), deployment, stored);
    let chosen = match found {
        Match::Route(index) => snapshot.routes.get(index),
        Match::NoDeployment | Match::NoRoute => None,
    };
    let lines = snapshot.routes.iter().map(|route| {
        let is_chosen = chosen.is_some_and(|chosen| std::ptr::eq(chosen, route));
        let against = against(&route.matcher, host, path, deployment);
        let why = match (against, chosen) {
            (Some(why), _) if !is_chosen => why,
            (None, Some(winner)) if !is_chosen => format!("would take it, but `{}` is more specific", winner.name),
            (Some(_), _) => "takes it, since it is about what is stored, and names no deployment".to_owned(),
            (None, _) => format!("takes it: {}", conditions(&route.matcher)),
        };
        let pool = snapshot.pools.get(route.pool).map_or_else(String::new, |pool| pool.name.to_string());
        RouteLine { route: route.name.to_string(), pool, chosen: is_chosen, why }
    });
    let lines = lines.collect();
    let outcome = match (found, chosen) {
        (_, Some(Route { pool, .. })) => Found::Pool(*pool),
        (Match::NoDeployment, _) => {
            Found::Refused(Denial::DeploymentNotFound { deployment: deployment.unwrap_or_default().to_owned() })
        }
        _ if stored.resource.is_some() => Found::Refused(Denial::IdNotTaken { flaw: IdFlaw::Gone, kind: "object" }),
        _ => Found::Refused(Denial::RouteNotFound),
    };
    (lines, outcome)
}

/// The same look-up as on the path.
fn found(snapshot: &Snapshot, (host, path): (&str, &str), deployment: Option<&str>, stored: Stored) -> Match {
    let matchers: Vec<Matcher> = snapshot.routes.iter().map(|route| route.matcher.clone()).collect();
    let found = route::find(&matchers, host, path, deployment);
    let pool = |index: usize| snapshot.routes.get(index).map(|route| route.pool);
    let other = match stored.resource {
        Some(resource) => {
            let has = |pool: usize| snapshot.pools.get(pool).is_some_and(|pool| stored_in(pool, resource));
            let other = route::find_stored(&matchers, host, path, deployment, |index| pool(index).is_some_and(has));
            return other.map_or(if found == Match::NoDeployment { found } else { Match::NoRoute }, Match::Route);
        }
        None if stored.bound && deployment.is_none() && found == Match::NoRoute => {
            let says = |index: usize| snapshot.routes.get(index).is_some_and(|route| route.stateful);
            route::find_without_deployment(&matchers, host, path, says, pool)
        }
        None => None,
    };
    other.map_or(found, Match::Route)
}

fn stored_in(pool: &Pool, resource: u64) -> bool {
    pool.backends.iter().any(|backend| backend.resource() == resource)
}

/// The first condition that the request does not meet.
fn against(matcher: &Matcher, host: &str, path: &str, deployment: Option<&str>) -> Option<String> {
    let every =
        || Matcher { host: HostMatch::Any, path: PathMatch::Prefix(String::new()), deployment: DeploymentMatch::Any };
    let meets = |only: Matcher| matches!(route::find([&only], host, path, deployment), Match::Route(_));
    if !meets(Matcher { host: matcher.host.clone(), ..every() }) {
        let asked = if host.is_empty() { "none was given (--host)".to_owned() } else { format!("this is {host}") };
        return Some(format!("wants host {}; {asked}", show_host(&matcher.host)));
    }
    if !meets(Matcher { path: matcher.path.clone(), ..every() }) {
        return Some(format!("wants path {}", show_path(&matcher.path)));
    }
    if !meets(Matcher { deployment: matcher.deployment.clone(), ..every() }) {
        let asked = deployment.map_or_else(|| "the request names none".to_owned(), |name| format!("this is {name}"));
        return Some(format!("wants deployment {}; {asked}", show_deployment(&matcher.deployment)));
    }
    None
}

fn conditions(matcher: &Matcher) -> String {
    let parts = [
        (matcher.host != HostMatch::Any).then(|| format!("host {}", show_host(&matcher.host))),
        (!matches!(&matcher.path, PathMatch::Prefix(prefix) if prefix.is_empty() || prefix == "/"))
            .then(|| format!("path {}", show_path(&matcher.path))),
        (matcher.deployment != DeploymentMatch::Any)
            .then(|| format!("deployment {}", show_deployment(&matcher.deployment))),
    ];
    let met: Vec<String> = parts.into_iter().flatten().collect();
    if met.is_empty() { "it takes everything".to_owned() } else { met.join(", ") }
}

fn show_host(host: &HostMatch) -> String {
    match host {
        HostMatch::Any => "any".to_owned(),
        HostMatch::Suffix(suffix) => format!("*{suffix}"),
        HostMatch::Exact(name) => name.clone(),
    }
}

fn show_path(path: &PathMatch) -> String {
    match path {
        PathMatch::Prefix(prefix) => format!("{prefix}*"),
        PathMatch::Exact(whole) => whole.clone(),
    }
}

fn show_deployment(deployment: &DeploymentMatch) -> String {
    match deployment {
        DeploymentMatch::Any => "any".to_owned(),
        DeploymentMatch::Prefix(prefix) => format!("{prefix}*"),
        DeploymentMatch::Exact(name) => name.to_string(),
    }
}

/// Routes compare hosts without their port.
pub(super) fn without_port(host: &str) -> &str {
    match (host.rfind(':'), host.rfind(']')) {
        (Some(colon), Some(bracket)) if colon < bracket => host,
        (Some(colon), _) => host.get(..colon).unwrap_or(host),
        (None, _) => host,
    }
}
