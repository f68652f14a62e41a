//! [`Draft`]: the numbers and texts of one answer, and the JSON documents made of them.
//!
//! Documents are printed, not built as trees: the plain path must be cheap. Every string in them is either ours, a
//! checked name, or was quoted by `serde_json`.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use std::fmt::Write as _;

/// Verdicts of the content filter on harmless text.
pub(crate) const SAFE: &str = r#"{"hate":{"filtered":false,"severity":"safe"},"self_harm":{"filtered":false,"severity":"safe"},"sexual":{"filtered":false,"severity":"safe"},"violence":{"filtered":false,"severity":"safe"}}"#;
/// Where a document can be cut open to be filled to a size.
pub(crate) const FILL: &str = "@@FILL@@";
/// One token, alone and after itself, in every tokenizer of the models.
pub(crate) const WORD: &str = " the";
const FINGERPRINT: &str = "fp_ee1d74bde0";

/// One answer.
#[derive(Clone, Debug)]
pub(crate) struct Draft {
    /// Unique part of the ids.
    pub(crate) id: String,
    pub(crate) created: u64,
    /// `[region/deployment]`: who served.
    pub(crate) marker: String,
    /// The model's name as a JSON string.
    pub(crate) model_json: String,
    pub(crate) prompt: u64,
    pub(crate) tokens: u64,
    /// Cut by the request's ceiling.
    pub(crate) cut: bool,
    pub(crate) bad_usage: bool,
    /// Leave a place to be filled.
    pub(crate) fill: bool,
    /// Nothing but words of one token each.
    pub(crate) words: bool,
}

impl Draft {
    /// The whole text, as the stream's chunks would add up to.
    pub(crate) fn text(&self) -> String {
        if self.words {
            return WORD.repeat(usize::try_from(self.tokens).unwrap_or(0));
        }
        let size = usize::try_from(self.tokens).unwrap_or(0).saturating_mul(10);
        let mut text = String::with_capacity(size + 64);
        text.push_str(&self.marker);
        for index in 1..=self.tokens {
            // Writing to a string cannot fail.
            let _ = write!(text, " token{index}");
        }
        if self.fill {
            text.push(' ');
            text.push_str(FILL);
        }
        text
    }

