//! Station 2, screen: what is refused before anything is read.
//!
//! It judges the method and the framing, by `policy::framing`. Pingora has already refused what breaks HTTP itself. It
//! never looks at what is asked for.

use crate::domain::Denial;
use crate::policy::framing::{self, Flaw, Head, Strictness, Treatment};
use crate::telemetry::Metrics;
use http::{HeaderMap, HeaderValue, Method, header};
use pingora_proxy::Session;

/// Passes a request whose method and framing have one meaning, or as much of one as `strictness` asks for.
pub(super) fn screen(session: &mut Session, strictness: Strictness, metrics: &Metrics) -> Result<(), Denial> {
    let request = session.req_header();
    if matches!(request.method, Method::CONNECT | Method::TRACE) {
        return Err(Denial::MethodNotAllowed);
    }
    // A slice of what HTTP/1 has read, no copy. HTTP/2 has no lines that could end in two ways.
    let raw = (!session.downstream_session.is_http2()).then(|| session.downstream_session.to_h1_raw());
    let flaw = framing::flaw(&Head {
        method: &request.method,
        target: request.raw_path(),
        version: request.version,
        headers: &request.headers,
        raw: raw.as_deref(),
    });
    if let Some(flaw) = flaw {
        judge(session, flaw, strictness, metrics)?;
    }
    uncompressed(&session.req_header().headers)
}

/// Looks again once the body is there: HTTP/2 brings one without announcing it.
pub(super) fn body(session: &mut Session, strictness: Strictness, metrics: &Metrics) -> Result<(), Denial> {
    let announced =
        session.get_header(header::CONTENT_LENGTH).is_some() || session.get_header(header::TRANSFER_ENCODING).is_some();
    match framing::on_get(&session.req_header().method, true) {
        Some(flaw) if !announced => judge(session, flaw, strictness, metrics),
        _ => Ok(()),
    }
}

fn judge(session: &mut Session, flaw: Flaw, strictness: Strictness, metrics: &Metrics) -> Result<(), Denial> {
    let treatment = strictness.treat(flaw);
    metrics.flawed(flaw, treatment);
    if treatment != Treatment::Forward {
        // Where this request ends is in doubt: what follows on the connection cannot be trusted.
        session.downstream_session.set_keepalive(None);
    }
    if treatment == Treatment::Refuse {
        return Err(Denial::BadFraming { what: flaw.what() });
    }
    if flaw == Flaw::LengthTwice {
        unite_lengths(session);
    }
    Ok(())
}

/// Several equal lengths (Pingora has refused different ones) become one.
fn unite_lengths(session: &mut Session) {
    let first =
        session.get_header(header::CONTENT_LENGTH).and_then(|value| value.as_bytes().split(|b| *b == b',').next());
    let Some(one) = first.and_then(|text| HeaderValue::from_bytes(text.trim_ascii()).ok()) else { return };
    // The name and the value are well-formed: it cannot fail.
    let _inserted = session.req_header_mut().insert_header(header::CONTENT_LENGTH, one);
}

fn uncompressed(headers: &HeaderMap) -> Result<(), Denial> {
    match headers.get(header::CONTENT_ENCODING) {
        Some(coding) if !coding.as_bytes().eq_ignore_ascii_case(b"identity") => {
            Err(Denial::BadFraming { what: "a compressed request body (Content-Encoding); send it uncompressed" })
        }
        _ => Ok(()),
    }
}
