//! [`of`]: what a request needs of a model beyond text. Asked only where a backend has said that it cannot do something: one
//! search for words, and one walk over the body where a word is there.

use crate::domain::{Abilities, Ability};
use crate::openai::facts::Facts;
use crate::openai::operation::Operation;
use memchr::memmem;
use serde::de::{Deserialize, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;
use std::borrow::Cow;
use std::fmt;

/// Without one of these words in its body, a request needs none of the abilities that are told by it.
const WORDS: [(Ability, &[&[u8]]); 4] = [
    (Ability::Tools, &[b"\"tools\"", b"\"functions\""]),
    (Ability::Vision, &[b"image"]),
    (Ability::Audio, &[b"audio"]),
    (Ability::StructuredOutputs, &[b"json_schema"]),
];

/// What the request needs of `asked`. A body that does not read needs nothing: the backend judges it.
#[must_use]
pub fn of(operation: Operation, facts: &Facts, body: &[u8], asked: Abilities) -> Abilities {
    let mut needs = Abilities::NONE;
    if facts.include_usage && asked.has(Ability::StreamUsage) {
        needs = needs.with(Ability::StreamUsage);
    }
    if !matches!(operation, Operation::ChatCompletions | Operation::Responses) {
        return needs;
    }
    let worded = |(ability, words): &(Ability, &[&[u8]])| {
        asked.has(*ability) && words.iter().any(|word| memmem::find(body, word).is_some())
    };
    if !WORDS.iter().any(worded) {
        return needs;
    }
    let found = serde_json::from_slice::<Top>(body).map_or(Abilities::NONE, |top| top.0);
    needs.or(found.and(asked))
}

/// What the top level of a body needs.
struct Top(Abilities);

impl<'de> Deserialize<'de> for Top {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Object;
        impl<'de> Visitor<'de> for Object {
            type Value = Top;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a JSON object")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Top, A::Error> {
                let mut needs = Abilities::NONE;
                while let Some(key) = map.next_key::<Cow<'de, str>>()? {
                    needs = needs.or(match &*key {
                        "tools" | "functions" => tools(map.next_value()?),
                        "modalities" => modalities(map.next_value()?),
                        "messages" | "input" | "response_format" | "text" => map.next_value::<Parts>()?.0,
                        _ => {
                            map.next_value::<IgnoredAny>()?;
                            Abilities::NONE
                        }
                    });
                }
                Ok(Top(needs))
            }
        }
        deserializer.deserialize_map(Object)
    }
}

/// Tools that are there: an empty list asks for none.
fn tools(raw: &RawValue) -> Abilities {
    let inner = raw.get().strip_prefix('[').map(str::trim_start);
    match inner {
        Some(inner) if !inner.starts_with(']') => Abilities::NONE.with(Ability::Tools),
        _ => Abilities::NONE,
    }
}

fn modalities(raw: &RawValue) -> Abilities {
    let audio = memmem::find(raw.get().as_bytes(), b"\"audio\"").is_some();
    if audio { Abilities::NONE.with(Ability::Audio) } else { Abilities::NONE }
}

/// What the kinds of things in a value need: the `type` of parts and formats, wherever contents lie.
struct Parts(Abilities);

impl<'de> Deserialize<'de> for Parts {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Walk)
    }
}

struct Walk;

impl<'de> Visitor<'de> for Walk {
    type Value = Parts;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any value")
    }

    fn visit_str<E>(self, _: &str) -> Result<Parts, E> {
        Ok(Parts(Abilities::NONE))
    }

    fn visit_u64<E>(self, _: u64) -> Result<Parts, E> {
        Ok(Parts(Abilities::NONE))
    }

    fn visit_i64<E>(self, _: i64) -> Result<Parts, E> {
        Ok(Parts(Abilities::NONE))
    }

    fn visit_f64<E>(self, _: f64) -> Result<Parts, E> {
        Ok(Parts(Abilities::NONE))
    }

    fn visit_bool<E>(self, _: bool) -> Result<Parts, E> {
        Ok(Parts(Abilities::NONE))
    }

    fn visit_unit<E>(self) -> Result<Parts, E> {
        Ok(Parts(Abilities::NONE))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Parts, A::Error> {
        let mut needs = Abilities::NONE;
        while let Some(Parts(more)) = seq.next_element()? {
            needs = needs.or(more);
        }
        Ok(Parts(needs))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Parts, A::Error> {
        let mut needs = Abilities::NONE;
        while let Some(key) = map.next_key::<Cow<'de, str>>()? {
            needs = needs.or(match &*key {
                "type" => kind(map.next_value::<&RawValue>()?.get()),
                "content" | "output" | "format" => map.next_value::<Parts>()?.0,
                _ => {
                    map.next_value::<IgnoredAny>()?;
                    Abilities::NONE
                }
            });
        }
        Ok(Parts(needs))
    }
}