    pub(crate) const fn finish_reason(&self) -> &'static str {
        if self.cut { "length" } else { "stop" }
    }

    /// `usage` of chat, completions and embeddings.
    pub(crate) fn usage(&self) -> String {
        if self.bad_usage {
            return r#"{"completion_tokens":"many","prompt_tokens":-1,"total_tokens":1e30}"#.to_owned();
        }
        let (prompt, tokens, total) = (self.prompt, self.tokens, self.prompt.saturating_add(self.tokens));
        format!(
            r#"{{"completion_tokens":{tokens},"completion_tokens_details":{{"accepted_prediction_tokens":0,"audio_tokens":0,"reasoning_tokens":0,"rejected_prediction_tokens":0}},"prompt_tokens":{prompt},"prompt_tokens_details":{{"audio_tokens":0,"cached_tokens":0}},"total_tokens":{total}}}"#
        )
    }

    pub(crate) fn chat(&self) -> String {
        let Self { id, created, model_json, .. } = self;
        let (text, finish, usage) = (self.text(), self.finish_reason(), self.usage());
        format!(
            r#"{{"choices":[{{"content_filter_results":{SAFE},"finish_reason":"{finish}","index":0,"logprobs":null,"message":{{"annotations":[],"content":"{text}","refusal":null,"role":"assistant"}}}}],"created":{created},"id":"chatcmpl-{id}","model":{model_json},"object":"chat.completion","prompt_filter_results":[{{"prompt_index":0,"content_filter_results":{SAFE}}}],"system_fingerprint":"{FINGERPRINT}","usage":{usage}}}"#
        )
    }

    pub(crate) fn completion(&self) -> String {
        let Self { id, created, model_json, .. } = self;
        let (text, finish, usage) = (self.text(), self.finish_reason(), self.usage());
        format!(
            r#"{{"choices":[{{"content_filter_results":{SAFE},"finish_reason":"{finish}","index":0,"logprobs":null,"text":"{text}"}}],"created":{created},"id":"cmpl-{id}","model":{model_json},"object":"text_completion","prompt_filter_results":[{{"prompt_index":0,"content_filter_results":{SAFE}}}],"usage":{usage}}}"#
        )
    }

    /// `count` vectors of `dimensions`; `base64` as the official SDKs ask for it.
    pub(crate) fn embeddings(&self, count: u64, dimensions: u32, base64: bool) -> String {
        let Self { model_json, marker, prompt, .. } = self;
        let vector = vector(dimensions, base64);
        let mut data = String::new();
        for index in 0..count {
            let comma = if index == 0 { "" } else { "," };
            let _ = write!(data, r#"{comma}{{"embedding":{vector},"index":{index},"object":"embedding"}}"#);
        }
        let usage = if self.bad_usage {
            self.usage()
        } else {
            format!(r#"{{"prompt_tokens":{prompt},"total_tokens":{prompt}}}"#)
        };
        format!(r#"{{"data":[{data}],"model":{model_json},"object":"list","usage":{usage},"x_sim":"{marker}"}}"#)
    }

    /// The parts of one chunk of a chat stream around its delta object and its finish reason.
    pub(crate) fn chat_chunk(&self, delta: &str, finish: Option<&str>, include_usage: bool) -> (String, String) {
        let Self { id, created, model_json, .. } = self;
        let finish = finish.map_or_else(|| "null".to_owned(), |finish| format!("\"{finish}\""));
        let usage = if include_usage { r#","usage":null"# } else { "" };
        (
            format!(r#"data: {{"choices":[{{"content_filter_results":{SAFE},"delta":{delta}"#),
            format!(
                r#","finish_reason":{finish},"index":0,"logprobs":null}}],"created":{created},"id":"chatcmpl-{id}","model":{model_json},"object":"chat.completion.chunk","system_fingerprint":"{FINGERPRINT}"{usage}"#
            ),
        )
    }

    /// The parts of one chunk of a completions stream around its text.
    pub(crate) fn completion_chunk(&self, finish: Option<&str>, include_usage: bool) -> (String, String) {
        let Self { id, created, model_json, .. } = self;
        let finish = finish.map_or_else(|| "null".to_owned(), |finish| format!("\"{finish}\""));
        let usage = if include_usage { r#","usage":null"# } else { "" };
        (
            format!(
                r#"data: {{"choices":[{{"content_filter_results":{SAFE},"finish_reason":{finish},"index":0,"logprobs":null,"text":""#
            ),
            format!(
                r#""}}],"created":{created},"id":"cmpl-{id}","model":{model_json},"object":"text_completion"{usage}"#
            ),
        )
    }

    /// The extra chunk of `include_usage` in a completions stream.
    pub(crate) fn completion_usage(&self) -> String {
        let Self { id, created, model_json, .. } = self;
        let usage = self.usage();
        format!(
            "data: {{\"choices\":[],\"created\":{created},\"id\":\"cmpl-{id}\",\"model\":{model_json},\"object\":\"text_completion\",\"usage\":{usage}}}\n\n"
        )
    }

    /// `count` images; the address says who drew them.
    /// `whole`: the bytes themselves, not an address.
    pub(crate) fn images(&self, count: u32, whole: bool) -> String {
        let Self { id, created, marker, .. } = self;
        let one = |n: u32| {
            let place = if whole {
                format!(r#""b64_json":"{}""#, STANDARD.encode(format!("{marker} {n}")))
            } else {
                format!(r#""url":"https://images.example/{id}/{n}.png""#)
            };
            format!(
                r#"{{"content_filter_results":{SAFE},"prompt_filter_results":{SAFE},"revised_prompt":"{marker} an image",{place}}}"#
            )
        };
        let data = (0..count).map(one).collect::<Vec<_>>().join(",");
        format!(r#"{{"created":{created},"data":[{data}]}}"#)
    }

    /// What was heard in a recording.
    pub(crate) fn transcription(&self) -> String {
        format!(r#"{{"text":"{}"}}"#, self.text())
    }

    /// The extra chunk of `include_usage`.
    pub(crate) fn chat_usage(&self) -> String {
        let Self { id, created, model_json, .. } = self;
        let usage = self.usage();
        format!(
            "data: {{\"choices\":[],\"created\":{created},\"id\":\"chatcmpl-{id}\",\"model\":{model_json},\"object\":\"chat.completion.chunk\",\"system_fingerprint\":\"{FINGERPRINT}\",\"usage\":{usage}}}\n\n"
        )
    }
}

fn vector(dimensions: u32, base64: bool) -> String {
    let count = usize::try_from(dimensions).unwrap_or(0);
    if base64 {
        // All zero: 4 bytes each, 3 bytes to 4 characters.
        let bytes = count.saturating_mul(4);
        let tail = ["", "AA==", "AAA="].get(bytes % 3).copied().unwrap_or_default();
        return format!("\"{}{tail}\"", "AAAA".repeat(bytes / 3));
    }
    let numbers = "0.0123,".repeat(count);
    format!("[{}]", numbers.strip_suffix(',').unwrap_or_default())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests may panic")]
    use super::*;

    fn draft() -> Draft {
        Draft {
            id: "1".into(),
            created: 1,
            marker: "[r/d]".into(),
            model_json: "\"m\"".into(),
            prompt: 3,
            tokens: 2,
            cut: false,
            bad_usage: false,
            fill: false,
            words: false,
        }
    }

    #[test]
    fn documents_parse_and_name_who_served() {
        let chat: serde_json::Value = serde_json::from_str(&draft().chat()).unwrap();
        assert_eq!(chat["choices"][0]["message"]["content"], "[r/d] token1 token2");
        assert_eq!(chat["usage"]["total_tokens"], 5);
        let completion: serde_json::Value = serde_json::from_str(&draft().completion()).unwrap();
        assert_eq!(completion["choices"][0]["text"], "[r/d] token1 token2");
        let bad: serde_json::Value = serde_json::from_str(&Draft { bad_usage: true, ..draft() }.chat()).unwrap();
        assert_eq!(bad["usage"]["prompt_tokens"], -1);
    }

    #[test]
    fn vectors_have_their_size() {
        let list: serde_json::Value = serde_json::from_str(&draft().embeddings(3, 7, false)).unwrap();
        assert_eq!(list["data"].as_array().unwrap().len(), 3);
        assert_eq!(list["data"][2]["embedding"].as_array().unwrap().len(), 7);
        let list: serde_json::Value = serde_json::from_str(&draft().embeddings(1, 1, true)).unwrap();
        assert_eq!(list["data"][0]["embedding"], "AAAAAA==");
        assert_eq!(vector(2, true), "\"AAAAAAAAAAA=\"");
        assert_eq!(vector(3, true), "\"AAAAAAAAAAAAAAAA\"");
    }
}
