//! Compiles the rules of the rules engine: every condition, value and header is checked here, so that a request meets
//! nothing that can fail. It judges no request.

mod action;
mod condition;

use super::{name, unique};
use crate::config::file::{self, Action};
use crate::config::report::Report;
use crate::config::snapshot::Route;
use crate::domain::RuleName;
use crate::policy::route::HostMatch;
use crate::policy::rules::condition::{Condition, Variable};
use crate::policy::rules::{Rule, Rules};

/// Compiles all rules; what is wrong is left out and reported.
pub(super) fn compile(file: &file::File, routes: &[Route], report: &mut Report<'_>) -> Rules {
    unique(file.rules.iter().map(|rule| rule.name.as_str()), "rules", "rules", report);
    let hosts = hosts(file, routes);
    let mut list = Vec::with_capacity(file.rules.len());
    for (index, typed) in file.rules.iter().enumerate() {
        list.extend(rule(typed, file, (&hosts, &format!("rules[{index}]")), report));
    }
    Rules { list, hosts }
}

/// Whether a rule sends requests to this pool.
pub(super) fn lead_to(pool: &str, file: &file::File) -> bool {
    file.rules.iter().flat_map(|rule| &rule.then).any(|action| matches!(action, Action::Pool(name) if name == pool))
}

/// Hosts that routes and conditions name.
fn hosts(file: &file::File, routes: &[Route]) -> Vec<HostMatch> {
    let of_routes = routes.iter().map(|route| route.matcher.host.clone()).filter(|host| *host != HostMatch::Any);
    let conditions = file.rules.iter().flat_map(|rule| &rule.when);
    let of_conditions = conditions
        .filter(|one| one.variable == file::Variable::Host && one.operator == file::Operator::Equal && !one.negate)
        .flat_map(|one| one.values.iter().map(|value| HostMatch::Exact(value.to_ascii_lowercase())));
    of_routes.chain(of_conditions).collect()
}

fn rule(
    typed: &file::Rule,
    file: &file::File,
    (hosts, path): (&[HostMatch], &str),
    report: &mut Report<'_>,
) -> Option<Rule> {
    let name = name(RuleName::new(&typed.name), &format!("{path}.name"), report);
    let databases = file.waf.as_ref().and_then(|waf| waf.databases.as_ref());
    let mut conditions: Vec<Condition> = Vec::with_capacity(typed.when.len());
    for (index, one) in typed.when.iter().enumerate() {
        conditions.extend(condition::compile(one, databases, &format!("{path}.when[{index}]"), report));
    }
    if typed.then.is_empty() && !typed.stop && !report.is_replaced(&format!("{path}.then")) {
        let help = "add an action to `then`, or `stop: true`".to_owned();
        report.problem(path, format!("the rule `{}` does nothing", typed.name), help);
    }
    let actions = action::compile(&typed.then, file, (hosts, &format!("{path}.then")), report);
    if actions.redirect.is_some() && conditions.iter().any(|one| one.variable == Variable::BodySize) {
        let help = "the whole body is read before such a redirect: ask for a header instead where you can".to_owned();
        report.warn(path, "redirects by the size of the body", help);
    }
    Some(Rule { name: name?, conditions, actions, stop: typed.stop })
}
