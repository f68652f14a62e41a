//! Compiles a policy for cross-origin use by browsers. What browsers would ignore or refuse is a problem here.

use super::zero_or_more;
use crate::config::file;
use crate::config::report::Report;
use crate::policy::cors::{Cors, OriginMatch, Origins, RequestHeaders};
use http::{HeaderName, HeaderValue, Method};
use std::sync::Arc;
use url::Url;

/// Everything, in a list of origins or headers.
const ANY: &str = "*";

/// Compiles a policy; `None` where there is none, or after a problem.
pub(super) fn compile(typed: Option<&file::Cors>, path: &str, report: &mut Report<'_>) -> Option<Arc<Cors>> {
    let typed = typed?;
    let origins = origins(&typed.origins, &format!("{path}.origins"), report);
    let methods = methods(&typed.methods, &format!("{path}.methods"), report);
    let headers = headers(&typed.headers, &format!("{path}.headers"), report);
    let exposed = names(&typed.exposed_headers, &format!("{path}.exposed_headers"), report);
    if typed.credentials {
        // The Fetch standard has browsers refuse an answer that names `*` and allows credentials.
        for (key, list) in [("origins", &typed.origins), ("headers", &typed.headers)] {
            if let Some(index) = list.iter().position(|entry| entry == ANY) {
                let help = format!("list the {key}, or set `credentials: false`");
                report.problem(
                    &format!("{path}.{key}[{index}]"),
                    "browsers refuse `*` together with `credentials`",
                    help,
                );
            }
        }
    }
    let max_age = zero_or_more(typed.max_age, &format!("{path}.max_age"), report).as_secs();
    let exposed = exposed.iter().map(HeaderName::as_str).collect::<Vec<_>>().join(", ");
    Some(Arc::new(Cors {
        origins,
        methods,
        headers,
        exposed: HeaderValue::from_str(&exposed).ok().filter(|value| !value.is_empty()),
        credentials: typed.credentials,
        max_age: HeaderValue::from(max_age),
    }))
}

fn origins(typed: &[String], path: &str, report: &mut Report<'_>) -> Origins {
    let mut list = Vec::with_capacity(typed.len());
    let any = typed.iter().any(|entry| entry == ANY);
    for (index, text) in typed.iter().enumerate() {
        let path = format!("{path}[{index}]");
        if text == ANY {
            continue;
        }
        match origin(text) {
            Ok(_) if any => {
                report.problem(&path, format!("`{text}` stands beside `*`"), "`*` covers it: remove one".to_owned());
            }
            Ok(origin) => list.push(origin),
            Err((message, help)) => report.problem(&path, message, help),
        }
    }
    if any { Origins::Any } else { Origins::Listed(list) }
}

type Wrong = (String, Option<String>);

/// Scheme, host and port; the host may begin with `*.`.
fn origin(text: &str) -> Result<OriginMatch, Wrong> {
    let example = || Some("write https://app.example.com or https://*.example.com".to_owned());
    let wrong = |what: &str| (format!("`{text}` {what}"), example());
    if text.eq_ignore_ascii_case("null") {
        let help = "any page can give itself that origin; write `*` where every page may".to_owned();
        return Err(("`null` is no origin to allow".to_owned(), Some(help)));
    }
    let text = text.to_ascii_lowercase();
    let Some((scheme, rest)) = text.split_once("://").filter(|(scheme, _)| !scheme.is_empty()) else {
        return Err(wrong("has no scheme"));
    };
    let (below, host) = rest.strip_prefix("*.").map_or((false, rest), |host| (true, host));
    if host.contains('*') {
        return Err(wrong("holds `*` elsewhere than as the first label of its host"));
    }
    let bare = format!("{scheme}://{host}");
    let Ok(url) = Url::parse(&bare) else { return Err(wrong("is not an origin")) };
    if host.contains(['/', '?', '#', '@']) {
        let origin = format!(
            "{scheme}://{}{}",
            if below { "*." } else { "" },
            host.split(['/', '?', '#']).next().unwrap_or_default()
        );
        return Err((
            format!("`{text}` is more than an origin"),
            Some(format!("an origin ends after host and port: {origin}")),
        ));
    }
    if url.host().is_none() && matches!(scheme, "http" | "https") {
        return Err(wrong("has no host"));
    }
    // Browsers leave the scheme's own port out, and so does the URL.
    let host = match (url.host_str().filter(|_| url.port().is_none()), scheme) {
        (Some(bare), "http" | "https") => bare.to_owned(),
        _ => host.to_owned(),
    };
    Ok(if below {
        OriginMatch::Below { scheme: format!("{scheme}://"), suffix: format!(".{host}") }
    } else {
        OriginMatch::Exact(format!("{scheme}://{host}"))
    })
}

