//! The manual, the schema and the code say the same.

use crate::folder;
use serde_json::Value as Json;
use std::collections::BTreeSet;

/// First and third cell (key and default) of every row of the manual's tables of keys.
fn rows() -> Vec<(String, String)> {
    let manual = std::fs::read_to_string(folder().join("README.md")).unwrap();
    let mut rows = Vec::new();
    let mut inside = false;
    for line in manual.lines() {
        inside = line.starts_with("| Key |") || (inside && line.starts_with('|'));
        let cells: Vec<&str> = line.split('|').map(str::trim).collect();
        if let (true, Some(key)) = (inside, cells.get(1).and_then(|cell| cell.strip_prefix('`')?.strip_suffix('`'))) {
            assert_eq!(cells.len(), 7, "a row has five cells: {line}");
            assert!(cells[1..6].iter().all(|cell| !cell.is_empty()), "an empty cell: {line}");
            assert!(matches!(cells[5], "reload" | "restart"), "{line}");
            rows.push((key.to_owned(), cells[3].to_owned()));
        }
    }
    rows
}

#[test]
fn the_manual_has_every_key_and_no_other() {
    let rows = rows();
    let manual: BTreeSet<String> = rows.iter().map(|(key, _)| key.clone()).collect();
    assert_eq!(manual.len(), rows.len(), "a key has two rows");
    let schema: BTreeSet<String> = tidegate::config::keys().into_iter().collect();
    let missing: Vec<_> = schema.difference(&manual).collect();
    let unknown: Vec<_> = manual.difference(&schema).collect();
    assert!(missing.is_empty() && unknown.is_empty(), "not in the manual: {missing:?}; not in the schema: {unknown:?}");
}

#[test]
fn the_manual_tells_the_real_defaults() {
    let schema: Json = serde_json::from_str(&tidegate::config::schema()).unwrap();
    let mut compared = 0;
    for (key, default) in rows() {
        let Some(real) = property(&schema, &schema, &key).and_then(|shape| shape.get("default")) else { continue };
        let real = match real {
            Json::String(text) => text.clone(),
            Json::Object(_) | Json::Array(_) => continue,
            other => other.to_string(),
        };
        assert!(default.starts_with(&format!("`{real}`")), "{key}: the manual says {default}, the code {real}");
        compared += 1;
    }
    assert!(compared > 50, "{compared}");
}

/// The shape of the property at `key`, a path such as `pools[].name`.
fn property<'s>(schema: &'s Json, shape: &'s Json, key: &str) -> Option<&'s Json> {
    let resolved = match shape.get("$ref").and_then(Json::as_str) {
        Some(reference) => schema.pointer(reference.strip_prefix('#')?)?,
        None => shape,
    };
    if let Some(alternatives) = resolved.get("oneOf").and_then(Json::as_array) {
        return alternatives.iter().find_map(|one| property(schema, one, key));
    }
    let (head, rest) = key.split_once('.').unwrap_or((key, ""));
    let found = resolved.get("properties")?.get(head.trim_end_matches("[]"))?;
    match rest {
        "" => Some(found),
        _ if head.ends_with("[]") => property(schema, found.get("items")?, rest),
        _ => property(schema, found, rest),
    }
}

#[test]
fn the_schema_is_fresh() {
    let path = folder().join("schema.json");
    let stored = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        stored == tidegate::config::schema(),
        "conf/schema.json is stale: run `tidegate schema > conf/schema.json`"
    );
}

#[test]
fn the_full_example_shows_every_key() {
    let full = std::fs::read_to_string(folder().join("full.yaml")).unwrap();
    for key in tidegate::config::keys() {
        let last = key.rsplit('.').next().unwrap().trim_end_matches("[]");
        assert!(last == "*" || full.contains(&format!("{last}:")), "full.yaml does not show `{key}`");
    }
}
