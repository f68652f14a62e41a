//! Header fields of a request or an answer, changed directly, and the names that more than one station uses.
//!
//! Beside the fields Pingora keeps a second map with the spelling of every name. It is dropped here: names have no case
//! (RFC 9110 5.1), HTTP/2 writes them in lower case anyway, and every change costs half without it.

use http::{HeaderMap, HeaderName, Request, Response};
use pingora::http::{RequestHeader, ResponseHeader};
use std::mem;

pub(super) const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
/// The deployment that Azure spills over to by itself.
pub(super) const SPILLOVER: HeaderName = HeaderName::from_static("x-ms-spillover-deployment");
pub(super) const ATTEMPTS: HeaderName = HeaderName::from_static("x-tidegate-attempts");
pub(super) const API_KEY: HeaderName = HeaderName::from_static("api-key");
pub(super) const SHOULD_RETRY: HeaderName = HeaderName::from_static("x-should-retry");

/// Removes the fields with these names, of which there are at most 32. Few requests have any of them: a look at each field
/// costs less than a search for each name.
pub(super) fn remove_all(headers: &mut HeaderMap, names: &[HeaderName]) {
    let mut found = 0_u32;
    for field in headers.keys() {
        for (index, name) in names.iter().enumerate() {
            found |= u32::from(field == name) << index;
        }
    }
    for (index, name) in names.iter().enumerate() {
        if found & (1 << index) != 0 {
            headers.remove(name);
        }
    }
}

/// Changes the fields of a request.
pub(super) fn of_request<T>(header: &mut RequestHeader, change: impl FnOnce(&mut HeaderMap) -> T) -> T {
    let empty = RequestHeader::from(Request::new(()).into_parts().0);
    let mut parts = http::request::Parts::from(mem::replace(header, empty));
    let made = change(&mut parts.headers);
    *header = RequestHeader::from(parts);
    made
}

/// Changes the fields of an answer. Its reason phrase becomes the usual one.
pub(super) fn of_response<T>(header: &mut ResponseHeader, change: impl FnOnce(&mut HeaderMap) -> T) -> T {
    let empty = ResponseHeader::from(Response::new(()).into_parts().0);
    let mut parts = http::response::Parts::from(mem::replace(header, empty));
    let made = change(&mut parts.headers);
    *header = ResponseHeader::from(parts);
    made
}
