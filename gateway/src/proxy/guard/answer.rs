//! The answers that no request reaches a station for: a header that never ends, a request line that is none. Whole
//! HTTP/1.1 messages in the one table's words, after which the connection ends.

use crate::domain::Denial;
use crate::openai::refusal::Refusal;
use http::StatusCode;

/// The whole message.
pub(super) fn answer(denial: &Denial) -> Vec<u8> {
    let refusal = Refusal::from(denial);
    let status = StatusCode::from_u16(refusal.status).unwrap_or(StatusCode::BAD_REQUEST);
    let body = refusal.body();
    let retry = refusal.should_retry.unwrap_or(false);
    let head = format!(
        "HTTP/1.1 {} {}\r\ncontent-type: application/json\r\ncontent-length: {}\r\ncache-control: no-store\r\n\
         x-should-retry: {retry}\r\nconnection: close\r\n\r\n",
        status.as_u16(),
        status.canonical_reason().unwrap_or_default(),
        body.len(),
    );
    let mut message = head.into_bytes();
    message.extend_from_slice(&body);
    message
}

/// What Pingora's own bare answer, beginning with these bytes, is about.
pub(super) fn denial(bare: &[u8]) -> Denial {
    if bare.starts_with(b"HTTP/1.1 405") {
        return Denial::MethodNotAllowed;
    }
    Denial::BadFraming { what: "the request line or a header is malformed" }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_whole_messages() {
        for (denial, status, code) in [
            (Denial::HeaderTimeout, "408 Request Timeout", "header_timeout"),
            (denial(b"HTTP/1.1 400 Bad Request\r\n"), "400 Bad Request", "bad_framing"),
            (denial(b"HTTP/1.1 405 Method"), "405 Method Not Allowed", "method_not_allowed"),
        ] {
            let message = String::from_utf8_lossy(&answer(&denial)).into_owned();
            assert!(message.starts_with(&format!("HTTP/1.1 {status}\r\n")), "{message}");
            let (head, body) = message.split_once("\r\n\r\n").unwrap_or_default();
            assert!(head.contains(&format!("content-length: {}\r\n", body.len())), "{message}");
            assert!(body.contains(code), "{message}");
        }
    }
}
