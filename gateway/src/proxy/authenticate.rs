//! Station 3, authenticate: the client's credential ends here.
//!
//! Every client is the same anonymous consumer so far. Whatever credential it brings is taken off the request before any
//! later station sees it, so that it can reach neither a backend nor a log.

use super::header::{self as fields, API_KEY};
use http::header::{AUTHORIZATION, PROXY_AUTHORIZATION};
use http::{HeaderName, HeaderValue, header};
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
const KEY_PROTOCOL: &str = "openai-insecure-api-key.";

/// Takes every credential header off the request. (Credentials in the query are cut where the query is forwarded or logged.)
pub(super) fn authenticate(request: &mut RequestHeader, upgrade: bool) {
    fields::of_request(request, |headers| {
        for name in CREDENTIALS {
            headers.remove(name);
        }
    });
    if upgrade {
        keyless(request);
    }
}

/// Takes the key out of the subprotocols of a WebSocket. A list that cannot be read goes as a whole.
fn keyless(request: &mut RequestHeader) {
    let mut values = Vec::new();
    for value in request.headers.get_all(header::SEC_WEBSOCKET_PROTOCOL) {
        values.push(value.to_str().unwrap_or(KEY_PROTOCOL).to_owned());
    }
    let is_key =
        |name: &&str| name.get(..KEY_PROTOCOL.len()).is_some_and(|start| start.eq_ignore_ascii_case(KEY_PROTOCOL));
    let offered = || values.iter().flat_map(|value| value.split(',')).map(str::trim).filter(|name| !name.is_empty());
    if !offered().any(|name| is_key(&name)) {
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
            authenticate(&mut request, true);
            let left = request.headers.get(header::SEC_WEBSOCKET_PROTOCOL).map_or("", |v| v.to_str().unwrap());
            assert_eq!(left, kept, "{offered:?}");
        }
    }
}
