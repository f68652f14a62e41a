//! Station 2, screen: what is refused before anything is read.
//!
//! It judges the method and the framing headers. Pingora has already refused what breaks HTTP itself.

use crate::domain::Denial;
use bytes::Bytes;
use http::{HeaderMap, Method, header};
use pingora::http::RequestHeader;

const BOTH: &str = "both Content-Length and Transfer-Encoding";

/// Passes a request whose method and framing have one meaning. `raw` is the header block as it came.
pub(super) fn screen(request: &RequestHeader, raw: impl FnOnce() -> Bytes) -> Result<(), Denial> {
    if matches!(request.method, Method::CONNECT | Method::TRACE) {
        return Err(Denial::MethodNotAllowed);
    }
    framing(&request.headers)?;
    // Beside a Transfer-Encoding Pingora drops a Content-Length before we see it.
    if request.headers.contains_key(header::TRANSFER_ENCODING) && states_length(&raw()) {
        return Err(Denial::BadFraming { what: BOTH });
    }
    Ok(())
}

/// A line of the header block is a Content-Length.
fn states_length(raw: &[u8]) -> bool {
    const NAME: &[u8] = b"content-length:";
    raw.split(|byte| *byte == b'\n').any(|line| line.get(..NAME.len()).is_some_and(|n| n.eq_ignore_ascii_case(NAME)))
}

fn framing(headers: &HeaderMap) -> Result<(), Denial> {
    let mut lengths = headers.get_all(header::CONTENT_LENGTH).iter();
    if let Some(first) = lengths.next() {
        if lengths.next().is_some() {
            return Err(Denial::BadFraming { what: "more than one Content-Length" });
        }
        if first.is_empty() || !first.as_bytes().iter().all(u8::is_ascii_digit) {
            return Err(Denial::BadFraming { what: "Content-Length is not one decimal number" });
        }
        if headers.contains_key(header::TRANSFER_ENCODING) {
            return Err(Denial::BadFraming { what: BOTH });
        }
    }
    let mut codings = headers.get_all(header::TRANSFER_ENCODING).iter();
    if let Some(first) = codings.next()
        && (codings.next().is_some() || !first.as_bytes().eq_ignore_ascii_case(b"chunked"))
    {
        return Err(Denial::BadFraming { what: "Transfer-Encoding other than `chunked`" });
    }
    match headers.get(header::CONTENT_ENCODING) {
        Some(coding) if !coding.as_bytes().eq_ignore_ascii_case(b"identity") => {
            Err(Denial::BadFraming { what: "a compressed request body (Content-Encoding); send it uncompressed" })
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::{HeaderName, HeaderValue};

    fn verdict(fields: &[(&'static str, &'static str)]) -> Result<(), Denial> {
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            headers.append(HeaderName::from_static(name), HeaderValue::from_static(value));
        }
        framing(&headers)
    }

    #[test]
    fn framing_with_two_meanings_is_refused() {
        assert_eq!(verdict(&[]), Ok(()));
        assert_eq!(verdict(&[("content-length", "12")]), Ok(()));
        assert_eq!(verdict(&[("transfer-encoding", "chunked")]), Ok(()));
        assert_eq!(verdict(&[("content-encoding", "identity")]), Ok(()));
        for bad in [
            &[("content-length", "1000,1000")][..],
            &[("content-length", "+5")],
            &[("content-length", "")],
            &[("content-length", "5"), ("content-length", "5")],
            &[("content-length", "5"), ("transfer-encoding", "chunked")],
            &[("transfer-encoding", "chunked,chunked")],
            &[("transfer-encoding", "gzip, chunked")],
            &[("transfer-encoding", "chunked"), ("transfer-encoding", "chunked")],
            &[("content-encoding", "gzip")],
        ] {
            assert!(matches!(verdict(bad), Err(Denial::BadFraming { .. })), "{bad:?}");
        }
    }

    #[test]
    fn a_length_is_found_in_the_raw_header() {
        assert!(states_length(b"POST / HTTP/1.1\r\nhost: x\r\nContent-LENGTH: 7\r\n\r\n"));
        assert!(!states_length(b"POST /content-length: HTTP/1.1\r\nx-content-length: 7\r\n\r\n"));
    }
}
