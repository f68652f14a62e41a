//! Tables and properties of paths and queries.
#![allow(clippy::unwrap_used, reason = "tests may panic")]

use proptest::prelude::{ProptestConfig, any, prop_assert, prop_assert_eq, proptest};

use super::*;

#[test]
fn paths_are_understood() {
    use Operation as O;
    use Style::{Classic, Other, V1};
    for (path, style, operation, deployment, rest) in [
        (
            "/openai/deployments/gpt-4o/chat/completions",
            Classic,
            O::ChatCompletions,
            Some("gpt-4o"),
            "/chat/completions",
        ),
        ("/openai/deployments/a%2Db/embeddings", Classic, O::Embeddings, Some("a-b"), "/embeddings"),
        ("/openai/deployments/d/completions/", Classic, O::Completions, Some("d"), "/completions/"),
        ("/openai/deployments/d/images/edits", Classic, O::ImagesEdits, Some("d"), "/images/edits"),
        ("/openai/deployments/d", Classic, O::Models, Some("d"), ""),
        ("/openai/deployments", Classic, O::Models, None, "/deployments"),
        ("/openai/responses", Classic, O::Responses, None, "/responses"),
        ("/openai/responses/resp_1", Classic, O::Other, None, "/responses/resp_1"),
        ("/openai/models", Classic, O::Models, None, "/models"),
        ("/openai/realtime", Classic, O::Realtime, None, "/realtime"),
        ("/openai", Classic, O::Other, None, ""),
        ("/openai/v1/chat/completions", V1, O::ChatCompletions, None, "/chat/completions"),
        ("/openai/v1/responses/compact", V1, O::Responses, None, "/responses/compact"),
        ("/v1/audio/transcriptions", V1, O::AudioTranscriptions, None, "/audio/transcriptions"),
        ("/v1/models/gpt-4o", V1, O::Models, None, "/models/gpt-4o"),
        ("/%6fpenai/v1/ch%61t%2Fcompletions", V1, O::ChatCompletions, None, "/ch%61t%2Fcompletions"),
        ("/openai/v1beta/chat/completions", Classic, O::Other, None, "/v1beta/chat/completions"),
        ("/OpenAI/v1/models", Other, O::Other, None, "/OpenAI/v1/models"),
        ("/openaix/models", Other, O::Other, None, "/openaix/models"),
        ("/", Other, O::Other, None, "/"),
        ("", Other, O::Other, None, ""),
        ("*", Other, O::Other, None, "*"),
    ] {
        let target = parse(path).unwrap();
        let seen = (target.style, target.operation, target.deployment.as_deref(), target.rest);
        assert_eq!(seen, (style, operation, deployment, rest), "{path}");
    }
}

#[test]
fn absurd_paths_are_refused() {
    let long = format!("/openai/deployments/{}/embeddings", "x".repeat(257));
    for path in [
        "/openai/deployments//chat/completions",
        "/openai/deployments/",
        "/openai/deployments/a%2Fb/embeddings",
        "/openai/deployments/a%5Cb/embeddings",
        "/openai/deployments/a%00b/embeddings",
        "/openai/deployments/a%0d%0ab/embeddings",
        "/openai/deployments/%zz/embeddings",
        "/openai/deployments/a%",
        "/openai/deployments/%ff/embeddings",
        "/openai/../secret",
        "/openai/%2e%2E/secret",
        "/openai/x%2f..%2fy",
        "/openai/x%5c..%5cy",
        "/openai/./v1/models",
        "/a/..",
        "//openai/v1/models",
        "/\u{7f}",
        &long,
    ] {
        assert!(matches!(parse(path).map_err(Denial::from), Err(Denial::BadPath { .. })), "{path}");
    }
}

#[test]
fn paths_are_rewritten_for_a_backend() {
    let classic = Some("2024-10-21");
    for (path, base, deployment, query, version, want) in [
        (
            "/openai/deployments/a/embeddings",
            "",
            Some("b"),
            Some("api-version=1&x=%20"),
            classic,
            "/openai/deployments/b/embeddings?api-version=2024-10-21&x=%20",
        ),
        (
            "/openai/deployments/a/embeddings",
            "/base",
            Some("b c/d"),
            None,
            classic,
            "/base/openai/deployments/b%20c%2Fd/embeddings?api-version=2024-10-21",
        ),
        (
            "/openai/deployments/a/embeddings",
            "",
            None,
            Some("api-version=1"),
            None,
            "/openai/deployments/a/embeddings?api-version=1",
        ),
        (
            "/openai/models",
            "",
            Some("b"),
            Some("Api-Version=1&api%2Dversion=2"),
            classic,
            "/openai/models?Api-Version=2024-10-21",
        ),
        ("/openai/responses", "", Some("b"), Some("model=a&&z"), None, "/openai/responses?model=a&&z"),
        (
            "/v1/chat/completions",
            "",
            Some("b"),
            Some("api-version=preview"),
            classic,
            "/openai/v1/chat/completions?api-version=preview",
        ),
        ("/openai/v1/models", "/p", None, Some(""), classic, "/p/openai/v1/models"),
        (
            "/openai/realtime",
            "",
            Some("b"),
            Some("deployment=a&API-KEY=s&model=x"),
            classic,
            "/openai/realtime?deployment=b&api-version=2024-10-21",
        ),
        ("/openai/v1/realtime", "", Some("b"), Some("model=a"), None, "/openai/v1/realtime?model=b"),
        ("/health", "", Some("b"), Some("api%2dkey=s&subscription-key=t"), classic, "/health"),
        ("/health", "/p", None, Some("a=1&api-key"), None, "/p/health?a=1"),
    ] {
        let target = parse(path).unwrap();
        let to = Destination { base_path: base, style: target.style, deployment, api_version: version };
        assert_eq!(rewrite_path(&target, &to, query), want, "{path} {query:?}");
    }
}

