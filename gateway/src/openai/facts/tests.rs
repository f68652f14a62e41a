//! Tables and properties of JSON bodies.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests may panic")]

use proptest::prelude::{ProptestConfig, any, prop, prop_assert_eq, proptest};

use super::*;

fn problem(body: &str) -> Denial {
    from_json(body.as_bytes(), true).unwrap_err().into()
}

#[test]
fn facts_are_found() {
    let body = br#" { "messages":[{"content":"\"model\":\"x\""}], "mod\u0065l" : "gpt\u002d4o" ,"stream":true,
        "stream_options":{"include_usage":true,"x":1},"max_tokens":5,"max_completion_tokens":7,"n":2,
        "metadata":{"model":"no","stream":1},"previous_response_id":"resp_1"} "#;
    let facts = from_json(body, true).unwrap();
    let model = facts.model.clone().unwrap();
    assert_eq!((model.value.as_str(), &body[model.span]), ("gpt-4o", br#""gpt\u002d4o""#.as_slice()));
    assert!(facts.stream && facts.include_usage);
    assert_eq!((facts.max_tokens, facts.n, facts.bound), (Some(7), Some(2), Some("previous_response_id")));
}

#[test]
fn fields_that_say_nothing_are_no_facts() {
    for body in [
        "{}",
        r#"{"model":null,"stream":null,"stream_options":null,"max_tokens":null,"n":null,"conversation":null}"#,
        r#"{"model":"","stream":false,"stream_options":"x","max_tokens":-1,"n":1.5,"background":false,"store":null}"#,
        r#"{"stream_options":{"include_usage":1},"max_output_tokens":99999999999999999999,"n":"2"}"#,
    ] {
        let facts = from_json(body.as_bytes(), false).unwrap();
        // Where the options stand is known all the same: ours take their place.
        assert_eq!(facts, Facts { stream_options: facts.stream_options.clone(), ..Facts::default() }, "{body}");
    }
    let twice = from_json(br#"{"stream_options":{},"stream_options":{"include_usage":true}}"#, false);
    assert_eq!(twice, Err(FactsProblem::Field { param: "stream_options", what: "is given twice" }));
    assert!(from_json(br#"{"data_sources":[]}"#, false).unwrap().own_data);
    let bound = |body: &str| from_json(body.as_bytes(), false).unwrap().bound;
    assert_eq!(bound(r#"{"conversation":{"id":"c"}}"#), Some("conversation"));
    assert_eq!(bound(r#"{"background":true}"#), Some("background"));
    let stored = |body: &str| from_json(body.as_bytes(), false).unwrap().store;
    for (body, want) in [
        (r#"{"store":true}"#, Some(true)),
        (r#"{"store":false}"#, Some(false)),
        (r#"{"store":true,"store":false}"#, Some(true)),
        (r#"{"store":"true"}"#, None),
        (r#"{"store":null}"#, None),
        (r#"{"metadata":{"store":true}}"#, None),
    ] {
        assert_eq!(stored(body), want, "{body}");
    }
}

#[test]
fn what_a_prompt_cache_goes_by_is_found() {
    let read = |body: &str| {
        let facts = from_json(body.as_bytes(), false).unwrap();
        [facts.cache_key, facts.talk, facts.prompt].map(|span| span.map(|span| body[span].to_owned()))
    };
    for (body, want) in [
        ("{}", [None, None, None]),
        (
            r#"{"prompt_cache_key":"k","user":"u","messages":[{"a":1}]}"#,
            [Some("\"k\""), Some("\"u\""), Some("[{\"a\":1}]")],
        ),
        (r#"{"conversation":"c","user":"u","input":"hi"}"#, [None, Some("\"c\""), Some("\"hi\"")]),
        (r#"{"user":"u","conversation":{"id":"c"},"prompt":7}"#, [None, Some("{\"id\":\"c\"}"), Some("7")]),
        (r#"{"prompt_cache_key":"","user":null,"conversation":null}"#, [None, None, None]),
        (r#"{"prompt_cache_key":5,"user":["u"]}"#, [None, None, None]),
    ] {
        assert_eq!(read(body), want.map(|text| text.map(str::to_owned)), "{body}");
    }
}

#[test]
fn bodies_that_are_no_object_are_refused() {
    for body in [
        "",
        " ",
        "null",
        "[]",
        "\"secret\"",
        "1",
        "{",
        "{\"a\"",
        "{\"a\":}",
        "{\"a\":1,}",
        "{} {}",
        "{}x",
        "{'a':1}",
        "{\"a\":\"\n\"}",
        "{\"a\":[}]}",
        "{\"a\":01}",
        "\u{feff}{}",
        "{\"a\":tru}",
        "{\"a\":\"\\x\"}",
        "{1:2}",
    ] {
        let Denial::BadJson { what } = problem(body) else { unreachable!("{body}") };
        assert!(!what.contains("secret"), "{what}");
    }
    let Denial::BadJson { what } = from_json(b"{\"a\":\"\xff\"}", false).unwrap_err().into() else { unreachable!() };
    assert_eq!(what, "the body is not UTF-8 at byte 6");
    for cut in 0..30 {
        assert!(from_json(&br#"{"model":"m","a":[1,{"b":"c"}]}"#[..cut], true).is_err(), "{cut}");
    }
}

#[test]
fn fields_of_the_wrong_shape_are_refused() {
    let long = format!(r#"{{"model":"{}"}}"#, "x".repeat(257));
    let endless = format!(r#"{{"model":"{}"}}"#, "x".repeat(100_000));
    for (body, want) in [
        ("{}", "model"),
        (r#"{"model":null}"#, "model"),
        (r#"{"model":""}"#, "model"),
        (r#"{"model":1}"#, "model"),
        (r#"{"model":["m"]}"#, "model"),
        (r#"{"model":"a\u0000"}"#, "model"),
        (r#"{"model":"\ud800"}"#, "model"),
        (&long, "model"),
        (&endless, "model"),
        (r#"{"model":"a","model":"b"}"#, "model"),
        (r#"{"model":"a","m\u006fdel":"a"}"#, "model"),
        (r#"{"model":"a","stream":1}"#, "stream"),
        (r#"{"model":"a","stream":"true"}"#, "stream"),
        (r#"{"model":"a","stream":true,"stream":false}"#, "stream"),
    ] {
        assert!(matches!(problem(body), Denial::BadField { param, .. } if param == want), "{body}");
    }
}

#[test]
fn deep_nesting_needs_no_stack() {
    let depth = 200_000;
    let body = format!(r#"{{"model":"m","a":{}{}}}"#, "[".repeat(depth), "]".repeat(depth));
    assert_eq!(from_json(body.as_bytes(), true).unwrap().model.unwrap().value, "m");
    let body = format!(r#"{{"model":{}{}}}"#, "[".repeat(depth), "]".repeat(depth));
    assert!(from_json(body.as_bytes(), true).is_err());
    let body = format!(r#"{{"stream_options":{}{}}}"#, "[".repeat(depth), "]".repeat(depth));
    assert!(!from_json(body.as_bytes(), false).unwrap().include_usage);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]
    #[test]
    fn any_body_is_survived(body in prop::collection::vec(any::<u8>(), 0..300), text in r#"[{}\[\]":,a-z0-9\\ ]{0,80}"#) {
        drop(from_json(&body, true));
        drop(from_json(text.as_bytes(), false));
    }

    #[test]
    fn any_model_is_found_where_it_stands(model in "[^\\p{Cc}]{1,60}", before in any::<String>(), after in any::<String>()) {
        let body = serde_json::json!({"a": before, "model": model, "z": [after]}).to_string();
        let field = from_json(body.as_bytes(), true).unwrap().model.unwrap();
        prop_assert_eq!(&body[field.span], serde_json::to_string(&model).unwrap());
        prop_assert_eq!(field.value, model);
    }
}
