//! What a backend's answer is: a missing deployment or another 404, a stream or a JSON body.
//!
//! It reads prefixes and headers only; what follows from the answer is decided in `policy`.

use http::HeaderValue;
use memchr::memmem;
use serde_json::Value;

/// Longest prefix of a 404 body that is looked at, in bytes.
pub const MISSING_PREFIX_MAX: usize = 2 * 1024;

/// Does this 404 say that the *deployment* is missing (and not a response, a file or the path)? `None`: the prefix
/// does not tell yet. A prefix of [`MISSING_PREFIX_MAX`] or more always tells.
#[must_use]
pub fn is_deployment_missing(body_prefix: &[u8]) -> Option<bool> {
    match serde_json::from_slice::<Value>(body_prefix) {
        Ok(body) => Some(says_missing(&body)),
        Err(error) if !error.is_eof() => Some(false),
        // Cut JSON: the code, once complete, is enough. Compact or pretty-printed, it stands behind its key.
        Err(_eof) if code_is_missing(body_prefix) => Some(true),
        Err(_eof) if body_prefix.len() >= MISSING_PREFIX_MAX => Some(false),
        Err(_eof) => None,
    }
}

/// Does this 400 say that the prompt is too long for the model's context? `None`: the prefix does not tell yet. A prefix of
/// [`MISSING_PREFIX_MAX`] or more always tells.
#[must_use]
pub fn is_context_exceeded(body_prefix: &[u8]) -> Option<bool> {
    match serde_json::from_slice::<Value>(body_prefix) {
        Ok(body) => Some(says_too_long(&body)),
        Err(error) if !error.is_eof() || body_prefix.len() >= MISSING_PREFIX_MAX => Some(false),
        Err(_eof) => None,
    }
}

/// The code of OpenAI and Azure, and the words of services that send none.
fn says_too_long(body: &Value) -> bool {
    let error = body.get("error").unwrap_or(body);
    let text = |key| error.get(key).and_then(Value::as_str).unwrap_or_default();
    let message = text("message").to_ascii_lowercase();
    text("code") == "context_length_exceeded"
        || ["maximum context length", "context window"].iter().any(|words| message.contains(words))
}

/// Codes with which Azure (and v1) name a deployment that is not there.
const MISSING_CODES: [&str; 3] = ["DeploymentNotFound", "deployment_not_found", "model_not_found"];

fn says_missing(body: &Value) -> bool {
    let error = body.get("error").unwrap_or(body);
    let text = |key| error.get(key).and_then(Value::as_str).unwrap_or_default();
    let (code, message) = (text("code"), text("message").to_ascii_lowercase());
    MISSING_CODES.iter().any(|missing| code.eq_ignore_ascii_case(missing))
        || (message.contains("deployment") && message.contains("does not exist"))
}

fn code_is_missing(prefix: &[u8]) -> bool {
    memmem::find_iter(prefix, b"\"code\"").any(|at| {
        let after = prefix.get(at.saturating_add(6)..).unwrap_or_default().trim_ascii_start();
        let value = after.strip_prefix(b":").unwrap_or_default().trim_ascii_start().strip_prefix(b"\"");
        value.is_some_and(|value| {
            MISSING_CODES
                .iter()
                .any(|code| value.strip_prefix(code.as_bytes()).is_some_and(|after| after.first() == Some(&b'"')))
        })
    })
}

/// Family of a content type.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Media {
    /// `text/event-stream`
    EventStream,
    /// `application/json`, or a type that ends in `+json`
    Json,
    /// Anything else, or nothing.
    Other,
}

