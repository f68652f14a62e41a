//! Headers of backends and probes: legal names and values, and none that the gateway sets itself.

use super::secret;
use crate::config::file::HeaderText;
use crate::config::report::Report;
use http::{HeaderName, HeaderValue};
use std::collections::BTreeMap;

/// Most headers of one backend or probe.
const HEADERS_MAX: usize = 64;

/// Headers about one connection, and what frames a message: a proxy sets these itself (RFC 9110, 7.6.1).
const OURS: [&str; 13] = [
    "connection",
    "content-length",
    "expect",
    "host",
    "http2-settings",
    "keep-alive",
    "proxy-authenticate",
    "proxy-authorization",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

/// Headers that `auth` sets.
const CREDENTIALS: [&str; 2] = ["api-key", "authorization"];

/// Parts of names whose values are secrets.
const SECRET_NAMES: [&str; 5] = ["key", "secret", "token", "password", "cookie"];

/// Compiles a map of headers.
pub(super) fn compile(
    typed: &BTreeMap<String, HeaderText>,
    path: &str,
    report: &mut Report<'_>,
) -> Vec<(HeaderName, HeaderValue)> {
    if typed.len() > HEADERS_MAX {
        report.problem(path, format!("has {} entries, at most {HEADERS_MAX} are allowed", typed.len()), None);
    }
    let mut headers: Vec<(HeaderName, HeaderValue)> = Vec::with_capacity(typed.len().min(HEADERS_MAX));
    for (name, text) in typed {
        let path = format!("{path}.{name}");
        let name = header_name(name, &path, report);
        if let Some(name) = name.as_ref().filter(|name| headers.iter().any(|(other, _)| other == *name)) {
            report.problem(&path, format!("`{name}` is there twice, in different case"), None);
        }
        let value = header_value(name.as_ref(), text, &path, report);
        if let (Some(name), Some(value)) = (name, value) {
            headers.push((name, value));
        }
    }
    headers
}

pub(super) fn header_name(typed: &str, path: &str, report: &mut Report<'_>) -> Option<HeaderName> {
    let Ok(name) = HeaderName::from_bytes(typed.as_bytes()) else {
        report.problem(path, "is not a header name", None);
        return None;
    };
    if OURS.contains(&name.as_str()) {
        report.problem(path, format!("`{name}` is set by the gateway itself"), None);
    } else if CREDENTIALS.contains(&name.as_str()) {
        report.problem(path, format!("`{name}` is a credential"), "use the backend's `auth`".to_owned());
    }
    Some(name)
}

fn header_value(
    name: Option<&HeaderName>,
    typed: &HeaderText,
    path: &str,
    report: &mut Report<'_>,
) -> Option<HeaderValue> {
    let text = match typed {
        HeaderText::Literal(text) => text,
        HeaderText::Secret(reference) => return secret::header(reference, "", path, report)?.known(),
    };
    if name.is_some_and(|name| SECRET_NAMES.iter().any(|part| name.as_str().contains(part))) {
        let help = "if it is one, write `{ env: NAME }`, `{ file: PATH }` or `{ key_vault: … }`";
        report.warn(path, "its name says that its value is a secret", help.to_owned());
    }
    match HeaderValue::from_str(text) {
        Ok(value) => Some(value),
        Err(_) => {
            report.problem(path, "holds characters that no header may carry", None);
            None
        }
    }
}