fn methods(typed: &[String], path: &str, report: &mut Report<'_>) -> Vec<Method> {
    let mut methods = Vec::with_capacity(typed.len());
    for (index, text) in typed.iter().enumerate() {
        let path = format!("{path}[{index}]");
        let upper = text.to_ascii_uppercase();
        match Method::from_bytes(text.as_bytes()) {
            _ if text == ANY => {
                report.problem(&path, "`*` is no method", "list the methods: [GET, POST, DELETE]".to_owned());
            }
            Ok(Method::CONNECT | Method::TRACE) => {
                report.problem(&path, format!("`{text}` is a method that no page may use"), None);
            }
            Ok(_) if *text != upper => {
                report.problem(&path, "methods are compared by case", format!("write `{upper}`"));
            }
            Ok(method) => methods.push(method),
            Err(_) => report.problem(&path, format!("`{text}` is no method"), None),
        }
    }
    methods
}

fn headers(typed: &[String], path: &str, report: &mut Report<'_>) -> RequestHeaders {
    match typed.iter().position(|name| name == ANY) {
        Some(_) if typed.len() == 1 => RequestHeaders::Any,
        Some(index) => {
            let help = "`*` covers the others: remove them or it".to_owned();
            report.problem(&format!("{path}[{index}]"), "`*` stands beside other headers", help);
            RequestHeaders::Any
        }
        None => RequestHeaders::Listed(names(typed, path, report)),
    }
}

fn names(typed: &[String], path: &str, report: &mut Report<'_>) -> Vec<HeaderName> {
    let mut names = Vec::with_capacity(typed.len());
    for (index, text) in typed.iter().enumerate() {
        match HeaderName::from_bytes(text.as_bytes()) {
            Ok(name) if text != ANY => names.push(name),
            _ => report.problem(&format!("{path}[{index}]"), format!("`{text}` is not a header name"), None),
        }
    }
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn origins_are_read_as_browsers_write_them() {
        let exact = |text: &str| Ok(OriginMatch::Exact(text.to_owned()));
        assert_eq!(origin("https://App.Example.com"), exact("https://app.example.com"));
        assert_eq!(origin("https://app.example.com:443"), exact("https://app.example.com"));
        assert_eq!(origin("http://localhost:3000"), exact("http://localhost:3000"));
        assert_eq!(origin("http://[::1]:3000"), exact("http://[::1]:3000"));
        assert_eq!(origin("chrome-extension://abcdef"), exact("chrome-extension://abcdef"));
        assert_eq!(
            origin("https://*.example.com:8443"),
            Ok(OriginMatch::Below { scheme: "https://".to_owned(), suffix: ".example.com:8443".to_owned() })
        );
        for bad in [
            "app.example.com",
            "https://",
            "https://app.example.com/",
            "https://a.*.example.com",
            "https://*",
            "https://*.",
            "null",
            "https://me@app.example.com",
            "",
        ] {
            assert!(origin(bad).is_err(), "{bad}");
        }
    }
}
