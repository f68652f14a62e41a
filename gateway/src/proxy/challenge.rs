//! The answer to an ACME server that asks whether a name leads here (HTTP-01, RFC 8555, 8.3). It comes before redirect,
//! lock-downs and firewall, and only for tokens of orders under way: whatever else is asked there goes its usual way.

use super::context::Reply;
use crate::state::Challenges;
use http::{HeaderValue, Method, StatusCode, header};
use pingora::http::RequestHeader;

/// Where ACME servers ask.
const PLACE: &str = "/.well-known/acme-challenge/";

/// The answer, where one is wanted.
pub(super) fn reply(request: &RequestHeader, challenges: &Challenges) -> Option<Reply> {
    let token = request.uri.path().strip_prefix(PLACE)?;
    if !matches!(request.method, Method::GET | Method::HEAD) {
        return None;
    }
    let body = challenges.find(token)?;
    let fields = vec![
        (header::CONTENT_TYPE, HeaderValue::from_static("application/octet-stream")),
        (header::CACHE_CONTROL, HeaderValue::from_static("no-store")),
    ];
    Some(Reply { status: StatusCode::OK, fields, body })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests may panic")]
    use super::*;

    #[test]
    fn only_known_tokens_are_answered_at_their_place() {
        let challenges = Challenges::default();
        let _answer = challenges.give("known", "known.print").unwrap();
        for (method, target, wanted) in [
            ("GET", "/.well-known/acme-challenge/known", Some("known.print")),
            ("GET", "/.well-known/acme-challenge/known?x=y", Some("known.print")),
            ("HEAD", "/.well-known/acme-challenge/known", Some("known.print")),
            ("POST", "/.well-known/acme-challenge/known", None),
            ("GET", "/.well-known/acme-challenge/other", None),
            ("GET", "/.well-known/acme-challenge/", None),
            ("GET", "/.well-known/acme-challenge/known/", None),
            ("GET", "/.well-known/acme-challenge/../acme-challenge/known", None),
            ("GET", "/known", None),
        ] {
            let request = RequestHeader::build(method, target.as_bytes(), None).unwrap();
            let got = reply(&request, &challenges).map(|reply| String::from_utf8(reply.body.to_vec()).unwrap());
            assert_eq!(got.as_deref(), wanted, "{method} {target}");
        }
    }
}
