//! [`Text`]: one value of a request as rules read it, decoded once and, where escapes remain, twice.
//!
//! It never judges. Decoding never fails: what is no escape stays as it is, and [`Oddities`] remembers it.

use std::borrow::Cow;

/// One value, decoded.
#[derive(Clone, Debug)]
pub(super) struct Text<'a> {
    /// As sent.
    pub(super) raw: &'a [u8],
    /// Decoded once: what an honest server sees.
    pub(super) once: Cow<'a, [u8]>,
    /// Decoded again, where that changes it: what a careless one sees.
    pub(super) twice: Option<Vec<u8>>,
    /// What decoding came across.
    pub(super) oddities: Oddities,
}

/// What decoding came across.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Oddities {
    /// A `%` without two hexadecimal digits.
    pub(super) malformed: bool,
    /// `%uXXXX`, which only some servers decode.
    pub(super) wide: bool,
    /// An escape inside an escape.
    pub(super) nested: bool,
}

impl<'a> Text<'a> {
    /// Decodes `raw`. With `plus`, a plus sign is a space, as in queries.
    pub(super) fn new(raw: &'a [u8], plus: bool) -> Self {
        let mut oddities = Oddities::default();
        if memchr::memchr(b'%', raw).is_none() {
            let once = if plus && memchr::memchr(b'+', raw).is_some() {
                Cow::Owned(raw.iter().map(|byte| if *byte == b'+' { b' ' } else { *byte }).collect())
            } else {
                Cow::Borrowed(raw)
            };
            return Self { raw, once, twice: None, oddities };
        }
        let once = decode(raw, plus, &mut oddities);
        let mut ignored = Oddities::default();
        let twice = (memchr::memchr(b'%', &once).is_some())
            .then(|| decode(&once, false, &mut ignored))
            .filter(|twice| *twice != once);
        oddities.nested = twice.is_some();
        Self { raw, once: Cow::Owned(once), twice, oddities }
    }

    /// Nothing but printable ASCII, no escapes, no backslash: what honest clients send.
    pub(super) fn is_plain(&self) -> bool {
        self.raw.iter().all(|byte| matches!(byte, b' '..=b'~') && !matches!(byte, b'%' | b'\\'))
    }

    /// The forms that rules look at.
    pub(super) fn forms(&self) -> impl Iterator<Item = &[u8]> {
        std::iter::once(&*self.once).chain(self.twice.as_deref())
    }
}

fn decode(raw: &[u8], plus: bool, oddities: &mut Oddities) -> Vec<u8> {
    let mut out = Vec::with_capacity(raw.len());
    let mut rest = raw;
    while let Some((first, tail)) = rest.split_first() {
        rest = tail;
        match (*first, tail) {
            (b'%', [b'u' | b'U', a, b, c, d, after @ ..]) if [a, b, c, d].iter().all(|h| h.is_ascii_hexdigit()) => {
                oddities.wide = true;
                wide((pair(*a, *b), pair(*c, *d)), &mut out);
                rest = after;
            }
            (b'%', [high, low, after @ ..]) if high.is_ascii_hexdigit() && low.is_ascii_hexdigit() => {
                out.push(pair(*high, *low));
                rest = after;
            }
            (b'%', _) => {
                oddities.malformed = true;
                out.push(b'%');
            }
            (b'+', _) if plus => out.push(b' '),
            (byte, _) => out.push(byte),
        }
    }
    out
}

/// The character behind `%uXXXX`, full-width forms as the ASCII they look like.
fn wide((high, low): (u8, u8), out: &mut Vec<u8>) {
    match (high, low) {
        (0x00, low) => out.push(low),
        (0xff, 0x01..=0x5e) => out.push(low.wrapping_add(0x20)),
        (high, low) => {
            let code = u32::from(u16::from_be_bytes([high, low]));
            let mut buffer = [0; 4];
            let character = char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER);
            out.extend_from_slice(character.encode_utf8(&mut buffer).as_bytes());
        }
    }
}

fn pair(high: u8, low: u8) -> u8 {
    (digit(high) << 4) | digit(low)
}

fn digit(byte: u8) -> u8 {
    match byte {
        b'0'..=b'9' => byte.wrapping_sub(b'0'),
        b'a'..=b'f' => byte.wrapping_sub(b'a').wrapping_add(10),
        b'A'..=b'F' => byte.wrapping_sub(b'A').wrapping_add(10),
        _ => 0,
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests may panic")]
mod tests {
    use super::*;
    use proptest::prelude::{any, prop, prop_assert, proptest};

    fn forms(raw: &str) -> Vec<String> {
        Text::new(raw.as_bytes(), true).forms().map(|form| String::from_utf8_lossy(form).into_owned()).collect()
    }

    #[test]
    fn values_are_decoded_once_and_twice() {
        assert_eq!(forms("plain"), ["plain"]);
        assert_eq!(forms("a+b%20c"), ["a b c"]);
        assert_eq!(forms("%2e%2E%2f"), ["../"]);
        assert_eq!(forms("%252e%252e%252f"), ["%2e%2e%2f", "../"]);
        assert_eq!(forms("%u002e%uff0e%uFF0F"), ["../"]);
        assert_eq!(forms("100%"), ["100%"]);
        assert_eq!(forms("%2"), ["%2"]);
        assert_eq!(forms("%zz%u12"), ["%zz%u12"]);
        assert_eq!(forms("%u4e2d"), ["中"]);
    }

    #[test]
    fn oddities_are_remembered() {
        let oddities = |raw: &str| Text::new(raw.as_bytes(), true).oddities;
        assert_eq!(oddities("a%20b"), Oddities::default());
        assert!(oddities("%zz").malformed && oddities("%").malformed);
        assert!(oddities("%u0041").wide && !oddities("%u0041").malformed);
        assert!(oddities("%2541").nested && !oddities("%25").nested);
    }

    proptest! {
        #[test]
        fn decoding_never_grows_and_never_fails(raw in prop::collection::vec(any::<u8>(), 0..200), plus: bool) {
            let text = Text::new(&raw, plus);
            prop_assert!(text.forms().all(|form| form.len() <= raw.len()));
        }
    }
}
