//! Cross-origin requests of browsers (Fetch standard, 3.2): what a preflight is told and which headers an answer carries.
//!
//! It never refuses an actual request: without the headers the browser withholds the answer from the page, and whoever is
//! no browser is kept out by authentication, not by this.

use http::{HeaderName, HeaderValue, Method, header};

/// Most header names of one preflight that are looked at; browsers send a handful.
const REQUESTED_MAX: usize = 64;

/// Headers that an answer may carry about cross-origin use. A backend's own are replaced, all of them.
pub const OWN: [HeaderName; 7] = [
    header::ACCESS_CONTROL_ALLOW_ORIGIN,
    header::ACCESS_CONTROL_ALLOW_METHODS,
    header::ACCESS_CONTROL_ALLOW_HEADERS,
    header::ACCESS_CONTROL_ALLOW_CREDENTIALS,
    header::ACCESS_CONTROL_EXPOSE_HEADERS,
    header::ACCESS_CONTROL_MAX_AGE,
    HeaderName::from_static("access-control-allow-private-network"),
];

/// Who may use the answers from a page elsewhere, and how.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cors {
    /// Pages that may.
    pub origins: Origins,
    /// Methods that they may use.
    pub methods: Vec<Method>,
    /// Headers that they may send.
    pub headers: RequestHeaders,
    /// Value of `access-control-expose-headers`: headers of answers that pages may read.
    pub exposed: Option<HeaderValue>,
    /// Browsers may send credentials of their own (cookies, client certificates) along.
    pub credentials: bool,
    /// Value of `access-control-max-age`, seconds: how long a browser may remember a preflight.
    pub max_age: HeaderValue,
}

/// Pages, by their origin.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origins {
    /// Every page; the answer says `*`.
    Any,
    /// These.
    Listed(Vec<OriginMatch>),
}

/// One entry of a list of origins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OriginMatch {
    /// One origin, lower case: `https://app.example.com`.
    Exact(String),
    /// Every host below a suffix: `https://*.example.com` is `https://` and `.example.com`, its port included.
    Below {
        /// Scheme with `://`.
        scheme: String,
        /// Suffix of host and port, lower case, with its leading dot.
        suffix: String,
    },
}

/// Headers that a page may send.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RequestHeaders {
    /// Any; the answer repeats what was asked for, since `*` does not cover `authorization`.
    Any,
    /// These, and the value that lists them.
    Listed(Vec<HeaderName>),
}

/// What a preflight asks.
#[derive(Clone, Copy, Debug)]
pub struct Preflight<'a> {
    /// `origin`.
    pub origin: &'a HeaderValue,
    /// `access-control-request-method`.
    pub method: &'a [u8],
    /// `access-control-request-headers`, empty where it is absent.
    pub headers: &'a [u8],
}

/// Why a preflight is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    /// This page may not.
    Origin,
    /// Not with this method.
    Method,
    /// Not with these headers.
    Headers,
}

impl Refused {
    /// What is wrong, for the message.
    #[must_use]
    pub const fn what(self) -> &'static str {
        match self {
            Self::Origin => "its origin is not allowed here",
            Self::Method => "its method is not allowed here",
            Self::Headers => "a header that it wants to send is not allowed here",
        }
    }
}

type Fields = Vec<(HeaderName, HeaderValue)>;

impl Cors {
    /// The headers that answer a preflight; those of [`Cors::mark`] come on top.
    ///
    /// # Errors
    /// [`Refused`]: the browser must not send the request.
    pub fn preflight(&self, asked: &Preflight<'_>) -> Result<Fields, Refused> {
        if !self.origins.take(asked.origin.as_bytes()) {
            return Err(Refused::Origin);
        }
        if !self.methods.iter().any(|method| method.as_str().as_bytes() == asked.method) {
            return Err(Refused::Method);
        }
        let mut fields = vec![
            (header::ACCESS_CONTROL_ALLOW_METHODS, list(self.methods.iter().map(Method::as_str))),
            (header::ACCESS_CONTROL_MAX_AGE, self.max_age.clone()),
            (header::VARY, HeaderValue::from_static("access-control-request-method, access-control-request-headers")),
        ];
        let names = self.headers.take(asked.headers).ok_or(Refused::Headers)?;
        if !names.is_empty() {
            fields.push((header::ACCESS_CONTROL_ALLOW_HEADERS, list(names.iter().map(HeaderName::as_str))));
        }
        Ok(fields)
    }

