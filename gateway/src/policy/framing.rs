//! [`flaw()`]: what makes the head of a request ambiguous, so that two readers could disagree where it ends or whom it is
//! for (request smuggling). [`Strictness::treat`] says what becomes of it. It never reads a body and never mends a head.

mod flaw;

pub use flaw::{Class, Flaw};

use http::header::{CONNECTION, CONTENT_LENGTH, EXPECT, HOST, TRANSFER_ENCODING, UPGRADE};
use http::{HeaderMap, Method, Version};

/// The head of a request, as far as framing is concerned.
#[derive(Clone, Copy, Debug)]
pub struct Head<'a> {
    /// Method.
    pub method: &'a Method,
    /// Request target as it came.
    pub target: &'a [u8],
    /// Version of HTTP.
    pub version: Version,
    /// Parsed fields.
    pub headers: &'a HeaderMap,
    /// The header block as it came, HTTP/1 only: line ends, and what the parser has dropped, show only here.
    pub raw: Option<&'a [u8]>,
}

/// How much ambiguity a listener bears.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Strictness {
    /// Counts, and forwards what can be forwarded with one meaning.
    Monitor,
    /// Refuses severe flaws; after an ambiguous one the connection is closed.
    Defensive,
    /// Refuses every flaw.
    #[default]
    Strictest,
}

/// What becomes of a flawed request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Treatment {
    /// Refused.
    Refuse,
    /// Forwarded with our own framing; the client's connection carries nothing after it.
    ForwardAndClose,
    /// Forwarded with our own framing.
    Forward,
}

/// Names, without anything but letters, that servers behind CGI-like interfaces confuse with ours, sorted.
const PROTECTED: [&str; 19] = [
    "apikey",
    "authorization",
    "connection",
    "contentencoding",
    "contentlength",
    "contenttype",
    "cookie",
    "expect",
    "forwarded",
    "host",
    "keepalive",
    "te",
    "trailer",
    "transferencoding",
    "upgrade",
    "xazurefdid",
    "xforwardedfor",
    "xforwardedhost",
    "xforwardedproto",
];
/// Longest of them.
const PROTECTED_LENGTH_MAX: usize = 16;
/// Headers that `Connection` may name although they are protected.
const CONNECTION_OPTIONS: [&str; 3] = ["keepalive", "upgrade", "te"];
/// Options of `Connection`: nobody honest names more.
const CONNECTION_OPTIONS_MAX: usize = 8;
/// Digits of a `Content-Length` that every reader can hold.
const LENGTH_DIGITS_MAX: usize = 18;

/// The worst flaw of `head`, if it has one.
#[must_use]
pub fn flaw(head: &Head<'_>) -> Option<Flaw> {
    let length = length(head.headers);
    let coded = head.headers.contains_key(TRANSFER_ENCODING);
    let body = coded || length.as_ref().is_ok_and(|length| length.is_some_and(|value| value != b"0"));
    upgrade(head, body)
        .or_else(|| target(head))
        .or_else(|| coding(head, coded))
        .or_else(|| length.err())
        .or_else(|| names(head.headers))
        .or_else(|| host(head.headers))
        .or_else(|| connection(head.headers))
        .or_else(|| expectation(head.headers))
        .or_else(|| on_get(head.method, body))
        .or_else(|| head.raw.filter(|raw| bare_line_feed(raw)).map(|_| Flaw::BareLineFeed))
}

/// A body came with `method`, whatever the head had said.
#[must_use]
pub fn on_get(method: &Method, body: bool) -> Option<Flaw> {
    (body && matches!(*method, Method::GET | Method::HEAD)).then_some(Flaw::BodyOnGet)
}

