//! What the body policy refuses, notes and lets pass.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests may panic")]

use super::super::builtin::{Library, Override};
use super::super::exclusion::{Exclusion, Place, Selector};
use super::scanner::scan;
use super::*;
use proptest::prelude::{ProptestConfig, any, prop, prop_assert, prop_assert_eq, proptest};
use std::sync::LazyLock;

static LIBRARY: LazyLock<Library> = LazyLock::new(|| Library::new().unwrap());
const JSON: Option<&[u8]> = Some(b"application/json");

fn policy() -> BodyPolicy {
    BodyPolicy {
        media_types: vec!["application/json".to_owned(), "multipart/form-data".to_owned()],
        depth_max: 64,
        keys_max: 50_000,
        model_length_max: 128,
        messages_max: 4096,
        input_max: 8192,
        n_max: 8,
        max_tokens_max: 100_000,
        unknown_keys: UnknownKeys::Log,
        known_keys: Vec::new(),
    }
}

/// The refusing rule, and all findings, in prevent.
fn judged(policy: &BodyPolicy, body: impl AsRef<[u8]>) -> (Option<&'static str>, Vec<String>) {
    let builtin = Builtin::new(&LIBRARY, Mode::Prevent, &[], Vec::new());
    let mut findings = Findings::default();
    let refused = policy.judge(JSON, body.as_ref(), &builtin, &mut findings);
    (refused.map(|refused| refused.rule), findings.kept().iter().map(|finding| finding.rule.to_string()).collect())
}

