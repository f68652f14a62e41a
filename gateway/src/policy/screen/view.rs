//! [`View`]: what a rule can see of a request, without copying it. It judges nothing.

use http::{HeaderMap, HeaderName, HeaderValue};
use std::borrow::Cow;
use std::fmt;
use std::net::IpAddr;

use super::transform::percent_decoded;

/// Cookies of one request that rules look at; the header limits bound the rest.
pub(super) const COOKIES_MAX: usize = 256;
/// Query or form arguments of one request that rules look at.
pub(super) const ARGUMENTS_MAX: usize = 1024;

/// What a rule can see of a request.
#[derive(Clone, Copy, Debug)]
pub struct View<'a> {
    /// Method, as sent.
    pub method: &'a str,
    /// Request target as sent: path and query, escapes and all.
    pub target: &'a [u8],
    /// Host as sent, port included; empty where there is none.
    pub host: &'a str,
    /// The request came over TLS.
    pub tls: bool,
    /// Header fields. A value may be any bytes.
    pub headers: &'a HeaderMap<HeaderValue>,
    /// Who is connected to us.
    pub socket: Option<IpAddr>,
    /// The client, as trusted hops tell; the same as `socket` without them.
    pub client: Option<IpAddr>,
    /// Where the client's address is registered.
    pub place: Place,
    /// Where the connected address is registered.
    pub socket_place: Place,
    /// The body, or its beginning; absent while it is not read.
    pub body: Option<&'a [u8]>,
}

/// Where an address is registered, as far as a database knows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Place {
    /// Country.
    pub country: Country,
    /// Number of the autonomous system.
    pub asn: Option<u32>,
}

/// A country by its two letters (ISO 3166-1), upper case; `ZZ` where it is not known.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Country([u8; 2]);

impl Country {
    /// Not known.
    pub const UNKNOWN: Self = Self(*b"ZZ");

    /// Two letters, in any case.
    #[must_use]
    pub fn new(code: &str) -> Option<Self> {
        let letters: [u8; 2] = code.as_bytes().try_into().ok()?;
        letters.iter().all(u8::is_ascii_alphabetic).then(|| Self(letters.map(|letter| letter.to_ascii_uppercase())))
    }

    /// The two letters.
    #[must_use]
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).unwrap_or("ZZ")
    }
}

impl Default for Country {
    fn default() -> Self {
        Self::UNKNOWN
    }
}

impl fmt::Debug for Country {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Display for Country {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl<'a> View<'a> {
    /// The target up to its question mark, as sent.
    #[must_use]
    pub fn path(&self) -> &'a [u8] {
        self.split().0
    }

    /// What follows the question mark, as sent; `None` without one.
    #[must_use]
    pub fn query(&self) -> Option<&'a [u8]> {
        self.split().1
    }

    fn split(&self) -> (&'a [u8], Option<&'a [u8]>) {
        match memchr::memchr(b'?', self.target) {
            Some(mark) => (self.target.get(..mark).unwrap_or_default(), self.target.get(mark + 1..)),
            None => (self.target, None),
        }
    }

    /// Values of one header, as sent. `host` is known under HTTP/2 too, where no such field is sent.
    pub fn header(&self, name: &HeaderName) -> impl Iterator<Item = &'a [u8]> + use<'a> {
        let values = self.headers.get_all(name);
        let authority = (*name == http::header::HOST && !self.headers.contains_key(name) && !self.host.is_empty())
            .then_some(self.host.as_bytes());
        values.into_iter().map(HeaderValue::as_bytes).chain(authority)
    }

