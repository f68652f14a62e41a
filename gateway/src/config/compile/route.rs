//! Compiles the routes and sorts them, most specific first: host, then path, then deployment. It matches no request.

use super::{cors, name, unique, unknown_pool, usage_limits, waf};
use crate::config::file::{self, Match, Switch};
use crate::config::report::Report;
use crate::config::snapshot::{Route, Waf};
use crate::domain::{DeploymentName, RouteName};
use crate::policy::cors::Cors;
use crate::policy::route::{DeploymentMatch, HostMatch, Matcher, PathMatch};
use std::sync::Arc;

/// Name of the route that takes everything where the file has no routes.
const IMPLICIT_ROUTE: &str = "default";

/// Compiles the routes; `None` only after a problem.
pub(super) fn compile(
    file: &file::File,
    (cors, firewall): (Option<&Arc<Cors>>, Option<&Waf>),
    report: &mut Report<'_>,
) -> Option<Vec<Route>> {
    if file.routes.is_empty() {
        return implicit(file, (cors, firewall), report);
    }
    unique(file.routes.iter().map(|one| one.name.as_str()), "routes", "routes", report);
    let mut routes = Vec::with_capacity(file.routes.len());
    for (index, typed) in file.routes.iter().enumerate() {
        let path = format!("routes[{index}]");
        let cors = match &typed.cors {
            None => cors.cloned(),
            Some(Switch::Off) => None,
            Some(Switch::On(own)) => cors::compile(Some(own), &format!("{path}.cors"), report),
        };
        let policy = waf::of_route(typed.waf.as_deref(), file, firewall, &path, report);
        routes.push(route(typed, file, &path, report).map(|route| Route { cors, waf: policy, ..route }));
    }
    ties(&routes, report);
    for (index, pool) in file.pools.iter().enumerate() {
        let led_to = file.routes.iter().any(|route| route.pool == pool.name) || super::rules::lead_to(&pool.name, file);
        if !led_to && !report.any_replaced("routes", ".pool") {
            report.warn(&format!("pools[{index}]"), format!("no route leads to the pool `{}`", pool.name), None);
        }
    }
    let mut routes = routes.into_iter().collect::<Option<Vec<Route>>>()?;
    routes.sort_by_key(|route| route.matcher.precedence());
    Some(routes)
}

fn implicit(
    file: &file::File,
    (cors, firewall): (Option<&Arc<Cors>>, Option<&Waf>),
    report: &mut Report<'_>,
) -> Option<Vec<Route>> {
    if file.pools.len() > 1 {
        let help = "add `routes`, such as `- { name: chat, match: { deployment: gpt-4o }, pool: chat }`";
        let message = format!("{} pools and no routes: nothing says which pool takes a request", file.pools.len());
        report.problem("routes", message, help.to_owned());
        return None;
    }
    let matcher =
        Matcher { host: HostMatch::Any, path: PathMatch::Prefix(String::new()), deployment: DeploymentMatch::Any };
    let waf = waf::of_route(None, file, firewall, "", report);
    let name = RouteName::new(IMPLICIT_ROUTE).ok()?;
    Some(vec![Route { name, matcher, pool: 0, cors: cors.cloned(), waf, limits: Vec::new(), stateful: false }])
}

fn route(typed: &file::Route, file: &file::File, path: &str, report: &mut Report<'_>) -> Option<Route> {
    let name = name(RouteName::new(&typed.name), &format!("{path}.name"), report);
    let pool = file.pools.iter().position(|pool| pool.name == typed.pool);
    if pool.is_none() {
        unknown_pool(&typed.pool, file, &format!("{path}.pool"), report);
    }
    let matcher = matcher(&typed.matches, &format!("{path}.match"), report);
    let limits = usage_limits::named(&typed.limits, file, &format!("{path}.limits"), report);
    Some(Route { name: name?, matcher: matcher?, pool: pool?, cors: None, waf: None, limits, stateful: typed.stateful })
}

