//! [`StreamError`]: an error that arrives inside a 200.
//!
//! Its kind only: the text of a backend's error is not kept.

use std::sync::LazyLock;

use memchr::memmem;
use serde_json::Value;

use crate::openai::trouble::About;

/// An error inside a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StreamError {
    /// What it would have been as a status.
    pub kind: StreamErrorKind,
    /// What it says about itself.
    pub about: About,
}

/// Kinds of errors inside a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum StreamErrorKind {
    /// Quota or capacity: a 429.
    TooManyRequests,
    /// The backend failed, or the kind is unknown: a 500.
    ServerError,
    /// The backend refuses: a 403.
    Forbidden,
    /// The client's doing, the content filter included: a 400.
    UserError,
}

impl StreamErrorKind {
    /// Label in metrics and access log: a closed set.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::TooManyRequests => "too_many_requests",
            Self::ServerError => "server_error",
            Self::Forbidden => "forbidden",
            Self::UserError => "user_error",
        }
    }

    /// By the words Azure and OpenAI use in `type` and `code`.
    fn of(words: &[&str]) -> Self {
        const TABLE: [(StreamErrorKind, &[&str]); 3] = [
            (
                StreamErrorKind::TooManyRequests,
                &[
                    "too_many_requests",
                    "no_capacity",
                    "rate_limit_exceeded",
                    "rate_limit_error",
                    "insufficient_quota",
                    "429",
                ],
            ),
            (StreamErrorKind::Forbidden, &["forbidden", "permission_denied", "permission_error", "403", "401"]),
            (
                StreamErrorKind::UserError,
                &[
                    "user_error",
                    "invalid_request_error",
                    "content_filter",
                    "invalid_prompt",
                    "context_length_exceeded",
                    "400",
                ],
            ),
        ];
        let known = |set: &&[&str]| words.iter().any(|word| set.iter().any(|known| word.eq_ignore_ascii_case(known)));
        match TABLE.iter().find(|(_, set)| known(set)) {
            Some((kind, _)) => *kind,
            None if words.iter().any(|word| is_clients(word)) => Self::UserError,
            None => Self::ServerError,
        }
    }
}

/// Names of the client's own mistakes, of which there are too many to list: what it sent is invalid, not supported, an image that
/// cannot be used, or too long; or a 4xx that is no matter of time.
fn is_clients(word: &str) -> bool {
    let starts =
        ["invalid_", "unsupported", "content_", "responsibleai", "image_", "empty_image", "failed_to_download_image"];
    let word = word.to_ascii_lowercase();
    starts.iter().any(|start| word.starts_with(start)) && !word.contains("server")
        || ["_max_length", "_policy_violation"].iter().any(|end| word.ends_with(end))
        || word.parse::<u16>().is_ok_and(|status| (400..500).contains(&status) && status != 408)
}

impl StreamError {
    /// An error that says no more than that it is one.
    pub(super) const BARE: Self = Self { kind: StreamErrorKind::ServerError, about: About::NONE };

    /// The error in the data of an `event: error`, whatever its shape.
    pub(super) fn of_event(data: &[u8]) -> Self {
        Self::find(data).unwrap_or_else(|| {
            let whole = serde_json::from_slice(data).unwrap_or_default();
            Self { kind: kind_of(&whole), about: About::of(&whole) }
        })
    }

    /// The error in a data line: a truthy `error`, `"type":"error"`, or the one of `response.failed`.
    pub(super) fn find(data: &[u8]) -> Option<Self> {
        let whole: Value = serde_json::from_slice(data).ok()?;
        let error = match whole.get("error") {
            Some(error) if truthy(error) => error,
            _ => match whole.get("type").and_then(Value::as_str) {
                Some("error") => &whole,
                Some("response.failed") => whole.get("response")?.get("error").filter(|error| truthy(error))?,
                _ => return None,
            },
        };
        Some(Self { kind: kind_of(error), about: About::of(error) })
    }
}

const KEY: &[u8] = b"\"error\"";
static KEY_FINDER: LazyLock<memmem::Finder<'_>> = LazyLock::new(|| memmem::Finder::new(KEY));

/// Is the line worth a parse? `"error"` stands in it, and not as `"error": null`.
pub(super) fn hinted(data: &[u8]) -> bool {
    KEY_FINDER.find_iter(data).any(|at| {
        let after = data.get(at.saturating_add(KEY.len())..).unwrap_or_default().trim_ascii_start();
        after.strip_prefix(b":").is_none_or(|value| !value.trim_ascii_start().starts_with(b"null"))
    })
}

/// As the Python SDK asks it.
fn truthy(value: &Value) -> bool {
    match value {
        Value::Null => false,
        Value::Bool(flag) => *flag,
        Value::Number(number) => number.as_f64() != Some(0.0),
        Value::String(text) => !text.is_empty(),
        Value::Array(items) => !items.is_empty(),
        Value::Object(fields) => !fields.is_empty(),
    }
}

fn kind_of(error: &Value) -> StreamErrorKind {
    let number = error.get("code").and_then(Value::as_u64).map(|code| code.to_string());
    let words: Vec<&str> = ["type", "code"]
        .iter()
        .filter_map(|key| error.get(*key).and_then(Value::as_str))
        .chain(number.as_deref())
        .collect();
    StreamErrorKind::of(&words)
}
