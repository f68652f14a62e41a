//! The input of a batch: a form with a file, each line of which is a call with a body of its own.
//!
//! A line is read for its `body.model` alone. One that is no such call, or says a key twice, is the backend's to judge.

use super::facts::{parts, span};
use super::out::Out;
use super::rewrite::Replacement;
use bytes::Bytes;
use memchr::memchr;
use serde::Deserialize;
use serde_json::value::RawValue;
use std::ops::Range;

/// A call, as far as it matters here.
#[derive(Deserialize)]
struct Line<'a> {
    #[serde(borrow)]
    body: Body<'a>,
}

#[derive(Deserialize)]
struct Body<'a> {
    #[serde(borrow)]
    model: &'a RawValue,
}

/// Where the lines stand in a form; `None` where it is not the input of a batch.
#[must_use]
pub fn lines(content_type: &str, form: &[u8]) -> Option<Range<usize>> {
    let parts = parts(content_type, form).ok()?;
    let part = |name: &str| parts.iter().find(|part| part.name.as_deref() == Some(name)).map(|part| part.span.clone());
    (form.get(part("purpose")?)? == b"batch").then(|| part("file"))?
}

/// The form with other models in its `lines`; `None` where all of them stay as they are.
pub fn rename<'n>(form: &Bytes, lines: Range<usize>, name: impl Fn(&str) -> Option<&'n str>) -> Option<Bytes> {
    let mut out = Out::new(form);
    let (mut kept, mut at) = (0, lines.start);
    while let Some(rest) = form.get(at..lines.end).filter(|rest| !rest.is_empty()) {
        let line = rest.get(..memchr(b'\n', rest).unwrap_or(rest.len())).unwrap_or_default();
        if let Some((span, model)) = model(line)
            && let Some(other) = name(&model)
        {
            out.keep(kept..at + span.start);
            out.copy(Replacement::json(other).as_bytes());
            kept = at + span.end;
        }
        at += line.len() + 1;
    }
    if !out.is_changed() {
        return None;
    }
    out.keep(kept..form.len());
    Some(out.finish())
}

/// The `model` of a line, and where it stands.
fn model(line: &[u8]) -> Option<(Range<usize>, String)> {
    let raw = serde_json::from_slice::<Line<'_>>(line).ok()?.body.model;
    Some((span(line, raw), serde_json::from_str(raw.get()).ok()?))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests may panic")]
mod tests {
    use super::*;
    use proptest::prelude::{ProptestConfig, any, prop, prop_assert, prop_assert_eq, proptest};

    const TYPE: &str = "multipart/form-data; boundary=XX";

    fn form(purpose: &str, file: &str) -> Bytes {
        let part = |name: &str, value: &str| {
            format!("--XX\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n")
        };
        Bytes::from(format!("{}{}--XX--\r\n", part("purpose", purpose), part("file", file)))
    }

    fn renamed(purpose: &str, file: &str) -> Option<Bytes> {
        let form = form(purpose, file);
        rename(&form, lines(TYPE, &form)?, |model| (model == "fast").then_some("gpt-\"4\""))
    }

    #[test]
    fn each_line_of_a_batch_says_the_deployment_that_its_model_stands_for() {
        let call = |model: &str| {
            format!(
                r#"{{"custom_id":"1","url":"/v1/chat/completions","body":{{"messages":[{{"model":"fast"}}],"model":{model}}}}}"#
            )
        };
        let (fast, named) = (call("\"fast\""), call(r#""gpt-\"4\"""#));
        let odd = r#"{"model":"fast"}"#;
        let broken = r#"{"body":{"model":"fast"}"#;
        let twice = r#"{"body":{"model":"fast","model":"fast"}}"#;
        let other = call("\"slow\"");
        let file =
            |one: &str| [one, &other, odd, broken, twice, "", one, &call("\"f\\u0061st\""), &call("7")].join("\n");
        let want = file(&named).replace("f\\u0061st", "gpt-\\\"4\\\"");
        assert_eq!(renamed("batch", &file(&fast)).unwrap(), form("batch", &want));
        assert_eq!(renamed("batch", &format!("{fast}\r\n")).unwrap(), form("batch", &format!("{named}\r\n")), "CRLF");
        for (purpose, file) in [("assistants", fast.as_str()), ("fine-tune", &fast), ("batch", &other), ("batch", "")] {
            assert_eq!(renamed(purpose, file), None, "{purpose} {file}");
        }
        assert_eq!(lines(TYPE, b"--XX\r\n"), None);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(256))]
        #[test]
        fn nothing_but_models_changes(
            lines in prop::collection::vec(prop::sample::select(vec![
                r#"{"body":{"model":"fast","x":"fast"}}"#, r#"{"body":{"model":"slow"}}"#, "fast", "{", "\u{e9}", "\r",
            ]), 0..20),
            noise in any::<Vec<u8>>(),
        ) {
            let file = lines.join("\n");
            let want = form("batch", &file.replace("\"model\":\"fast\"", r#""model":"gpt-\"4\"""#));
            prop_assert_eq!(renamed("batch", &file).unwrap_or_else(|| form("batch", &file)), want);
            let noise = Bytes::from(noise);
            prop_assert!(rename(&noise, 0..noise.len(), |_| Some("x")).is_none());
        }
    }
}