/// The family of a `content-type`, parameters aside.
#[must_use]
pub fn media(content_type: Option<&HeaderValue>) -> Media {
    let text = content_type.and_then(|value| value.to_str().ok()).unwrap_or_default();
    let essence = text.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    match essence.as_str() {
        "text/event-stream" => Media::EventStream,
        "application/json" => Media::Json,
        other if other.ends_with("+json") => Media::Json,
        _ => Media::Other,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::indexing_slicing, reason = "tests may panic")]
    use proptest::prelude::{ProptestConfig, any, prop, prop_assert, proptest};

    use super::*;

    const AZURE: &str = r#"{"error":{"code":"DeploymentNotFound","message":"The API deployment for this resource does not exist. If you created the deployment within the last 5 minutes, please wait a moment and try again."}}"#;

    #[test]
    fn missing_deployments_are_told_from_other_404s() {
        for (body, want) in [
            (AZURE, Some(true)),
            ("{ \"error\" : { \"code\" : \"DeploymentNotFound\" , \"mess", Some(true)),
            (r#"{"error":{"message":"The API deployment x does not exist","code":"404"}}"#, Some(true)),
            (r#"{"error":{"code":"model_not_found","type":"invalid_request_error"}}"#, Some(true)),
            (r#"{"code":"DeploymentNotFound"}"#, Some(true)),
            (r#"{"error":{"code":"404","message":"Resource not found"}}"#, Some(false)),
            (r#"{"error":{"message":"Response with id 'resp_1' not found.","code":null}}"#, Some(false)),
            (r#"{"error":{"message":"\"code\":\"DeploymentNotFound\""}}"#, Some(false)),
            ("<html>DeploymentNotFound", Some(false)),
            ("null", Some(false)),
            ("", None),
            (r#"{"error":{"code":"Deploy"#, None),
            (r#"{"error":{"code":"404","message":"Res"#, None),
        ] {
            assert_eq!(is_deployment_missing(body.as_bytes()), want, "{body}");
        }
        let endless = format!("{{\"a\":\"{}", "x".repeat(MISSING_PREFIX_MAX));
        assert_eq!(is_deployment_missing(endless.as_bytes()), Some(false));
        for cut in 0..AZURE.len() {
            assert!(is_deployment_missing(&AZURE.as_bytes()[..cut]).is_none_or(|missing| missing), "{cut}");
        }
    }

    #[test]
    fn prompts_that_are_too_long_are_told_from_other_400s() {
        for (body, want) in [
            (
                r#"{"error":{"message":"x","type":"invalid_request_error","param":"messages","code":"context_length_exceeded"}}"#,
                Some(true),
            ),
            (
                r#"{"error":{"message":"This model's maximum context length is 128000 tokens. However, ...","code":null}}"#,
                Some(true),
            ),
            (r#"{"error":{"message":"Your input exceeds the context window of this model."}}"#, Some(true)),
            (r#"{"error":{"code":"content_filter","message":"The response was filtered"}}"#, Some(false)),
            (r#"{"error":{"code":"context_length"}}"#, Some(false)),
            ("<html>maximum context length", Some(false)),
            ("", None),
            (r#"{"error":{"code":"context_length_exceeded""#, None),
        ] {
            assert_eq!(is_context_exceeded(body.as_bytes()), want, "{body}");
        }
        assert_eq!(
            is_context_exceeded(format!("{{\"a\":\"{}", "x".repeat(MISSING_PREFIX_MAX)).as_bytes()),
            Some(false)
        );
    }

    #[test]
    fn media_are_told_apart() {
        for (value, want) in [
            ("text/event-stream", Media::EventStream),
            ("Text/Event-Stream; charset=utf-8", Media::EventStream),
            ("application/json; charset=utf-8", Media::Json),
            ("application/problem+json", Media::Json),
            ("text/html", Media::Other),
            ("", Media::Other),
            (";application/json", Media::Other),
        ] {
            assert_eq!(media(Some(&HeaderValue::from_static(value))), want, "{value}");
        }
        assert_eq!(media(None), Media::Other);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(256))]
        #[test]
        fn any_prefix_is_survived(body in prop::collection::vec(any::<u8>(), 0..200), tail in 0_usize..20) {
            let _answer = is_deployment_missing(&body);
            let mut long = body;
            long.resize(MISSING_PREFIX_MAX + tail, b' ');
            prop_assert!(is_deployment_missing(&long).is_some());
        }
    }
}
