//! Compiles the built-in rules and the body policy of a WAF policy. It judges no request.

use crate::config::file::{
    BodyShape, Builtin as Typed, Exclusion as TypedExclusion, ExclusionOperator, ExclusionVariable, RuleMode, Switch,
    UnknownKeys as TypedUnknown,
};
use crate::config::report::{Report, suggestion};
use crate::policy::screen::body::{BodyPolicy, UnknownKeys};
use crate::policy::screen::builtin::{Builtin, Library, Override, RuleSet};
use crate::policy::screen::exclusion::{Exclusion, Place, Selector};
use crate::policy::screen::finding::Mode;
use crate::policy::screen::protection::Protection;

/// The built-in protection and the body policy under a policy of `mode`; `None` after a problem, or where both are off.
pub(super) fn compile(
    (builtin, body): (&Switch<Typed>, &Switch<BodyShape>),
    mode: Mode,
    library: &Library,
    path: &str,
    report: &mut Report<'_>,
) -> Option<Protection> {
    let empty = Typed::default();
    let (typed, on) = match builtin {
        Switch::On(typed) => (typed, true),
        Switch::Off => (&empty, false),
    };
    let path_of = |key: &str| format!("{path}.builtin.{key}");
    let mut overrides = overrides(typed, library, &path_of("overrides"), report);
    let exclusions = exclusions(&typed.exclusions, library, &path_of("exclusions"), report);
    if !on {
        // The rules about bodies stay: `body` decides about them.
        let off = |name| library.named(name).map(|rules| Override { rules, mode: Some(Mode::Off), score: None });
        let on = |name| library.named(name).map(|rules| Override { rules, mode: Some(Mode::Prevent), score: None });
        overrides.extend(off("all").into_iter().chain(on("body")));
    }
    let body = match body {
        Switch::On(typed) => Some(shape(typed, &format!("{path}.body"), report)),
        Switch::Off => None,
    };
    (on || body.is_some()).then(|| Protection {
        builtin: Builtin::new(library, mode, &overrides, exclusions),
        line: on,
        body,
    })
}

fn overrides(typed: &Typed, library: &Library, path: &str, report: &mut Report<'_>) -> Vec<Override> {
    let mut compiled = Vec::with_capacity(typed.overrides.len());
    for (index, one) in typed.overrides.iter().enumerate() {
        let path = format!("{path}[{index}]");
        let wrong = ["mode", "score"].iter().any(|key| report.is_replaced(&format!("{path}.{key}")));
        if one.mode.is_none() && one.score.is_none() && !wrong {
            report.problem(&path, "changes nothing", "give it a `mode` or a `score`".to_owned());
        }
        let mode = one.mode.map(|mode| match mode {
            RuleMode::Off => Mode::Off,
            RuleMode::Detect => Mode::Detect,
            RuleMode::Prevent => Mode::Prevent,
        });
        let rules = rules(&one.rules, library, &format!("{path}.rules"), report);
        compiled.push(Override { rules, mode, score: one.score });
    }
    compiled
}

fn exclusions(
    typed: &[TypedExclusion],
    library: &Library,
    path: &str,
    report: &mut Report<'_>,
) -> Vec<Exclusion<RuleSet>> {
    let mut compiled = Vec::with_capacity(typed.len());
    for (index, one) in typed.iter().enumerate() {
        let path = format!("{path}[{index}]");
        let rules = rules(&one.rules, library, &format!("{path}.rules"), report);
        let place = match one.variable {
            ExclusionVariable::Header => Place::Header,
            ExclusionVariable::Cookie => Place::Cookie,
            ExclusionVariable::Query => Place::Query,
            ExclusionVariable::Json => Place::Json,
        };
        if let Some(selector) = selector(one, &path, report) {
            compiled.push(Exclusion { place, selector, rules });
        }
    }
    compiled
}

fn selector(typed: &TypedExclusion, path: &str, report: &mut Report<'_>) -> Option<Selector> {
    let make = match typed.operator {
        ExclusionOperator::Any => {
            if typed.selector.is_some() {
                let help = "remove it, or compare with `equals`, `starts_with`, `ends_with` or `contains`";
                report.problem(&format!("{path}.selector"), "`any` compares no name", help.to_owned());
            }
            return Some(Selector::Any);
        }
        ExclusionOperator::Equals => Selector::Equals,
        ExclusionOperator::StartsWith => Selector::StartsWith,
        ExclusionOperator::EndsWith => Selector::EndsWith,
        ExclusionOperator::Contains => Selector::Contains,
    };
    let Some(text) = &typed.selector else {
        let help = "name the value, or write `operator: any`";
        report.problem(path, "has no `selector`", help.to_owned());
        return None;
    };
    Some(make(text.clone()))
}

fn rules(names: &[String], library: &Library, path: &str, report: &mut Report<'_>) -> RuleSet {
    let mut set = RuleSet::default();
    for (index, name) in names.iter().enumerate() {
        match library.named(name) {
            Some(more) => set = set.and(more),
            None => {
                let help = suggestion(name, library.names(), "rules and groups");
                report.problem(
                    &format!("{path}[{index}]"),
                    format!("no built-in rule or group is named `{name}`"),
                    help,
                );
            }
        }
    }
    set
}

fn shape(typed: &BodyShape, path: &str, report: &mut Report<'_>) -> BodyPolicy {
    let number = |value: u32| usize::try_from(value).unwrap_or(usize::MAX);
    for (index, media_type) in typed.media_types.iter().enumerate() {
        let halves = media_type.split_once('/').is_some_and(|(kind, sub)| !kind.is_empty() && !sub.is_empty());
        if !halves || media_type.contains([';', '*', ' ']) {
            let path = format!("{path}.media_types[{index}]");
            let help = "write it without parameters and wildcards: application/json";
            report.problem(&path, format!("`{media_type}` is no media type"), help.to_owned());
        }
    }
    BodyPolicy {
        media_types: typed.media_types.iter().map(|media_type| media_type.to_ascii_lowercase()).collect(),
        depth_max: number(typed.depth_max),
        keys_max: number(typed.keys_max),
        model_length_max: number(typed.model_length_max),
        messages_max: number(typed.messages_max),
        input_max: number(typed.input_max),
        n_max: u64::from(typed.n_max),
        max_tokens_max: u64::from(typed.max_tokens_max),
        unknown_keys: match typed.unknown_keys {
            TypedUnknown::Allow => UnknownKeys::Allow,
            TypedUnknown::Log => UnknownKeys::Log,
            TypedUnknown::Deny => UnknownKeys::Deny,
        },
        known_keys: typed.known_keys.clone(),
    }
}
