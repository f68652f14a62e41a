//! YAML text to a tree and back: the only file that names the YAML crate. It never knows what a key means.

use super::problem::Problem;
use super::tree::{Key, Node, Place, Value};
use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_yaml::budget::BudgetBreach;
use serde_yaml::{DuplicateKeyPolicy, Error, Location, Options, Spanned};
use std::fmt;

/// Values, keys and aliases together.
const NODES_MAX: usize = 50_000;
/// Nesting; the deepest key of the manual sits at 7.
const DEPTH_MAX: usize = 32;
/// Uses of anchors.
const ALIASES_MAX: usize = 256;
/// Nodes that uses of anchors may add.
const REPLAYED_MAX: usize = 20_000;
/// Longest text of the YAML crate that is passed on, in characters.
const MESSAGE_LENGTH_MAX: usize = 200;

/// Parses one YAML document.
///
/// Duplicate keys, a second document and whatever breaks a budget are problems. `on`, `off`, `yes`, `no` are text.
pub(super) fn parse(file: &str, text: &str) -> Result<Node, Problem> {
    serde_yaml::from_str_with_options(text, options()).map_err(|error| problem(file, &error))
}

/// Prints `value` as YAML.
pub(super) fn print<T: serde::Serialize>(value: &T) -> Result<String, String> {
    serde_yaml::to_string(value).map_err(|error| error.to_string())
}

fn options() -> Options {
    serde_yaml::options! {
        budget: serde_yaml::budget! {
            max_nodes: NODES_MAX,
            max_events: 3 * NODES_MAX,
            max_depth: DEPTH_MAX,
            max_aliases: ALIASES_MAX,
            max_anchors: ALIASES_MAX,
            max_documents: 1,
            max_merge_keys: ALIASES_MAX,
        },
        alias_limits: serde_yaml::alias_limits! {
            max_total_replayed_events: REPLAYED_MAX,
            max_replay_stack_depth: 8,
        },
        duplicate_keys: DuplicateKeyPolicy::Error,
        strict_booleans: true,
        reject_unsupported_tags: true,
        with_snippet: false,
    }
}

fn problem(file: &str, error: &Error) -> Problem {
    let place = error.location().map(place).unwrap_or_default();
    Problem {
        file: file.to_owned(),
        line: place.line,
        column: place.column,
        path: String::new(),
        message: message(error),
        help: None,
    }
}

fn message(error: &Error) -> String {
    match error.without_snippet() {
        Error::DuplicateMappingKey { key: Some(key), .. } => format!("the key `{}` is there twice", clean(key)),
        Error::Budget { breach: BudgetBreach::Documents { .. }, .. } => {
            "a second document begins here, only one is allowed".to_owned()
        }
        Error::Budget { .. } => too_large(),
        other => {
            let text = other.to_string();
            if text.starts_with("alias replay") {
                return too_large();
            }
            // The place stands in front already.
            format!("not readable as YAML: {}", clean(text.split(" at line ").next().unwrap_or_default()))
        }
    }
}

fn too_large() -> String {
    format!("too large: more than {NODES_MAX} values, {DEPTH_MAX} levels or {ALIASES_MAX} anchors and aliases")
}

fn clean(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(MESSAGE_LENGTH_MAX).collect()
}

fn place(location: Location) -> Place {
    Place { line: location.line(), column: location.column() }
}

impl<'de> Deserialize<'de> for Node {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let spanned = Spanned::<Value>::deserialize(deserializer)?;
        Ok(Self { place: place(spanned.referenced), value: spanned.value })
    }
}

impl<'de> Deserialize<'de> for Value {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ValueVisitor)
    }
}

struct ValueVisitor;

impl<'de> Visitor<'de> for ValueVisitor {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a YAML value")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Boolean(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(Value::Number(value.into()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(Value::Number(value.into()))
    }

    fn visit_f64<E: serde::de::Error>(self, value: f64) -> Result<Value, E> {
        serde_json::Number::from_f64(value).map(Value::Number).ok_or_else(|| E::custom("not a finite number"))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(Value::Text(value.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let mut list = Vec::new();
        while let Some(item) = items.next_element()? {
            list.push(item);
        }
        Ok(Value::List(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Value, A::Error> {
        let mut map = Vec::new();
        while let Some(key) = entries.next_key::<Node>()? {
            let text = match key.value {
                Value::Text(text) => text,
                Value::Number(number) => number.to_string(),
                Value::Boolean(value) => value.to_string(),
                Value::Null | Value::List(_) | Value::Map(_) => {
                    return Err(serde::de::Error::custom("a key must be text"));
                }
            };
            map.push((Key { place: key.place, text }, entries.next_value()?));
        }
        Ok(Value::Map(map))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "tests may panic")]
    use super::*;

    fn map(text: &str) -> Vec<(Key, Node)> {
        match parse("x.yaml", text).unwrap().value {
            Value::Map(map) => map,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn keys_and_values_have_places() {
        let map = map("a: 1\nbb:\n  - x\n  - { c: off }\n");
        assert_eq!(map[0].0.place, Place { line: 1, column: 1 });
        assert_eq!(map[0].1.place, Place { line: 1, column: 4 });
        assert_eq!(map[1].0.text, "bb");
        let Value::List(list) = &map[1].1.value else { panic!() };
        assert_eq!(list[1].place, Place { line: 4, column: 5 });
        let Value::Map(inner) = &list[1].value else { panic!() };
        assert_eq!(inner[0].0.place, Place { line: 4, column: 7 });
        assert!(matches!(&inner[0].1.value, Value::Text(text) if text == "off"));
    }

    #[test]
    fn anchors_and_merges_are_expanded() {
        let map = map("a: &a { x: 1, y: 2 }\nb: *a\nc: { <<: *a, y: 3 }\n");
        let Value::Map(b) = &map[1].1.value else { panic!() };
        assert_eq!(b.len(), 2);
        assert!(b[0].0.place.line > 0);
        let Value::Map(c) = &map[2].1.value else { panic!() };
        assert_eq!(c.len(), 2);
    }

    #[test]
    fn broken_yaml_says_where() {
        for (text, line) in [
            ("a: 1\nb: [1, 2\n", 2),
            ("a: 1\na: 2\n", 2),
            ("a: 1\n b: 2\n", 2),
            ("a: 1\n---\nb: 2\n", 2),
            ("a: *nowhere\n", 1),
            ("a:\n\tb: 1\n", 2),
        ] {
            let problem = parse("x.yaml", text).unwrap_err();
            assert_eq!(problem.line, line, "{text:?}: {problem}");
        }
    }

    #[test]
    fn alias_bombs_are_refused() {
        let mut text = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
        for n in 1..9 {
            let previous = n - 1;
            let uses = vec![format!("*a{previous}"); 10].join(", ");
            text.push_str(&format!("a{n}: &a{n} [{uses}]\n"));
        }
        assert!(parse("x.yaml", &text).is_err());
        assert!(parse("x.yaml", &"[".repeat(10_000)).is_err());
    }
}