    /// The headers of every answer, whoever gives it, to a request with this `origin`.
    #[must_use]
    pub fn mark(&self, origin: Option<&HeaderValue>) -> Fields {
        let mut fields = Fields::with_capacity(4);
        let allowed = match (&self.origins, origin) {
            (Origins::Any, _) => Some(HeaderValue::from_static("*")),
            (origins @ Origins::Listed(_), Some(origin)) => origins.take(origin.as_bytes()).then(|| origin.clone()),
            (Origins::Listed(_), None) => None,
        };
        if matches!(self.origins, Origins::Listed(_)) {
            // Without it a shared cache would give one page the answer meant for another.
            fields.push((header::VARY, HeaderValue::from_static("origin")));
        }
        let Some(allowed) = allowed else { return fields };
        fields.push((header::ACCESS_CONTROL_ALLOW_ORIGIN, allowed));
        if self.credentials {
            fields.push((header::ACCESS_CONTROL_ALLOW_CREDENTIALS, HeaderValue::from_static("true")));
        }
        if let Some(exposed) = &self.exposed {
            fields.push((header::ACCESS_CONTROL_EXPOSE_HEADERS, exposed.clone()));
        }
        fields
    }
}

impl Origins {
    fn take(&self, origin: &[u8]) -> bool {
        match self {
            Self::Any => true,
            Self::Listed(list) => list.iter().any(|one| one.takes(origin)),
        }
    }
}

impl OriginMatch {
    fn takes(&self, origin: &[u8]) -> bool {
        match self {
            Self::Exact(whole) => origin.eq_ignore_ascii_case(whole.as_bytes()),
            Self::Below { scheme, suffix } => {
                let host = origin
                    .split_at_checked(scheme.len())
                    .filter(|(start, _)| start.eq_ignore_ascii_case(scheme.as_bytes()))
                    .and_then(|(_, rest)| rest.split_at_checked(rest.len().checked_sub(suffix.len())?))
                    .filter(|(_, end)| end.eq_ignore_ascii_case(suffix.as_bytes()));
                // What stands for the star is a part of a host name: no port, no credentials, no second host.
                host.is_some_and(|(label, _)| !label.is_empty() && label.iter().all(|byte| is_host(*byte)))
            }
        }
    }
}

impl RequestHeaders {
    /// The names to allow for a preflight that asks for `asked`; `None` when one of them is not allowed.
    fn take(&self, asked: &[u8]) -> Option<Vec<HeaderName>> {
        let asked = asked.split(|byte| *byte == b',').map(<[u8]>::trim_ascii).filter(|name| !name.is_empty());
        let mut names = Vec::new();
        for name in asked {
            let name = HeaderName::from_bytes(name).ok()?;
            if names.len() == REQUESTED_MAX {
                return None;
            }
            names.push(name);
        }
        match self {
            Self::Any => Some(names),
            Self::Listed(list) => names.iter().all(|name| list.contains(name)).then(|| list.clone()),
        }
    }
}

const fn is_host(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_')
}

