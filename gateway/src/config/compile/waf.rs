//! Compiles the web application firewall: policies with their rules in order, sets of addresses, databases.

mod rule;
mod set;

use super::{name, protection, size, unique};
use crate::config::file::{self, WafMode};
use crate::config::report::{Report, suggestion};
use crate::config::snapshot::{Databases, Waf};
use crate::domain::RouteName;
use crate::policy::screen::builtin::Library;
use crate::policy::screen::finding::Mode;
use crate::policy::screen::ruleset::{Policy, Source};
use std::path::Path;
use std::sync::Arc;

use super::tls::read_limited;

/// Statuses that Front Door allows for a block.
const BLOCK_STATUSES: [u16; 5] = [200, 403, 405, 406, 429];
/// Longest body of a block, in bytes.
const BLOCK_BODY_LENGTH_MAX: usize = 2048;
/// Largest database, in bytes.
pub(super) const DATABASE_SIZE_MAX: u64 = 512 * 1024 * 1024;
/// Name that switches a route's policy off.
const OFF: &str = "off";

/// Everything about the firewall; `None` where there is none.
pub(super) fn compile(file: &file::File, report: &mut Report<'_>) -> Option<Waf> {
    let typed = file.waf.as_ref()?;
    unique(typed.policies.iter().map(|one| one.name.as_str()), "waf.policies", "policies", report);
    unique(typed.ip_sets.iter().map(|one| one.name.as_str()), "waf.ip_sets", "sets", report);
    let sets = set::compile(&typed.ip_sets, report);
    let databases = typed.databases.as_ref().and_then(|typed| databases(typed, report));
    let Some(library) = Library::new() else {
        report.problem("waf", "the built-in rules do not compile", None);
        return None;
    };
    let lore = rule::Lore { sets: &sets, databases: typed.databases.as_ref(), builtin: &library };
    let policies: Vec<(String, Option<Arc<Policy>>)> = (typed.policies.iter().enumerate())
        .map(|(index, one)| (one.name.clone(), policy(one, &format!("waf.policies[{index}]"), &lore, report)))
        .collect();
    let known = policies.iter().map(|(name, _)| name.as_str());
    if let Some(wanted) = typed.policy.as_deref().filter(|wanted| !known.clone().any(|name| name == *wanted)) {
        unknown_policy(wanted, known, "waf.policy", report);
    }
    let default = typed.policy.as_deref().and_then(|wanted| policies.iter().find(|(name, _)| name == wanted));
    Some(Waf {
        policy: default.and_then(|(_, policy)| policy.clone()),
        policies: policies.iter().filter_map(|(_, policy)| policy.clone()).collect(),
        databases,
    })
}

/// The policy of a route that names one, or names none.
pub(super) fn of_route(
    typed: Option<&str>,
    file: &file::File,
    waf: Option<&Waf>,
    path: &str,
    report: &mut Report<'_>,
) -> Option<Arc<Policy>> {
    match typed {
        None => waf?.policy.clone(),
        Some(OFF) => None,
        Some(wanted) => {
            let names = file.waf.iter().flat_map(|waf| &waf.policies).map(|policy| policy.name.as_str());
            if !names.clone().any(|name| name == wanted) {
                unknown_policy(wanted, names, &format!("{path}.waf"), report);
            }
            waf?.policies.iter().find(|policy| *policy.name == *wanted).cloned()
        }
    }
}

fn unknown_policy<'n>(wanted: &str, names: impl Iterator<Item = &'n str>, path: &str, report: &mut Report<'_>) {
    if !report.any_replaced("waf.policies", ".name") {
        let help = suggestion(wanted, names, "policies defined");
        report.problem(path, format!("no policy is named `{wanted}`"), help);
    }
}

