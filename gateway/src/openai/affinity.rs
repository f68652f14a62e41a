//! [`key`]: what the prompt cache of a deployment would know a request by, as raw bytes of its body.
//!
//! Azure caches the beginning of a prompt from 1 024 tokens on, and takes `prompt_cache_key` for a hint of its own. A shorter prompt
//! is not cached anywhere: it has no key.

use super::facts::Facts;
use super::operation::Operation;

/// So much of a prompt's beginning tells conversations apart: about the 1 024 tokens from which on Azure caches. What grows behind it
/// does not change the key.
const PREFIX: usize = 4096;
/// Longest `prompt_cache_key`, `conversation` or `user` looked at.
const NAME_MAX: usize = 512;

/// What requests are held together by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Affinity {
    /// By `prompt_cache_key` alone.
    Key,
    /// By that, else `conversation` or `user`, else the beginning of the prompt.
    Prefix,
}

/// The bytes that requests of one conversation, or with one beginning, have in common.
#[must_use]
pub fn key<'b>(operation: Operation, facts: &Facts, body: &'b [u8], by: Affinity) -> Option<&'b [u8]> {
    if !matches!(operation, Operation::ChatCompletions | Operation::Completions | Operation::Responses) {
        return None;
    }
    let text = |span: &Option<std::ops::Range<usize>>| body.get(span.clone()?);
    let named = |span| text(span).map(|name: &[u8]| name.get(..NAME_MAX).unwrap_or(name));
    let key = named(&facts.cache_key);
    match by {
        Affinity::Key => key,
        Affinity::Prefix => {
            key.or_else(|| named(&facts.talk)).or_else(|| text(&facts.prompt).and_then(|prompt| prompt.get(..PREFIX)))
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests may panic")]
mod tests {
    use super::*;
    use crate::openai::facts::from_json;

    fn of(body: &str, by: Affinity) -> Option<String> {
        let facts = from_json(body.as_bytes(), false).unwrap();
        let key = key(Operation::ChatCompletions, &facts, body.as_bytes(), by)?;
        Some(String::from_utf8(key.to_vec()).unwrap())
    }

    fn chat(turns: &[String], more: &str) -> String {
        let turns: Vec<_> = turns.iter().map(|text| format!("{{\"role\":\"user\",\"content\":\"{text}\"}}")).collect();
        format!("{{{more}\"messages\":[{}]}}", turns.join(","))
    }

    #[test]
    fn a_name_goes_before_the_beginning() {
        let long = ["x".repeat(5000)];
        for (more, key, prefix) in [
            ("\"prompt_cache_key\":\"k\",\"user\":\"u\",", Some("\"k\""), Some("\"k\"")),
            ("\"user\":\"u\",", None, Some("\"u\"")),
            ("\"conversation\":\"c\",\"user\":\"u\",", None, Some("\"c\"")),
        ] {
            let body = chat(&long, more);
            assert_eq!(of(&body, Affinity::Key).as_deref(), key, "{more}");
            assert_eq!(of(&body, Affinity::Prefix).as_deref(), prefix, "{more}");
        }
        assert_eq!(of(&chat(&long, ""), Affinity::Key), None);
    }

    #[test]
    fn a_conversation_keeps_its_key_while_it_grows() {
        let first = "a long system prompt ".repeat(250);
        let one = of(&chat(std::slice::from_ref(&first), ""), Affinity::Prefix);
        let two = of(&chat(&[first.clone(), "and another turn".to_owned()], "\"temperature\":1,"), Affinity::Prefix);
        assert_eq!(one.as_ref().map(String::len), Some(PREFIX));
        assert_eq!(one, two);
        assert_ne!(one, of(&chat(&[first.replace("long", "new")], ""), Affinity::Prefix));
    }

    #[test]
    fn what_no_cache_keeps_has_no_key() {
        let short = chat(&["x".repeat(3000)], "");
        assert_eq!(of(&short, Affinity::Prefix), None);
        let body = chat(&["x".repeat(5000)], "\"prompt_cache_key\":\"k\",");
        let facts = from_json(body.as_bytes(), false).unwrap();
        for operation in [Operation::Embeddings, Operation::AudioSpeech, Operation::Realtime] {
            assert_eq!(key(operation, &facts, body.as_bytes(), Affinity::Prefix), None, "{operation:?}");
        }
    }

    #[test]
    fn a_long_name_is_cut() {
        let body = chat(&[], &format!("\"prompt_cache_key\":\"{}\",", "k".repeat(10_000)));
        assert_eq!(of(&body, Affinity::Key).map(|key| key.len()), Some(NAME_MAX));
    }
}
