//! The order of a screening, actions by mode, and rules that wait for the body.

#![allow(clippy::unwrap_used, reason = "tests may panic")]

use super::*;
use crate::policy::screen::custom::{Condition, Group, Variable};
use crate::policy::screen::finding::Severity;
use crate::policy::screen::matching::{Matcher, Operator};
use crate::policy::screen::view::Place;
use http::{HeaderMap, HeaderName, HeaderValue};
use std::cell::RefCell;
use std::collections::HashMap;

/// Counts in a map; windows never end.
#[derive(Default)]
struct Counts(RefCell<HashMap<String, u32>>);

impl Limiter for Counts {
    fn take(&self, limit: &RateLimit, key: &Key<'_>) -> Option<Duration> {
        let mut counts = self.0.borrow_mut();
        let count = counts.entry(format!("{} {key:?}", limit.id)).or_default();
        *count += 1;
        (*count > limit.threshold).then_some(Duration::from_secs(7))
    }
}

fn rule(name: &str, condition: (Variable, Operator, &[&str]), action: Action) -> Rule {
    let (variable, operator, values) = condition;
    let matcher = Matcher::new(operator, values, &[], false).unwrap();
    Rule { name: name.into(), mode: Mode::Prevent, conditions: vec![Condition::new(variable, matcher)], action }
}

fn uri(name: &str, part: &str, action: Action) -> Rule {
    rule(name, (Variable::RequestUri, Operator::Contains, &[part]), action)
}

fn policy(mode: Mode, mut rules: Vec<Rule>) -> Policy {
    for rule in &mut rules {
        rule.mode = rule.mode.under(mode);
    }
    Policy {
        name: "p".into(),
        mode,
        threshold: 5,
        block_status: 406,
        block_body: Some("no".into()),
        redirect_url: Some("https://sorry.example/".into()),
        body_size_max: 1024,
        rules,
        sources: Vec::new(),
    }
}

fn run(policy: &Policy, target: &str, body: Option<&str>) -> (Ruling, Vec<String>) {
    run_with(policy, target, body, &Counts::default())
}

fn run_with(policy: &Policy, target: &str, body: Option<&str>, limiter: &Counts) -> (Ruling, Vec<String>) {
    let mut headers = HeaderMap::new();
    headers.append("x-team", HeaderValue::from_static("blue"));
    let view = View {
        method: "POST",
        target: target.as_bytes(),
        host: "edge",
        tls: true,
        headers: &headers,
        socket: "2001:db8::7".parse().ok(),
        client: "192.0.2.7".parse().ok(),
        place: Place::default(),
        socket_place: Place::default(),
        body: None,
    };
    let mut screening = Screening::default();
    let ruling = policy.envelope(&view, limiter, &mut screening);
    let ruling = ruling.unwrap_or_else(|| {
        let view = View { body: body.map(str::as_bytes), ..view };
        policy.body(&view, limiter, &mut screening)
    });
    (ruling, screening.findings().kept().iter().map(|f| format!("{}:{}", f.rule, f.mode.label())).collect())
}

fn blocked() -> Ruling {
    Ruling::Block { status: 406, body: Some("no".into()) }
}

