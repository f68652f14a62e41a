//! Station 5, route: operation, deployment and body facts → route and pool.

use super::live::Live;
use crate::domain::Denial;
use crate::openai::facts::{self, Facts};
use crate::openai::operation::{self, Operation, Shape, Style, Target};
use crate::policy::route::Match;
use bytes::Bytes;
use http::header;
use pingora::http::RequestHeader;
use std::borrow::Cow;

/// Longest deployment name repeated in an error, bytes.
const ECHOED_MAX: usize = 64;

/// What a request asks of the routes: host, path and deployment.
pub(super) type Asked<'a> = (&'a str, &'a str, Option<&'a str>);

/// A request, and what its path asks for.
pub(super) type Call<'r> = (&'r RequestHeader, &'r Target<'r>);

/// Where a request goes.
pub(super) struct Routed {
    pub(super) route: usize,
    pub(super) pool: usize,
    pub(super) operation: Operation,
    pub(super) shape: Shape,
    pub(super) deployment: Option<String>,
    /// What the client calls it, where that is an alias.
    pub(super) alias: Option<String>,
    pub(super) facts: Facts,
    pub(super) multipart: bool,
}

/// What the path and the method of a request ask for.
pub(super) fn target(request: &RequestHeader) -> Result<Target<'_>, Denial> {
    Ok(operation::parse(request.uri.path())?.asked_by(&request.method))
}

/// Finds the route of a request whose body is known. `find` says which route takes it.
pub(super) fn route(
    (request, target): Call<'_>,
    body: &Bytes,
    live: &Live,
    find: impl FnOnce(Asked<'_>) -> Result<Match, Denial>,
) -> Result<Routed, Denial> {
    let content_type = request.headers.get(header::CONTENT_TYPE).and_then(|v| v.to_str().ok()).unwrap_or("");
    let multipart = is_multipart(content_type);
    let facts = if multipart {
        form_facts(content_type, body, target.operation, target.style)?
    } else {
        json_facts(request, body, target.operation, target.style)?
    };
    let deployment: Option<Cow<'_, str>> = match (&target.deployment, &facts.model) {
        (Some(deployment), _) => Some(deployment.clone()),
        (None, Some(model)) => Some(Cow::Borrowed(model.value.as_str())),
        (None, None) => operation::deployment_in_query(target.operation, request.uri.query()),
    };
    let aliases = &live.fleet.snapshot.models.aliases;
    let stands_for = deployment.as_deref().and_then(|asked| aliases.resolve(asked));
    let (deployment, alias) = match stands_for {
        Some(stands_for) => (Some(Cow::Borrowed(stands_for.as_str())), deployment.map(Cow::into_owned)),
        None => (deployment, None),
    };
    let path = request.uri.path();
    let asked = (host_of(request), path, deployment.as_deref());
    match find(asked)? {
        Match::Route(index) => {
            let pool = live.fleet.snapshot.routes.get(index).map_or(0, |r| r.pool);
            let deployment = deployment.map(Cow::into_owned);
            let (operation, shape) = (target.operation, target.shape(path));
            Ok(Routed { route: index, pool, operation, shape, deployment, alias, facts, multipart })
        }
        Match::NoDeployment => {
            let asked = alias.as_deref().or(deployment.as_deref());
            Err(Denial::DeploymentNotFound { deployment: echo(asked) })
        }
        Match::NoRoute => Err(Denial::RouteNotFound),
    }
}

pub(super) fn is_multipart(content_type: &str) -> bool {
    content_type.trim_start().get(..19).is_some_and(|t| t.eq_ignore_ascii_case("multipart/form-data"))
}

/// What a form says. The body of an operation that we do not know passes as it is.
fn form_facts(content_type: &str, body: &Bytes, operation: Operation, style: Style) -> Result<Facts, Denial> {
    match facts::from_multipart(content_type, body) {
        Ok(facts) if style == Style::V1 && operation.model_in_body() && facts.model.is_none() => {
            Err(facts::FactsProblem::MODEL_MISSING.into())
        }
        Err(problem) if operation.model_in_body() => Err(problem.into()),
        known => Ok(known.unwrap_or_default()),
    }
}

/// What a JSON body says. The body of an operation that we do not know passes as it is.
fn json_facts(request: &RequestHeader, body: &Bytes, operation: Operation, style: Style) -> Result<Facts, Denial> {
    if request.method != http::Method::POST {
        return Ok(Facts::default());
    }
    match facts::from_json(body, style == Style::V1 && operation.model_in_body()) {
        Err(problem) if operation.model_in_body() => Err(problem.into()),
        known => Ok(known.unwrap_or_default()),
    }
}

/// Host without port, in the case it came in.
pub(super) fn host_of(request: &RequestHeader) -> &str {
    let authority = match request.uri.authority() {
        Some(authority) => authority.as_str(),
        None => request.headers.get(header::HOST).and_then(|h| h.to_str().ok()).unwrap_or(""),
    };
    let last = |byte: u8| authority.bytes().rposition(|b| b == byte);
    let end = match last(b':') {
        // Within the brackets of an IPv6 address.
        Some(colon) if last(b']').is_some_and(|bracket| colon < bracket) => authority.len(),
        Some(colon) => colon,
        None => authority.len(),
    };
    authority.get(..end).unwrap_or(authority)
}

/// What a client has named, short and printable.
pub(super) fn echo(deployment: Option<&str>) -> String {
    deployment.unwrap_or("").chars().filter(|c| !c.is_control()).take(ECHOED_MAX).collect()
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests may panic")]
mod tests {
    use super::*;

    #[test]
    fn the_host_is_compared_without_its_port() {
        for (host, expected) in [
            ("api.example.com", "api.example.com"),
            ("API.Example.com:8443", "API.Example.com"),
            ("[::1]:8080", "[::1]"),
            ("[::1]", "[::1]"),
            ("", ""),
        ] {
            let mut request = RequestHeader::build("POST", b"/", None).unwrap();
            request.insert_header(header::HOST, host).unwrap();
            assert_eq!(host_of(&request), expected, "{host}");
        }
    }

    #[test]
    fn forms_are_told_by_their_media_type() {
        assert!(is_multipart("multipart/form-data; boundary=x"));
        assert!(is_multipart(" Multipart/Form-Data"));
        assert!(!is_multipart("multipart/mixed"));
        assert!(!is_multipart("application/json"));
    }

    #[test]
    fn what_is_echoed_is_short_and_printable() {
        assert_eq!(echo(Some("gpt\n4o")), "gpt4o");
        assert_eq!(echo(Some(&"x".repeat(500))).len(), ECHOED_MAX);
        assert_eq!(echo(None), "");
    }
}
