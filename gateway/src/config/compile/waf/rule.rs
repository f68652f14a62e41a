//! Compiles custom rules: conditions that fit their variable, actions that fit their policy, in the order of priorities.

use super::{Told, mode, needs_database};
use crate::config::compile::{name, unique};
use crate::config::file::{self, MatchOperator, MatchTransform, WafAction, WafGroup, WafSeverity, WafVariable};
use crate::config::report::{Report, suggestion};
use crate::domain::{NetworkSet, RouteName};
use crate::policy::screen::builtin::Library;
use crate::policy::screen::custom::{Action, Condition, Group, RateLimit, Rule, Variable};
use crate::policy::screen::finding::{Mode, Severity};
use crate::policy::screen::matching::{Matcher, Operator};
use crate::policy::screen::transform::Transform;
use http::HeaderName;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// Longest name of an argument, field or cookie, in bytes.
const SELECTOR_LENGTH_MAX: usize = 256;

/// What rules may refer to.
pub(super) struct Lore<'a> {
    pub(super) sets: &'a [(String, Arc<NetworkSet>)],
    pub(super) databases: Option<&'a file::Databases>,
    pub(super) builtin: &'a Library,
}

/// The rules of a policy that are not off, by priority.
pub(super) fn compile(
    typed: &file::WafPolicy,
    policy: Mode,
    path: &str,
    lore: &Lore<'_>,
    report: &mut Report<'_>,
) -> Vec<Rule> {
    let path = format!("{path}.rules");
    unique(typed.rules.iter().map(|rule| rule.name.as_str()), &path, "rules", report);
    let mut priorities = BTreeMap::new();
    let mut rules = Vec::with_capacity(typed.rules.len());
    for (index, one) in typed.rules.iter().enumerate() {
        let path = format!("{path}[{index}]");
        if let Some(other) = priorities.insert(one.priority, one.name.as_str()) {
            let message = format!("{} is the priority of the rule `{other}` already", one.priority);
            report.problem(
                &format!("{path}.priority"),
                message,
                "give each rule its own: lower ones come first".to_owned(),
            );
        }
        let compiled = rule(one, typed, policy, &path, lore, report);
        rules.push((one.priority, compiled));
    }
    rules.sort_by_key(|(priority, _)| *priority);
    rules.into_iter().filter_map(|(_, rule)| rule).filter(|rule| rule.mode != Mode::Off).collect()
}

fn rule(
    typed: &file::WafRule,
    policy: &file::WafPolicy,
    policy_mode: Mode,
    path: &str,
    lore: &Lore<'_>,
    report: &mut Report<'_>,
) -> Option<Rule> {
    name(RouteName::new(&typed.name), &format!("{path}.name"), report)?;
    let conditions = typed.conditions.iter().enumerate();
    let conditions: Vec<Option<Condition>> =
        conditions.map(|(index, one)| condition(one, &format!("{path}.conditions[{index}]"), lore, report)).collect();
    let action = action(typed, policy, &format!("{path}.action"), lore, report)?;
    let own = if typed.enabled { typed.mode.map_or(policy_mode, mode) } else { Mode::Off };
    let conditions = conditions.into_iter().collect::<Option<_>>()?;
    Some(Rule { name: typed.name.as_str().into(), mode: own.under(policy_mode), conditions, action })
}

fn action(
    typed: &file::WafRule,
    policy: &file::WafPolicy,
    path: &str,
    lore: &Lore<'_>,
    report: &mut Report<'_>,
) -> Option<Action> {
    Some(match &typed.action {
        WafAction::Allow => Action::Allow,
        WafAction::Block => Action::Block,
        WafAction::Log => Action::Log,
        WafAction::Redirect => Action::Redirect,
        WafAction::AnomalyScore(severity) => Action::AnomalyScore(match severity {
            WafSeverity::Critical => Severity::Critical,
            WafSeverity::Error => Severity::Error,
            WafSeverity::Warning => Severity::Warning,
            WafSeverity::Notice => Severity::Notice,
        }),
        WafAction::RateLimit(limit) => {
            let path = format!("{path}.rate_limit");
            if !matches!(limit.minutes, 1 | 5) {
                let message = format!("{} minutes is no window", limit.minutes);
                report.problem(&format!("{path}.minutes"), message, "write 1 or 5".to_owned());
            }
            Action::RateLimit(RateLimit {
                id: format!("{}/{}", policy.name, typed.name).into(),
                threshold: limit.threshold,
                window: Duration::from_secs(60 * u64::from(limit.minutes)),
                group: group(&limit.by, &format!("{path}.by"), lore, report)?,
            })
        }
    })
}

fn group(typed: &WafGroup, path: &str, lore: &Lore<'_>, report: &mut Report<'_>) -> Option<Group> {
    Some(match typed {
        WafGroup::SocketAddr => Group::SocketAddr,
        WafGroup::RemoteAddr => Group::RemoteAddr,
        WafGroup::None => Group::None,
        WafGroup::Country => {
            needs_database(Some(Told::Country), lore.databases, path, report);
            Group::Country
        }
        WafGroup::Header(header) => Group::Header(header_name(header, &format!("{path}.header"), report)?),
    })
}

fn header_name(text: &str, path: &str, report: &mut Report<'_>) -> Option<HeaderName> {
    let name = HeaderName::from_bytes(text.as_bytes());
    name.map_err(|_error| report.problem(path, format!("`{text}` is no name of a header"), None)).ok()
}

