//! [`BodyScanner`] and the finder below it: the last `"usage":{…}` of a JSON text that passes in pieces.
//!
//! No parser runs over the text. A quote inside a JSON string is always escaped, so `"usage"` without a backslash in
//! front is a key or a whole string; followed by a colon and a brace it is the object we want, or one without token
//! counts, which is passed over.

use std::sync::LazyLock;

use memchr::memmem;
use serde::Deserialize;

use crate::domain::Usage;

/// Largest usage object, in bytes: the most that is ever kept.
const OBJECT_MAX: usize = 4 * 1024;
/// More tokens than any answer has: a usage that tells more is not believed.
const TOKENS_MAX: u64 = 100_000_000;
const KEY: &[u8] = b"\"usage\"";
static KEY_FINDER: LazyLock<memmem::Finder<'_>> = LazyLock::new(|| memmem::Finder::new(KEY));

/// Incremental reader of a JSON answer that does not stream.
#[derive(Debug, Default)]
pub struct BodyScanner(UsageFinder);

impl BodyScanner {
    /// A scanner at the start of a body.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Reads the next bytes of the body.
    pub fn feed(&mut self, chunk: &[u8]) {
        self.0.feed(chunk);
    }

    /// The last usage seen.
    #[must_use]
    pub const fn usage(&self) -> Option<Usage> {
        self.0.usage()
    }
}

/// The search itself, one byte at a time where it must be and by substring search where it can.
#[derive(Debug)]
pub(super) struct UsageFinder {
    state: State,
    /// The byte before the next one.
    last: u8,
    object: Vec<u8>,
    usage: Option<Usage>,
}

#[derive(Clone, Copy, Debug)]
enum State {
    /// So many bytes of the key have passed.
    Key(usize),
    /// The key has passed; a colon is wanted.
    Colon,
    /// The colon has passed; a brace is wanted.
    Brace,
    /// Inside the object.
    Object { depth: usize, string: bool, escaped: bool },
}

impl Default for UsageFinder {
    fn default() -> Self {
        Self::new()
    }
}

impl UsageFinder {
    pub(super) fn new() -> Self {
        Self { state: State::Key(0), last: 0, object: Vec::new(), usage: None }
    }

    pub(super) const fn usage(&self) -> Option<Usage> {
        self.usage
    }

    /// Forgets what is half seen; a new text begins.
    pub(super) fn restart(&mut self) {
        self.state = State::Key(0);
        self.last = 0;
        self.object.clear();
    }

    pub(super) fn feed(&mut self, chunk: &[u8]) {
        let mut rest = chunk;
        loop {
            if matches!(self.state, State::Key(0)) {
                rest = self.skip(rest);
            }
            if matches!(self.state, State::Brace)
                && let Some((length, usage)) = whole_object(rest)
            {
                self.usage = usage.or(self.usage);
                self.state = State::Key(0);
                self.last = b'}';
                rest = rest.get(length..).unwrap_or_default();
                continue;
            }
            let Some((byte, after)) = rest.split_first() else { return };
            self.step(*byte);
            self.last = *byte;
            rest = after;
        }
    }

