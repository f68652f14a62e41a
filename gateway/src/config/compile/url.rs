//! A backend's base URL, taken apart.

use crate::config::report::Report;
use crate::config::snapshot::{BackendTls, BaseUrl};
use http::HeaderValue;
use url::{Host, Url};

/// Takes `typed` apart; `None` after a problem. With `https`, its host is the server name of `trust` where that has none. The text itself is not repeated: it may hold a credential.
pub(super) fn compile(typed: &str, mut trust: BackendTls, path: &str, report: &mut Report<'_>) -> Option<BaseUrl> {
    let url = match parse(typed) {
        Ok(url) => url,
        Err((message, help)) => {
            report.problem(path, message, help.to_owned());
            return None;
        }
    };
    let tls = url.scheme() == "https";
    let host = match url.host()? {
        Host::Domain(name) => name.to_owned(),
        Host::Ipv4(address) => address.to_string(),
        Host::Ipv6(address) => address.to_string(),
    };
    if tls && trust.server_name.is_empty() {
        trust.server_name.clone_from(&host);
    }
    if !tls && !is_loopback(&url) {
        let help = "use https, or keep the path to it private";
        report.warn(path, "credentials and prompts travel in plain text", help.to_owned());
    }
    let port = url.port_or_known_default()?;
    let bracketed = url.host_str()?;
    let authority = url.port().map_or_else(|| bracketed.to_owned(), |port| format!("{bracketed}:{port}"));
    let authority = HeaderValue::from_str(&authority)
        .map_err(|_error| report.problem(path, "its host cannot stand in a `Host` header", None))
        .ok()?;
    Some(BaseUrl { tls, host, port, authority, path: url.path().trim_end_matches('/').to_owned(), trust })
}

const HELP: &str = "write it as https://NAME.openai.azure.com";

fn parse(typed: &str) -> Result<Url, (String, &'static str)> {
    let url = Url::parse(typed).map_err(|error| (format!("is not a URL: {error}"), HELP))?;
    if !matches!(url.scheme(), "http" | "https") {
        return Err(("must begin with https:// or http://".to_owned(), HELP));
    }
    if url.host_str().is_none_or(str::is_empty) {
        return Err(("has no host".to_owned(), HELP));
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(("must not hold a user name or password".to_owned(), "use the backend's `auth`"));
    }
    if url.query().is_some() || url.fragment().is_some() {
        return Err(("must not hold a query or fragment".to_owned(), "use `api_version` for the API version"));
    }
    if url.port() == Some(0) {
        return Err(("has port 0".to_owned(), HELP));
    }
    let path = url.path().trim_end_matches('/');
    if path.split('/').any(|segment| segment == "openai") {
        return Err(("must not hold `/openai`".to_owned(), "the client's path, `/openai/…`, is put behind it"));
    }
    Ok(url)
}

fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(Host::Domain(name)) => name == "localhost" || name.ends_with(".localhost"),
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    }
}
