//! Compiles usage limits. Who names them is compiled with consumers, plans and routes, by [`named`].

use super::header::header_name;
use super::{name, unique};
use crate::config::file;
use crate::config::report::{Report, suggestion};
use crate::config::snapshot::UsageLimits;
use crate::domain::LimitName;
use crate::policy::limit::calendar::Period;
use crate::policy::limit::{Ceilings, Limit, Measure, Part, Rule, Weights, Window};
use http::HeaderName;
use std::time::Duration;

/// Shortest and longest sliding window.
const WINDOW_MIN: Duration = Duration::from_secs(1);
const WINDOW_MAX: Duration = Duration::from_secs(24 * 3600);

/// Compiles the limits, in the order of the file.
pub(super) fn compile(file: &file::File, report: &mut Report<'_>) -> Option<UsageLimits> {
    unique(file.usage_limits.iter().map(|one| one.name.as_str()), "usage_limits", "usage limits", report);
    let compile = |(index, typed): (usize, &file::UsageLimit)| {
        let path = format!("usage_limits[{index}]");
        if typed.strict && file.shared_limits.is_none() {
            let help = "write `shared_limits`, or leave `strict` out".to_owned();
            report.problem(&format!("{path}.strict"), "there is no server to ask", help);
        }
        limit(typed, &path, report)
    };
    let list: Vec<Option<Limit>> = file.usage_limits.iter().enumerate().map(compile).collect();
    let list: Vec<Limit> = list.into_iter().collect::<Option<_>>()?;
    let everywhere = list.iter().enumerate().filter(|(_, limit)| limit.everywhere).map(|(index, _)| index).collect();
    let state = file.usage_state.as_ref().map(|state| report.resolve(&state.file));
    Some(UsageLimits { list, everywhere, state })
}

/// Usage limits by their names, as indices.
pub(super) fn named(names: &[String], file: &file::File, path: &str, report: &mut Report<'_>) -> Vec<usize> {
    let mut found = Vec::with_capacity(names.len());
    for (index, name) in names.iter().enumerate() {
        let path = format!("{path}[{index}]");
        match file.usage_limits.iter().position(|limit| limit.name == *name) {
            Some(limit) if found.contains(&limit) => report.problem(&path, format!("`{name}` is there twice"), None),
            Some(limit) => found.push(limit),
            // A limit whose name is wrong was reported already, and may be the one that is meant.
            None if report.any_replaced("usage_limits", ".name") => {}
            None => {
                let known = file.usage_limits.iter().map(|limit| limit.name.as_str());
                report.problem(
                    &path,
                    format!("no usage limit is named `{name}`"),
                    suggestion(name, known, "usage limits defined"),
                );
            }
        }
    }
    found
}

fn limit(typed: &file::UsageLimit, path: &str, report: &mut Report<'_>) -> Option<Limit> {
    let by = parts(&typed.by, path, report);
    let mut rules = Vec::new();
    for (measure, rate, key) in
        [(Measure::Requests, typed.requests, "requests"), (Measure::Tokens, typed.tokens, "tokens")]
    {
        let strict = typed.strict;
        rules.extend(rate.map(|rate| Rule { strict, ..sliding(measure, rate, &format!("{path}.{key}"), report) }));
    }
    if let Some(quota) = typed.quota {
        let window = Window::Calendar(period(quota.per));
        let rule = |measure, max: Option<u64>| max.map(|max| Rule { measure, window, max, strict: typed.strict });
        let before = rules.len();
        rules.extend(rule(Measure::RequestQuota, quota.requests));
        rules.extend(rule(Measure::TokenQuota, quota.tokens));
        if rules.len() == before {
            report.problem(&format!("{path}.quota"), "limits nothing", "write `requests`, `tokens` or both".to_owned());
        }
    }
    if let Some(concurrent) = typed.concurrent {
        let held = |measure, max: u32| Rule { measure, window: Window::Held, max: max.into(), strict: false };
        let rule = |measure, max: Option<u32>| max.map(|max| held(measure, max));
        rules.extend(rule(Measure::Concurrent, concurrent.requests));
        rules.extend(rule(Measure::Streams, concurrent.streams));
    }
    let ceilings = typed.request.map_or_else(Ceilings::default, |request| Ceilings {
        max_tokens: request.max_tokens.map(u64::from),
        n: request.n.map(u64::from),
        prompt_tokens: request.prompt_tokens.map(u64::from),
    });
    if rules.is_empty() && ceilings == Ceilings::default() {
        let help = "write `requests`, `tokens`, `quota`, `concurrent` or `request`".to_owned();
        report.problem(path, "limits nothing", help);
    }
    let remaining = remaining(typed, &rules, path, report);
    let name = name(LimitName::new(&typed.name), &format!("{path}.name"), report);
    Some(Limit {
        name: name?,
        by: by?,
        everywhere: typed.everywhere,
        rules,
        ceilings,
        weights: weights(&typed.weights),
        remaining,
    })
}