    /// Every header field: name (lower case) and value, as sent.
    pub fn headers(&self) -> impl Iterator<Item = (&'a HeaderName, &'a [u8])> + use<'a> {
        self.headers.iter().map(|(name, value)| (name, value.as_bytes()))
    }

    /// Arguments of the query: name and value as sent, escapes and all.
    pub fn arguments(&self) -> impl Iterator<Item = (&'a [u8], &'a [u8])> + use<'a> {
        pairs(self.query().unwrap_or_default(), b'&').take(ARGUMENTS_MAX)
    }

    /// Cookies of every `Cookie` field: name and value as sent.
    pub fn cookies(&self) -> impl Iterator<Item = (&'a [u8], &'a [u8])> + use<'a> {
        let fields = self.headers.get_all(http::header::COOKIE).into_iter();
        fields.flat_map(|field| pairs(field.as_bytes(), b';')).take(COOKIES_MAX)
    }

    /// Fields of a form (`application/x-www-form-urlencoded`): name and value as sent. None for any other body.
    pub fn form(&self) -> impl Iterator<Item = (&'a [u8], &'a [u8])> + use<'a> {
        const FORM: &[u8] = b"application/x-www-form-urlencoded";
        let kind = self.headers.get(http::header::CONTENT_TYPE).map(HeaderValue::as_bytes).unwrap_or_default();
        let is_form = kind.get(..FORM.len()).is_some_and(|kind| kind.eq_ignore_ascii_case(FORM));
        pairs(self.body.filter(|_| is_form).unwrap_or_default(), b'&').take(ARGUMENTS_MAX)
    }
}

/// `name=value` pairs between `joint`s, without blanks around a name; a pair without `=` has an empty value.
fn pairs(text: &[u8], joint: u8) -> impl Iterator<Item = (&[u8], &[u8])> {
    text.split(move |byte| *byte == joint).map(<[u8]>::trim_ascii).filter(|pair| !pair.is_empty()).map(|pair| {
        match memchr::memchr(b'=', pair) {
            Some(sign) => (
                pair.get(..sign).unwrap_or_default().trim_ascii_end(),
                pair.get(sign + 1..).unwrap_or_default().trim_ascii_start(),
            ),
            None => (pair, &[][..]),
        }
    })
}

/// Whether a name as sent is the one a rule means: decoded, and without regard to case.
#[must_use]
pub fn is_named(sent: &[u8], wanted: &str) -> bool {
    if memchr::memchr2(b'%', b'+', sent).is_none() {
        return sent.eq_ignore_ascii_case(wanted.as_bytes());
    }
    let decoded: Cow<'_, [u8]> = percent_decoded(sent);
    decoded.trim_ascii().eq_ignore_ascii_case(wanted.as_bytes())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests may panic")]
    use super::*;
    use http::header;

    fn texts<'a>(pairs: impl Iterator<Item = (&'a [u8], &'a [u8])>) -> Vec<String> {
        pairs.map(|(name, value)| format!("{}={}", name.escape_ascii(), value.escape_ascii())).collect()
    }

    #[test]
    fn a_view_takes_a_request_apart() {
        let mut headers = HeaderMap::new();
        headers.append(header::COOKIE, HeaderValue::from_static("a=1; b=2;; c"));
        headers.append(header::COOKIE, HeaderValue::from_static(" d = x=y "));
        headers
            .append(header::CONTENT_TYPE, HeaderValue::from_static("application/x-www-form-urlencoded; charset=utf-8"));
        let view = View {
            method: "POST",
            target: b"/a?x=1&y=%20&&z?q",
            host: "edge.example:8443",
            tls: true,
            headers: &headers,
            socket: None,
            client: None,
            place: Place::default(),
            socket_place: Place::default(),
            body: Some(b"n=1&m=a+b"),
        };
        assert_eq!((view.path(), view.query().unwrap()), (&b"/a"[..], &b"x=1&y=%20&&z?q"[..]));
        assert_eq!(texts(view.arguments()), ["x=1", "y=%20", "z?q="]);
        assert_eq!(texts(view.cookies()), ["a=1", "b=2", "c=", "d=x=y"]);
        assert_eq!(texts(view.form()), ["n=1", "m=a+b"]);
        assert_eq!(view.header(&header::HOST).collect::<Vec<_>>(), [b"edge.example:8443"]);
        assert_eq!(View { target: b"/a", ..view }.query(), None);
        assert!(is_named(b"api%2Dkey", "Api-Key") && !is_named(b"api_key", "api-key"));
    }

    #[test]
    fn a_country_is_two_letters() {
        assert_eq!(Country::new("se").unwrap().to_string(), "SE");
        assert_eq!(Country::new("ZZ"), Some(Country::default()));
        for bad in ["", "S", "SWE", "S1", "é"] {
            assert_eq!(Country::new(bad), None, "{bad}");
        }
    }
}
