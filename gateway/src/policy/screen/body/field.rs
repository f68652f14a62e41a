//! The fields at the top of an inference request that are known, and what each may be.

use super::BodyPolicy;
use super::scanner::Member;
use super::syntax::Kind;

/// What is wrong with a field.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Wrong {
    /// Its type.
    Kind(&'static str),
    /// Its value, length or number of entries.
    Range(String),
}

/// What a known field may be.
enum Shape {
    Any,
    Boolean,
    Text(usize),
    /// A whole number from 1.
    Count(u64),
    /// Any number in this range.
    Number(f64, f64),
    Map,
    /// Text or map.
    TextOrMap,
    List(usize),
    /// Text, or a list of so many entries.
    TextOrList(usize),
}

/// Fields whose value is the backend's to judge.
const OTHERS: [&str; 56] = [
    "audio",
    "background",
    "batch_size",
    "chunking_strategy",
    "conversation",
    "context_management",
    "data_sources",
    "dimensions",
    "echo",
    "encoding_format",
    "enhancements",
    "extra_body",
    "file",
    "function_call",
    "image",
    "include",
    "include_obfuscation",
    "input_fidelity",
    "instructions",
    "language",
    "logprobs",
    "mask",
    "max_tool_calls",
    "modalities",
    "moderation",
    "output_compression",
    "output_format",
    "partial_images",
    "prediction",
    "previous_response_id",
    "prompt",
    "prompt_cache_key",
    "prompt_cache_retention",
    "quality",
    "reasoning",
    "reasoning_effort",
    "safety_identifier",
    "seed",
    "service_tier",
    "size",
    "speed",
    "stream_format",
    "style",
    "suffix",
    "text",
    "timestamp_granularities",
    "tool_choice",
    "tool_resources",
    "top_k",
    "truncation",
    "usage",
    "user_security_context",
    "verbosity",
    "voice",
    "web_search_options",
    "best_of",
];

/// Longest short text, in bytes.
const TEXT_MAX: usize = 1024;
/// Tools, functions and stop sequences.
const LIST_MAX: usize = 256;

/// Whether the field is one that inference requests have.
pub(super) fn is_known(name: &[u8], policy: &BodyPolicy) -> bool {
    shape(name, policy).is_some() || policy.known_keys.iter().any(|known| known.as_bytes() == name)
}

/// What is wrong with a field. `null` stands for a field that is not there.
pub(super) fn check(member: &Member<'_>, policy: &BodyPolicy) -> Option<Wrong> {
    let shape = shape(&member.key, policy)?;
    if member.kind == Kind::Null {
        return None;
    }
    match (&shape, member.kind) {
        (Shape::Any, _)
        | (Shape::Boolean, Kind::Boolean)
        | (Shape::Map, Kind::Object)
        | (Shape::TextOrMap, Kind::String | Kind::Object)
        | (Shape::TextOrList(_), Kind::String) => None,
        (Shape::Text(most), Kind::String) => {
            // As written, without its quotes: an escape only makes it longer.
            let length = member.raw.len().saturating_sub(2);
            (length > *most).then(|| Wrong::Range(format!("is longer than {most} bytes")))
        }
        (Shape::Count(most), Kind::Number) => count(member.raw, *most),
        (Shape::Number(low, high), Kind::Number) => number(member.raw, *low, *high),
        (Shape::List(most) | Shape::TextOrList(most), Kind::Array) => (member.entries > *most)
            .then(|| Wrong::Range(format!("has {} entries, at most {most} are allowed", member.entries))),
        _ => Some(Wrong::Kind(expected(&shape))),
    }
}

fn expected(shape: &Shape) -> &'static str {
    match shape {
        Shape::Any => "anything",
        Shape::Boolean => "true or false",
        Shape::Text(_) => "a string",
        Shape::Count(_) => "a whole number",
        Shape::Number(..) => "a number",
        Shape::Map => "an object",
        Shape::TextOrMap => "a string or an object",
        Shape::List(_) => "an array",
        Shape::TextOrList(_) => "a string or an array",
    }
}

fn count(raw: &[u8], most: u64) -> Option<Wrong> {
    let text = std::str::from_utf8(raw).unwrap_or_default();
    match text.parse::<u64>() {
        Ok(value) if (1..=most).contains(&value) => None,
        Ok(_) => Some(Wrong::Range(format!("must be from 1 to {most}"))),
        Err(_) if text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'-') => {
            Some(Wrong::Range(format!("must be from 1 to {most}")))
        }
        Err(_) => Some(Wrong::Kind("a whole number")),
    }
}

fn number(raw: &[u8], low: f64, high: f64) -> Option<Wrong> {
    let value = std::str::from_utf8(raw).ok().and_then(|text| text.parse::<f64>().ok());
    let fits = value.is_some_and(|value| (low..=high).contains(&value));
    (!fits).then(|| Wrong::Range(format!("must be from {low} to {high}")))
}

fn shape(name: &[u8], policy: &BodyPolicy) -> Option<Shape> {
    Some(match name {
        b"model" => Shape::Text(policy.model_length_max),
        b"messages" => Shape::List(policy.messages_max),
        b"input" => Shape::TextOrList(policy.input_max),
        b"n" => Shape::Count(policy.n_max),
        b"max_tokens" | b"max_completion_tokens" | b"max_output_tokens" => Shape::Count(policy.max_tokens_max),
        b"stream" | b"store" | b"parallel_tool_calls" => Shape::Boolean,
        b"temperature" => Shape::Number(0.0, 2.0),
        b"top_p" => Shape::Number(0.0, 1.0),
        b"presence_penalty" | b"frequency_penalty" => Shape::Number(-2.0, 2.0),
        b"top_logprobs" => Shape::Number(0.0, 20.0),
        b"tools" | b"functions" => Shape::List(LIST_MAX),
        b"stop" => Shape::TextOrList(LIST_MAX),
        b"response_format" => Shape::TextOrMap,
        b"metadata" | b"logit_bias" | b"stream_options" => Shape::Map,
        b"user" => Shape::Text(TEXT_MAX),
        other => {
            OTHERS.iter().find(|known| known.as_bytes() == other)?;
            Shape::Any
        }
    })
}
