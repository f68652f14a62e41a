//! Station 3, authenticate: the client's credential ends here.
//!
//! Every client is the same anonymous consumer so far. Whatever credential it brings is taken off the request before any
//! later station sees it, so that it can reach neither a backend nor a log.

use pingora::http::RequestHeader;

/// Headers in which OpenAI and Azure clients carry a credential.
const CREDENTIALS: [&str; 5] =
    ["api-key", "authorization", "ocp-apim-subscription-key", "proxy-authorization", "x-api-key"];

/// Takes every credential header off the request. (Credentials in the query are cut where the query is forwarded or logged.)
pub(super) fn authenticate(request: &mut RequestHeader) {
    for name in CREDENTIALS {
        request.remove_header(name);
    }
}