impl Strictness {
    /// What becomes of a request with this flaw.
    #[must_use]
    pub const fn treat(self, flaw: Flaw) -> Treatment {
        match (self, flaw.class()) {
            (_, Class::Broken) | (Self::Strictest, _) | (Self::Defensive, Class::Severe) => Treatment::Refuse,
            (Self::Defensive, Class::Ambiguous) => Treatment::ForwardAndClose,
            (Self::Monitor, _) => Treatment::Forward,
        }
    }
}

impl Treatment {
    /// Label in metrics.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::Refuse => "refused",
            Self::ForwardAndClose | Self::Forward => "forwarded",
        }
    }
}

/// The value of the only `Content-Length`.
fn length(headers: &HeaderMap) -> Result<Option<&[u8]>, Flaw> {
    let mut lengths = headers.get_all(CONTENT_LENGTH).iter();
    let Some(first) = lengths.next() else { return Ok(None) };
    let digits = first.as_bytes();
    if lengths.next().is_some() || digits.contains(&b',') {
        return Err(Flaw::LengthTwice);
    }
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return Err(Flaw::LengthOdd);
    }
    if (digits.len() > 1 && digits.starts_with(b"0")) || digits.len() > LENGTH_DIGITS_MAX {
        return Err(Flaw::LengthPadded);
    }
    Ok(Some(digits))
}

fn coding(head: &Head<'_>, coded: bool) -> Option<Flaw> {
    if !coded {
        return None;
    }
    if head.version < Version::HTTP_11 {
        return Some(Flaw::CodingInOldVersion);
    }
    // Beside a Transfer-Encoding the parser drops a Content-Length: only the raw block still has it.
    if head.headers.contains_key(CONTENT_LENGTH) || head.raw.is_some_and(states_length) {
        return Some(Flaw::LengthAndCoding);
    }
    let mut codings = head.headers.get_all(TRANSFER_ENCODING).iter();
    let chunked = codings.next().is_some_and(|only| only.as_bytes().eq_ignore_ascii_case(b"chunked"));
    (!chunked || codings.next().is_some()).then_some(Flaw::CodingOdd)
}

/// A line of the header block is a Content-Length.
fn states_length(raw: &[u8]) -> bool {
    const NAME: &[u8] = b"content-length:";
    raw.split(|byte| *byte == b'\n').any(|line| line.get(..NAME.len()).is_some_and(|n| n.eq_ignore_ascii_case(NAME)))
}

fn upgrade(head: &Head<'_>, body: bool) -> Option<Flaw> {
    let switches = head.headers.get(UPGRADE).is_some_and(|to| to.as_bytes().eq_ignore_ascii_case(b"websocket"));
    (switches && (body || *head.method != Method::GET)).then_some(Flaw::UpgradeWithBody)
}

fn target(head: &Head<'_>) -> Option<Flaw> {
    // The parsed target has lost its fragment.
    let target = head.raw.and_then(raw_target).unwrap_or(head.target);
    // Without an early exit the search is done sixteen bytes at a time.
    let odd = |byte: u8| !(b'!'..=b'~').contains(&byte) | (byte == b'#') | (byte == b'\\');
    if target.iter().fold(false, |found, byte| found | odd(*byte)) {
        return Some(Flaw::TargetOdd);
    }
    // The parser has escaped what was a space: a second version stood on the request line.
    if head.raw.is_some() && target.contains(&b'%') && memchr::memmem::find(target, b"%20HTTP/").is_some() {
        return Some(Flaw::TargetOdd);
    }
    let absolute = |scheme: &[u8]| target.get(..scheme.len()).is_some_and(|t| t.eq_ignore_ascii_case(scheme));
    let known = target.starts_with(b"/")
        || (target == b"*" && *head.method == Method::OPTIONS)
        || absolute(b"http://")
        || absolute(b"https://");
    (!known).then_some(Flaw::TargetForm)
}

/// The second word of the request line.
fn raw_target(raw: &[u8]) -> Option<&[u8]> {
    let (_, behind) = raw.split_at_checked(memchr::memchr(b' ', raw)? + 1)?;
    behind.get(..memchr::memchr(b' ', behind)?)
}