/// One policy; `None` where it is off, or after a problem.
fn policy(typed: &file::WafPolicy, path: &str, lore: &rule::Lore<'_>, report: &mut Report<'_>) -> Option<Arc<Policy>> {
    // The rules for names are the same everywhere.
    let checked = name(RouteName::new(&typed.name), &format!("{path}.name"), report);
    if typed.name == OFF {
        report.problem(&format!("{path}.name"), "`off` is no name: it switches a route's policy off", None);
    }
    if !BLOCK_STATUSES.contains(&typed.block_status) {
        let message = format!("{} is no status for a block", typed.block_status);
        report.problem(&format!("{path}.block_status"), message, "write 200, 403, 405, 406 or 429".to_owned());
    }
    if let Some(length) = typed.block_body.as_ref().map(String::len).filter(|length| *length > BLOCK_BODY_LENGTH_MAX) {
        let message = format!("has {length} bytes, at most {BLOCK_BODY_LENGTH_MAX} are allowed");
        report.problem(&format!("{path}.block_body"), message, None);
    }
    redirect(typed, path, report);
    let body_size_max =
        size(typed.body_inspection_max, 1, 16 * 1024 * 1024, &format!("{path}.body_inspection_max"), report);
    let mode = mode(typed.mode);
    let rules = rule::compile(typed, mode, path, lore, report);
    let protection = protection::compile((&typed.builtin, &typed.body), mode, lore.builtin, path, report);
    checked.filter(|_| mode != Mode::Off)?;
    Some(Arc::new(Policy {
        name: typed.name.as_str().into(),
        mode,
        threshold: typed.threshold,
        block_status: typed.block_status,
        block_body: typed.block_body.as_deref().map(Into::into),
        redirect_url: typed.redirect_url.as_deref().map(Into::into),
        body_size_max: usize::try_from(body_size_max).unwrap_or(usize::MAX),
        rules,
        sources: protection.map(|one| Arc::new(one) as Arc<dyn Source>).into_iter().collect(),
    }))
}

/// What a database tells of an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Told {
    /// Its country.
    Country,
    /// Its autonomous system.
    System,
}

/// A problem where no database is configured that tells it.
pub(super) fn needs_database(
    told: Option<Told>,
    databases: Option<&file::Databases>,
    path: &str,
    report: &mut Report<'_>,
) {
    let (key, file) = match told {
        None => return,
        Some(Told::Country) => ("database", databases.and_then(|known| known.database.as_ref())),
        Some(Told::System) => ("asn_database", databases.and_then(|known| known.asn_database.as_ref())),
    };
    if file.is_none() {
        let help = format!("add `waf.geo.{key}`, the path of a MaxMind database");
        report.problem(path, "needs a database that tells where addresses are registered", help);
    }
}

fn redirect(typed: &file::WafPolicy, path: &str, report: &mut Report<'_>) {
    let key = format!("{path}.redirect_url");
    match &typed.redirect_url {
        Some(text) => {
            let fine =
                url::Url::parse(text).is_ok_and(|url| matches!(url.scheme(), "http" | "https") && url.has_host());
            if !fine || http::HeaderValue::from_str(text).is_err() {
                let help = "write an absolute URL: https://sorry.example.com/blocked";
                report.problem(&key, format!("`{text}` is no address to send clients to"), help.to_owned());
            }
        }
        None => {
            let redirects = |rule: &file::WafRule| rule.action == file::WafAction::Redirect;
            if let Some(index) = typed.rules.iter().position(redirects) {
                let help = format!("add `redirect_url` to the policy `{}`", typed.name);
                report.problem(
                    &format!("{path}.rules[{index}].action"),
                    "the policy says nowhere to redirect to",
                    help,
                );
            }
        }
    }
}

const fn mode(typed: WafMode) -> Mode {
    match typed {
        WafMode::Off => Mode::Off,
        WafMode::Detect => Mode::Detect,
        WafMode::Prevent => Mode::Prevent,
    }
}

fn databases(typed: &file::Databases, report: &mut Report<'_>) -> Option<Arc<Databases>> {
    const PATHS: [&str; 2] = ["waf.geo.database", "waf.geo.asn_database"];
    if typed.database.is_none() && typed.asn_database.is_none() {
        report.problem("waf.geo", "names no database", "write `database`, `asn_database` or both".to_owned());
    }
    let mut read = |path: Option<&Path>, key: &str| {
        let file = report.resolve(path?);
        let bytes = read_limited(&file, DATABASE_SIZE_MAX);
        bytes.map_err(|error| report.problem(key, format!("{} cannot be read: {error}", file.display()), None)).ok()
    };
    let (countries, systems) =
        (read(typed.database.as_deref(), PATHS[0]), read(typed.asn_database.as_deref(), PATHS[1]));
    match Databases::new(countries, systems) {
        Ok(databases) => Some(Arc::new(databases)),
        Err((of_systems, error)) => {
            let key = if of_systems { PATHS[1] } else { PATHS[0] };
            let wanted = if of_systems { "an ASN or ISP database" } else { "a Country, City or Enterprise database" };
            report.problem(key, error.to_string(), format!("wanted is {wanted}"));
            None
        }
    }
}
