//! What a region must know from a request body: model, stream, token ceilings, how long the prompt is.
//!
//! One pass over the JSON that copies nothing but names. Never keeps a prompt.

use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};

/// The fields of a JSON request body that matter here; the rest is skipped.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Facts {
    pub(crate) model: Option<String>,
    pub(crate) messages: Option<Text>,
    pub(crate) prompt: Option<Text>,
    pub(crate) input: Option<Text>,
    pub(crate) stream: Option<bool>,
    pub(crate) stream_options: Option<StreamOptions>,
    pub(crate) max_tokens: Option<u64>,
    pub(crate) max_completion_tokens: Option<u64>,
    pub(crate) max_output_tokens: Option<u64>,
    pub(crate) best_of: Option<u64>,
    pub(crate) dimensions: Option<u32>,
    pub(crate) encoding_format: Option<String>,
    /// Of images a word, of chats an object.
    pub(crate) response_format: Option<serde_json::Value>,
    pub(crate) n: Option<u32>,
    pub(crate) store: Option<bool>,
    pub(crate) previous_response_id: Option<String>,
    /// An id, or an object with one.
    pub(crate) conversation: Option<serde_json::Value>,
    pub(crate) include: Vec<String>,
}

/// `stream_options`.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct StreamOptions {
    pub(crate) include_usage: Option<bool>,
}

impl Facts {
    pub(crate) fn is_stream(&self) -> bool {
        self.stream == Some(true)
    }

    pub(crate) fn includes_usage(&self) -> bool {
        self.stream_options.as_ref().and_then(|options| options.include_usage) == Some(true)
    }

    pub(crate) fn conversation_id(&self) -> Option<&str> {
        let conversation = self.conversation.as_ref()?;
        conversation.as_str().or_else(|| conversation.get("id")?.as_str())
    }

    /// The client keeps the reasoning itself.
    pub(crate) fn wants_reasoning(&self) -> bool {
        self.include.iter().any(|wanted| wanted == "reasoning.encrypted_content")
    }

    /// The completion's ceiling in tokens, when the request has one.
    pub(crate) fn ceiling(&self) -> Option<u64> {
        self.max_completion_tokens.or(self.max_tokens).or(self.max_output_tokens)
    }

    /// Prompt tokens: characters / 4, rounded up.
    pub(crate) fn prompt_tokens(&self) -> u64 {
        let text = [&self.messages, &self.prompt, &self.input];
        text.iter().filter_map(|text| text.as_ref()).map(|text| text.chars).sum::<u64>().div_ceil(4)
    }
}

/// How much text a `messages`, `input` or `prompt` holds, whatever its shape.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Text {
    /// Characters of all strings that count as text; a bare token id counts as four.
    pub(crate) chars: u64,
    /// Elements of the outer array; 1 for a string.
    pub(crate) items: u64,
    pub(crate) is_array: bool,
    /// An array of bare token ids.
    pub(crate) is_tokens: bool,
}

impl<'de> Deserialize<'de> for Text {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(TextVisitor)
    }
}

/// Keys whose values are text that is paid for.
#[derive(Deserialize)]
#[serde(field_identifier)]
enum Key {
    #[serde(rename = "content", alias = "text", alias = "input", alias = "output", alias = "arguments")]
    Text,
    #[serde(other)]
    Other,
}

struct TextVisitor;

impl<'de> Visitor<'de> for TextVisitor {
    type Value = Text;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a string or an array")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Text, E> {
        let chars = u64::try_from(text.chars().count()).unwrap_or(u64::MAX);
        Ok(Text { chars, items: 1, ..Text::default() })
    }

    fn visit_u64<E: Error>(self, _: u64) -> Result<Text, E> {
        Ok(Text { chars: 4, items: 1, is_tokens: true, ..Text::default() })
    }

    fn visit_i64<E: Error>(self, _: i64) -> Result<Text, E> {
        self.visit_u64(0)
    }

    fn visit_f64<E: Error>(self, _: f64) -> Result<Text, E> {
        self.visit_u64(0)
    }

    fn visit_bool<E: Error>(self, _: bool) -> Result<Text, E> {
        Ok(Text::default())
    }

    fn visit_unit<E: Error>(self) -> Result<Text, E> {
        Ok(Text::default())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Text, A::Error> {
        let mut text = Text { is_array: true, ..Text::default() };
        while let Some(item) = seq.next_element::<Text>()? {
            text.chars = text.chars.saturating_add(item.chars);
            text.items += 1;
            text.is_tokens |= item.is_tokens && !item.is_array;
        }
        Ok(text)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Text, A::Error> {
        let mut text = Text { items: 1, ..Text::default() };
        while let Some(key) = map.next_key::<Key>()? {
            match key {
                Key::Text => text.chars = text.chars.saturating_add(map.next_value::<Text>()?.chars),
                Key::Other => drop(map.next_value::<IgnoredAny>()?),
            }
        }
        Ok(text)
    }
}

/// The `model` field of a `multipart/form-data` body: the line after the empty line of its part.
pub(crate) fn multipart_field<'a>(body: &'a [u8], name: &str) -> Option<&'a str> {
    let needle = format!("name=\"{name}\"");
    let start = memchr::memmem::find(body, needle.as_bytes())?;
    let part = body.get(start..)?;
    let value = part.get(memchr::memmem::find(part, b"\r\n\r\n")?.checked_add(4)?..)?;
    let end = memchr::memmem::find(value, b"\r\n")?;
    std::str::from_utf8(value.get(..end)?).ok()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests may panic")]
    use super::*;

    #[test]
    fn text_is_counted_in_every_shape() {
        let facts: Facts = serde_json::from_str(
            r#"{"model":"m","stream":true,"stream_options":{"include_usage":true},"max_tokens":7,"messages":[
               {"role":"system","content":"1234"},{"role":"user","content":[{"type":"text","text":"12\u00e94"},
               {"type":"image_url","image_url":{"url":"data:xxxxxxxx"}}]}]}"#,
        )
        .unwrap();
        assert_eq!(facts.prompt_tokens(), 2);
        assert!(facts.is_stream() && facts.includes_usage());
        assert_eq!(facts.ceiling(), Some(7));
        let inputs = [
            (r#"{"input":"hello"}"#, 2, 1, false),
            (r#"{"input":["a","b"]}"#, 1, 2, false),
            (r#"{"input":[1,2,3]}"#, 3, 3, true),
            (r#"{"input":[[1,2],[3]]}"#, 3, 2, false),
        ];
        for (json, tokens, items, is_tokens) in inputs {
            let facts: Facts = serde_json::from_str(json).unwrap();
            let input = facts.input.unwrap();
            assert_eq!((facts.prompt_tokens(), input.items, input.is_tokens), (tokens, items, is_tokens), "{json}");
        }
    }

    #[test]
    fn the_model_field_of_a_form() {
        let body = b"--x\r\nContent-Disposition: form-data; name=\"model\"\r\n\r\nwhisper\r\n--x--\r\n";
        assert_eq!(multipart_field(body, "model"), Some("whisper"));
        assert_eq!(multipart_field(body, "file"), None);
    }
}
