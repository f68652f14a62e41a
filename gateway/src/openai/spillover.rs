//! [`read()`]: what an answer says about Azure's own spillover, from a deployment that was full to another of its resource.
//!
//! The names of these headers are documented as placeholders and seen otherwise (azure.md 0.1): a prefix is what counts.

use http::{HeaderMap, HeaderValue};

const SPILLOVER: &str = "x-ms-spillover-";
const DEPLOYMENT: &str = "x-ms-deployment-name";
/// Longest text that is kept, in bytes.
const TEXT_MAX: usize = 64;

/// Azure has spilled a request over, or has tried to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Spillover {
    /// The deployment that was full.
    pub from: Option<Box<str>>,
    /// The deployment that has answered.
    pub deployment: Option<Box<str>>,
    /// Why spilling over has failed as well.
    pub error: Option<Box<str>>,
}

/// What the header of an answer says; `None` where nothing was spilled.
#[must_use]
pub fn read(headers: &HeaderMap) -> Option<Box<Spillover>> {
    let (mut from, mut error) = (None, None);
    for (name, value) in headers {
        match name.as_str().strip_prefix(SPILLOVER) {
            Some("error") => error = error.or(Some(value)),
            Some(other) => from = from.or(other.strip_prefix("from-").map(|named| (named, value))),
            None => {}
        }
    }
    if from.is_none() && error.is_none() {
        return None;
    }
    let from = from.and_then(|(named, value)| match named {
        "deployment" => text(value),
        named => Some(named.chars().take(TEXT_MAX).collect::<String>().into()),
    });
    Some(Box::new(Spillover { from, deployment: headers.get(DEPLOYMENT).and_then(text), error: error.and_then(text) }))
}

fn text(value: &HeaderValue) -> Option<Box<str>> {
    let text = value.to_str().ok()?.trim();
    text.get(..text.len().min(TEXT_MAX)).filter(|text| !text.is_empty()).map(Into::into)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests may panic")]
mod tests {
    use super::*;
    use http::HeaderName;

    fn told(lines: &[(&'static str, &str)]) -> Option<(Option<String>, Option<String>, Option<String>)> {
        let lines = lines.iter();
        let headers: HeaderMap = lines
            .map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_bytes(value.as_bytes()).unwrap()))
            .collect();
        let own = |text: Option<Box<str>>| text.map(String::from);
        read(&headers).map(|spillover| (own(spillover.from), own(spillover.deployment), own(spillover.error)))
    }

    #[test]
    fn both_spellings_are_understood() {
        let some = |text: &str| Some(text.to_owned());
        for (lines, want) in [
            (&[("x-ms-deployment-name", "gpt")][..], None),
            (
                &[("x-ms-spillover-from-deployment", "ptu"), ("x-ms-deployment-name", "std")],
                Some((some("ptu"), some("std"), None)),
            ),
            (&[("x-ms-spillover-from-gpt-ptu", "true")], Some((some("gpt-ptu"), None, None))),
            (&[("x-ms-spillover-error", "429 ")], Some((None, None, some("429")))),
            (&[("x-ms-spillover-from-deployment", "\u{e9}")], Some((None, None, None))),
            (&[("x-ms-spillover-error", "")], Some((None, None, None))),
        ] {
            assert_eq!(told(lines), want, "{lines:?}");
        }
        let long = "x".repeat(500);
        assert_eq!(told(&[("x-ms-spillover-error", &long)]).unwrap().2.unwrap().len(), TEXT_MAX);
    }
}
