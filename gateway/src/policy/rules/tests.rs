//! What rules see and decide, one row per variable.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "tests may panic")]

use super::condition::{Condition, Number, Request, Test, Variable};
use super::{Actions, Matched, Rule, Rules};
use crate::domain::RuleName;
use crate::policy::rules::action::{Redirect, Rewrite};
use crate::policy::screen::matching::{Matcher, Operator};
use crate::policy::screen::view::{Place, View};
use http::{HeaderMap, HeaderName, HeaderValue};

fn headers() -> HeaderMap<HeaderValue> {
    let mut headers = HeaderMap::new();
    let agent = "Mozilla/5.0 (iPhone; CPU iPhone OS 17_0 like Mac OS X) Mobile/15E148";
    headers.append(http::header::USER_AGENT, HeaderValue::from_static(agent));
    headers.append(http::header::COOKIE, HeaderValue::from_static("a=1; Tier=gold"));
    headers.append(HeaderName::from_static("x-flavour"), HeaderValue::from_static("red"));
    headers.append(HeaderName::from_static("x-flavour"), HeaderValue::from_static("blue"));
    headers
}

fn request(headers: &HeaderMap<HeaderValue>) -> Request<'_> {
    let view = View {
        method: "POST",
        target: b"/docs/Guide.v2.PDF?lang=sv&q=a%20b",
        host: "Edge.example:8443",
        tls: true,
        headers,
        socket: Some("10.0.0.1".parse().unwrap()),
        client: Some("192.0.2.7".parse().unwrap()),
        place: Place::default(),
        socket_place: Place::default(),
        body: None,
    };
    Request {
        view,
        host: "edge.example",
        http_version: "2",
        tls_version: Some("1.3"),
        server_port: Some(8443),
        body_size: Some(1000),
    }
}

fn text(variable: Variable, operator: Operator, values: &[&str], negate: bool) -> Condition {
    Condition { variable, test: Test::Matcher(Matcher::new(operator, values, &[], negate).unwrap()) }
}

fn number(variable: Variable, low: u64, high: u64, negate: bool) -> Condition {
    Condition { variable, test: Test::Number(Number { ranges: vec![(low, high)], negate }) }
}

#[test]
fn every_variable_is_seen() {
    let headers = headers();
    let request = request(&headers);
    let flavour = Variable::RequestHeader(HeaderName::from_static("x-flavour"));
    for (variable, value) in [
        (Variable::Method, "POST"),
        (Variable::HttpVersion, "2"),
        (Variable::Scheme, "https"),
        (Variable::Host, "edge.example"),
        (Variable::Path, "/docs/Guide.v2.PDF"),
        (Variable::FileName, "Guide.v2.PDF"),
        (Variable::FileExtension, "PDF"),
        (Variable::Url, "https://Edge.example:8443/docs/Guide.v2.PDF?lang=sv&q=a%20b"),
        (Variable::QueryString, "lang=sv&q=a%20b"),
        (Variable::QueryArgument("LANG".into()), "sv"),
        (flavour.clone(), "blue"),
        (Variable::Cookie("Tier".into()), "gold"),
        (Variable::TlsVersion, "1.3"),
        (Variable::DeviceType, "mobile"),
    ] {
        for (values, negate, holds) in [
            (&[value][..], false, true),
            (&["other"], false, false),
            (&["other", value], false, true),
            (&[value], true, false),
        ] {
            let condition = text(variable.clone(), Operator::Equal, values, negate);
            assert_eq!(condition.holds(&request), holds, "{variable:?} {values:?} {negate}");
        }
    }
    assert!(text(Variable::ClientAddress, Operator::IpMatch, &["192.0.2.0/24"], false).holds(&request));
    assert!(text(Variable::SocketAddress, Operator::IpMatch, &["192.0.2.0/24"], true).holds(&request));
    assert!(number(Variable::ServerPort, 8443, 8443, false).holds(&request));
    assert!(number(Variable::BodySize, 0, 999, true).holds(&request));
    assert!(!number(Variable::BodySize, 1001, u64::MAX, false).holds(&request));
}

#[test]
fn what_is_not_there_meets_negations_only() {
    let empty = HeaderMap::new();
    let mut request = request(&empty);
    request.view.target = b"/docs/";
    (request.tls_version, request.body_size, request.view.client) = (None, None, None);
    for variable in [
        Variable::FileName,
        Variable::FileExtension,
        Variable::QueryString,
        Variable::QueryArgument("q".into()),
        Variable::Cookie("a".into()),
        Variable::TlsVersion,
        Variable::ClientAddress,
    ] {
        assert!(!text(variable.clone(), Operator::Any, &[], false).holds(&request), "{variable:?}");
        assert!(text(variable.clone(), Operator::Any, &[], true).holds(&request), "{variable:?}");
    }
    assert!(!number(Variable::BodySize, 0, u64::MAX, false).holds(&request));
    assert!(number(Variable::BodySize, 0, 5, true).holds(&request));
    assert!(text(Variable::DeviceType, Operator::Equal, &["desktop"], false).holds(&request));
}

fn rule(name: &str, conditions: Vec<Condition>, actions: Actions, stop: bool) -> Rule {
    Rule { name: RuleName::new(name).unwrap(), conditions, actions, stop }
}

#[test]
fn rules_run_in_order_until_one_stops() {
    let headers = headers();
    let request = request(&headers);
    let post = || text(Variable::Method, Operator::Equal, &["POST"], false);
    let get = || text(Variable::Method, Operator::Equal, &["GET"], false);
    let pool = |index| Actions { pool: Some(index), ..Actions::default() };
    let to = |to: &str| Actions {
        rewrite: Some(Rewrite { from: "/docs".into(), to: to.into(), keep_rest: true }),
        ..Actions::default()
    };
    let mut rules = Rules {
        list: vec![
            rule("all", vec![], pool(1), false),
            rule("get", vec![post(), get()], pool(2), true),
            rule("first", vec![post()], to("/a"), false),
            rule("second", vec![], to("/b"), false),
            rule(
                "unfit",
                vec![],
                Actions {
                    rewrite: Some(Rewrite { from: "/x".into(), to: "/y".into(), keep_rest: true }),
                    pool: Some(3),
                    ..Actions::default()
                },
                true,
            ),
            rule("never", vec![], pool(4), false),
        ],
        hosts: vec![],
    };
    let matched = rules.decide(&request);
    assert_eq!(matched, Matched(vec![0, 2, 3, 4]));
    assert_eq!((matched.pool(&rules), matched.rewrite(&rules, "/docs/x").as_deref()), (Some(3), Some("/b/x")));
    assert!(matched.redirect(&rules).is_none());
    rules.list[2].actions = Actions {
        redirect: Some(Redirect {
            status: 307,
            tls: None,
            host: None,
            path: Some("/".into()),
            query: None,
            fragment: None,
        }),
        ..Actions::default()
    };
    let matched = rules.decide(&request);
    assert_eq!(matched, Matched(vec![0, 2]));
    assert!(matched.redirect(&rules).is_some());
    assert_eq!(Rules::default().decide(&request), Matched::default());
}
