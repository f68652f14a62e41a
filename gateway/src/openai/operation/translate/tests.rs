//! Tables and properties of translation between the styles.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests may panic")]

use proptest::prelude::{ProptestConfig, prop_assert, prop_assert_eq, proptest};
use proptest::sample::select;

use super::*;
use crate::openai::operation::{api_version_in_query, parse};

fn translated(path: &str, speaks: Speaks, deployment: Option<&str>, query: Option<&str>) -> Option<String> {
    let target = parse(path).unwrap();
    let to = Destination {
        base_path: "",
        style: target.style_at(speaks)?,
        deployment,
        api_version: Some("2025-03-01-preview"),
    };
    Some(rewrite_path(&target, &to, query))
}

/// Classic path, v1 path, where the name of the deployment is not in the classic path for `false`.
const OPERATIONS: [(&str, &str, bool); 15] = [
    ("/openai/deployments/d/chat/completions", "/openai/v1/chat/completions", true),
    ("/openai/deployments/d/completions", "/openai/v1/completions", true),
    ("/openai/deployments/d/embeddings", "/openai/v1/embeddings", true),
    ("/openai/deployments/d/images/generations", "/openai/v1/images/generations", true),
    ("/openai/deployments/d/images/edits", "/openai/v1/images/edits", true),
    ("/openai/deployments/d/audio/transcriptions", "/openai/v1/audio/transcriptions", true),
    ("/openai/deployments/d/audio/translations", "/openai/v1/audio/translations", true),
    ("/openai/deployments/d/audio/speech", "/openai/v1/audio/speech", true),
    ("/openai/responses", "/openai/v1/responses", false),
    ("/openai/responses/compact", "/openai/v1/responses/compact", false),
    ("/openai/responses/resp_1/input_items", "/openai/v1/responses/resp_1/input_items", false),
    ("/openai/files/f/content", "/openai/v1/files/f/content", false),
    ("/openai/batches", "/openai/v1/batches", false),
    ("/openai/models", "/openai/v1/models", false),
    ("/openai/models/d", "/openai/v1/models/d", false),
];

#[test]
fn every_operation_is_translated_in_both_directions() {
    let version = "api-version=2024-10-21";
    for (classic, v1, _) in OPERATIONS {
        let theirs = format!("{classic}?api-version=2025-03-01-preview");
        assert_eq!(translated(v1, Speaks::Classic, Some("d"), None), Some(theirs.clone()), "{v1}");
        assert_eq!(translated(v1, Speaks::Classic, Some("d"), Some("api-version=preview")), Some(theirs), "{v1}");
        assert_eq!(translated(classic, Speaks::V1, Some("d"), Some(version)).as_deref(), Some(v1), "{classic}");
        let more = format!("{version}&after=x&api-key=s");
        let want = format!("{v1}?after=x");
        assert_eq!(translated(classic, Speaks::V1, Some("d"), Some(&more)), Some(want), "{classic}");
    }
}

#[test]
fn a_backend_that_takes_both_gets_what_came() {
    for (classic, v1, _) in OPERATIONS {
        assert_eq!(translated(v1, Speaks::Same, None, None).as_deref(), Some(v1));
        assert_eq!(
            translated(v1, Speaks::V1, None, Some("api-version=preview")),
            Some(format!("{v1}?api-version=preview"))
        );
        for speaks in [Speaks::Same, Speaks::Classic] {
            let want = format!("{classic}?api-version=2025-03-01-preview");
            assert_eq!(translated(classic, speaks, None, Some("api-version=1")), Some(want), "{classic}");
        }
    }
}

#[test]
fn a_realtime_session_goes_where_its_events_are_spoken_and_names_the_deployment_there() {
    let preview = "api-version=2025-04-01-preview&deployment=a";
    let ours = "/openai/realtime?api-version=2025-03-01-preview&deployment=b";
    for (path, speaks, query, want) in [
        ("/openai/realtime", Speaks::Classic, preview, Some(ours)),
        ("/openai/realtime", Speaks::Same, preview, Some(ours)),
        ("/openai/realtime", Speaks::V1, preview, None),
        ("/openai/v1/realtime", Speaks::V1, "model=a", Some("/openai/v1/realtime?model=b")),
        ("/openai/v1/realtime", Speaks::Same, "model=a", Some("/openai/v1/realtime?model=b")),
        ("/openai/v1/realtime", Speaks::Classic, "model=a", None),
        ("/v1/realtime", Speaks::V1, "model=a", Some("/openai/v1/realtime?model=b")),
        ("/v1/realtime", Speaks::Classic, "model=a", None),
    ] {
        assert_eq!(translated(path, speaks, Some("b"), Some(query)).as_deref(), want, "{path} {query}");
    }
}

#[test]
fn what_one_style_alone_knows_is_not_sent_in_the_other() {
    for (path, speaks) in [
        ("/openai/deployments", Speaks::V1),
        ("/openai/deployments/d", Speaks::V1),
        ("/openai/assistants", Speaks::V1),
        ("/openai/threads/t/runs", Speaks::V1),
        ("/openai/deployments/d/extensions/chat/completions", Speaks::V1),
        ("/openai/v1/containers", Speaks::Classic),
        ("/openai/v1/videos/v", Speaks::Classic),
        ("/openai/v1/something/new", Speaks::Classic),
    ] {
        assert_eq!(translated(path, speaks, Some("d"), None), None, "{path}");
        assert!(translated(path, Speaks::Same, None, None).is_some(), "{path}");
    }
    assert_eq!(translated("/health", Speaks::V1, None, None).as_deref(), Some("/health"));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]
    #[test]
    fn there_and_back_means_the_same(row in select(OPERATIONS.to_vec()), name in "[a-zA-Z0-9_~-][a-zA-Z0-9._~-]{0,39}") {
        let path = row.0.replace("/deployments/d/", &format!("/deployments/{name}/"));
        let before = parse(&path).unwrap();
        let v1 = translated(&path, Speaks::V1, Some(&name), Some("api-version=1&x=%20")).unwrap();
        let (v1_path, v1_query) = v1.split_once('?').unwrap();
        let back = translated(v1_path, Speaks::Classic, Some(&name), Some(v1_query)).unwrap();
        let (back_path, back_query) = back.split_once('?').unwrap();
        prop_assert_eq!(parse(back_path).unwrap(), before);
        prop_assert_eq!(api_version_in_query(back_query).unwrap(), "2025-03-01-preview");
        prop_assert!(back_query.contains("x=%20"));
    }
}
