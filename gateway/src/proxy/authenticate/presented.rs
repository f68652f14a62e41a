//! What a request shows as a credential, one after the other, in the order in which it counts. It judges none and keeps none.

use super::strip::{KEY_PROTOCOL, is_key};
use crate::config::snapshot::Access;
use crate::openai::operation;
use http::header::{AUTHORIZATION, SEC_WEBSOCKET_PROTOCOL};
use http::{HeaderName, HeaderValue};
use pingora::http::RequestHeader;

/// Beginning of a credential in `Authorization`.
const SCHEME: &str = "Bearer";

/// One thing that stands where a credential is expected.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Presented<'a> {
    /// A key or a token.
    Text(&'a str),
    /// Something else.
    Unreadable,
}

/// Calls `judge` with every credential of the request that is text. An empty header is none.
pub(super) fn each<E>(
    request: &RequestHeader,
    access: &Access,
    upgrade: bool,
    judge: &mut dyn FnMut(Presented<'_>) -> Result<(), E>,
) -> Result<(), E> {
    for name in &access.key_headers {
        for value in request.headers.get_all(name) {
            match of_header(name, value) {
                Presented::Text("") => {}
                shown => judge(shown)?,
            }
        }
    }
    if let Some(query) = request.uri.query().filter(|_| !access.key_queries.is_empty()) {
        for value in operation::parameters(query, &access.key_queries) {
            judge(Presented::Text(&value))?;
        }
    }
    if upgrade {
        for value in request.headers.get_all(SEC_WEBSOCKET_PROTOCOL) {
            for name in value.to_str().unwrap_or_default().split(',').map(str::trim).filter(|name| is_key(name)) {
                judge(Presented::Text(name.get(KEY_PROTOCOL.len()..).unwrap_or_default()))?;
            }
        }
    }
    Ok(())
}

fn of_header<'a>(name: &HeaderName, value: &'a HeaderValue) -> Presented<'a> {
    let Ok(text) = value.to_str().map(str::trim) else { return Presented::Unreadable };
    if *name != AUTHORIZATION || text.is_empty() {
        return Presented::Text(text);
    }
    // The scheme has no case, and a credential no spaces (RFC 9110, 11.4).
    match text.split_at_checked(SCHEME.len()) {
        Some((scheme, rest)) if scheme.eq_ignore_ascii_case(SCHEME) && (rest.is_empty() || rest.starts_with(' ')) => {
            Presented::Text(rest.trim_start())
        }
        _ => Presented::Unreadable,
    }
}
