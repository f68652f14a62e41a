//! References to secrets to header values, marked sensitive. Problems name the variable or the file, never the content.

use super::tls::read_limited;
use crate::config::file::Secret;
use crate::config::report::Report;
use http::HeaderValue;

/// Largest secret, in bytes.
const SECRET_SIZE_MAX: usize = 16 * 1024;

/// The secret as a header value with `prefix` in front; `None` after a problem.
pub(super) fn header(typed: &Secret, prefix: &str, path: &str, report: &mut Report<'_>) -> Option<HeaderValue> {
    let (path, source) = match typed {
        Secret::Env(name) => (format!("{path}.env"), format!("the variable `{name}`")),
        Secret::File(file) => (format!("{path}.file"), format!("the file {}", report.resolve(file).display())),
    };
    let secret = match read(typed, &source, report) {
        Ok(secret) => secret,
        Err(message) => {
            report.problem(&path, message, None);
            return None;
        }
    };
    if let Err(what) = check(&secret) {
        report.problem(&path, format!("{source} {what}"), None);
        return None;
    }
    let Ok(mut value) = HeaderValue::from_str(&format!("{prefix}{secret}")) else {
        report.problem(&path, format!("{source} holds characters that no header may carry"), None);
        return None;
    };
    value.set_sensitive(true);
    Some(value)
}

fn read(typed: &Secret, source: &str, report: &Report<'_>) -> Result<String, String> {
    let mut secret = match typed {
        Secret::Env(name) => report.variable(name).ok_or_else(|| format!("{source} is not set"))?,
        Secret::File(file) => {
            let limit = u64::try_from(SECRET_SIZE_MAX + 2).unwrap_or(u64::MAX);
            let bytes = read_limited(&report.resolve(file), limit)
                .map_err(|error| format!("{source} cannot be read: {error}"))?;
            // The error would repeat the bytes.
            String::from_utf8(bytes).map_err(|_error| format!("{source} holds no text"))?
        }
    };
    if secret.ends_with('\n') {
        secret.pop();
        if secret.ends_with('\r') {
            secret.pop();
        }
    }
    Ok(secret)
}

fn check(secret: &str) -> Result<(), String> {
    if secret.is_empty() {
        return Err("is empty".to_owned());
    }
    if secret.len() > SECRET_SIZE_MAX {
        return Err(format!("is longer than {SECRET_SIZE_MAX} bytes"));
    }
    if secret.trim() != secret {
        return Err("has spaces or line breaks around its value".to_owned());
    }
    if !secret.bytes().all(|byte| (0x20..0x7f).contains(&byte)) {
        return Err("holds characters that no header may carry".to_owned());
    }
    Ok(())
}
