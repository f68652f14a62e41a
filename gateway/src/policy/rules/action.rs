//! What rules do: change headers, redirect, rewrite a path. Each is computed here and carried out elsewhere.

use crate::policy::route::HostMatch;
use http::{HeaderName, HeaderValue};

/// A change of one header.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HeaderChange {
    /// Its name.
    pub name: HeaderName,
    /// What happens to it.
    pub change: Change,
}

/// What happens to a header.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// One more field of this name.
    Append(HeaderValue),
    /// This field instead of all of this name.
    Overwrite(HeaderValue),
    /// No field of this name.
    Delete,
}

/// An answer that sends the client elsewhere. What is absent stays as the client asked for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Redirect {
    /// 301, 302, 307 or 308.
    pub status: u16,
    /// `https`, else `http`.
    pub tls: Option<bool>,
    /// Host, and port where it is not the scheme's own.
    pub host: Option<String>,
    /// Path, with its leading slash.
    pub path: Option<String>,
    /// Query, without its question mark; empty for none.
    pub query: Option<String>,
    /// Fragment, without its `#`.
    pub fragment: Option<String>,
}

/// What a client asked for.
#[derive(Clone, Copy, Debug)]
pub struct Asked<'a> {
    /// Over TLS.
    pub tls: bool,
    /// Host without port, lower case.
    pub host: &'a str,
    /// Path as sent.
    pub path: &'a str,
    /// Query as sent, without its question mark.
    pub query: Option<&'a str>,
}

impl Redirect {
    /// Value of `location`. It leads to the same host (it names none), to the configured one, or, where only the scheme
    /// changes, to the request's own if that is one of `hosts`; `None` where it is not.
    #[must_use]
    pub fn location(&self, asked: &Asked<'_>, hosts: &[HostMatch]) -> Option<String> {
        let tls = self.tls.unwrap_or(asked.tls);
        let mut out = String::with_capacity(128);
        let host = match &self.host {
            Some(host) => Some(host.as_str()),
            None if tls == asked.tls => None,
            None if hosts.iter().any(|known| known.takes(asked.host)) => Some(asked.host),
            None => return None,
        };
        if let Some(host) = host {
            out.push_str(if tls { "https://" } else { "http://" });
            out.push_str(host);
        }
        // Two slashes at the beginning, or what browsers take for them, would name another host.
        out.push('/');
        let path = self.path.as_deref().unwrap_or(asked.path);
        for part in path.trim_start_matches(['/', '\\']).split_inclusive('\\') {
            match part.strip_suffix('\\') {
                Some(part) => {
                    out.push_str(part);
                    out.push_str("%5C");
                }
                None => out.push_str(part),
            }
        }
        if let Some(query) = self.query.as_deref().or(asked.query).filter(|query| !query.is_empty()) {
            out.push('?');
            out.push_str(query);
        }
        if let Some(fragment) = &self.fragment {
            out.push('#');
            out.push_str(fragment);
        }
        Some(out)
    }
}

/// Another beginning for a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rewrite {
    /// Whole segments that the path begins with.
    pub from: String,
    /// What stands there instead.
    pub to: String,
    /// What follows `from` is kept.
    pub keep_rest: bool,
}

impl Rewrite {
    /// The new path; `None` where `path` does not begin with `from`.
    #[must_use]
    pub fn apply(&self, path: &str) -> Option<String> {
        let rest = path.strip_prefix(self.from.as_str())?;
        let whole_segments = rest.is_empty() || self.from.ends_with('/') || rest.starts_with('/');
        if !whole_segments {
            return None;
        }
        let rest = rest.trim_start_matches('/');
        if !self.keep_rest || rest.is_empty() {
            return Some(self.to.clone());
        }
        Some(format!("{}/{rest}", self.to.strip_suffix('/').unwrap_or(&self.to)))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests may panic")]
    use super::*;
    use proptest::prelude::{ProptestConfig, any, prop_assert, proptest};

    const SAME: Redirect = Redirect { status: 308, tls: None, host: None, path: None, query: None, fragment: None };

    fn asked<'a>(path: &'a str, query: Option<&'a str>) -> Asked<'a> {
        Asked { tls: false, host: "edge.example", path, query }
    }

    #[test]
    fn a_redirect_keeps_what_it_does_not_name() {
        let hosts = [HostMatch::Exact("edge.example".into())];
        let to = |redirect: &Redirect| redirect.location(&asked("/a/b", Some("x=1")), &hosts).unwrap();
        let text = |text: &str| Some(text.to_owned());
        assert_eq!(to(&Redirect { path: text("/new"), ..SAME }), "/new?x=1");
        assert_eq!(to(&Redirect { query: text("y=2"), ..SAME }), "/a/b?y=2");
        assert_eq!(to(&Redirect { query: text(""), fragment: text("top"), ..SAME }), "/a/b#top");
        assert_eq!(to(&Redirect { host: text("docs.example:8443"), ..SAME }), "http://docs.example:8443/a/b?x=1");
        assert_eq!(to(&Redirect { tls: Some(true), ..SAME }), "https://edge.example/a/b?x=1");
        assert_eq!(to(&Redirect { tls: Some(false), ..SAME }), "/a/b?x=1");
        let whole = Redirect { tls: Some(true), host: text("d.example"), path: text("/"), query: text("q"), ..SAME };
        assert_eq!(to(&Redirect { fragment: text("f"), ..whole }), "https://d.example/?q#f");
    }

    #[test]
    fn a_host_header_leads_nobody_elsewhere() {
        let hosts = [HostMatch::Exact("edge.example".into()), HostMatch::Suffix(".example.com".into())];
        let https = Redirect { tls: Some(true), ..SAME };
        for (host, location) in [
            ("edge.example", Some("https://edge.example/x")),
            ("a.example.com", Some("https://a.example.com/x")),
            ("evil.example", None),
            ("", None),
        ] {
            let asked = Asked { host, ..asked("/x", None) };
            assert_eq!(https.location(&asked, &hosts).as_deref(), location, "{host}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(512))]
        #[test]
        fn a_path_leads_nobody_elsewhere(path in "[/\\\\]{0,3}[a-z./\\\\@:]{0,12}", fragment in any::<bool>()) {
            let redirect = Redirect { fragment: fragment.then(|| "f".to_owned()), ..SAME };
            let location = redirect.location(&asked(&path, None), &[]).unwrap();
            prop_assert!(location.starts_with('/') && !location.contains('\\'), "{location}");
            prop_assert!(!location.starts_with("//"), "{location}");
        }
    }

    #[test]
    fn a_rewrite_moves_whole_segments() {
        for (from, to, keep_rest, path, want) in [
            ("/ai/", "/openai/v1/", true, "/ai/chat/completions", Some("/openai/v1/chat/completions")),
            ("/ai", "/openai/v1", true, "/ai/chat/completions", Some("/openai/v1/chat/completions")),
            ("/ai", "/openai/v1/", true, "/ai/chat", Some("/openai/v1/chat")),
            ("/ai", "/openai", true, "/ai", Some("/openai")),
            ("/ai", "/openai", true, "/aix", None),
            ("/ai", "/openai", true, "/x/ai", None),
            ("/ai/", "/fixed", false, "/ai/any/thing", Some("/fixed")),
            ("/", "/openai", true, "/v1/models", Some("/openai/v1/models")),
            ("/a", "/", true, "/a/b", Some("/b")),
        ] {
            let rewrite = Rewrite { from: from.to_owned(), to: to.to_owned(), keep_rest };
            assert_eq!(rewrite.apply(path).as_deref(), want, "{from} {to} {path}");
        }
    }
}