    /// Passes over everything in which no key begins; what is left follows a key, or is empty.
    fn skip<'a>(&mut self, text: &'a [u8]) -> &'a [u8] {
        let mut from = 0_usize;
        while let Some(found) = text.get(from..).and_then(|rest| KEY_FINDER.find(rest)) {
            let start = from.saturating_add(found);
            if !self.escaped_at(text, start) {
                self.state = State::Colon;
                self.last = b'"';
                return text.get(start.saturating_add(KEY.len())..).unwrap_or_default();
            }
            from = start.saturating_add(1);
        }
        // The beginning of a key may stand at the very end.
        for length in (1..KEY.len().min(text.len().saturating_add(1))).rev() {
            let start = text.len().saturating_sub(length);
            if KEY.get(..length).is_some_and(|head| text.ends_with(head)) && !self.escaped_at(text, start) {
                self.state = State::Key(length);
                break;
            }
        }
        self.last = text.last().copied().unwrap_or(self.last);
        &[]
    }

    fn escaped_at(&self, text: &[u8], at: usize) -> bool {
        let before = match at.checked_sub(1) {
            Some(before) => text.get(before).copied(),
            None => Some(self.last),
        };
        before == Some(b'\\')
    }

    fn step(&mut self, byte: u8) {
        match self.state {
            State::Key(matched) if KEY.get(matched) == Some(&byte) && (matched > 0 || self.last != b'\\') => {
                let matched = matched.saturating_add(1);
                self.state = if matched == KEY.len() { State::Colon } else { State::Key(matched) };
            }
            State::Key(_) => self.state = State::Key(usize::from(byte == b'"' && self.last != b'\\')),
            State::Colon | State::Brace if byte.is_ascii_whitespace() => {}
            State::Colon if byte == b':' => self.state = State::Brace,
            State::Brace if byte == b'{' => {
                self.object.clear();
                self.object.push(byte);
                self.state = State::Object { depth: 1, string: false, escaped: false };
            }
            // A string or another value: the quote may begin a key.
            State::Colon | State::Brace => self.state = State::Key(usize::from(byte == b'"')),
            State::Object { depth, string, escaped } => self.object_byte(byte, depth, string, escaped),
        }
    }

    fn object_byte(&mut self, byte: u8, depth: usize, string: bool, escaped: bool) {
        if self.object.len() >= OBJECT_MAX {
            self.restart();
            return;
        }
        self.object.push(byte);
        let (depth, string, escaped) = match byte {
            _ if escaped => (depth, string, false),
            b'\\' => (depth, string, string),
            b'"' => (depth, !string, false),
            b'{' if !string => (depth.saturating_add(1), string, false),
            b'}' if !string => (depth.saturating_sub(1), string, false),
            _ => (depth, string, false),
        };
        if depth > 0 {
            self.state = State::Object { depth, string, escaped };
            return;
        }
        self.usage = read(&self.object).or(self.usage);
        self.object.clear();
        self.state = State::Key(0);
    }
}

/// Both shapes in one: chat's `prompt_tokens`, Responses' and audio's `input_tokens`.
#[derive(Deserialize)]
struct Shape {
    #[serde(alias = "input_tokens")]
    prompt_tokens: Option<u64>,
    #[serde(alias = "output_tokens")]
    completion_tokens: Option<u64>,
    #[serde(alias = "input_tokens_details")]
    prompt_tokens_details: Option<PromptDetails>,
    #[serde(alias = "output_tokens_details")]
    completion_tokens_details: Option<CompletionDetails>,
}

#[derive(Deserialize)]
struct PromptDetails {
    cached_tokens: Option<u64>,
}

#[derive(Deserialize)]
struct CompletionDetails {
    reasoning_tokens: Option<u64>,
}

/// The object at the beginning of `text` and its length, where all of it is there and well formed: the usual case, read
/// at once and not byte by byte.
fn whole_object(text: &[u8]) -> Option<(usize, Option<Usage>)> {
    let text = text.get(..OBJECT_MAX).unwrap_or(text);
    if text.first() != Some(&b'{') {
        return None;
    }
    let mut values = serde_json::Deserializer::from_slice(text).into_iter::<Shape>();
    let shape = values.next()?.ok()?;
    Some((values.byte_offset(), shape.usage()))
}

fn read(object: &[u8]) -> Option<Usage> {
    serde_json::from_slice::<Shape>(object).ok()?.usage()
}

