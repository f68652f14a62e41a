//! [`Produced`]: counts the tokens of what a stream has brought, for the case that its usage never comes.
//!
//! The texts of the deltas are put together and counted as one, since models' tokens do not end where deltas do. At most 16 KiB are
//! kept; what cannot change any more is counted and dropped. Hidden reasoning is in no delta, and cannot be counted.

use crate::openai::estimate::{Encoding, by_length};
use crate::openai::operation::Operation;
use serde::Deserialize;
use serde_json::value::RawValue;

/// Text kept before its settled part is counted, in bytes.
const KEPT_MAX: usize = 16 * 1024;

/// The count of one stream.
#[derive(Debug)]
pub struct Produced {
    encoding: Encoding,
    text: String,
    tokens: u64,
}

impl Produced {
    /// At the start of a stream; `None` for operations that produce no text.
    #[must_use]
    pub fn new(operation: Operation, encoding: Encoding) -> Option<Self> {
        matches!(operation, Operation::ChatCompletions | Operation::Completions | Operation::Responses).then(|| Self {
            encoding,
            text: String::new(),
            tokens: 0,
        })
    }

    /// Tokens so far. Counts what is kept: ask once.
    #[must_use]
    pub fn tokens(&self) -> u64 {
        self.tokens.saturating_add(self.encoding.count(&self.text))
    }

    /// The data of one event.
    pub(super) fn event(&mut self, data: &[u8]) {
        match serde_json::from_slice::<Event<'_>>(data) {
            Ok(event) => event.texts(|text| self.text.push_str(text)),
            Err(_) => self.unread(data.len()),
        }
        if self.text.len() > KEPT_MAX {
            let (tokens, end) = self.encoding.settled(&self.text);
            self.tokens = self.tokens.saturating_add(tokens);
            self.text.drain(..end);
            if self.text.len() > KEPT_MAX {
                // One word without an end is counted where it stands.
                self.tokens = self.tokens.saturating_add(self.encoding.count(&self.text));
                self.text.clear();
            }
        }
    }

    /// So many bytes passed unread.
    pub(super) fn unread(&mut self, bytes: usize) {
        self.tokens = self.tokens.saturating_add(by_length(bytes));
    }
}

/// The texts of chat's and completions' chunks, and of the Responses API's events.
#[derive(Deserialize)]
struct Event<'a> {
    #[serde(default)]
    choices: Option<Vec<Choice>>,
    #[serde(default, rename = "type")]
    kind: Option<String>,
    #[serde(borrow, default)]
    delta: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct Choice {
    #[serde(default)]
    text: Option<String>,
    #[serde(default)]
    delta: Option<Delta>,
}

#[derive(Deserialize)]
struct Delta {
    #[serde(default)]
    content: Option<String>,
    #[serde(default)]
    refusal: Option<String>,
    #[serde(default)]
    reasoning_content: Option<String>,
    #[serde(default)]
    tool_calls: Option<Vec<ToolCall>>,
    #[serde(default)]
    function_call: Option<Function>,
}

#[derive(Deserialize)]
struct ToolCall {
    #[serde(default)]
    function: Option<Function>,
}

#[derive(Deserialize)]
struct Function {
    #[serde(default)]
    name: Option<String>,
    #[serde(default)]
    arguments: Option<String>,
}

impl Event<'_> {
    fn texts(self, mut text: impl FnMut(&str)) {
        for choice in self.choices.into_iter().flatten() {
            choice.text.as_deref().map(&mut text);
            let Some(delta) = choice.delta else { continue };
            for part in [&delta.content, &delta.refusal, &delta.reasoning_content] {
                part.as_deref().map(&mut text);
            }
            let tools = delta.tool_calls.into_iter().flatten().filter_map(|call| call.function);
            for function in tools.chain(delta.function_call) {
                function.name.as_deref().map(&mut text);
                function.arguments.as_deref().map(&mut text);
            }
        }
        // Summaries of reasoning are told in other words than those that are paid for, sound is no text.
        let counts = |kind: &str| kind.ends_with(".delta") && !kind.contains("summary") && !kind.contains("audio");
        if let Some(delta) = self.delta.filter(|_| self.kind.as_deref().is_some_and(counts))
            && let Ok(delta) = serde_json::from_str::<String>(delta.get())
        {
            text(&delta);
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests may panic")]
    use super::*;

    fn counted(events: &[&str]) -> u64 {
        let mut produced = Produced::new(Operation::ChatCompletions, Encoding::O200k).unwrap();
        events.iter().for_each(|event| produced.event(event.as_bytes()));
        produced.tokens()
    }

    #[test]
    fn deltas_of_every_kind_are_counted_together() {
        for (events, want) in [
            (
                &[
                    r#"{"choices":[{"delta":{"content":"hello"}}]}"#,
                    r#"{"choices":[{"delta":{"content":" wor"}}]}"#,
                    r#"{"choices":[{"delta":{"content":"ld"}}]}"#,
                ][..],
                2,
            ),
            (
                &[
                    r#"{"choices":[],"usage":null}"#,
                    r#"{"choices":[{"delta":{"role":"assistant","content":"","refusal":null}}]}"#,
                ],
                0,
            ),
            (&[r#"{"choices":[{"text":"hello world"}]}"#], 2),
            (
                &[
                    r#"{"choices":[{"delta":{"tool_calls":[{"index":0,"function":{"name":"hello","arguments":" world"}}]}}]}"#,
                ],
                2,
            ),
            (
                &[
                    r#"{"type":"response.output_text.delta","delta":"hello world"}"#,
                    r#"{"type":"response.output_text.done","text":"hello world"}"#,
                ],
                2,
            ),
            (&[r#"{"type":"response.reasoning_summary_text.delta","delta":"hello"}"#], 0),
            (&[r#"{"type":"x.delta","delta":{"a":1}}"#, r#"{"error":{"message":"no"}}"#], 0),
            (&["not json, 21 bytes long"], by_length(23)),
        ] {
            assert_eq!(counted(events), want, "{events:?}");
        }
        assert!(Produced::new(Operation::Embeddings, Encoding::O200k).is_none());
    }

    #[test]
    fn long_streams_are_counted_as_they_come_and_not_kept() {
        for text in [" the", "日本語 ", "x", " \n"] {
            let mut produced = Produced::new(Operation::ChatCompletions, Encoding::O200k).unwrap();
            let event = serde_json::json!({"choices": [{"delta": {"content": text}}]}).to_string();
            for _ in 0..20_000 {
                produced.event(event.as_bytes());
                assert!(produced.text.len() <= KEPT_MAX && produced.text.capacity() <= 4 * KEPT_MAX);
            }
            if text == " the" {
                assert_eq!(produced.tokens(), 20_000);
            }
            let whole = Encoding::O200k.count(&text.repeat(20_000));
            assert!(produced.tokens().abs_diff(whole) <= 8, "{text:?}: {} of {whole}", produced.tokens());
        }
    }
}
