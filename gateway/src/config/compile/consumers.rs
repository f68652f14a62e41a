//! Compiles who may call: consumers, plans, keys, certificates, scopes. It reads no clock: whether a key is in force is asked
//! for every request.

use super::{issuers, name, network, residency, route, time, unique, usage_limits};
use crate::config::file;
use crate::config::report::{Report, suggestion};
use crate::config::snapshot::{Access, Certificates, Consumer, Key, Keys, Route};
use crate::domain::{ConsumerName, KeyHash, PlanName, is_key_id};
use crate::openai::operation::{Operation, scrub_query};
use crate::policy::overload::Class;
use crate::policy::scope::Scope;
use crate::policy::screen::redact::is_secret_name;
use http::HeaderName;
use std::borrow::Cow;
use std::collections::HashMap;

/// Keys of one consumer in force at a time: one in use, and the one that replaces it.
const KEYS_LIVE_MAX: usize = 2;

/// A plan as its consumers see it.
struct Plan {
    limits: Vec<usize>,
    scope: Option<Scope<Operation>>,
    class: Option<Class>,
}

/// Who may call; `None` where nobody is asked, or after a problem.
pub(super) fn compile(file: &file::File, routes: &[Route], report: &mut Report<'_>) -> Option<Access> {
    unique(file.plans.iter().map(|plan| plan.name.as_str()), "plans", "plans", report);
    unique(file.consumers.iter().map(|one| one.name.as_str()), "consumers", "consumers", report);
    let plans: Vec<(Option<PlanName>, Plan)> =
        file.plans.iter().enumerate().map(|(index, typed)| plan(typed, (index, file), routes, report)).collect();
    let mut access = Access {
        consumers: Vec::with_capacity(file.consumers.len()),
        plans: plans.iter().filter_map(|(name, _)| name.clone()).collect(),
        anonymous: None,
        key_headers: Vec::new(),
        key_queries: Vec::new(),
        failures_max: 0,
        keys: Keys::default(),
        issuers: issuers::compile(file, report),
        certificates: Certificates::default(),
    };
    let mut broken = false;
    for (index, typed) in file.consumers.iter().enumerate() {
        let path = format!("consumers[{index}]");
        match consumer(typed, (&path, file), (&plans, routes), report) {
            Some(consumer) => access.consumers.push(consumer),
            None => broken = true,
        }
        keys(typed, (index, &path), &mut access.keys, report);
        certificates(typed, (index, &path), &mut access.certificates, report);
    }
    if file.consumers.is_empty() && file.authentication.is_none() {
        return None;
    }
    authentication(file, &mut access, report);
    (!broken && access.plans.len() == plans.len()).then_some(access)
}

fn plan(
    typed: &file::Plan,
    (index, file): (usize, &file::File),
    routes: &[Route],
    report: &mut Report<'_>,
) -> (Option<PlanName>, Plan) {
    let path = format!("plans[{index}]");
    let plan = Plan {
        limits: usage_limits::named(&typed.limits, file, &format!("{path}.limits"), report),
        scope: scope(&typed.allow, &format!("{path}.allow"), routes, report),
        class: typed.class.map(class),
    };
    (name(PlanName::new(&typed.name), &format!("{path}.name"), report), plan)
}

fn consumer(
    typed: &file::Consumer,
    (path, file): (&str, &file::File),
    (plans, routes): (&[(Option<PlanName>, Plan)], &[Route]),
    report: &mut Report<'_>,
) -> Option<Consumer> {
    let plan = typed.plan.as_ref().and_then(|wanted| {
        let found = file.plans.iter().position(|plan| plan.name == *wanted);
        if found.is_none() && !report.any_replaced("plans", ".name") {
            let help = suggestion(wanted, file.plans.iter().map(|plan| plan.name.as_str()), "plans defined");
            report.problem(&format!("{path}.plan"), format!("no plan is named `{wanted}`"), help);
        }
        found
    });
    let of_plan = plan.and_then(|index| plans.get(index)).map(|(_, plan)| plan);
    let mut all = usage_limits::named(&typed.limits, file, &format!("{path}.limits"), report);
    for limit in of_plan.iter().flat_map(|plan| &plan.limits) {
        if !all.contains(limit) {
            all.push(*limit);
        }
    }
    let own = scope(&typed.allow, &format!("{path}.allow"), routes, report);
    Some(Consumer {
        name: name(ConsumerName::new(&typed.name), &format!("{path}.name"), report)?,
        plan,
        residency: residency::named(typed.residency.as_ref(), file, &format!("{path}.residency"), report),
        limits: all,
        class: typed.class.map(class).or_else(|| of_plan.and_then(|plan| plan.class)),
        enabled: typed.enabled,
        scopes: own.into_iter().chain(of_plan.and_then(|plan| plan.scope.clone())).collect(),
    })
}