/// `a, b, c`. Of method and header names, which are always a legal value.
fn list<'n>(names: impl Iterator<Item = &'n str>) -> HeaderValue {
    let text = names.collect::<Vec<_>>().join(", ");
    HeaderValue::from_str(&text).unwrap_or(HeaderValue::from_static(""))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests may panic")]
    use super::*;

    fn cors(origins: Origins) -> Cors {
        Cors {
            origins,
            methods: vec![Method::GET, Method::POST],
            headers: RequestHeaders::Listed(vec![header::CONTENT_TYPE, header::AUTHORIZATION]),
            exposed: Some(HeaderValue::from_static("x-request-id")),
            credentials: false,
            max_age: HeaderValue::from_static("600"),
        }
    }

    fn listed() -> Origins {
        Origins::Listed(vec![
            OriginMatch::Exact("https://app.example.com".into()),
            OriginMatch::Below { scheme: "https://".into(), suffix: ".example.org:8443".into() },
        ])
    }

    fn value<'f>(fields: &'f Fields, name: &str) -> Option<&'f str> {
        fields.iter().find(|(own, _)| own == name).map(|(_, value)| value.to_str().unwrap())
    }

    #[test]
    fn origins_are_whole_or_below_a_suffix() {
        let origins = listed();
        for (origin, taken) in [
            ("https://app.example.com", true),
            ("HTTPS://APP.example.com", true),
            ("http://app.example.com", false),
            ("https://app.example.com:444", false),
            ("https://app.example.com.evil.example", false),
            ("https://evilapp.example.com", false),
            ("https://a.example.org:8443", true),
            ("https://a.b.example.org:8443", true),
            ("https://example.org:8443", false),
            ("https://.example.org:8443", false),
            ("https://evil.example:1.example.org:8443", false),
            ("https://evil.example/.example.org:8443", false),
            ("https://me@x.example.org:8443", false),
            ("http://a.example.org:8443", false),
            ("null", false),
            ("", false),
        ] {
            assert_eq!(origins.take(origin.as_bytes()), taken, "{origin}");
        }
    }

    #[test]
    fn a_preflight_is_told_what_is_allowed() {
        let origin = HeaderValue::from_static("https://app.example.com");
        let ask = |method: &'static str, headers: &'static str| Preflight {
            origin: &origin,
            method: method.as_bytes(),
            headers: headers.as_bytes(),
        };
        let cors = cors(listed());
        let fields = cors.preflight(&ask("POST", "Content-Type, AUTHORIZATION")).unwrap();
        assert_eq!(value(&fields, "access-control-allow-methods"), Some("GET, POST"));
        assert_eq!(value(&fields, "access-control-allow-headers"), Some("content-type, authorization"));
        assert_eq!(value(&fields, "access-control-max-age"), Some("600"));
        assert_eq!(cors.preflight(&ask("post", "")), Err(Refused::Method));
        assert_eq!(cors.preflight(&ask("DELETE", "")), Err(Refused::Method));
        assert_eq!(cors.preflight(&ask("POST", "x-other")), Err(Refused::Headers));
        assert_eq!(cors.preflight(&ask("POST", "content-type,,b@d")), Err(Refused::Headers));
        let evil = HeaderValue::from_static("https://evil.example");
        assert_eq!(cors.preflight(&Preflight { origin: &evil, ..ask("POST", "") }), Err(Refused::Origin));
    }

    #[test]
    fn any_header_means_the_ones_asked_for() {
        let any = Cors { headers: RequestHeaders::Any, ..cors(Origins::Any) };
        let origin = HeaderValue::from_static("https://app.example.com");
        let ask = |headers| Preflight { origin: &origin, method: b"GET", headers };
        let fields = any.preflight(&ask(b"x-b, Authorization")).unwrap();
        assert_eq!(value(&fields, "access-control-allow-headers"), Some("x-b, authorization"));
        assert_eq!(value(&any.preflight(&ask(b"")).unwrap(), "access-control-allow-headers"), None);
        let many = vec!["x"; REQUESTED_MAX + 1].join(",");
        assert_eq!(any.preflight(&ask(many.as_bytes())), Err(Refused::Headers));
    }

    #[test]
    fn answers_vary_by_origin_where_they_do() {
        let origin = HeaderValue::from_static("https://app.example.com");
        let fields = Cors { credentials: true, ..cors(listed()) }.mark(Some(&origin));
        assert_eq!(value(&fields, "access-control-allow-origin"), Some("https://app.example.com"));
        assert_eq!(value(&fields, "access-control-allow-credentials"), Some("true"));
        assert_eq!(value(&fields, "access-control-expose-headers"), Some("x-request-id"));
        assert_eq!(value(&fields, "vary"), Some("origin"));
        let evil = HeaderValue::from_static("https://evil.example");
        for other in [None, Some(&evil)] {
            let fields = cors(listed()).mark(other);
            assert_eq!((fields.len(), value(&fields, "vary")), (1, Some("origin")));
        }
        let fields = cors(Origins::Any).mark(Some(&evil));
        assert_eq!(value(&fields, "access-control-allow-origin"), Some("*"));
        assert_eq!(value(&fields, "vary"), None);
    }
}
