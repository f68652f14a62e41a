//! `tidegate key`, and what `explain` says of a consumer.

use crate::{file, minimal, run, text, tidegate, told};
use std::io::Write;
use std::process::Stdio;

fn hash(key: &str) -> (i32, String, String) {
    let mut child =
        tidegate(&["key", "hash"]).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    writeln!(child.stdin.take().unwrap(), "{key}").unwrap();
    told(child.wait_with_output().unwrap())
}

#[test]
fn a_new_key_is_told_once_with_what_the_configuration_needs() {
    let (code, out, err) = run(&["key", "new", "--consumer", "search-team", "--expires", "2100-01-31"]);
    assert_eq!((code, err.as_str()), (0, ""));
    let (key, rest) = out.split_once('\n').unwrap();
    assert!(key.starts_with("tgk_") && key.len() == 67, "{key}");
    assert!(!rest.contains(key) && rest.contains("name: search-team"), "{rest}");
    let path = file(&minimal(
        "127.0.0.1:0",
        &format!("stateful: {{ keys: [ {{ id: a, secret: {{ env: ID_KEY }} }} ] }}\n{rest}"),
    ));
    let (code, out, err) = run(&["check", "--config", text(&path)]);
    assert_eq!((code, err.as_str()), (0, ""), "{out}");
    let (_, entry, _) = hash(key);
    let digest = entry.split('"').nth(1).unwrap();
    assert!(rest.contains(digest), "{entry} {rest}");
    assert_ne!(run(&["key", "new"]).1, run(&["key", "new"]).1);
}

#[test]
fn a_key_from_elsewhere_has_a_hash_and_no_id() {
    let (code, out, _) = hash("4f1c9a7b2e8d40536a1bb0c2d3e4f596");
    assert_eq!(code, 0);
    assert!(out.starts_with("{ hash: \"sha256:") && !out.contains("id:") && !out.contains("4f1c9a7b"), "{out}");
    for slip in ["short", "tgk_awnwtypeqp_UMMvu9N2JLwFX7RhBCq43JdqIT67SYvViiYgnzJ8C3J_9b4558a8"] {
        let (code, out, err) = hash(slip);
        assert_eq!((code, out.as_str()), (2, ""), "{slip}");
        assert!(err.contains("that is no key") && !err.contains(slip), "{err}");
    }
}

#[test]
fn explain_tells_what_a_consumer_may() {
    let consumers = "consumers:\n  - { name: search, plan: gold, allow: { deployments: [ gpt-4* ] } }\n  - { name: former, enabled: false }\n\
        plans: [ { name: gold, allow: { operations: [ chat_completions ] } } ]\n";
    let path = file(&minimal("127.0.0.1:0", consumers));
    for (consumer, words, code, says) in [
        ("search", &["--deployment", "gpt-4o"][..], 0, "consumer search, plan gold: it may\n"),
        ("search", &["--deployment", "o3"], 1, "consumer search, plan gold: it may not use this deployment\n"),
        ("search", &["--path", "/openai/deployments/gpt-4o/embeddings"], 1, "it may not use this operation\n"),
        ("search", &["--deployment", "o3"], 1, "refused: 403 not_allowed: "),
        ("former", &["--deployment", "o3"], 1, "refused: 401 invalid_api_key: "),
        ("nobody", &["--deployment", "o3"], 2, "the configuration has no such consumer"),
    ] {
        let (status, out, err) = run(&[&["explain", "--config", text(&path), "--consumer", consumer], words].concat());
        assert_eq!(status, code, "{consumer} {words:?}: {out}{err}");
        assert!(format!("{out}{err}").contains(says), "{consumer} {words:?}: {says:?} is not in {out}{err}");
    }
}