fn remaining(
    typed: &file::UsageLimit,
    rules: &[Rule],
    path: &str,
    report: &mut Report<'_>,
) -> Vec<(Measure, HeaderName)> {
    let Some(typed) = &typed.remaining_headers else { return Vec::new() };
    let mut headers: Vec<(Measure, HeaderName)> = Vec::new();
    for (measure, text, key) in [
        (Measure::Requests, &typed.requests, "requests"),
        (Measure::Tokens, &typed.tokens, "tokens"),
        (Measure::RequestQuota, &typed.quota_requests, "quota_requests"),
        (Measure::TokenQuota, &typed.quota_tokens, "quota_tokens"),
    ] {
        let Some(text) = text else { continue };
        let path = format!("{path}.remaining_headers.{key}");
        if !rules.iter().any(|rule| rule.measure == measure) {
            report.problem(&path, "the limit does not count this", None);
        }
        let Some(name) = header_name(text, &path, report) else { continue };
        if headers.iter().any(|(_, other)| *other == name) {
            report.problem(&path, format!("`{name}` is there twice"), None);
        }
        headers.push((measure, name));
    }
    headers
}

fn parts(typed: &[file::Part], path: &str, report: &mut Report<'_>) -> Option<Vec<Part>> {
    for (index, part) in typed.iter().enumerate() {
        if typed.iter().take(index).any(|earlier| earlier == part) {
            report.problem(&format!("{path}.by[{index}]"), "is there twice", None);
            return None;
        }
    }
    let compile = |part: &file::Part| match part {
        file::Part::Consumer => Part::Consumer,
        file::Part::Plan => Part::Plan,
        file::Part::Route => Part::Route,
        file::Part::Deployment => Part::Deployment,
        file::Part::Address => Part::Address,
        file::Part::Claim(name) => Part::Claim(name.as_str().into()),
    };
    Some(typed.iter().map(compile).collect())
}

fn sliding(measure: Measure, rate: file::Rate, path: &str, report: &mut Report<'_>) -> Rule {
    if !(WINDOW_MIN..=WINDOW_MAX).contains(&rate.per.0) {
        let message = format!("{} is out of range, it must be from 1s to 24h", rate.per);
        report.problem(&format!("{path}.per"), message, "longer times are for `quota`".to_owned());
    }
    Rule { measure, window: Window::Sliding(rate.per.0), max: rate.max, strict: false }
}

const fn period(typed: file::QuotaPeriod) -> Period {
    match typed {
        file::QuotaPeriod::Hour => Period::Hour,
        file::QuotaPeriod::Day => Period::Day,
        file::QuotaPeriod::Week => Period::Week,
        file::QuotaPeriod::Month => Period::Month,
    }
}

fn weights(typed: &file::Weights) -> Weights {
    #[allow(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "from 0 to 1000, as the schema has checked"
    )]
    let thousandths = |weight: f64| (weight * 1000.0).round() as u64;
    Weights {
        input: thousandths(typed.input),
        output: thousandths(typed.output),
        cached: thousandths(typed.cached),
        reasoning: thousandths(typed.reasoning),
    }
}