fn condition(typed: &file::WafCondition, path: &str, lore: &Lore<'_>, report: &mut Report<'_>) -> Option<Condition> {
    if ["variable", "operator"].iter().any(|key| report.is_replaced(&format!("{path}.{key}"))) {
        return None; // told already; what follows from the stand-in is nobody's mistake
    }
    let variable = variable(typed, path, report);
    let operator = operator(typed.operator);
    if let Some(variable) = variable.as_ref().filter(|variable| !variable.is_address()) {
        if matches!(operator, Operator::CountryMatch | Operator::AsnMatch) {
            let message = "only an address is registered somewhere";
            let help = "use it with the variable RemoteAddr or SocketAddr";
            report.problem(&format!("{path}.operator"), message, help.to_owned());
        } else if operator == Operator::IpMatch && !matches!(variable, Variable::RequestHeader(_)) {
            let help = "use it with the variable RemoteAddr, SocketAddr or a RequestHeader that holds one address";
            report.problem(&format!("{path}.operator"), "compares addresses", help.to_owned());
        }
    }
    let told = match operator {
        Operator::CountryMatch => Some(Told::Country),
        Operator::AsnMatch => Some(Told::System),
        _ => None,
    };
    needs_database(told, lore.databases, &format!("{path}.operator"), report);
    Some(Condition::new(variable?, matcher(typed, operator, path, lore, report)?))
}

fn matcher(
    typed: &file::WafCondition,
    operator: Operator,
    path: &str,
    lore: &Lore<'_>,
    report: &mut Report<'_>,
) -> Option<Matcher> {
    if let Some(wanted) = &typed.ip_set {
        let key = format!("{path}.ip_set");
        if operator != Operator::IpMatch || !typed.values.is_empty() {
            report.problem(&key, "goes with the operator `IPMatch`, instead of `values`", None);
            return None;
        }
        let found = lore.sets.iter().find(|(name, _)| name == wanted);
        if found.is_none() && !report.any_replaced("waf.ip_sets", ".name") {
            let help = suggestion(wanted, lore.sets.iter().map(|(name, _)| name.as_str()), "sets defined");
            report.problem(&key, format!("no set is named `{wanted}`"), help);
        }
        return found.map(|(_, set)| Matcher::networks(Arc::clone(set), typed.negate));
    }
    let transforms: Vec<Transform> = typed.transforms.iter().copied().map(transform).collect();
    match Matcher::new(operator, &typed.values, &transforms, typed.negate) {
        Ok(matcher) => Some(matcher),
        Err(bad) => {
            let path = bad.index.map_or_else(|| format!("{path}.operator"), |index| format!("{path}.values[{index}]"));
            report.problem(&path, bad.what, bad.help);
            None
        }
    }
}

fn variable(typed: &file::WafCondition, path: &str, report: &mut Report<'_>) -> Option<Variable> {
    let key = format!("{path}.selector");
    let named = || typed.selector.as_deref().map(Into::into);
    if let Some(selector) = &typed.selector {
        if selector.is_empty() || selector.len() > SELECTOR_LENGTH_MAX {
            report.problem(&key, format!("has 1 to {SELECTOR_LENGTH_MAX} bytes"), None);
            return None;
        }
        use WafVariable::{Cookies, PostArgs, QueryString, RequestHeader};
        if !matches!(typed.variable, QueryString | PostArgs | RequestHeader | Cookies) {
            let help = "only QueryString, PostArgs, RequestHeader and Cookies have parts to select";
            report.problem(&key, "selects from a variable without parts", help.to_owned());
            return None;
        }
    }
    Some(match typed.variable {
        WafVariable::RemoteAddr => Variable::RemoteAddr,
        WafVariable::SocketAddr => Variable::SocketAddr,
        WafVariable::RequestMethod => Variable::RequestMethod,
        WafVariable::QueryString => Variable::QueryString(named()),
        WafVariable::PostArgs => Variable::PostArgs(named()),
        WafVariable::RequestUri => Variable::RequestUri,
        WafVariable::RequestBody => Variable::RequestBody,
        WafVariable::Cookies => Variable::Cookies(named()),
        WafVariable::RequestHeader => match typed.selector.as_deref() {
            Some(selector) => Variable::RequestHeader(header_name(selector, &key, report)?),
            None => {
                report.problem(path, "`selector` is missing: which header?", "add `selector: user-agent`".to_owned());
                return None;
            }
        },
    })
}

const fn operator(typed: MatchOperator) -> Operator {
    match typed {
        MatchOperator::Any => Operator::Any,
        MatchOperator::IpMatch => Operator::IpMatch,
        MatchOperator::CountryMatch => Operator::CountryMatch,
        MatchOperator::AsnMatch => Operator::AsnMatch,
        MatchOperator::Equal => Operator::Equal,
        MatchOperator::Contains => Operator::Contains,
        MatchOperator::BeginsWith => Operator::BeginsWith,
        MatchOperator::EndsWith => Operator::EndsWith,
        MatchOperator::LessThan => Operator::LessThan,
        MatchOperator::LessThanOrEqual => Operator::LessThanOrEqual,
        MatchOperator::GreaterThan => Operator::GreaterThan,
        MatchOperator::GreaterThanOrEqual => Operator::GreaterThanOrEqual,
        MatchOperator::RegEx => Operator::RegEx,
    }
}

const fn transform(typed: MatchTransform) -> Transform {
    match typed {
        MatchTransform::Lowercase => Transform::Lowercase,
        MatchTransform::Uppercase => Transform::Uppercase,
        MatchTransform::Trim => Transform::Trim,
        MatchTransform::UrlDecode => Transform::UrlDecode,
        MatchTransform::UrlEncode => Transform::UrlEncode,
        MatchTransform::RemoveNulls => Transform::RemoveNulls,
    }
}
