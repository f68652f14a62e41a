//! Station 1, accept: limits of the request line and headers, and the request's identity.
//!
//! It never looks at what the request asks for.

use super::context::Envelope;
use super::header::REQUEST_ID;
use super::tunnel;
use crate::config::snapshot::{Headers, Limits};
use crate::domain::{Denial, Presented};
use http::{HeaderName, HeaderValue, header};
use pingora_proxy::Session;
use std::sync::Arc;

/// Longest `x-request-id` taken over from a client, bytes.
const REQUEST_ID_LENGTH_MAX: usize = 128;
const SDK_RETRY_COUNT: HeaderName = HeaderName::from_static("x-stainless-retry-count");

/// Who is asking, once the envelope is within its limits.
pub(super) fn accept(session: &Session, limits: &Limits, headers: &Headers) -> Result<Envelope, Denial> {
    within_limits(session, limits)?;
    let request = session.req_header();
    let http2 = session.downstream_session.is_http2();
    let authority = request.headers.get(header::HOST).is_some_and(|host| !host.is_empty());
    if !authority && request.uri.authority().is_none() {
        return Err(Denial::HostMissing);
    }
    let tls = session.digest().and_then(|digest| digest.ssl_digest.as_deref());
    let certificate = match tls.and_then(|tls| tls.extension.get::<Presented>()) {
        None => None,
        Some(Presented::Trusted(certificate)) => Some(Arc::clone(certificate)),
        Some(Presented::Refused) => return Err(Denial::ClientCertificateRefused),
    };
    let sdk_retries =
        request.headers.get(SDK_RETRY_COUNT).and_then(|v| v.to_str().ok()).and_then(|v| v.parse().ok()).unwrap_or(0);
    Ok(Envelope {
        request_id: request_id(session, headers),
        client: session.client_addr().and_then(|a| a.as_inet()).copied(),
        hop: None,
        http2,
        tls: tls.is_some(),
        certificate,
        // Any other switch (`h2c`) is declined by answering as if it had not been asked for.
        upgrade: session.downstream_session.is_upgrade_req() && tunnel::is_websocket(request),
        sdk_retries,
    })
}

fn within_limits(session: &Session, limits: &Limits) -> Result<(), Denial> {
    let request = session.req_header();
    if request.raw_path().len() > limits.uri_length_max {
        return Err(Denial::UriTooLong { limit: limits.uri_length_max });
    }
    // `name: value\r\n` has four bytes beside name and value.
    let size: usize = request.headers.iter().map(|(name, value)| name.as_str().len() + value.len() + 4).sum();
    if size > limits.header_size_max || request.headers.len() > limits.header_count_max {
        return Err(Denial::HeadersTooLarge { limit: limits.header_size_max });
    }
    Ok(())
}

/// The client's own id where it may and does give a well-formed one, else 32 random hexadecimal digits.
fn request_id(session: &Session, headers: &Headers) -> HeaderValue {
    if headers.request_id_accepted
        && let Some(given) = session.req_header().headers.get(REQUEST_ID)
        && (1..=REQUEST_ID_LENGTH_MAX).contains(&given.len())
        && given.as_bytes().iter().all(|b| b.is_ascii_alphanumeric() || b"-_.:/+=".contains(b))
    {
        return given.clone();
    }
    fresh_id()
}

/// 32 random hexadecimal digits.
pub(super) fn fresh_id() -> HeaderValue {
    let digit = |nibble: u8| nibble + if nibble < 10 { b'0' } else { b'a' - 10 };
    let mut text = [b'0'; 32];
    for (pair, byte) in text.as_chunks_mut().0.iter_mut().zip(fastrand::u128(..).to_ne_bytes()) {
        *pair = [digit(byte >> 4), digit(byte & 15)];
    }
    HeaderValue::from_bytes(&text).unwrap_or(HeaderValue::from_static("-"))
}

#[cfg(test)]
mod tests {
    use super::fresh_id;

    #[test]
    fn fresh_ids_are_32_hex_digits_and_differ() {
        let (a, b) = (fresh_id(), fresh_id());
        assert_ne!(a, b);
        assert_eq!(a.len(), 32);
        assert!(a.as_bytes().iter().all(u8::is_ascii_hexdigit));
    }
}
