//! The JSON Schema of the file: generated from its shapes, for editors, for the manual's test and for our own check.

use super::file::File;
use serde_json::Value as Json;
use std::collections::BTreeSet;
use std::sync::LazyLock;

/// Deepest nesting of keys that is followed; no shape contains itself.
const DEPTH_MAX: usize = 16;

static SCHEMA: LazyLock<Json> = LazyLock::new(|| schemars::schema_for!(File).to_value());

/// The JSON Schema of the configuration, as `conf/schema.json` holds it.
#[must_use]
pub fn schema() -> String {
    // A JSON value always prints.
    let mut text = serde_json::to_string_pretty(value()).unwrap_or_default();
    text.push('\n');
    text
}

/// Every key of the configuration as a path, such as `pools[].backends[].auth.api_key`, sorted.
#[must_use]
pub fn keys() -> Vec<String> {
    let mut found = BTreeSet::new();
    walk(value(), "", &mut found, 0);
    found.into_iter().collect()
}

/// The schema as data.
pub(super) fn value() -> &'static Json {
    &SCHEMA
}

/// Follows `$ref` to a definition; the second value is the definition's name.
pub(super) fn resolve(shape: &'static Json) -> (&'static Json, Option<&'static str>) {
    let Some(name) = shape.get("$ref").and_then(Json::as_str).and_then(|path| path.strip_prefix("#/$defs/")) else {
        return (shape, None);
    };
    (value().get("$defs").and_then(|all| all.get(name)).unwrap_or(shape), Some(name))
}

fn walk(shape: &'static Json, path: &str, found: &mut BTreeSet<String>, depth: usize) {
    if depth > DEPTH_MAX {
        return;
    }
    let (shape, _) = resolve(shape);
    for (name, child) in shape.get("properties").and_then(Json::as_object).into_iter().flatten() {
        let path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
        walk(child, &path, found, depth + 1);
        found.insert(path);
    }
    if let Some(items) = shape.get("items") {
        walk(items, &format!("{path}[]"), found, depth + 1);
    }
    for alternative in shape.get("oneOf").and_then(Json::as_array).into_iter().flatten() {
        walk(alternative, path, found, depth + 1);
    }
    if let Some(values) = shape.get("additionalProperties").filter(|values| values.is_object()) {
        let path = format!("{path}.*");
        walk(values, &path, found, depth + 1);
        found.insert(path);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every scalar default of the schema stands in the sentence of its key.
    #[test]
    fn sentences_tell_the_real_defaults() {
        let mut seen = 0;
        let shapes = value().get("$defs").and_then(Json::as_object).into_iter().flat_map(|all| all.values());
        for (name, shape) in shapes.filter_map(|shape| shape.get("properties")?.as_object()).flatten() {
            let default = match shape.get("default") {
                None | Some(Json::Object(_) | Json::Array(_)) => continue,
                Some(Json::String(text)) => text.clone(),
                Some(other) => other.to_string(),
            };
            let sentence = shape.get("description").and_then(Json::as_str).unwrap_or_default();
            assert!(sentence.contains(&format!("default `{default}`")), "{name}: {sentence} (default {default})");
            seen += 1;
        }
        assert!(seen > 50, "{seen}");
    }

    #[test]
    fn keys_reach_into_lists_and_choices() {
        let keys = keys();
        for key in [
            "version",
            "admin.address",
            "pools[].probe.http.path",
            "pools[].backends[].auth.api_key.env",
            "pools[].backends[].headers.*",
            "pools[].backends[].headers.*.file",
            "routes[].match.deployment",
        ] {
            assert!(keys.iter().any(|known| known == key), "{key} not in {keys:#?}");
        }
    }
}