const fn class(typed: file::Class) -> Class {
    match typed {
        file::Class::Interactive => Class::Interactive,
        file::Class::Batch => Class::Batch,
    }
}

fn keys(typed: &file::Consumer, (consumer, path): (usize, &str), keys: &mut Keys, report: &mut Report<'_>) {
    let mut spans = Vec::with_capacity(typed.keys.len());
    for (index, key) in typed.keys.iter().enumerate() {
        let path = format!("{path}.keys[{index}]");
        let mut moment = |text: Option<&String>, name: &str| {
            text.and_then(|text| time::moment(text, &format!("{path}.{name}"), report))
        };
        let (not_before, expires) =
            (moment(key.not_before.as_ref(), "not_before"), moment(key.expires.as_ref(), "expires"));
        if not_before.zip(expires).is_some_and(|(begin, end)| begin >= end) {
            report.problem(&format!("{path}.expires"), "is not after `not_before`", None);
        }
        spans.push((not_before.unwrap_or(0), expires.unwrap_or(u64::MAX)));
        let Ok(hash) = key.hash.parse::<KeyHash>() else {
            // The text itself is not repeated: it may be the key.
            let help = "`tidegate key new` prints a key and its hash; of a key from elsewhere: `tidegate key hash`";
            report.problem(&format!("{path}.hash"), "is no hash of a key", help.to_owned());
            continue;
        };
        let compiled = Key { consumer, hash, not_before, expires };
        let earlier = match &key.id {
            Some(id) if !is_key_id(id) => {
                let help =
                    "10 small letters and digits, as `tidegate key new` prints it; keys from elsewhere have none";
                report.problem(&format!("{path}.id"), "is no id of a key", help.to_owned());
                continue;
            }
            Some(id) => keys.by_id.insert(id.as_str().into(), compiled).map(|_| "id"),
            None => keys.by_hash.insert(hash, compiled).map(|_| "hash"),
        };
        if let Some(what) = earlier {
            report.problem(&format!("{path}.{what}"), format!("another key has this {what} already"), None);
        }
    }
    let live = |at: u64| spans.iter().filter(|(begin, end)| (*begin..*end).contains(&at)).count();
    if spans.iter().any(|(begin, _)| live(*begin) > KEYS_LIVE_MAX) {
        let help = "one in use and one that replaces it; give the older ones an `expires`";
        let message = format!("more than {KEYS_LIVE_MAX} keys are in force at a time");
        report.problem(&format!("{path}.keys"), message, help.to_owned());
    }
}

fn certificates(
    typed: &file::Consumer,
    (consumer, path): (usize, &str),
    known: &mut Certificates,
    report: &mut Report<'_>,
) {
    for (index, certificate) in typed.certificates.iter().enumerate() {
        let path = format!("{path}.certificates[{index}]");
        let earlier = match certificate {
            file::Certificate::Subject(text) => known.by_subject.insert(text.as_str().into(), consumer),
            file::Certificate::Fingerprint(text) => {
                let digits = text.replace(':', "").to_ascii_lowercase();
                if digits.len() != 64 || !digits.bytes().all(|digit| digit.is_ascii_hexdigit()) {
                    let help = "write the SHA-256 of the whole certificate, 64 hexadecimal digits";
                    report.problem(&format!("{path}.fingerprint"), "is no fingerprint", help.to_owned());
                    continue;
                }
                known.by_fingerprint.insert(digits.into(), consumer)
            }
        };
        if earlier.is_some() {
            report.problem(&path, "this certificate stands for somebody already", None);
        }
    }
}

