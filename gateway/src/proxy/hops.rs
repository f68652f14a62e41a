//! Who stands in front of us and behind us: the client behind trusted hops, Front Door's lock and its probes, circles, the
//! trace, and what the backend is told about all that.
//!
//! Whom to believe is decided in `policy::hops`; this file reads and writes the headers.

use super::context::{Envelope, Reply, Verdict};
use super::header as fields;
use crate::domain::Denial;
use crate::policy::hops::{Hops, VIA_PREFIX};
use crate::policy::trace;
use crate::telemetry;
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use pingora::http::RequestHeader;
use pingora_proxy::Session;
use std::net::IpAddr;

const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
const FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const FRONT_DOOR_ID: HeaderName = HeaderName::from_static("x-azure-fdid");
const TRACE_PARENT: HeaderName = HeaderName::from_static("traceparent");
const TRACE_STATE: HeaderName = HeaderName::from_static("tracestate");
/// What only a trusted hop may say of its client, beside the headers that we write ourselves; and a secret of our own.
const CLAIMS: [HeaderName; 5] = [
    FRONT_DOOR_ID,
    header::FORWARDED,
    HeaderName::from_static("x-real-ip"),
    HeaderName::from_static("x-azure-clientip"),
    HeaderName::from_static("x-azure-socketip"),
];

/// How this process signs the requests that it passes on, to know them when they come back.
#[derive(Clone, Debug)]
pub struct Via {
    name: String,
    http1: HeaderValue,
    http2: HeaderValue,
}

impl Via {
    /// A name that no other process has.
    #[must_use]
    pub fn fresh() -> Self {
        let name = format!("{VIA_PREFIX}{:016x}", fastrand::u64(..));
        let value = |protocol| {
            HeaderValue::from_str(&format!("{protocol} {name}")).unwrap_or(HeaderValue::from_static("1.1 tidegate-"))
        };
        Self { http1: value("1.1"), http2: value("2"), name }
    }
}

/// Refuses a request that goes round in circles.
pub(super) fn passes(request: &RequestHeader, hops: &Hops, via: &Via) -> Result<(), Denial> {
    if !request.headers.contains_key(header::VIA) {
        return Ok(());
    }
    hops.passed(&via.name, values(&request.headers, header::VIA)).map_err(|_circle| Denial::LoopDetected)
}

/// Leaves only a well-formed trace context on the request, and begins one where that is wanted.
pub(super) fn trace(request: &mut RequestHeader, hops: &Hops) {
    let (present, whole) = {
        let mut parents = values(&request.headers, TRACE_PARENT);
        let first = parents.next();
        let whole = first.is_some_and(|parent| trace::trace_id(parent).is_some()) && parents.next().is_none();
        (first.is_some(), whole)
    };
    if whole {
        if !trace::is_state(values(&request.headers, TRACE_STATE)) {
            request.remove_header(&TRACE_STATE);
        }
        return;
    }
    if present || hops.trace_created {
        request.remove_header(&TRACE_PARENT);
        request.remove_header(&TRACE_STATE);
    }
    if hops.trace_created {
        // Neither id may be zero. Not sampled: whether to keep a trace is for somebody who looks at more than one request.
        let (id, span) = (fastrand::u128(1..), fastrand::u64(1..));
        if let Ok(parent) = HeaderValue::from_str(&format!("00-{id:032x}-{span:016x}-00")) {
            // A legal name and a legal value: nothing to fail.
            let _ = request.insert_header(TRACE_PARENT, parent);
        }
    }
}