#[test]
fn stored_things_are_bound_to_their_owner() {
    for (path, want) in [
        ("/openai/v1/responses", None),
        ("/openai/v1/responses/resp_1", Some("responses")),
        ("/openai/responses/resp_1/input_items", Some("responses")),
        ("/openai/v1/files", Some("files")),
        ("/openai/v1/chat/completions/chatcmpl-1", Some("chat")),
        ("/openai/thre%61ds/t/runs", Some("threads")),
        ("/openai/deployments/d/chat/completions", None),
        ("/files", None),
    ] {
        assert_eq!(parse(path).unwrap().bound(), want, "{path}");
    }
}

#[test]
fn realtime_deployments_are_found_in_the_query() {
    for (query, want) in [
        ("api-version=1&deployment=gpt%2Drt", Some("gpt-rt")),
        ("model=rt&deployment=x", Some("rt")),
        ("", None),
        ("model", None),
        ("deployment=", None),
        ("deployment=%zz", None),
        ("model=a%2Fb", None),
    ] {
        assert_eq!(deployment_in_query(Operation::Realtime, Some(query)).as_deref(), want, "{query}");
    }
    assert_eq!(deployment_in_query(Operation::Models, Some("model=a")), None);
    assert_eq!(deployment_in_query(Operation::Realtime, None), None);
}

#[test]
fn only_a_post_makes_a_chat_completion() {
    for (method, path, want) in [
        (Method::POST, "/openai/v1/chat/completions", (Operation::ChatCompletions, None)),
        (Method::GET, "/openai/v1/chat/completions", (Operation::Other, Some("chat"))),
        (Method::DELETE, "/openai/chat/completions/", (Operation::Other, Some("chat"))),
        (Method::GET, "/openai/v1/chat/completions/chatcmpl-1", (Operation::Other, Some("chat"))),
        (Method::GET, "/openai/v1/models", (Operation::Models, None)),
        (Method::GET, "/openai/v1/realtime", (Operation::Realtime, None)),
    ] {
        let target = parse(path).unwrap().asked_by(&method);
        assert_eq!((target.operation, target.bound()), want, "{method} {path}");
    }
}

#[test]
fn queries_are_scrubbed_for_logs() {
    for (query, want) in [
        ("a=1&b", "a=1&b"),
        ("api-key=s3cret&a=1", "api-key=***&a=1"),
        ("a=1&API%2DKey=s3cret", "a=1&API%2DKey=***"),
        ("Subscription-Key=x=y", "Subscription-Key=***"),
        ("sig=abc&%zz=abc", "sig=***&%zz=***"),
        ("", ""),
    ] {
        assert_eq!(scrub_query(query), want, "{query}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]
    #[test]
    fn any_path_and_query_is_survived(path in any::<String>(), tail in "[/%.a-z0-9]{0,40}", query in any::<String>()) {
        drop(parse(&path));
        drop(deployment_in_query(Operation::Realtime, Some(&query)));
        drop(scrub_query(&query));
        if let Ok(target) = parse(&format!("/openai/{tail}")) {
            let to = Destination { base_path: "", style: target.style, deployment: Some("b"), api_version: Some("v") };
            let out = rewrite_path(&target, &to, Some(&query));
            prop_assert!(out.starts_with("/openai"));
        }
    }

    #[test]
    fn a_rewritten_path_reads_back(name in "[a-zA-Z0-9._ ~é-]{1,40}", key in "[a-zA-Z0-9]{1,20}") {
        let target = parse("/openai/deployments/x/embeddings").unwrap();
        let to = Destination { base_path: "", style: target.style, deployment: Some(&name), api_version: None };
        let out = rewrite_path(&target, &to, Some(&format!("api-key={key}")));
        prop_assert!(!out.contains('?'));
        if let Ok(back) = parse(&out) {
            prop_assert_eq!(back.deployment.unwrap(), name);
            prop_assert_eq!(back.operation, Operation::Embeddings);
        } else {
            prop_assert!(name == "." || name == "..");
        }
    }
}
