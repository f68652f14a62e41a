//! The redirect of a clear-text listener to HTTPS: same host on the standard port, same path and query. It never invents a
//! host, and never repeats one that is none.

use super::context::Reply;
use crate::config::snapshot::Address;
use crate::domain::Denial;
use bytes::Bytes;
use http::{HeaderValue, StatusCode, header};
use pingora::http::RequestHeader;
use pingora::protocols::l4::socket::SocketAddr as Local;
use std::net::Ipv6Addr;

/// Longest host name (RFC 1035), bytes.
const HOST_LENGTH_MAX: usize = 253;

/// Whether the listener at `local` redirects.
pub(super) fn applies(redirecting: &[Address], local: Option<&Local>) -> bool {
    let Some((ip, path)) = local.map(super::gateway::ends) else { return false };
    redirecting.iter().any(|one| one.is_at(ip, path))
}

/// 308, which keeps method and body: a 301 would make a GET of a POST.
pub(super) fn reply(request: &RequestHeader) -> Result<Reply, Denial> {
    let authority = match request.uri.authority() {
        Some(authority) => authority.as_str(),
        None => request.headers.get(header::HOST).and_then(|host| host.to_str().ok()).unwrap_or_default(),
    };
    let host = host(authority).ok_or(Denial::HostInvalid)?;
    // Of a target in absolute form only path and query; `*` (of OPTIONS) has neither.
    let target = request.uri.path_and_query().map_or("/", http::uri::PathAndQuery::as_str);
    let target = if target.starts_with('/') { target } else { "/" };
    let location = HeaderValue::from_str(&format!("https://{host}{target}"))
        .map_err(|_error| Denial::BadPath { what: "it holds characters that a URL cannot have" })?;
    Ok(Reply { status: StatusCode::PERMANENT_REDIRECT, fields: vec![(header::LOCATION, location)], body: Bytes::new() })
}

/// The host without its port, where it is a name or an address.
fn host(authority: &str) -> Option<&str> {
    if let Some(rest) = authority.strip_prefix('[') {
        let (address, port) = rest.split_once(']')?;
        let whole = authority.get(..address.len() + 2)?;
        return (address.parse::<Ipv6Addr>().is_ok() && (port.is_empty() || is_port(port.strip_prefix(':')?)))
            .then_some(whole);
    }
    let (host, port) = authority.split_once(':').map_or((authority, None), |(host, port)| (host, Some(port)));
    let label = |label: &str| {
        (1..=63).contains(&label.len())
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
            && !label.starts_with('-')
    };
    let name = host.strip_suffix('.').unwrap_or(host);
    (host.len() <= HOST_LENGTH_MAX && name.split('.').all(label) && port.is_none_or(is_port)).then_some(host)
}

fn is_port(text: &str) -> bool {
    text.is_empty() || (text.bytes().all(|byte| byte.is_ascii_digit()) && text.parse::<u16>().is_ok())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests may panic")]
    use super::*;

    fn location(target: &str, host: &str) -> Option<String> {
        let mut request = RequestHeader::build("POST", target.as_bytes(), None).unwrap();
        request.insert_header(header::HOST, host).unwrap();
        let (_, value) = reply(&request).ok()?.fields.pop()?;
        Some(value.to_str().unwrap().to_owned())
    }

    #[test]
    fn host_path_and_query_are_kept_and_the_port_is_not() {
        for (target, host, wanted) in [
            ("/a/b?c=d&e", "edge.example", "https://edge.example/a/b?c=d&e"),
            ("/", "edge.example:8080", "https://edge.example/"),
            ("//elsewhere.example/x", "edge.example", "https://edge.example//elsewhere.example/x"),
            ("http://one.example:80/x?y", "one.example", "https://one.example/x?y"),
            ("/x", "192.0.2.7:80", "https://192.0.2.7/x"),
            ("/x", "[2001:db8::1]:80", "https://[2001:db8::1]/x"),
            ("/x", "edge.example.", "https://edge.example./x"),
        ] {
            assert_eq!(location(target, host).as_deref(), Some(wanted), "{target} {host}");
        }
    }

    #[test]
    fn what_is_no_host_is_not_repeated() {
        for host in [
            "",
            ".",
            "a..b",
            "a b",
            "a/b",
            "edge.example@evil.example",
            "a:b",
            "[::1",
            "[::g]",
            "[::1]x",
            "a?b",
            "-a",
            "a:99999",
        ] {
            assert_eq!(location("/x", host), None, "{host:?}");
        }
    }
}
