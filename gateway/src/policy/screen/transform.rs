//! [`Transform`]: how a value is changed before it is compared. Linear, at most three times the size, borrowed where
//! nothing changes.

use std::borrow::Cow;

/// One change of a value before it is compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transform {
    /// ASCII letters become lower case.
    Lowercase,
    /// ASCII letters become upper case.
    Uppercase,
    /// Blanks (space, tab, line breaks) at both ends go.
    Trim,
    /// `%41` becomes `A` and `+` a space, once; malformed escapes stay.
    UrlDecode,
    /// All but letters, digits and `-._~` becomes `%XX`.
    UrlEncode,
    /// Zero bytes go.
    RemoveNulls,
}

impl Transform {
    /// Every transform, for tables and tests.
    pub const ALL: [Self; 6] =
        [Self::Lowercase, Self::Uppercase, Self::Trim, Self::UrlDecode, Self::UrlEncode, Self::RemoveNulls];

    /// The changed value.
    #[must_use]
    pub fn apply<'v>(self, value: Cow<'v, [u8]>) -> Cow<'v, [u8]> {
        match self {
            Self::Lowercase if value.iter().any(u8::is_ascii_uppercase) => Cow::Owned(value.to_ascii_lowercase()),
            Self::Uppercase if value.iter().any(u8::is_ascii_lowercase) => Cow::Owned(value.to_ascii_uppercase()),
            Self::Lowercase | Self::Uppercase => value,
            Self::Trim => match value {
                Cow::Borrowed(bytes) => Cow::Borrowed(bytes.trim_ascii()),
                Cow::Owned(bytes) => Cow::Owned(bytes.trim_ascii().to_vec()),
            },
            Self::UrlDecode => match value {
                Cow::Borrowed(bytes) => percent_decoded(bytes),
                Cow::Owned(bytes) => Cow::Owned(percent_decoded(&bytes).into_owned()),
            },
            Self::UrlEncode if value.iter().copied().all(is_unreserved) => value,
            Self::UrlEncode => Cow::Owned(percent_encoded(&value)),
            Self::RemoveNulls if memchr::memchr(0, &value).is_none() => value,
            Self::RemoveNulls => Cow::Owned(value.iter().copied().filter(|byte| *byte != 0).collect()),
        }
    }

    /// The value after all of `transforms`, in their order.
    #[must_use]
    pub fn apply_all<'v>(transforms: &[Self], value: &'v [u8]) -> Cow<'v, [u8]> {
        transforms.iter().fold(Cow::Borrowed(value), |value, transform| transform.apply(value))
    }
}

/// `text` with escapes undone once and `+` as a space; malformed escapes stay.
#[must_use]
pub fn percent_decoded(text: &[u8]) -> Cow<'_, [u8]> {
    if memchr::memchr2(b'%', b'+', text).is_none() {
        return Cow::Borrowed(text);
    }
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text;
    loop {
        match rest {
            [b'%', high, low, tail @ ..] if hex(*high).is_some() && hex(*low).is_some() => {
                out.push(hex(*high).unwrap_or(0) * 16 + hex(*low).unwrap_or(0));
                rest = tail;
            }
            [b'+', tail @ ..] => {
                out.push(b' ');
                rest = tail;
            }
            [byte, tail @ ..] => {
                out.push(*byte);
                rest = tail;
            }
            [] => return Cow::Owned(out),
        }
    }
}

fn percent_encoded(text: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len() + 16);
    for byte in text.iter().copied() {
        if is_unreserved(byte) {
            out.push(byte);
        } else {
            out.extend_from_slice(&[b'%', digit(byte >> 4), digit(byte & 15)]);
        }
    }
    out
}

const fn is_unreserved(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~')
}

const fn hex(byte: u8) -> Option<u8> {
    match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        b'A'..=b'F' => Some(byte - b'A' + 10),
        _ => None,
    }
}

const fn digit(nibble: u8) -> u8 {
    if nibble < 10 { b'0' + nibble } else { b'A' + nibble - 10 }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::{ProptestConfig, any, prop_assert, prop_assert_eq, proptest};

    fn applied(transform: Transform, value: &[u8]) -> Vec<u8> {
        transform.apply(Cow::Borrowed(value)).into_owned()
    }

    #[test]
    fn each_transform_does_what_it_says() {
        for (transform, before, after) in [
            (Transform::Lowercase, "AbC\u{c9}1", "abc\u{c9}1"),
            (Transform::Uppercase, "AbC\u{e9}1", "ABC\u{e9}1"),
            (Transform::Trim, " \t\r\na b \n", "a b"),
            (Transform::UrlDecode, "%41+%2b%zz%4", "A +%zz%4"),
            (Transform::UrlDecode, "%2541", "%41"),
            (Transform::UrlEncode, "a b/\u{e9}~", "a%20b%2F%C3%A9~"),
            (Transform::RemoveNulls, "a\0b\0", "ab"),
        ] {
            assert_eq!(applied(transform, before.as_bytes()), after.as_bytes(), "{transform:?} of {before:?}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(512))]
        #[test]
        fn transforms_are_bounded_and_stable(value in any::<Vec<u8>>()) {
            for transform in Transform::ALL {
                let once = applied(transform, &value);
                prop_assert!(once.len() <= 3 * value.len());
                if !matches!(transform, Transform::UrlDecode | Transform::UrlEncode) {
                    prop_assert_eq!(&applied(transform, &once), &once);
                }
            }
            let encoded = applied(Transform::UrlEncode, &value);
            prop_assert_eq!(applied(Transform::UrlDecode, &encoded), value);
        }
    }
}
