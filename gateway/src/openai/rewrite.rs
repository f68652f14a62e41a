//! [`replace`]: another `model` in a body, without copying the body.
//!
//! A body becomes up to three slices that share its memory. Nothing here looks at the body's meaning.

mod inject;
mod insert;

pub use inject::with_usage;
pub use insert::{into_form, into_json};

use std::fmt;
use std::ops::Range;

use bytes::Bytes;

/// What stands in place of the `model`, ready to be sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Replacement(Bytes);

impl Replacement {
    /// For a JSON body: a string with its quotes, escaped.
    #[must_use]
    pub fn json(value: &str) -> Self {
        Self(Bytes::from(serde_json::Value::from(value).to_string()))
    }

    /// What is sent.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// For a form part: the bytes as they are.
    #[must_use]
    pub fn raw(value: &str) -> Self {
        Self(Bytes::copy_from_slice(value.as_bytes()))
    }
}

/// A body in up to three pieces.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Segments([Bytes; 3]);

impl fmt::Debug for Segments {
    /// Lengths only: a body is the client's.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [before, between, after] = &self.0;
        write!(f, "Segments({} + {} + {} bytes)", before.len(), between.len(), after.len())
    }
}

/// `body` with the bytes of `span` replaced. A span outside the body, which no parser here returns, leaves it whole.
#[must_use]
pub fn replace(body: &Bytes, span: Range<usize>, value: &Replacement) -> Segments {
    debug_assert!(span.start <= span.end && span.end <= body.len(), "span outside the body");
    if span.start > span.end || span.end > body.len() {
        return Segments::whole(body.clone());
    }
    Segments([body.slice(..span.start), value.0.clone(), body.slice(span.end..)])
}

impl Segments {
    /// A body that is sent as it is.
    #[must_use]
    pub fn whole(body: Bytes) -> Self {
        Self([body, Bytes::new(), Bytes::new()])
    }

    /// Length of the body as sent, in bytes.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.iter().map(Bytes::len).sum()
    }

    /// There is nothing to send.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.iter().all(Bytes::is_empty)
    }

    /// The next bytes at `offset`, 1 to `max` of them, without a copy; `None` at the end, or when `max` is zero.
    #[must_use]
    pub fn chunk_at(&self, offset: usize, max: usize) -> Option<Bytes> {
        let mut offset = offset;
        for piece in &self.0 {
            if let Some(left) = piece.len().checked_sub(offset).filter(|left| *left > 0) {
                return (max > 0).then(|| piece.slice(offset..offset.saturating_add(left.min(max))));
            }
            offset = offset.saturating_sub(piece.len());
        }
        None
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests may panic")]
    use proptest::prelude::{ProptestConfig, any, prop, prop_assert_eq, proptest};

    use super::*;
    use crate::openai::facts;

    fn read(segments: &Segments, max: usize) -> Vec<u8> {
        let mut out = Vec::new();
        while let Some(chunk) = segments.chunk_at(out.len(), max) {
            assert!(!chunk.is_empty() && chunk.len() <= max);
            out.extend_from_slice(&chunk);
        }
        out
    }

    #[test]
    fn a_model_is_replaced() {
        let body = Bytes::from_static(br#"{"model": "a", "x": 1}"#);
        let span = facts::from_json(&body, true).unwrap().model.unwrap().span;
        let out = replace(&body, span, &Replacement::json("gpt \"4\"\n"));
        assert_eq!(read(&out, 4), br#"{"model": "gpt \"4\"\n", "x": 1}"#);
        assert_eq!(out.len(), 32);
        assert_eq!(read(&replace(&body, 0..0, &Replacement::raw("b")), 99), br#"b{"model": "a", "x": 1}"#);
        assert_eq!(format!("{out:?}"), "Segments(10 + 13 + 9 bytes)");
    }

    #[test]
    fn nothing_is_copied() {
        let body = Bytes::from(vec![7_u8; 1000]);
        let out = replace(&body, 10..20, &Replacement::raw("x"));
        assert_eq!(out.chunk_at(0, 4096).unwrap().as_ptr(), body.as_ptr());
        assert_eq!(out.chunk_at(11, 4096).unwrap().as_ptr(), body.slice(20..).as_ptr());
    }

    #[test]
    fn the_end_is_the_end() {
        assert!(Segments::default().is_empty());
        assert_eq!(Segments::default().chunk_at(0, 9), None);
        let whole = Segments::whole(Bytes::from_static(b"abc"));
        assert_eq!(whole.chunk_at(2, 9).unwrap(), "c");
        assert_eq!((whole.chunk_at(3, 9), whole.chunk_at(usize::MAX, 9), whole.chunk_at(0, 0)), (None, None, None));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(256))]
        #[test]
        fn any_chunk_size_gives_the_same_body(
            body in prop::collection::vec(any::<u8>(), 0..200), a in 0_usize..200, b in 0_usize..200,
            value in "[a-z]{0,20}", max in 1_usize..50,
        ) {
            let (start, end) = (a.min(b).min(body.len()), a.max(b).min(body.len()));
            let out = replace(&Bytes::from(body.clone()), start..end, &Replacement::raw(&value));
            let mut want = body;
            want.splice(start..end, value.bytes());
            prop_assert_eq!(out.len(), want.len());
            prop_assert_eq!(out.is_empty(), want.is_empty());
            prop_assert_eq!(read(&out, max), want);
        }

        #[test]
        fn a_replaced_body_is_json_again(value in any::<String>()) {
            let body = Bytes::from_static(br#"{"model":"a"}"#);
            let out = read(&replace(&body, 9..12, &Replacement::json(&value)), 7);
            let back: serde_json::Value = serde_json::from_slice(&out).unwrap();
            prop_assert_eq!(back, serde_json::json!({"model": value}));
        }
    }
}
