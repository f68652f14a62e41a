//! The tree against the schema: unknown, missing and mistyped keys, all of them at once, and the typed file in the end.
//!
//! What is wrong is replaced (by the default, or by a stand-in where a key is required) and noted in the report, so that the
//! check of meaning can go on and speaks only about what the operator wrote. It never looks behind a name or a reference.

use super::file::{File, PERIOD_ERROR, Period, SHARE_ERROR, SIZE_ERROR, ScalarError, Share, Size};
use super::report::{Report, nearest, suggestion};
use super::schema::{resolve, value as schema};
use super::tree::{Key, Node, Value};
use serde_json::{Map, Value as Json};
use std::str::FromStr;

type Shape = &'static Json;

/// Checks `root` and makes the typed file of it; `None` only where not even stand-ins help.
pub(super) fn check(root: &Node, report: &mut Report<'_>) -> Option<File> {
    report.place("", root.place);
    if !matches!(root.value, Value::Map(_)) {
        report.problem("", format!("expected a map of keys, found {}", root.value.kind()), first_help());
        return None;
    }
    let json = Walk { report }.node(root, schema(), "")?;
    match serde_json::from_value(json) {
        Ok(file) => Some(file),
        Err(error) => {
            report.problem("", error.to_string(), None);
            None
        }
    }
}

fn first_help() -> Option<String> {
    Some("a configuration begins with `version: 1`; conf/minimal.yaml is the shortest".to_owned())
}

struct Walk<'r, 'a> {
    report: &'r mut Report<'a>,
}

impl Walk<'_, '_> {
    /// The value of `node` as `shape` wants it; `None` after a problem.
    fn node(&mut self, node: &Node, shape: Shape, path: &str) -> Option<Json> {
        let (shape, name) = resolve(shape);
        match (name, &node.value) {
            (_, Value::Null) => {
                self.report.problem(path, "has no value", "give it a value or remove the key".to_owned());
                None
            }
            (Some("Duration"), value) => self.scalar::<Period>(value, path, &PERIOD_ERROR),
            (Some("Size"), value) => self.scalar::<Size>(value, path, &SIZE_ERROR),
            (Some("Share"), value) => self.scalar::<Share>(value, path, &SHARE_ERROR),
            (Some("Secret"), Value::Text(_) | Value::Number(_) | Value::Boolean(_)) => {
                let help =
                    "write `{ env: NAME }`, `{ file: PATH }` or `{ key_vault: … }` instead, and put the secret there";
                self.report.problem(path, "a secret is never written in the configuration", help.to_owned());
                None
            }
            (_, value) if shape.get("oneOf").is_some() => self.choice(node, value, shape, path),
            (_, Value::Map(entries)) if is(shape, "object") => self.map(entries, shape, path),
            (_, Value::List(items)) if is(shape, "array") => self.list(items, shape, path),
            (_, Value::Text(text)) if is(shape, "string") => self.text(text, shape, path),
            (_, Value::Boolean(value)) if is(shape, "boolean") => Some(Json::Bool(*value)),
            (_, Value::Number(number)) if is(shape, "integer") || is(shape, "number") => {
                self.number(number, shape, path)
            }
            (_, value) => {
                self.report.problem(
                    path,
                    format!("expected {}, found {}", wanted(shape), value.kind()),
                    hint(shape, value),
                );
                None
            }
        }
    }

    fn scalar<T: FromStr>(&mut self, value: &Value, path: &str, wrong: &ScalarError) -> Option<Json> {
        let (shown, unit) = match value {
            Value::Text(text) if text.parse::<T>().is_ok() => return Some(Json::String(text.clone())),
            Value::Text(text) => (format!("`{}`", clean(text)), None),
            Value::Number(number) => (format!("`{number}`"), Some("without a unit ")),
            other => (other.kind().to_owned(), None),
        };
        self.report.problem(
            path,
            format!("{shown} {}{}", unit.unwrap_or_default(), wrong.message),
            wrong.help.to_owned(),
        );
        None
    }

    fn text(&mut self, text: &str, shape: Shape, path: &str) -> Option<Json> {
        if text.is_empty() && shape.get("minLength").is_some() {
            self.report.problem(path, "must not be empty", None);
            return None;
        }
        Some(Json::String(text.to_owned()))
    }

