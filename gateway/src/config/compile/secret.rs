//! References to secrets to their values, those for headers marked sensitive. Problems name the variable, the file or the
//! vault, never the content.

use super::tls::read_limited;
use super::vault_secret;
use crate::config::file::Secret as Typed;
use crate::config::report::Report;
use crate::domain::Secret;
use http::HeaderValue;

/// Largest secret, in bytes.
const SECRET_SIZE_MAX: usize = 16 * 1024;

/// A secret that may still be in its vault.
pub(super) enum Found<T> {
    /// Its value.
    Known(T),
    /// No vault has told it yet.
    Unknown,
}

impl<T> Found<T> {
    /// The value, where it is known.
    pub(super) fn known(self) -> Option<T> {
        match self {
            Self::Known(value) => Some(value),
            Self::Unknown => None,
        }
    }
}

/// The secret as a header value with `prefix` in front; `None` after a problem.
pub(super) fn header(typed: &Typed, prefix: &str, path: &str, report: &mut Report<'_>) -> Option<Found<HeaderValue>> {
    let Found::Known(secret) = text(typed, path, report)? else { return Some(Found::Unknown) };
    let Ok(mut value) = HeaderValue::from_str(&format!("{prefix}{}", secret.expose())) else {
        report.problem(path, "holds characters that no header may carry", None);
        return None;
    };
    value.set_sensitive(true);
    Some(Found::Known(value))
}

/// The secret as text that a header could carry; `None` after a problem.
pub(super) fn text(typed: &Typed, path: &str, report: &mut Report<'_>) -> Option<Found<Secret>> {
    let (path, source) = match typed {
        Typed::Env(name) => (format!("{path}.env"), format!("the variable `{name}`")),
        Typed::File(file) => (format!("{path}.file"), format!("the file {}", report.resolve(file).display())),
        Typed::KeyVault(typed) => {
            let path = format!("{path}.key_vault");
            // What a vault holds now is not the file's fault: it is as if it were not known yet.
            let known = vault_secret::value(typed, &path, report).filter(|secret| check(secret.expose()).is_ok());
            return Some(known.map_or(Found::Unknown, Found::Known));
        }
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
    Some(Found::Known(Secret::new(&secret)))
}

fn read(typed: &Typed, source: &str, report: &Report<'_>) -> Result<String, String> {
    let mut secret = match typed {
        Typed::Env(name) => report.variable(name).ok_or_else(|| format!("{source} is not set"))?,
        Typed::File(file) => {
            let limit = u64::try_from(SECRET_SIZE_MAX + 2).unwrap_or(u64::MAX);
            let bytes = read_limited(&report.resolve(file), limit)
                .map_err(|error| format!("{source} cannot be read: {error}"))?;
            // The error would repeat the bytes.
            String::from_utf8(bytes).map_err(|_error| format!("{source} holds no text"))?
        }
        Typed::KeyVault(_) => return Err(format!("{source} is in a vault")),
    };
    if secret.ends_with('\n') {
        secret.pop();
        if secret.ends_with('\r') {
            secret.pop();
        }
    }
    Ok(secret)
}

/// Whether a header could carry it as a secret.
///
/// # Errors
/// What is wrong with it, without it.
pub fn check(secret: &str) -> Result<(), String> {
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
