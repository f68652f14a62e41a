//! [`with_usage()`]: asks the backend for the usage chunk that the client did not ask for.
//!
//! The body stays in three pieces, whatever else of it is replaced (`replay` needs that); only what stands between the two changes is
//! copied.

use super::{Replacement, Segments, replace};
use crate::openai::facts::Facts;
use bytes::{Bytes, BytesMut};
use std::borrow::Cow;
use std::ops::Range;

/// What is added to a body without `stream_options`.
const OPTION: &str = "\"stream_options\":{\"include_usage\":true}";
/// Longest `stream_options` of a client that are extended, in bytes; they have two keys.
const OPTIONS_MAX: usize = 1024;

/// `body`, whose facts are known, with `include_usage` and, where one is given, with this model: in place of its own, or added. `None` where the client's own
/// `stream_options` cannot be extended: the backend may judge them.
#[must_use]
pub fn with_usage(body: &Bytes, facts: &Facts, model: Option<&Replacement>) -> Option<Segments> {
    let own = facts.model.as_ref().map(|model| model.span.clone());
    match (&facts.stream_options, own) {
        (Some(options), Some(own)) => {
            let extended = Bytes::from(extended(body.get(options.clone())?)?);
            let Some(model) = model else { return Some(replace(body, options.clone(), &Replacement(extended))) };
            Some(both(body, (own, &model.0), (options.clone(), &extended)))
        }
        (Some(options), None) => {
            let extended = Bytes::from(extended(body.get(options.clone())?)?);
            let Some(model) = model else { return Some(replace(body, options.clone(), &Replacement(extended))) };
            let brace = memchr::memchr(b'{', body)?;
            let named = Bytes::from([b"{\"model\":".as_slice(), &model.0, b","].concat());
            Some(both(body, (brace..brace.saturating_add(1), &named), (options.clone(), &extended)))
        }
        (None, Some(own)) => {
            let value = match model {
                Some(model) => Cow::Borrowed(&model.0),
                None => Cow::Owned(body.slice(own.clone())),
            };
            let mut text = BytesMut::with_capacity(value.len() + 1 + OPTION.len());
            text.extend_from_slice(&value);
            text.extend_from_slice(b",");
            text.extend_from_slice(OPTION.as_bytes());
            Some(replace(body, own, &Replacement(text.freeze())))
        }
        // A body that asks for a stream is an object with a key.
        (None, None) => {
            let brace = memchr::memchr(b'{', body)?;
            let mut text = format!("{{{OPTION},").into_bytes();
            if let Some(model) = model {
                text.extend_from_slice(b"\"model\":");
                text.extend_from_slice(&model.0);
                text.push(b',');
            }
            Some(replace(body, brace..brace.saturating_add(1), &Replacement(text.into())))
        }
    }
}

/// Both values in place: one piece from the first change to the last.
fn both(body: &Bytes, one: (Range<usize>, &Bytes), two: (Range<usize>, &Bytes)) -> Segments {
    let (first, last) = if one.0.start <= two.0.start { (one, two) } else { (two, one) };
    let between = body.get(first.0.end..last.0.start).unwrap_or_default();
    let mut text = BytesMut::with_capacity(first.1.len() + between.len() + last.1.len());
    text.extend_from_slice(first.1);
    text.extend_from_slice(between);
    text.extend_from_slice(last.1);
    replace(body, first.0.start..last.0.end, &Replacement(text.freeze()))
}

/// The client's own options with ours among them.
fn extended(options: &[u8]) -> Option<String> {
    if options.len() > OPTIONS_MAX {
        return None;
    }
    let known: Option<serde_json::Map<String, serde_json::Value>> = serde_json::from_slice(options).ok()?;
    let mut known = known.unwrap_or_default();
    known.insert("include_usage".to_owned(), true.into());
    serde_json::to_string(&known).ok()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests may panic")]
    use super::*;
    use crate::openai::facts;
    use serde_json::{Value, json};

    fn injected(body: &str, model: Option<&str>) -> Option<Value> {
        let body = Bytes::copy_from_slice(body.as_bytes());
        let facts = facts::from_json(&body, false).unwrap();
        let segments = with_usage(&body, &facts, model.map(Replacement::json).as_ref())?;
        let mut out = Vec::new();
        while let Some(chunk) = segments.chunk_at(out.len(), usize::MAX) {
            out.extend_from_slice(&chunk);
        }
        assert_eq!(out.len(), segments.len());
        // A repeated key would make the text ambiguous.
        assert_eq!(out.windows(16).filter(|at| at == b"\"stream_options\"").count(), 1);
        Some(serde_json::from_slice(&out).unwrap())
    }

    #[test]
    fn the_option_is_added_once_and_the_rest_is_kept() {
        let options = json!({"include_usage": true});
        for body in [
            r#"{"stream":true}"#,
            " {\n\"stream\" : true , \"x\": [1,{}] }",
            r#"{"model":"a","stream":true}"#,
            r#"{"stream":true,"model":"a"}"#,
            r#"{"stream":true,"stream_options":null,"model":"a"}"#,
            r#"{"stream":true,"model":"a","messages":[],"stream_options":{"include_usage":false}}"#,
            r#"{"stream_options":{},"messages":["\"stream\""],"model":"a","stream":true}"#,
            r#"{"stream":true,"stream_options":{"include_usage":null}}"#,
        ] {
            for model in [None, Some("gpt \"4\"")] {
                let mut want: Value = serde_json::from_str(body).unwrap();
                want["stream_options"] = options.clone();
                if let Some(model) = model {
                    want["model"] = model.into();
                }
                assert_eq!(injected(body, model), Some(want), "{body}");
            }
        }
        let other = r#"{"stream":true,"stream_options":{"include_obfuscation":false}}"#;
        let want = json!({"stream": true, "stream_options": {"include_obfuscation": false, "include_usage": true}});
        assert_eq!(injected(other, None), Some(want));
        for odd in [r#""yes""#, "[]", "1"] {
            assert_eq!(injected(&format!(r#"{{"stream":true,"stream_options":{odd}}}"#), None), None, "{odd}");
        }
    }
}