/// Finds the client behind trusted hops, keeps out who does not come through the listener's Front Door, and answers its
/// probes. Only called where either is configured.
pub(super) fn identify(
    session: &Session,
    envelope: &mut Envelope,
    hops: &Hops,
    listener: Option<&str>,
    ready: impl FnOnce() -> bool,
) -> Result<(), Verdict> {
    let request = session.req_header();
    let headers = &request.headers;
    if let Some(door) = listener.and_then(|listener| hops.front_door(listener)) {
        if is_probe(request) {
            return Err(health(ready()).into());
        }
        if !door.admits(values(headers, FRONT_DOOR_ID)) {
            return Err(Denial::NotFromFrontDoor.into());
        }
        let one = |name: &str| headers.get(name).map(HeaderValue::as_bytes);
        let told = hops.client_of_front_door(one("x-azure-socketip"), one("x-azure-clientip"));
        envelope.hop = envelope.client;
        envelope.client = told.or(envelope.client);
        return Ok(());
    }
    let Some(peer) = envelope.client.filter(|peer| hops.trusts(peer.ip())) else { return Ok(()) };
    envelope.hop = Some(peer);
    envelope.client = Some(hops.client(peer, values(headers, FORWARDED_FOR)));
    Ok(())
}

/// Front Door asks whether we are well.
fn is_probe(request: &RequestHeader) -> bool {
    matches!(request.method, Method::GET | Method::HEAD)
        && request.headers.get("x-fd-healthprobe").is_some_and(|value| value.as_bytes() == b"1")
}

/// The answer to a probe: 200 is the only status that Front Door takes for healthy.
fn health(ready: bool) -> Reply {
    let status = if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    Reply { status, fields: vec![(header::CACHE_CONTROL, HeaderValue::from_static("no-store"))], body: Bytes::new() }
}

/// Tells the backend who asked and through whom. What a stranger said about itself is dropped; what a trusted hop said is
/// kept, and its own address added.
pub(super) fn sign(incoming: &RequestHeader, headers: &mut HeaderMap, envelope: &Envelope, via: &Via) {
    let trusted = envelope.hop.is_some();
    if trusted {
        headers.remove(FRONT_DOOR_ID);
    } else {
        fields::remove_all(headers, &CLAIMS);
    }
    if !(trusted && said(incoming, FORWARDED_HOST)) {
        let own = match incoming.uri.authority() {
            Some(authority) => HeaderValue::from_str(authority.as_str()).ok(),
            None => incoming.headers.get(header::HOST).cloned(),
        };
        match own {
            Some(host) => headers.insert(FORWARDED_HOST, host),
            None => headers.remove(FORWARDED_HOST),
        };
    }
    if !(trusted && said(incoming, FORWARDED_PROTO)) {
        headers.insert(FORWARDED_PROTO, HeaderValue::from_static(if envelope.tls { "https" } else { "http" }));
    }
    let chain = match envelope.hop.or(envelope.client) {
        Some(peer) if trusted => joined(&incoming.headers, peer.ip()),
        Some(peer) => HeaderValue::from_maybe_shared(printed(Vec::with_capacity(15), peer.ip())).ok(),
        None => None,
    };
    match chain {
        Some(chain) => headers.insert(FORWARDED_FOR, chain),
        None => headers.remove(FORWARDED_FOR),
    };
    headers.append(header::VIA, if envelope.http2 { &via.http2 } else { &via.http1 }.clone());
}

/// The header is there once, with something in it.
fn said(request: &RequestHeader, name: HeaderName) -> bool {
    let mut values = request.headers.get_all(name).iter();
    values.next().is_some_and(|value| !value.is_empty()) && values.next().is_none()
}

/// All of `X-Forwarded-For` in one value, and the trusted peer at its end.
fn joined(headers: &HeaderMap, peer: IpAddr) -> Option<HeaderValue> {
    let mut list = Vec::new();
    for value in values(headers, FORWARDED_FOR).filter(|value| !value.is_empty()) {
        list.extend_from_slice(value);
        list.extend_from_slice(b", ");
    }
    HeaderValue::from_maybe_shared(printed(list, peer)).ok()
}

/// `text` and the address behind it.
fn printed(mut text: Vec<u8>, ip: IpAddr) -> Bytes {
    match ip {
        IpAddr::V4(v4) => telemetry::dotted(&mut text, v4),
        IpAddr::V6(v6) => text.extend_from_slice(v6.to_string().as_bytes()),
    }
    text.into()
}

fn values(headers: &HeaderMap, name: HeaderName) -> impl DoubleEndedIterator<Item = &[u8]> {
    headers.get_all(name).iter().map(HeaderValue::as_bytes)
}
