//! Compiles the actions of a rule: headers that may be changed, redirects that stay on configured hosts, pools that exist.

use crate::config::compile::unknown_pool;
use crate::config::file::{self, Action, HeaderField};
use crate::config::report::Report;
use crate::policy::route::HostMatch;
use crate::policy::rules::Actions;
use crate::policy::rules::action::{Change, HeaderChange, Redirect, Rewrite};
use http::{HeaderName, HeaderValue, Uri};

/// Longest value of a header, in characters: Front Door's.
const VALUE_LENGTH_MAX: usize = 640;

/// Headers about one connection, what frames a message, and what names a request: nobody else sets these.
const OURS: [&str; 16] = [
    "connection",
    "content-encoding",
    "content-length",
    "expect",
    "host",
    "http2-settings",
    "keep-alive",
    "proxy-authenticate",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "via",
    "x-request-id",
    "x-tidegate-attempts",
];

/// More of them on the way to a backend.
const OURS_FORWARD: [&str; 6] =
    ["accept-encoding", "cookie", "forwarded", "x-forwarded-for", "x-forwarded-host", "x-forwarded-proto"];

/// Headers in which credentials travel.
const CREDENTIALS: [&str; 5] =
    ["api-key", "authorization", "ocp-apim-subscription-key", "proxy-authorization", "x-api-key"];

const REDIRECTS: [u16; 4] = [301, 302, 307, 308];

/// Where a header goes.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Way {
    Backend,
    Client,
}

/// Compiles the actions of a rule; what is wrong is left out and reported.
pub(super) fn compile(
    typed: &[Action],
    file: &file::File,
    (hosts, path): (&[HostMatch], &str),
    report: &mut Report<'_>,
) -> Actions {
    let mut actions = Actions::default();
    for (index, action) in typed.iter().enumerate() {
        let at = |key: &str| format!("{path}[{index}].{key}");
        if let Some((way, key, change)) = header_change(action, &at, report) {
            if way == Way::Backend && typed.iter().any(|other| matches!(other, Action::Redirect(_))) {
                report.problem(&at(key), "stands beside a redirect: no backend sees the request", None);
            }
            if way == Way::Backend { &mut actions.request } else { &mut actions.response }.extend(change);
            continue;
        }
        let single = |taken: bool, key: &str, report: &mut Report<'_>| {
            if taken {
                report.problem(&at(key), format!("a rule has one `{key}` at most"), None);
            }
        };
        match action {
            Action::Redirect(typed) => {
                single(actions.redirect.is_some(), "redirect", report);
                actions.redirect = redirect(typed, hosts, &at("redirect"), report);
            }
            Action::Rewrite(typed) => {
                single(actions.rewrite.is_some(), "rewrite", report);
                actions.rewrite = rewrite(typed, &at("rewrite"), report);
            }
            Action::Pool(name) => {
                single(actions.pool.is_some(), "pool", report);
                actions.pool = file.pools.iter().position(|pool| pool.name == *name);
                if actions.pool.is_none() {
                    unknown_pool(name, file, &at("pool"), report);
                }
            }
            _ => {}
        }
    }
    if actions.redirect.is_some() && (actions.rewrite.is_some() || actions.pool.is_some()) {
        let help = "a redirect ends the request: split the rule, or remove one".to_owned();
        report.problem(path, "holds a redirect beside a rewrite or a pool", help);
    }
    actions
}

/// A change of a header; the second `None` after a problem.
fn header_change(
    action: &Action,
    at: &dyn Fn(&str) -> String,
    report: &mut Report<'_>,
) -> Option<(Way, &'static str, Option<HeaderChange>)> {
    let (way, key) = match action {
        Action::AppendRequestHeader(_) => (Way::Backend, "append_request_header"),
        Action::OverwriteRequestHeader(_) => (Way::Backend, "overwrite_request_header"),
        Action::DeleteRequestHeader(_) => (Way::Backend, "delete_request_header"),
        Action::AppendResponseHeader(_) => (Way::Client, "append_response_header"),
        Action::OverwriteResponseHeader(_) => (Way::Client, "overwrite_response_header"),
        Action::DeleteResponseHeader(_) => (Way::Client, "delete_response_header"),
        Action::Redirect(_) | Action::Rewrite(_) | Action::Pool(_) => return None,
    };
    let path = at(key);
    let change = match action {
        Action::AppendRequestHeader(field) | Action::AppendResponseHeader(field) => field_of(field, way, &path, report)
            .map(|(name, value)| HeaderChange { name, change: Change::Append(value) }),
        Action::OverwriteRequestHeader(field) | Action::OverwriteResponseHeader(field) => {
            field_of(field, way, &path, report)
                .map(|(name, value)| HeaderChange { name, change: Change::Overwrite(value) })
        }
        Action::DeleteRequestHeader(name) | Action::DeleteResponseHeader(name) => {
            header_name(name, way, &path, report).map(|name| HeaderChange { name, change: Change::Delete })
        }
        _ => None,
    };
    Some((way, key, change))
}