    fn number(&mut self, number: &serde_json::Number, shape: Shape, path: &str) -> Option<Json> {
        if is(shape, "integer") && !(number.is_u64() || number.is_i64()) {
            self.report.problem(path, format!("expected a whole number, found {number}"), None);
            return None;
        }
        let bound = |name: &str| shape.get(name).and_then(Json::as_f64);
        let (low, high) = (bound("minimum"), bound("maximum"));
        let typed = number.as_f64()?;
        if low.is_some_and(|low| typed < low) || high.is_some_and(|high| typed > high) {
            let range = match (low, high) {
                (Some(low), Some(high)) if low.total_cmp(&high).is_eq() => format!("must be {low}"),
                (Some(low), Some(high)) => format!("must be from {low} to {high}"),
                (Some(low), None) => format!("must be at least {low}"),
                (None, high) => format!("must be at most {}", high.unwrap_or_default()),
            };
            self.report.problem(path, format!("{number} is out of range, it {range}"), None);
            return None;
        }
        Some(Json::Number(number.clone()))
    }

    fn list(&mut self, items: &[Node], shape: Shape, path: &str) -> Option<Json> {
        let count = u64::try_from(items.len()).unwrap_or(u64::MAX);
        let bound = |name: &str| shape.get(name).and_then(Json::as_u64);
        if let Some(low) = bound("minItems").filter(|low| count < *low) {
            self.report.problem(path, format!("needs at least {low} {}", entries(low)), None);
            self.report.replace(path);
        }
        if let Some(high) = bound("maxItems").filter(|high| count > *high) {
            self.report.problem(path, format!("has {count} entries, at most {high} are allowed"), None);
            return None;
        }
        let item_shape = shape.get("items")?;
        let mut list = Vec::with_capacity(items.len());
        for (index, item) in items.iter().enumerate() {
            let path = format!("{path}[{index}]");
            self.report.place(&path, item.place);
            let value = self.node(item, item_shape, &path);
            list.push(value.unwrap_or_else(|| self.stand_in(item_shape, &path)));
        }
        Some(Json::Array(list))
    }

    fn map(&mut self, entries: &[(Key, Node)], shape: Shape, path: &str) -> Option<Json> {
        let properties = shape.get("properties").and_then(Json::as_object);
        let values = shape.get("additionalProperties").filter(|values| values.is_object());
        let mut map = Map::new();
        for (key, node) in entries {
            let path = below(path, &key.text);
            self.report.place(&path, key.place);
            let Some(child) = properties.and_then(|known| known.get(&key.text)).or(values) else {
                let known = properties.into_iter().flat_map(|known| known.keys().map(String::as_str));
                self.report.problem(&path, "unknown key", suggestion(&key.text, known, "Known keys here"));
                continue;
            };
            match self.node(node, child, &path) {
                Some(value) => {
                    map.insert(key.text.clone(), value);
                }
                None => self.report.replace(&path),
            }
        }
        let required = shape.get("required").and_then(Json::as_array).into_iter().flatten().filter_map(Json::as_str);
        for name in required {
            if map.contains_key(name) {
                continue;
            }
            let child = properties.and_then(|known| known.get(name))?;
            if !entries.iter().any(|(key, _)| key.text == name) {
                let what = child.get("description").and_then(Json::as_str).map(str::to_owned);
                self.report.problem(path, format!("`{name}` is missing"), what);
            }
            let value = self.stand_in(child, &below(path, name));
            map.insert(name.to_owned(), value);
        }
        Some(Json::Object(map))
    }

    /// One of several alternatives: a word, plain text, or a map; of several maps the one that knows the key.
    fn choice(&mut self, node: &Node, value: &Value, shape: Shape, path: &str) -> Option<Json> {
        let alternatives = alternatives(shape);
        if let Value::Text(text) = value {
            if let Some(plain) = alternatives.iter().find(|one| is(one, "string") && one.get("const").is_none()) {
                return self.text(text, plain, path);
            }
            if words(&alternatives).any(|word| word == text) {
                return Some(Json::String(text.clone()));
            }
        }
        let maps: Vec<Shape> = alternatives.iter().copied().filter(|one| is(one, "object")).collect();
        if let (Value::Map(_), [single]) = (value, maps.as_slice()) {
            return self.node(node, single, path);
        }
        if let Value::Map(entries) = value {
            if let [(key, _)] = entries.as_slice()
                && let Some(taken) = maps.iter().find(|one| tag(one) == Some(key.text.as_str()))
            {
                return self.map(entries, taken, path);
            }
            if let Some((key, _)) =
                entries.iter().find(|(key, _)| !maps.iter().any(|one| tag(one) == Some(key.text.as_str())))
            {
                let path = below(path, &key.text);
                self.report.place(&path, key.place);
                let known = maps.iter().filter_map(|one| tag(one));
                self.report.problem(&path, "unknown key", suggestion(&key.text, known, "Known keys here"));
                return None;
            }
        }
        let choices: Vec<String> =
            words(&alternatives).map(|word| format!("`{word}`")).chain(maps.iter().map(|map| spelled(map))).collect();
        // The text itself is shown only where it is near a known word: it may be a secret in the wrong place.
        let near = match value {
            Value::Text(text) => nearest(text, words(&alternatives)).map(|near| format!("did you mean `{near}`? ")),
            _ => None,
        };
        let help = format!("{}write one of: {}", near.unwrap_or_default(), choices.join(", "));
        let message = match value {
            Value::Map(entries) if entries.is_empty() => "is an empty map".to_owned(),
            Value::Map(_) => "holds several choices, only one is allowed".to_owned(),
            Value::Text(_) => "is none of the choices".to_owned(),
            other => format!("is none of the choices, found {}", other.kind()),
        };
        self.report.problem(path, message, help);
        None
    }