#[test]
fn actions_act_in_order_and_allow_skips_the_rest() {
    let rules = || {
        vec![
            uri("note", "/", Action::Log),
            uri("friend", "friend", Action::Allow),
            uri("foe", "foe", Action::Block),
            uri("old", "old", Action::Redirect),
            uri("odd", "odd", Action::AnomalyScore(Severity::Warning)),
            uri("odder", "odder", Action::AnomalyScore(Severity::Notice)),
        ]
    };
    let prevent = policy(Mode::Prevent, rules());
    let redirect = Ruling::Redirect { location: "https://sorry.example/".into() };
    for (target, ruling, found) in [
        ("/x", Ruling::Pass, &["note:prevent"][..]),
        ("/friend-foe", Ruling::Pass, &["note:prevent", "friend:prevent"]),
        ("/foe-old", blocked(), &["note:prevent", "foe:prevent"]),
        ("/old", redirect, &["note:prevent", "old:prevent"]),
        ("/odd", Ruling::Pass, &["note:prevent", "odd:prevent"]),
        ("/odder", blocked(), &["note:prevent", "odd:prevent", "odder:prevent", "949110:prevent"]),
    ] {
        assert_eq!(run(&prevent, target, None), (ruling, found.iter().map(|f| (*f).to_owned()).collect()), "{target}");
    }
    let detect = policy(Mode::Detect, rules());
    for (target, found) in [
        ("/foe-old", &["note:detect", "foe:detect", "old:detect"][..]),
        ("/friend-foe", &["note:detect", "friend:detect"]),
        ("/odder", &["note:detect", "odd:detect", "odder:detect", "949110:detect"]),
    ] {
        assert_eq!(run(&detect, target, None), (Ruling::Pass, found.iter().map(|f| (*f).to_owned()).collect()));
    }
}

#[test]
fn rules_of_the_body_keep_their_place_in_the_order() {
    let of_body = |action| rule("body", (Variable::RequestBody, Operator::Contains, &["secret"]), action);
    let waits = policy(Mode::Prevent, vec![of_body(Action::Allow), uri("foe", "foe", Action::Block)]);
    assert_eq!(run(&waits, "/foe", Some("a secret")).0, Ruling::Pass);
    assert_eq!(run(&waits, "/foe", Some("nothing")).0, blocked());
    assert_eq!(run(&waits, "/foe", None).0, blocked());
    let first = policy(Mode::Prevent, vec![uri("foe", "foe", Action::Block), of_body(Action::Allow)]);
    assert_eq!(run(&first, "/foe", Some("a secret")).0, blocked());
    // Conditions of both kinds must hold.
    let mut both = of_body(Action::Block);
    both.conditions.extend(uri("", "both", Action::Log).conditions);
    let both = policy(Mode::Prevent, vec![both]);
    assert_eq!(run(&both, "/both", Some("secret")).0, blocked());
    assert_eq!(run(&both, "/one", Some("secret")).0, Ruling::Pass);
    assert_eq!(run(&both, "/both", Some("x")).0, Ruling::Pass);
}

#[test]
fn a_rate_limit_counts_per_group_and_speaks_only_beyond_it() {
    for (group, key) in [
        (Group::SocketAddr, "Address(Some(2001:db8::))"),
        (Group::RemoteAddr, "Address(Some(192.0.2.7))"),
        (Group::Country, "Country(ZZ)"),
        (Group::Header(HeaderName::from_static("x-team")), "Text(Some([98, 108, 117, 101]))"),
        (Group::Header(HeaderName::from_static("x-none")), "Text(None)"),
        (Group::None, "All"),
    ] {
        let limit = RateLimit { id: "p/r".into(), threshold: 2, window: Duration::from_secs(60), group };
        let limits = policy(Mode::Prevent, vec![uri("r", "/chat", Action::RateLimit(limit))]);
        let counts = Counts::default();
        for _ in 0..2 {
            assert_eq!(run_with(&limits, "/chat", None, &counts), (Ruling::Pass, vec![]));
            assert_eq!(run_with(&limits, "/other", None, &counts), (Ruling::Pass, vec![]));
        }
        let over = Ruling::RateLimited { retry_after: Duration::from_secs(7) };
        assert_eq!(run_with(&limits, "/chat", None, &counts), (over, vec!["r:prevent".to_owned()]));
        assert_eq!(counts.0.borrow().keys().collect::<Vec<_>>(), [&format!("p/r {key}")]);
        let detect = policy(Mode::Detect, limits.rules);
        assert_eq!(run_with(&detect, "/chat", None, &counts), (Ruling::Pass, vec!["r:detect".to_owned()]));
    }
}