fn field_of(typed: &HeaderField, way: Way, path: &str, report: &mut Report<'_>) -> Option<(HeaderName, HeaderValue)> {
    let name = header_name(&typed.name, way, &format!("{path}.name"), report);
    let path = format!("{path}.value");
    let length = typed.value.chars().count();
    if length > VALUE_LENGTH_MAX {
        report.problem(&path, format!("has {length} characters, at most {VALUE_LENGTH_MAX} are allowed"), None);
        return None;
    }
    let value = HeaderValue::from_str(&typed.value);
    if value.is_err() {
        report.problem(&path, "holds characters that no header may carry", None);
    }
    Some((name?, value.ok()?))
}

fn header_name(typed: &str, way: Way, path: &str, report: &mut Report<'_>) -> Option<HeaderName> {
    let Ok(name) = HeaderName::from_bytes(typed.as_bytes()) else {
        report.problem(path, format!("`{typed}` is not a header name"), None);
        return None;
    };
    let text = name.as_str();
    let (what, help) = if OURS.contains(&text) || (way == Way::Backend && OURS_FORWARD.contains(&text)) {
        ("is set by the gateway itself", None)
    } else if CREDENTIALS.contains(&text) {
        ("is a credential", (way == Way::Backend).then(|| "use the backend's `auth`".to_owned()))
    } else if text.starts_with("access-control-") {
        ("is about cross-origin use", Some("use `cors`".to_owned()))
    } else {
        return Some(name);
    };
    report.problem(path, format!("`{name}` {what}"), help);
    None
}

fn redirect(typed: &file::Redirect, hosts: &[HostMatch], path: &str, report: &mut Report<'_>) -> Option<Redirect> {
    let before = typed.clone();
    if !REDIRECTS.contains(&typed.status) {
        let help = "write 301, 302, 307 or 308".to_owned();
        report.problem(&format!("{path}.status"), format!("{} is no redirect", typed.status), help);
    }
    let same = typed.protocol.is_none() && typed.host.is_none() && typed.path.is_none() && typed.query.is_none();
    if same {
        let help = "name a protocol, host, path or query".to_owned();
        report.problem(path, "leads back to where it comes from", help);
    }
    if typed.protocol.is_some() && typed.host.is_none() && hosts.is_empty() {
        let help = "name `host` here, in a route's `match` or in a condition: else a `Host` header says where it leads";
        report.problem(path, "changes the protocol and names no host", help.to_owned());
    }
    let host = typed.host.as_deref().and_then(|host| authority(host, &format!("{path}.host"), report));
    if let Some(text) = &typed.path {
        slash(text, &format!("{path}.path"), report)?;
    }
    for (key, text) in [("path", &typed.path), ("query", &typed.query), ("fragment", &typed.fragment)] {
        let legal = |byte: u8| byte.is_ascii_graphic() && !matches!(byte, b'\\' | b'"' | b'<' | b'>' | b'#');
        let misplaced = text.as_deref().is_some_and(|text| key == "path" && text.contains('?'));
        if misplaced || !text.as_deref().unwrap_or_default().bytes().all(legal) {
            let help = "escape other characters, such as %20".to_owned();
            report.problem(&format!("{path}.{key}"), format!("holds characters that no {key} may carry"), help);
        }
    }
    let tls = before.protocol.map(|protocol| protocol == file::Protocol::Https);
    let (path, query, fragment) = (before.path, before.query, before.fragment);
    (host.is_some() || typed.host.is_none()).then_some(Redirect {
        status: typed.status,
        tls,
        host,
        path,
        query,
        fragment,
    })
}

/// Host and port, nothing else.
fn authority(text: &str, path: &str, report: &mut Report<'_>) -> Option<String> {
    let parsed = format!("http://{text}/").parse::<Uri>().ok();
    let fine = parsed.and_then(|uri| uri.authority().map(|one| one.as_str() == text)).unwrap_or(false)
        && !text.contains(['@', '*', '/']);
    if !fine {
        let help = "write docs.example.com or docs.example.com:8443".to_owned();
        report.problem(path, format!("`{text}` is not a host"), help);
    }
    fine.then(|| text.to_ascii_lowercase())
}

fn rewrite(typed: &file::Rewrite, path: &str, report: &mut Report<'_>) -> Option<Rewrite> {
    slash(&typed.from, &format!("{path}.from"), report)?;
    slash(&typed.to, &format!("{path}.to"), report)?;
    for (key, text) in [("from", &typed.from), ("to", &typed.to)] {
        if !text.bytes().all(|byte| byte.is_ascii_graphic() && !matches!(byte, b'?' | b'#' | b'*' | b'\\')) {
            let help = "a path, without query; what follows it is kept by `keep_rest`".to_owned();
            report.problem(&format!("{path}.{key}"), format!("`{text}` is not a path"), help);
        }
    }
    Some(Rewrite { from: typed.from.clone(), to: typed.to.clone(), keep_rest: typed.keep_rest })
}

/// A path begins with one slash.
fn slash(text: &str, path: &str, report: &mut Report<'_>) -> Option<()> {
    if text.starts_with('/') && !text.contains("//") {
        return Some(());
    }
    report.problem(path, format!("`{text}` is not a path"), "a path begins with one `/`".to_owned());
    None
}
