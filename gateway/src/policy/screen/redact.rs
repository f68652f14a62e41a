//! What of a request may stand in a log line: short, printable, and without anything that looks like a secret.

use super::transform::percent_decoded;
use std::ops::Range;

/// A run of letters and digits this long that mixes both is taken for a key or a token.
const TOKEN_LENGTH_MIN: usize = 20;
/// Bytes looked at to the left for the name of the argument that a match lies in.
const NAME_DISTANCE_MAX: usize = 256;
const HIDDEN: &str = "***";

/// Words in a name that make its value a secret. Rather one value too many than a key in a log.
const SECRET_WORDS: [&[u8]; 9] =
    [b"key", b"token", b"secret", b"password", b"passwd", b"auth", b"sig", b"session", b"cookie"];

/// Whether the value of a header, cookie or argument of this name is hidden from logs.
#[must_use]
pub fn is_secret_name(name: &[u8]) -> bool {
    let name = percent_decoded(name).to_ascii_lowercase();
    SECRET_WORDS.iter().any(|word| memchr::memmem::find(&name, word).is_some())
}

/// The part of `value` at `range`, cut to `limit` bytes: control characters and broken UTF-8 as escapes, values of
/// secret-like arguments and token-like runs as `***`.
#[must_use]
pub fn redacted(value: &[u8], range: Range<usize>, limit: usize) -> String {
    let start = range.start.min(value.len());
    let end = range.end.min(start.saturating_add(limit)).clamp(start, value.len());
    let mut out = String::with_capacity(end - start);
    let mut place = start;
    while place < end {
        let run = token_run(value, place);
        if hidden(value, place, &run) {
            out.push_str(HIDDEN);
            // Of a secret argument everything up to its end goes; of a token the run.
            place = if in_secret_argument(value, place) { argument_end(value, place) } else { run.end };
        } else if run.is_empty() {
            place += push_one(&mut out, value.get(place..end).unwrap_or_default());
        } else {
            let shown = value.get(place..run.end.min(end)).unwrap_or_default();
            out.push_str(std::str::from_utf8(shown).unwrap_or_default());
            place = run.end;
        }
    }
    truncated(out, limit)
}

fn hidden(value: &[u8], place: usize, run: &Range<usize>) -> bool {
    let text = value.get(run.clone()).unwrap_or_default();
    let mixed = text.iter().any(u8::is_ascii_digit) && text.iter().any(u8::is_ascii_alphabetic);
    (text.len() >= TOKEN_LENGTH_MIN && mixed) || in_secret_argument(value, place)
}

/// The whole run of token characters around `place`, also what lies left of it; empty where there is none.
fn token_run(value: &[u8], place: usize) -> Range<usize> {
    let is_part = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    if !value.get(place).is_some_and(is_part) {
        return place..place;
    }
    let before = value.get(place.saturating_sub(NAME_DISTANCE_MAX)..place).unwrap_or_default();
    let start = place - before.iter().rev().take_while(|byte| is_part(byte)).count();
    let after = value.get(place..).unwrap_or_default();
    start..place + after.iter().take_while(|byte| is_part(byte)).count()
}

/// Whether `place` lies in the value of an argument with a secret-like name: `api-key=…`, `"api_key": "…`.
fn in_secret_argument(value: &[u8], place: usize) -> bool {
    if value.get(place).is_none_or(|byte| ends_argument(*byte)) {
        return false;
    }
    let before = value.get(place.saturating_sub(NAME_DISTANCE_MAX)..place).unwrap_or_default();
    let begin = before.iter().rposition(|byte| ends_argument(*byte));
    let pair = begin.map_or(before, |at| before.get(at + 1..).unwrap_or_default());
    memchr::memchr2(b'=', b':', pair).is_some_and(|sign| is_secret_name(pair.get(..sign).unwrap_or_default()))
}

fn argument_end(value: &[u8], place: usize) -> usize {
    let after = value.get(place..).unwrap_or_default();
    let length = after.iter().position(|byte| ends_argument(*byte));
    place + length.unwrap_or(after.len())
}

const fn ends_argument(byte: u8) -> bool {
    matches!(byte, b'&' | b'?' | b';' | b',' | b'{' | b'}' | b'\n')
}

/// Appends the first character of `rest`, escaped where it needs be; how many bytes it took.
fn push_one(out: &mut String, rest: &[u8]) -> usize {
    let head = rest.get(..rest.len().min(4)).unwrap_or_default();
    let valid = match std::str::from_utf8(head) {
        Ok(text) => text,
        Err(error) => std::str::from_utf8(head.get(..error.valid_up_to()).unwrap_or_default()).unwrap_or_default(),
    };
    match valid.chars().next() {
        Some(character) if !character.is_control() => {
            out.push(character);
            character.len_utf8()
        }
        _ => {
            out.extend(rest.first().into_iter().flat_map(|byte| byte.escape_ascii().map(char::from)));
            1
        }
    }
}

fn truncated(mut text: String, limit: usize) -> String {
    if text.len() > limit {
        let cut = (0..=limit).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0);
        text.truncate(cut);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::{ProptestConfig, any, prop_assert, proptest};

    fn all(text: &str) -> String {
        redacted(text.as_bytes(), 0..text.len(), 128)
    }

    #[test]
    fn attacks_are_shown_and_secrets_are_not() {
        for (text, shown) in [
            ("../../etc/passwd", "../../etc/passwd"),
            ("1' OR '1'='1", "1' OR '1'='1"),
            ("a\r\nset-cookie: x", "a\\r\\nset-cookie:***"),
            ("q=1&api-key=hunter2&r=2", "q=1&api-key=***&r=2"),
            ("q=1&api%2Dkey=hunter2", "q=1&api%2Dkey=***"),
            (r#"{"api_key": "hunter2", "n": 1}"#, r#"{"api_key":***, "n": 1}"#),
            ("see 0123456789abcdef0123456789abcdef", "see ***"),
            ("caf\u{e9}\u{7}", "caf\u{e9}\\x07"),
        ] {
            assert_eq!(all(text), shown, "{text}");
        }
        // A match that begins inside a secret shows nothing of it.
        let query = b"api-key=0123456789&n=1";
        assert_eq!(redacted(query, 12..16, 128), "***");
        let token = b"Bearer abcdefghij0123456789abcdefghij";
        assert_eq!(redacted(token, 20..24, 128), "***");
        assert_eq!(redacted(&[0xff, b'a'], 0..2, 128), "\\xffa");
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(512))]
        #[test]
        fn any_bytes_become_short_printable_text(value in any::<Vec<u8>>(), start in 0usize..64, length in 0usize..300) {
            let text = redacted(&value, start..start + length, 128);
            prop_assert!(text.len() <= 128);
            prop_assert!(!text.chars().any(char::is_control));
        }
    }
}