/// `None` where everything is allowed.
fn scope(typed: &file::Allow, path: &str, routes: &[Route], report: &mut Report<'_>) -> Option<Scope<Operation>> {
    if *typed == file::Allow::default() {
        return None;
    }
    let mut scope = Scope::default();
    for (index, wanted) in typed.routes.iter().enumerate() {
        let found = routes.iter().position(|route| route.name.as_str() == wanted);
        // Without any route there was a problem with them, which was told.
        if found.is_none() && !routes.is_empty() && !report.any_replaced("routes", ".name") {
            let help = suggestion(wanted, routes.iter().map(|route| route.name.as_str()), "routes defined");
            report.problem(&format!("{path}.routes[{index}]"), format!("no route is named `{wanted}`"), help);
        }
        scope.routes.extend(found);
    }
    for (index, wanted) in typed.deployments.iter().enumerate() {
        match route::deployment(Some(wanted)) {
            Ok(deployment) => scope.deployments.push(deployment),
            Err(message) => {
                let help = "write gpt-4o or gpt-4*";
                report.problem(&format!("{path}.deployments[{index}]"), message, help.to_owned());
            }
        }
    }
    for (index, wanted) in typed.operations.iter().enumerate() {
        let found = Operation::ALL.into_iter().find(|operation| operation.label() == wanted);
        if found.is_none() {
            let help = suggestion(wanted, Operation::ALL.iter().map(|one| one.label()), "operations");
            report.problem(&format!("{path}.operations[{index}]"), format!("`{wanted}` is no operation"), help);
        }
        scope.operations.extend(found);
    }
    scope.networks = network::set(&typed.networks, &format!("{path}.networks"), report);
    Some(scope)
}

/// Whatever happens before a request is asked who it is may be logged; there the name alone says that a value is secret.
fn hidden(name: &str, path: &str, report: &mut Report<'_>) {
    let scrubbed = matches!(scrub_query(&format!("{name}=x")), Cow::Owned(_));
    if !(scrubbed && is_secret_name(name.as_bytes())) {
        let help = "a name with `key`, `token`, `secret`, `password` or `auth` in it is hidden in every log";
        report.problem(path, format!("`{name}` does not look like the name of a secret"), help.to_owned());
    }
}

fn authentication(file: &file::File, access: &mut Access, report: &mut Report<'_>) {
    let defaults = file::Authentication::default();
    let typed = file.authentication.as_ref().unwrap_or(&defaults);
    access.failures_max = typed.failures_max;
    let mut seen = HashMap::new();
    for (index, text) in typed.key_headers.iter().enumerate() {
        let path = format!("authentication.key_headers[{index}]");
        match HeaderName::from_bytes(text.as_bytes()) {
            Ok(header) if seen.insert(header.clone(), index).is_some() => {
                report.problem(&path, format!("`{header}` is there twice"), None);
            }
            Ok(header) => {
                hidden(header.as_str(), &path, report);
                access.key_headers.push(header);
            }
            Err(_bad) => report.problem(&path, "is not a header name", None),
        }
    }
    for (index, text) in typed.key_queries.iter().enumerate() {
        let legal = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
        let path = format!("authentication.key_queries[{index}]");
        if text.is_empty() || !text.bytes().all(legal) {
            report.problem(&path, "is not a name of a parameter", None);
        } else {
            hidden(text, &path, report);
        }
        access.key_queries.push(text.to_ascii_lowercase());
    }
    if let Some(wanted) = &typed.anonymous {
        access.anonymous = file.consumers.iter().position(|consumer| consumer.name == *wanted);
        if access.anonymous.is_none() && !report.any_replaced("consumers", ".name") {
            let help = suggestion(wanted, file.consumers.iter().map(|one| one.name.as_str()), "consumers defined");
            report.problem("authentication.anonymous", format!("no consumer is named `{wanted}`"), help);
        }
    }
    if file.consumers.is_empty() {
        report.problem("authentication", "nobody may call: there are no `consumers`", None);
    }
}