impl Shape {
    fn usage(self) -> Option<Usage> {
        if self.prompt_tokens.is_none() && self.completion_tokens.is_none() {
            return None;
        }
        let (prompt, completion) = (self.prompt_tokens.unwrap_or(0), self.completion_tokens.unwrap_or(0));
        if prompt.saturating_add(completion) > TOKENS_MAX {
            return None;
        }
        let cached = self.prompt_tokens_details.and_then(|details| details.cached_tokens).unwrap_or(0);
        let reasoning = self.completion_tokens_details.and_then(|details| details.reasoning_tokens).unwrap_or(0);
        // Parts are never more than their whole.
        Some(Usage { prompt, completion, cached: cached.min(prompt), reasoning: reasoning.min(completion) })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::indexing_slicing, reason = "tests may panic")]
    use proptest::prelude::{Just, ProptestConfig, Strategy, any, prop, prop_assert_eq, prop_oneof, proptest};

    use super::*;

    fn scan(body: &[u8]) -> Option<Usage> {
        let mut whole = BodyScanner::new();
        whole.feed(body);
        for size in 1..12 {
            let mut pieces = BodyScanner::new();
            body.chunks(size).for_each(|piece| pieces.feed(piece));
            assert_eq!(pieces.usage(), whole.usage(), "{size} {}", String::from_utf8_lossy(body));
        }
        whole.usage()
    }

    #[test]
    fn both_shapes_are_read() {
        let chat = br#"{"id":"x","choices":[{"message":{"content":"\"usage\":{\"prompt_tokens\":9}"}}],"usage" : {
            "prompt_tokens":5,"completion_tokens":7,"total_tokens":12,"prompt_tokens_details":{"cached_tokens":3,"x":"}"},
            "completion_tokens_details":{"reasoning_tokens":2}}}"#;
        assert_eq!(scan(chat), Some(Usage { prompt: 5, completion: 7, cached: 3, reasoning: 2 }));
        let responses = br#"{"usage":{"input_tokens":1,"input_tokens_details":{"cached_tokens":0},"output_tokens":2,
            "output_tokens_details":null}}"#;
        assert_eq!(scan(responses), Some(Usage { prompt: 1, completion: 2, cached: 0, reasoning: 0 }));
        assert_eq!(scan(br#"{"usage":{"prompt_tokens":4}}"#).map(|usage| usage.prompt), Some(4));
    }

    #[test]
    fn what_only_looks_like_usage_is_passed_over() {
        for body in [
            r#"{"usage":null}"#,
            r#"{"usage":"x"}"#,
            r#"{"usage":[{"prompt_tokens":1}]}"#,
            r#"{"a":"usage","b":{"prompt_tokens":1}}"#,
            r#"{"a":"say \"usage\":{\"prompt_tokens\":1}"}"#,
            r#"{"a":"say \"usage","b":1}"#,
            r#"{"usage":{"type":"duration","seconds":3}}"#,
            r#"{"usage":{"prompt_tokens":"1"}}"#,
            r#"{"usage":{"prompt_tokens":-1}}"#,
            r#"{"usage":{"prompt_tokens":100000001,"completion_tokens":1}}"#,
            r#"{"usage":{"prompt_tokens":1,"completion_tokens":18446744073709551615}}"#,
            r#"{"usage":{"prompt_tokens":1,"completion_tokens":1e30}}"#,
            r#"{"usage":{"prompt_tokens":1,"completion_tokens":1.5}}"#,
            r#"{"usage":{"prompt_tokens":1,"prompt_tokens_details":{"cached_tokens":-1}}}"#,
            r#"{"usage":{"prompt_tokens":1"#,
            r#"{"usage":{"prompt_tokens":1,"prompt_tokens":2}}"#,
            "usage",
            "",
        ] {
            assert_eq!(scan(body.as_bytes()), None, "{body}");
        }
        let parts = br#"{"usage":{"prompt_tokens":5,"completion_tokens":1,"prompt_tokens_details":{"cached_tokens":9},
            "completion_tokens_details":{"reasoning_tokens":9}}}"#;
        assert_eq!(scan(parts), Some(Usage { prompt: 5, completion: 1, cached: 5, reasoning: 1 }), "parts of a whole");
        let schema = br#"{"usage":{"prompt_tokens":1},"tools":[{"usage":{"type":"string"}}]}"#;
        assert_eq!(scan(schema).map(|usage| usage.prompt), Some(1));
    }

    #[test]
    fn memory_has_a_limit() {
        let mut body = br#"{"usage":{"a":""#.to_vec();
        body.extend(vec![b'x'; 100_000]);
        let mut scanner = BodyScanner::new();
        scanner.feed(&body);
        assert!(scanner.0.object.capacity() <= 2 * OBJECT_MAX);
        scanner.feed(br#""},"usage":{"prompt_tokens":8}}"#);
        assert_eq!(scanner.usage().map(|usage| usage.prompt), Some(8));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(512))]
        #[test]
        fn any_chunking_equals_the_whole(
            parts in prop::collection::vec(prop_oneof![
                Just("\"usage\"".to_owned()), Just(":".to_owned()), Just("{".to_owned()), Just("}".to_owned()),
                Just("\\".to_owned()), Just("\"".to_owned()), Just(" ".to_owned()), Just("\"us".to_owned()),
                Just("\"prompt_tokens\":3".to_owned()), Just("age\"".to_owned()),
                Just("\"usage\":{\"output_tokens\":4}".to_owned()), "[a-z]{1,9}".prop_map(|text| text),
            ], 0..40),
            cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..20),
        ) {
            let body = parts.concat().into_bytes();
            let mut whole = BodyScanner::new();
            whole.feed(&body);
            let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(body.len() + 1)).collect();
            cuts.sort_unstable();
            let mut pieces = BodyScanner::new();
            let mut from = 0;
            for cut in cuts {
                pieces.feed(&body[from..cut]);
                from = cut;
            }
            pieces.feed(&body[from..]);
            prop_assert_eq!(pieces.usage(), whole.usage());
        }
    }
}