/// What a `type` needs, as it stands in the body.
fn kind(raw: &str) -> Abilities {
    let one = match raw {
        "\"image_url\"" | "\"input_image\"" => Ability::Vision,
        "\"input_audio\"" => Ability::Audio,
        "\"json_schema\"" => Ability::StructuredOutputs,
        _ => return Abilities::NONE,
    };
    Abilities::NONE.with(one)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests may panic")]
mod tests {
    use super::*;
    use crate::openai::facts;
    use proptest::prelude::{ProptestConfig, any, prop, prop_assert_eq, proptest};

    fn all() -> Abilities {
        Ability::ALL.into_iter().fold(Abilities::NONE, Abilities::with)
    }

    fn needs(operation: Operation, body: &str) -> Vec<Ability> {
        let facts = facts::from_json(body.as_bytes(), false).unwrap();
        of(operation, &facts, body.as_bytes(), all()).iter().collect()
    }

    #[test]
    fn needs_are_told_by_what_stands_where_it_counts() {
        use Ability::{Audio, StreamUsage, StructuredOutputs, Tools, Vision};
        use Operation::{ChatCompletions as Chat, Embeddings, Responses};
        let image = r#"[{"role":"user","content":[{"type":"text","text":"x"},{"type":"image_url","image_url":{"url":"data:"}}]}]"#;
        for (operation, body, want) in [
            (Chat, format!(r#"{{"messages":{image}}}"#), vec![Vision]),
            (Embeddings, format!(r#"{{"messages":{image}}}"#), vec![]),
            (Chat, r#"{"tools":[{"type":"function"}]}"#.into(), vec![Tools]),
            (Chat, r#"{"tools":[ ],"functions":null}"#.into(), vec![]),
            (Chat, r#"{"functions":[{"name":"f"}]}"#.into(), vec![Tools]),
            (Chat, r#"{"response_format":{"type":"json_schema","json_schema":{}}}"#.into(), vec![StructuredOutputs]),
            (Chat, r#"{"response_format":{"type":"json_object"}}"#.into(), vec![]),
            (Responses, r#"{"text":{"format":{"type":"json_schema"}}}"#.into(), vec![StructuredOutputs]),
            (Responses, r#"{"input":[{"role":"user","content":[{"type":"input_image"}]}]}"#.into(), vec![Vision]),
            (Responses, r#"{"input":[{"type":"x","output":[{"type":"input_image"}]}]}"#.into(), vec![Vision]),
            (Chat, r#"{"modalities":["text","audio"]}"#.into(), vec![Audio]),
            (Chat, r#"{"messages":[{"content":[{"type":"input_audio"}]}]}"#.into(), vec![Audio]),
            // Words in a text are a text.
            (
                Chat,
                r#"{"messages":[{"content":"{\"type\":\"image_url\"} \"tools\" audio json_schema"}]}"#.into(),
                vec![],
            ),
            (
                Chat,
                r#"{"messages":[{"content":"image_url","name":"input_audio"}],"user":"json_schema"}"#.into(),
                vec![],
            ),
            (Chat, r#"{"metadata":{"type":"image_url"},"messages":[]}"#.into(), vec![]),
            (Chat, r#"{"stream":true,"stream_options":{"include_usage":true}}"#.into(), vec![StreamUsage]),
        ] {
            assert_eq!(needs(operation, &body), want, "{body}");
        }
    }

    #[test]
    fn only_what_is_asked_about_is_told() {
        let body = br#"{"tools":[1],"modalities":["audio"]}"#;
        let asked = Abilities::NONE.with(Ability::Audio);
        assert_eq!(of(Operation::ChatCompletions, &Facts::default(), body, asked), asked);
        assert!(of(Operation::ChatCompletions, &Facts::default(), body, Abilities::NONE).is_empty());
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(256))]
        #[test]
        fn any_body_is_survived(body in prop::collection::vec(any::<u8>(), 0..300)) {
            let mut worded = br#"{"tools":"#.to_vec();
            worded.extend(&body);
            let _needs = of(Operation::ChatCompletions, &Facts::default(), &worded, all());
            let deep = [b"{\"input\":".to_vec(), b"[".repeat(100_000), b"image".to_vec()].concat();
            prop_assert_eq!(of(Operation::Responses, &Facts::default(), &deep, all()), Abilities::NONE);
        }
    }
}