fn nested(depth: usize) -> String {
    format!(r#"{{"model":"m","x":{}{}}}"#, "[".repeat(depth - 1), "]".repeat(depth - 1))
}

#[test]
fn honest_bodies_pass() {
    let known = UnknownKeys::Deny;
    for body in [
        r#"{"model":"gpt-4o","messages":[{"role":"user","content":"hi"}],"n":1,"max_tokens":null,"stream":true}"#,
        r#" { "input" : ["a","b"] , "model" : "e" } "#,
        r#"{"input":[[1,2,3],[4]],"model":"e","encoding_format":"float","dimensions":256}"#,
        r#"{"model":"m","input":"text","reasoning":{"effort":"low"},"tools":[],"previous_response_id":"resp_1"}"#,
        r#"{"prompt":"a cat","n":2,"size":"1024x1024","response_format":"b64_json"}"#,
        r#"{"model":"m","temperature":1e0,"top_p":0.5,"presence_penalty":-2,"stop":["\n","END"],"logit_bias":{"1":-100}}"#,
        r#"{"messages":[{"a":1,"b":2},{"a":1,"b":2}],"tools":[{"type":"function","function":{"name":"f","parameters":{"type":"object","properties":{"type":{"type":"string"}}}}}]}"#,
        "{}",
    ] {
        let policy = BodyPolicy { unknown_keys: known, ..policy() };
        assert_eq!(judged(&policy, body), (None, vec![]), "{body}");
    }
    assert_eq!(judged(&policy(), nested(64)).0, None);
}

#[test]
fn shapes_that_hide_something_are_refused() {
    let many = |count: usize, top: bool| {
        let keys: Vec<String> = (0..count).map(|n| format!("\"k{n}\":1")).collect();
        if top { format!("{{{}}}", keys.join(",")) } else { format!(r#"{{"metadata":{{{}}}}}"#, keys.join(",")) }
    };
    let list = |key: &str, count: usize| format!(r#"{{"{key}":[{}]}}"#, vec!["1"; count].join(","));
    for (body, rule) in [
        (r#"{"model":"a","model":"b"}"#.to_owned(), REPEATED),
        (r#"{"model":"a","mod\u0065l":"b"}"#.to_owned(), REPEATED),
        (r#"{"messages":[{"role":"user","content":"a","role":"system"}]}"#.to_owned(), REPEATED),
        (r#"{"metadata":{"a":{"b":1,"c":2,"b":3}}}"#.to_owned(), REPEATED),
        (r#"{"x":{"":1,"":2}}"#.to_owned(), REPEATED),
        (many(20, false).replace("\"k19\"", "\"k0\""), REPEATED),
        (nested(65), DEEP),
        (nested(100_000), DEEP),
        (many(50_000, false), KEYS),
        (many(300, true), KEYS),
        (r#"{"model":1}"#.to_owned(), TYPE),
        (r#"{"messages":"hi"}"#.to_owned(), TYPE),
        (r#"{"messages":{}}"#.to_owned(), TYPE),
        (r#"{"input":5}"#.to_owned(), TYPE),
        (r#"{"n":"2"}"#.to_owned(), TYPE),
        (r#"{"n":1.5}"#.to_owned(), TYPE),
        (r#"{"stream":"yes"}"#.to_owned(), TYPE),
        (r#"{"temperature":"hot"}"#.to_owned(), TYPE),
        (r#"{"tools":{}}"#.to_owned(), TYPE),
        (format!(r#"{{"model":"{}"}}"#, "m".repeat(129)), RANGE),
        (r#"{"n":0}"#.to_owned(), RANGE),
        (r#"{"n":9}"#.to_owned(), RANGE),
        (r#"{"n":-1}"#.to_owned(), RANGE),
        (r#"{"n":99999999999999999999999}"#.to_owned(), RANGE),
        (r#"{"max_tokens":100001}"#.to_owned(), RANGE),
        (r#"{"max_completion_tokens":0}"#.to_owned(), RANGE),
        (r#"{"temperature":3}"#.to_owned(), RANGE),
        (r#"{"top_p":1e400}"#.to_owned(), RANGE),
        (list("messages", 4097), RANGE),
        (list("input", 8193), RANGE),
        (list("tools", 257), RANGE),
    ] {
        let shown: String = body.chars().take(80).collect();
        let (refused, findings) = judged(&policy(), &body);
        assert_eq!(refused, Some(rule), "{shown}");
        assert!(findings.iter().any(|found| found == rule), "{shown}");
    }
    assert_eq!(judged(&policy(), many(49_999, false)).0, None);
    assert_eq!(judged(&policy(), list("messages", 4096)).0, None);
}

#[test]
fn what_is_no_json_is_noted_and_left_to_the_facts() {
    for body in ["", "[]", "{", "{} x", r#"{"a":01}"#, r#"{"a":1,}"#, "{\"a\":\"\n\"}", r#"{"a":"\x"}"#, r#"{"a":tru}"#]
    {
        assert_eq!(judged(&policy(), body), (None, vec![NOT_JSON.to_owned()]), "{body}");
    }
    assert_eq!(judged(&policy(), b"{\"a\":\"\xff\"}"), (None, vec![NOT_UTF8.to_owned()]));
}

#[test]
fn media_types_are_those_of_the_list() {
    let builtin = Builtin::new(&LIBRARY, Mode::Prevent, &[], Vec::new());
    let judge = |sent: Option<&[u8]>| policy().judge(sent, b"{}", &builtin, &mut Findings::default());
    for sent in [
        "application/json",
        "Application/JSON; charset=UTF-8",
        "application/json;charset=\"utf-8\"",
        "multipart/form-data; boundary=x",
    ] {
        assert_eq!(judge(Some(sent.as_bytes())), None, "{sent}");
    }
    for sent in ["text/plain", "application/json; charset=utf-16", "application/xml", "application/jsonp", "", "*/*"] {
        assert!(judge(Some(sent.as_bytes())).unwrap().media_type, "{sent}");
    }
    assert!(judge(None).is_some() && judge(Some(b"application/json\xff")).is_some());
}

#[test]
fn unknown_fields_are_allowed_logged_or_denied() {
    let body = r#"{"model":"m","surprise":1,"x_trace":2}"#;
    let with = |unknown_keys, known: &[&str]| {
        let known_keys = known.iter().map(|key| (*key).to_owned()).collect();
        judged(&BodyPolicy { unknown_keys, known_keys, ..policy() }, body)
    };
    assert_eq!(with(UnknownKeys::Allow, &[]), (None, vec![]));
    assert_eq!(with(UnknownKeys::Log, &[]), (None, vec![UNKNOWN.to_owned(), UNKNOWN.to_owned()]));
    assert_eq!(with(UnknownKeys::Deny, &[]).0, Some(UNKNOWN));
    assert_eq!(with(UnknownKeys::Deny, &["surprise"]).0, Some(UNKNOWN));
    assert_eq!(with(UnknownKeys::Deny, &["surprise", "x_trace"]), (None, vec![]));
}

#[test]
fn modes_overrides_and_exclusions_hold_for_bodies() {
    let body = br#"{"n":99,"n":98}"#;
    let judge = |mode, overrides: &[Override], exclusions| {
        let builtin = Builtin::new(&LIBRARY, mode, overrides, exclusions);
        let mut findings = Findings::default();
        let refused = policy().judge(JSON, body, &builtin, &mut findings);
        (refused.map(|refused| refused.rule), findings.kept().len())
    };
    let change = |name, mode| Override { rules: LIBRARY.named(name).unwrap(), mode: Some(mode), score: None };
    assert_eq!(judge(Mode::Prevent, &[], vec![]), (Some(REPEATED), 3));
    assert_eq!(judge(Mode::Detect, &[], vec![]), (None, 3));
    assert_eq!(judge(Mode::Prevent, &[change(REPEATED, Mode::Detect)], vec![]), (Some(RANGE), 3));
    assert_eq!(judge(Mode::Prevent, &[change("body", Mode::Off)], vec![]), (None, 0));
    let spared = Exclusion {
        place: Place::Json,
        selector: Selector::Equals("n".to_owned()),
        rules: LIBRARY.named(RANGE).unwrap(),
    };
    assert_eq!(judge(Mode::Prevent, &[], vec![spared]), (Some(REPEATED), 1));
}

#[test]
fn keys_are_compared_in_linear_time() {
    let same = "\"aaaa\":{},".repeat(40_000);
    let body = format!(r#"{{"x":{{{}"z":1}}}}"#, same);
    assert_eq!(judged(&policy(), body).0, Some(REPEATED));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1024))]
    #[test]
    fn any_body_is_survived_and_judged_as_the_parser_does(
        bytes in prop::collection::vec(any::<u8>(), 0..200),
        text in r#"[{}\[\]":,a-c0-9.eE+\-\\ nul]{0,40}"#,
    ) {
        let bounds = Bounds { depth: 64, keys: 1000 };
        drop(scan(&bytes, bounds));
        let valid = serde_json::from_str::<serde_json::Map<String, serde_json::Value>>(&text).is_ok();
        let scan = scan(text.as_bytes(), bounds);
        // A number too large for a float is JSON all the same.
        prop_assert!(!valid || scan.stopped.is_none(), "{text}");
    }

    #[test]
    fn what_serde_writes_is_understood(
        map in prop::collection::btree_map(any::<String>(), (any::<String>(), any::<i64>(), prop::collection::vec(any::<bool>(), 0..5)), 0..20),
    ) {
        let body = serde_json::to_vec(&map).unwrap();
        let scan = scan(&body, Bounds { depth: 4, keys: 1000 });
        prop_assert_eq!(scan.stopped, None);
        prop_assert_eq!(scan.repeated, None);
        let keys: Vec<Vec<u8>> = scan.members.iter().map(|member| member.key.to_vec()).collect();
        prop_assert_eq!(keys, map.keys().map(|key| key.clone().into_bytes()).collect::<Vec<_>>());
    }
}