    /// A value that fits `shape` and stands in for a wrong one.
    fn stand_in(&mut self, shape: Shape, path: &str) -> Json {
        self.report.replace(path);
        filler(shape, path)
    }
}

/// A value that fits `shape`; text is unique per path, so that no two stand-ins look like duplicates.
fn filler(shape: Shape, path: &str) -> Json {
    let (shape, name) = resolve(shape);
    match name {
        Some("Duration") => return "1s".into(),
        Some("Size") => return "1KiB".into(),
        Some("Share") => return "0%".into(),
        _ => {}
    }
    if let Some(first) = shape.get("oneOf").and_then(Json::as_array).and_then(|all| all.first()) {
        return filler(first, path);
    }
    if let Some(word) = shape.get("const") {
        return word.clone();
    }
    if is(shape, "object") {
        let properties = shape.get("properties").and_then(Json::as_object);
        let required = shape.get("required").and_then(Json::as_array).into_iter().flatten().filter_map(Json::as_str);
        let fill = |name: &str| {
            let child = properties.and_then(|known| known.get(name))?;
            Some((name.to_owned(), filler(child, &below(path, name))))
        };
        return Json::Object(required.filter_map(fill).collect());
    }
    if is(shape, "array") {
        return Json::Array(Vec::new());
    }
    if is(shape, "boolean") {
        return Json::Bool(false);
    }
    if is(shape, "integer") || is(shape, "number") {
        return shape.get("minimum").cloned().unwrap_or_else(|| 0.into());
    }
    Json::String(path.to_owned())
}

fn is(shape: &Json, kind: &str) -> bool {
    shape.get("type").and_then(Json::as_str) == Some(kind)
}

fn alternatives(shape: Shape) -> Vec<Shape> {
    let mut flat = Vec::new();
    for one in shape.get("oneOf").and_then(Json::as_array).into_iter().flatten() {
        let (one, _) = resolve(one);
        match one.get("oneOf") {
            Some(_) => flat.extend(alternatives(one)),
            None => flat.push(one),
        }
    }
    flat
}

fn words<'s>(alternatives: &'s [Shape]) -> impl Iterator<Item = &'static str> + use<'s> {
    alternatives.iter().filter_map(|one| one.get("const").and_then(Json::as_str))
}

/// The single key of an alternative such as `{ env: NAME }`.
fn tag(alternative: Shape) -> Option<&'static str> {
    alternative.get("required").and_then(Json::as_array).and_then(|all| all.first()).and_then(Json::as_str)
}

fn spelled(alternative: Shape) -> String {
    tag(alternative).map_or_else(|| "a map".to_owned(), |tag| format!("`{{ {tag}: … }}`"))
}

fn wanted(shape: Shape) -> &'static str {
    match shape.get("type").and_then(Json::as_str) {
        Some("object") => "a map",
        Some("array") => "a list",
        Some("boolean") => "`true` or `false`",
        Some("integer") => "a whole number",
        Some("number") => "a number",
        _ => "text",
    }
}

fn hint(shape: Shape, value: &Value) -> Option<String> {
    match value {
        Value::Number(number) if is(shape, "string") => Some(format!("put it in quotes: \"{number}\"")),
        Value::Boolean(value) if is(shape, "string") => Some(format!("put it in quotes: \"{value}\"")),
        Value::Text(text) if is(shape, "integer") && text.parse::<i64>().is_ok() => {
            Some("remove the quotes".to_owned())
        }
        Value::Map(_) if is(shape, "array") => Some("begin each entry with `- `".to_owned()),
        _ => None,
    }
}

fn entries(count: u64) -> &'static str {
    if count == 1 { "entry" } else { "entries" }
}

fn below(path: &str, name: &str) -> String {
    if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") }
}

/// Text as it may stand in a message: short, no control characters.
fn clean(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(40).collect()
}
