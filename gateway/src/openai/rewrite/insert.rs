//! [`into_json()`] and [`into_form()`]: a `model` for a body that has none, without copying the body.

use super::{Replacement, Segments, replace};
use crate::openai::facts;
use bytes::Bytes;

/// A JSON object with `model` in front of its other fields. What is no object stays as it is.
#[must_use]
pub fn into_json(body: &Bytes, model: &Replacement) -> Segments {
    let Some(brace) = memchr::memchr(b'{', body) else { return Segments::whole(body.clone()) };
    let after = brace.saturating_add(1);
    let alone = body.get(after..).unwrap_or_default().trim_ascii_start().starts_with(b"}");
    let end: &[u8] = if alone { b"" } else { b"," };
    let text = Bytes::from([b"{\"model\":".as_slice(), &model.0, end].concat());
    replace(body, brace..after, &Replacement(text))
}

/// A form with a part `model` in front of its other parts, which stay as they are to the byte.
#[must_use]
pub fn into_form(content_type: &str, body: &Bytes, model: &str) -> Segments {
    match facts::front_part(content_type, body, "model", model) {
        Some((at, part)) => replace(body, at..at, &Replacement(part.into())),
        None => Segments::whole(body.clone()),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests may panic")]
mod tests {
    use super::*;
    use proptest::prelude::{ProptestConfig, any, prop, prop_assert, prop_assert_eq, proptest};
    use serde_json::{Value, json};

    fn read(segments: &Segments) -> Vec<u8> {
        let mut out = Vec::new();
        while let Some(chunk) = segments.chunk_at(out.len(), usize::MAX) {
            out.extend_from_slice(&chunk);
        }
        assert_eq!(out.len(), segments.len());
        out
    }

    #[test]
    fn a_model_is_put_in_front() {
        for (body, want) in [
            (r#"{"a":1}"#, json!({"model": "m\"", "a": 1})),
            (" \n{ }", json!({"model": "m\""})),
            ("{}", json!({"model": "m\""})),
            ("{ \"a\" : {} } ", json!({"model": "m\"", "a": {}})),
        ] {
            let out = read(&into_json(&Bytes::from(body), &Replacement::json("m\"")));
            assert_eq!(serde_json::from_slice::<Value>(&out).unwrap(), want, "{body}");
        }
        assert_eq!(read(&into_json(&Bytes::from("[1]"), &Replacement::json("m"))), b"[1]");
    }

    #[test]
    fn a_form_without_a_model_gets_one_and_keeps_its_bytes() {
        const TYPE: &str = "multipart/form-data; boundary=XX";
        let part = "--XX\r\nContent-Disposition: form-data; name=\"model\"\r\n\r\nwhisper\r\n";
        for (preamble, rest) in [
            ("", "--XX\r\nContent-Disposition: form-data; name=\"file\"\r\n\r\nRIFF\r\n--XX--\r\n"),
            (
                "a preamble\r\n",
                "--XX \t\r\nContent-Disposition: form-data; name=\"file\"\r\n\r\n\r\n--XXY\r\n--XX--end",
            ),
            ("--XXY\r\n", "--XX\r\n\r\nx\r\n--XX--"),
            ("", "--XX--"),
        ] {
            let out = read(&into_form(TYPE, &Bytes::from(format!("{preamble}{rest}")), "whisper"));
            assert_eq!(String::from_utf8(out.clone()).unwrap(), format!("{preamble}{part}{rest}"));
            assert_eq!(facts::from_multipart(TYPE, &out).unwrap().model.unwrap().value, "whisper");
        }
        assert_eq!(read(&into_form("multipart/form-data", &Bytes::from("--XX--"), "m")), b"--XX--");
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(256))]
        #[test]
        fn other_parts_keep_their_bytes(file in prop::collection::vec(any::<u8>(), 0..300), model in "[a-zA-Z0-9._-]{1,40}") {
            let mut body = b"--XX\r\nContent-Disposition: form-data; name=\"file\"; filename=\"a\"\r\n\r\n".to_vec();
            body.extend(&file);
            body.extend(b"\r\n--XX--\r\n");
            let out = read(&into_form("multipart/form-data; boundary=XX", &Bytes::from(body.clone()), &model));
            prop_assert!(out.ends_with(&body));
            prop_assert_eq!(facts::from_multipart("multipart/form-data; boundary=XX", &out).unwrap().model.unwrap().value, model);
        }
    }
}