fn matcher(typed: &Match, path: &str, report: &mut Report<'_>) -> Option<Matcher> {
    let mut check = |key: &str, result: Result<(), &'static str>, help: &str| {
        result.map_err(|message| report.problem(&format!("{path}.{key}"), message, help.to_owned())).is_ok()
    };
    let (host, path_match, deployment) =
        (host(typed.host.as_deref()), path_of(typed.path.as_deref()), deployment(typed.deployment.as_deref()));
    let fine = [
        check("host", host.as_ref().map(|_| ()).map_err(|error| *error), "write ai.example.com or *.example.com"),
        check(
            "path",
            path_match.as_ref().map(|_| ()).map_err(|error| *error),
            "write /openai/v1/responses or /openai/*",
        ),
        check("deployment", deployment.as_ref().map(|_| ()).map_err(|error| *error), "write gpt-4o or gpt-4*"),
    ];
    if fine.contains(&false) {
        return None;
    }
    Some(Matcher { host: host.ok()?, path: path_match.ok()?, deployment: deployment.ok()? })
}

fn host(typed: Option<&str>) -> Result<HostMatch, &'static str> {
    let Some(text) = typed.filter(|text| *text != "*") else { return Ok(HostMatch::Any) };
    let text = text.to_ascii_lowercase();
    let (suffix, bare) = match text.strip_prefix("*.") {
        Some(rest) => (true, rest),
        None => (false, text.as_str()),
    };
    let address = bare.starts_with('[') && bare.ends_with(']');
    let legal = bare.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_'));
    if bare.contains(':') && !address {
        return Err("a host has no scheme and no port");
    }
    if bare.is_empty() || bare.starts_with('.') || !(legal || (address && !suffix)) {
        return Err("is not a host name");
    }
    Ok(if suffix { HostMatch::Suffix(format!(".{bare}")) } else { HostMatch::Exact(text) })
}

fn path_of(typed: Option<&str>) -> Result<PathMatch, &'static str> {
    let Some(text) = typed.filter(|text| !matches!(*text, "*" | "/*")) else {
        return Ok(PathMatch::Prefix(String::new()));
    };
    let prefix = text.strip_suffix('*');
    let bare = prefix.unwrap_or(text);
    if !bare.starts_with('/') {
        return Err("a path begins with `/`");
    }
    if bare.contains(['*', '?', '#']) || bare.chars().any(|c| c.is_whitespace() || c.is_control()) {
        return Err("a path holds `*` at its end only, and no query");
    }
    Ok(if prefix.is_some() { PathMatch::Prefix(bare.to_owned()) } else { PathMatch::Exact(bare.to_owned()) })
}

/// A deployment as it is typed: exact, or with `*` at its end.
pub(super) fn deployment(typed: Option<&str>) -> Result<DeploymentMatch, &'static str> {
    let Some(text) = typed else { return Ok(DeploymentMatch::Any) };
    let Some(prefix) = text.strip_suffix('*') else {
        // The message of the name itself speaks of names in general.
        return DeploymentName::new(text).map(DeploymentMatch::Exact).map_err(|_error| "is not a deployment name");
    };
    if !prefix.is_empty() && DeploymentName::new(prefix).is_err() {
        return Err("is not the beginning of a deployment name");
    }
    Ok(DeploymentMatch::Prefix(prefix.to_owned()))
}

/// Two routes with one matcher: neither is more specific.
fn ties(routes: &[Option<Route>], report: &mut Report<'_>) {
    for (index, route) in routes.iter().enumerate() {
        let Some(route) = route else { continue };
        let earlier = routes.iter().take(index).flatten().find(|other| other.matcher == route.matcher);
        if let Some(earlier) = earlier {
            let message = format!("routes `{}` and `{}` match the same requests", earlier.name, route.name);
            report.problem(&format!("routes[{index}]"), message, "make one more specific, or remove it".to_owned());
        }
    }
}