fn names(headers: &HeaderMap) -> Option<Flaw> {
    // Names come in lower case. One without anything but letters, digits and `-` collides with nothing.
    let odd = |byte: u8| !byte.is_ascii_lowercase() & !byte.is_ascii_digit() & (byte != b'-');
    let is_odd = |name: &str| name.bytes().fold(false, |found, byte| found | odd(byte));
    headers
        .keys()
        .any(|name| is_odd(name.as_str()) && protected(name.as_str().as_bytes()))
        .then_some(Flaw::NameCollides)
}

/// Without everything but letters and digits it is a protected name.
fn protected(name: &[u8]) -> bool {
    squashed(name).is_some_and(|(squashed, length)| {
        let name = squashed.get(..length).unwrap_or_default();
        PROTECTED.binary_search_by(|known| known.as_bytes().cmp(name)).is_ok()
    })
}

/// Letters and digits in lower case; `None` when there are more than any protected name has.
fn squashed(name: &[u8]) -> Option<([u8; PROTECTED_LENGTH_MAX], usize)> {
    let mut out = [0; PROTECTED_LENGTH_MAX];
    let mut length = 0;
    for byte in name.iter().filter(|byte| byte.is_ascii_alphanumeric()) {
        *out.get_mut(length)? = byte.to_ascii_lowercase();
        length += 1;
    }
    Some((out, length))
}

fn host(headers: &HeaderMap) -> Option<Flaw> {
    let mut hosts = headers.get_all(HOST).iter();
    let only = hosts.next()?;
    (hosts.next().is_some() || !is_authority(only.as_bytes())).then_some(Flaw::HostOdd)
}

/// A host name or address, and perhaps a port. Empty is another rule's business.
fn is_authority(text: &[u8]) -> bool {
    let (host, port) = match text.iter().rposition(|byte| matches!(byte, b':' | b']')) {
        Some(at) if text.get(at) == Some(&b':') => text.split_at(at),
        _ => (text, &b""[..]),
    };
    let port = port.get(1..).unwrap_or_default();
    let literal = host.strip_prefix(b"[").and_then(|inner| inner.strip_suffix(b"]"));
    let legal = match literal {
        Some(inner) => inner.iter().all(|byte| byte.is_ascii_hexdigit() || matches!(byte, b':' | b'.')),
        None => host.iter().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_')),
    };
    legal && port.len() <= 5 && port.iter().all(u8::is_ascii_digit)
}

fn connection(headers: &HeaderMap) -> Option<Flaw> {
    if !headers.contains_key(CONNECTION) {
        return None;
    }
    let named = headers.get_all(CONNECTION).iter().flat_map(|value| value.as_bytes().split(|byte| *byte == b','));
    let steals = |option: &[u8]| {
        protected(option) && !CONNECTION_OPTIONS.iter().any(|fine| squashed_is(option, fine.as_bytes()))
    };
    let mut named = named.map(<[u8]>::trim_ascii).enumerate();
    named.any(|(at, option)| at >= CONNECTION_OPTIONS_MAX || steals(option)).then_some(Flaw::ConnectionNames)
}

fn squashed_is(name: &[u8], word: &[u8]) -> bool {
    squashed(name).is_some_and(|(squashed, length)| squashed.get(..length) == Some(word))
}

fn expectation(headers: &HeaderMap) -> Option<Flaw> {
    let mut all = headers.get_all(EXPECT).iter();
    let only = all.next()?;
    (all.next().is_some() || !only.as_bytes().eq_ignore_ascii_case(b"100-continue")).then_some(Flaw::ExpectOdd)
}

fn bare_line_feed(raw: &[u8]) -> bool {
    memchr::memchr_iter(b'\n', raw).any(|at| at.checked_sub(1).and_then(|before| raw.get(before)) != Some(&b'\r'))
}

#[cfg(test)]
mod tests;
