//! Takes every credential off a request, known or not, before any later station sees it: it can reach neither a backend nor a
//! log. It judges none.

use crate::config::snapshot::Access;
use crate::openai::operation;
use crate::proxy::header::{self as fields, API_KEY};
use http::header::{AUTHORIZATION, PROXY_AUTHORIZATION};
use http::uri::PathAndQuery;
use http::{HeaderName, HeaderValue, Uri, header};
use pingora::http::RequestHeader;

/// Headers in which OpenAI and Azure clients carry a credential.
const CREDENTIALS: [HeaderName; 5] = [
    API_KEY,
    AUTHORIZATION,
    HeaderName::from_static("ocp-apim-subscription-key"),
    PROXY_AUTHORIZATION,
    HeaderName::from_static("x-api-key"),
];

/// Beginning of the subprotocol in which a browser's WebSocket carries its key, since it can set no header.
pub(super) const KEY_PROTOCOL: &str = "openai-insecure-api-key.";

/// Takes the credentials off: every usual header, and the headers and parameters that the configuration names. (The usual
/// parameters are cut where the query is forwarded or logged.)
pub(super) fn strip(request: &mut RequestHeader, access: Option<&Access>, upgrade: bool) {
    fields::of_request(request, |headers| {
        fields::remove_all(headers, &CREDENTIALS);
        for name in access.iter().flat_map(|access| &access.key_headers) {
            headers.remove(name);
        }
    });
    if let Some(uri) = access.and_then(|access| without_keys(&request.uri, &access.key_queries)) {
        request.set_uri(uri);
    }
    if upgrade {
        keyless(request);
    }
}

/// The target without the parameters of these names; `None` where it has none of them.
fn without_keys(uri: &Uri, names: &[String]) -> Option<Uri> {
    let kept = operation::without_parameters(uri.query().filter(|_| !names.is_empty())?, names)?;
    let target = if kept.is_empty() { uri.path().to_owned() } else { format!("{}?{kept}", uri.path()) };
    let mut parts = uri.clone().into_parts();
    parts.path_and_query = Some(PathAndQuery::try_from(target).ok()?);
    Uri::from_parts(parts).ok()
}

/// Whether this subprotocol is a key.
pub(super) fn is_key(name: &str) -> bool {
    name.get(..KEY_PROTOCOL.len()).is_some_and(|start| start.eq_ignore_ascii_case(KEY_PROTOCOL))
}

/// Takes the key out of the subprotocols of a WebSocket. A list that cannot be read goes as a whole.
fn keyless(request: &mut RequestHeader) {
    let mut values = Vec::new();
    for value in request.headers.get_all(header::SEC_WEBSOCKET_PROTOCOL) {
        values.push(value.to_str().unwrap_or(KEY_PROTOCOL).to_owned());
    }
    let offered = || values.iter().flat_map(|value| value.split(',')).map(str::trim).filter(|name| !name.is_empty());
    if !offered().any(is_key) {
        return;
    }
    let kept: Vec<&str> = offered().filter(|name| !is_key(name)).collect();
    request.remove_header(&header::SEC_WEBSOCKET_PROTOCOL);
    if let (false, Ok(kept)) = (kept.is_empty(), HeaderValue::from_str(&kept.join(", "))) {
        // A legal name and a legal value: nothing to fail.
        let _ = request.insert_header(header::SEC_WEBSOCKET_PROTOCOL, kept);
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests may panic")]
mod tests {
    use super::*;
    use crate::config::snapshot::{Certificates, Keys};

    #[test]
    fn the_key_leaves_the_subprotocols() {
        for (offered, kept) in [
            (
                &["realtime, openai-insecure-api-key.sk-1, openai-beta.realtime-v1"][..],
                "realtime, openai-beta.realtime-v1",
            ),
            (&["realtime", "OpenAI-Insecure-API-Key.sk-1"], "realtime"),
            (&["openai-insecure-api-key.sk-1"], ""),
            (&["realtime"], "realtime"),
        ] {
            let mut request = RequestHeader::build("GET", b"/", None).unwrap();
            for value in offered {
                request.append_header(header::SEC_WEBSOCKET_PROTOCOL, *value).unwrap();
            }
            strip(&mut request, None, true);
            let left = request.headers.get(header::SEC_WEBSOCKET_PROTOCOL).map_or("", |v| v.to_str().unwrap());
            assert_eq!(left, kept, "{offered:?}");
        }
    }

    #[test]
    fn configured_names_leave_headers_and_query() {
        let access = Access {
            consumers: Vec::new(),
            plans: Vec::new(),
            anonymous: None,
            issuers: Vec::new(),
            key_headers: vec![HeaderName::from_static("x-team-key")],
            key_queries: vec!["team-key".to_owned()],
            failures_max: 1,
            keys: Keys::default(),
            certificates: Certificates::default(),
        };
        for (target, left) in [
            ("/a?x=1&team-key=secret&y=2", "/a?x=1&y=2"),
            ("/a?Team%2DKey=secret", "/a"),
            ("/a?team-key=1&TEAM-KEY=2", "/a"),
            ("/a?team-keys=1", "/a?team-keys=1"),
            ("/a", "/a"),
        ] {
            let mut request = RequestHeader::build("GET", target.as_bytes(), None).unwrap();
            request.insert_header("x-team-key", "secret").unwrap();
            request.insert_header("x-other", "kept").unwrap();
            strip(&mut request, Some(&access), false);
            assert_eq!(request.uri.path_and_query().unwrap().as_str(), left, "{target}");
            assert_eq!(request.headers.keys().map(HeaderName::as_str).collect::<Vec<_>>(), ["x-other"]);
        }
    }
}
