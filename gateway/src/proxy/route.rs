//! Station 5, route: operation, deployment and body facts → route and pool.

use super::live::Live;
use crate::domain::Denial;
use crate::openai::facts::{self, Facts};
use crate::openai::operation::{self, Operation, Style};
use crate::policy::route::{self, Match};
use bytes::Bytes;
use http::header;
use pingora::http::RequestHeader;
use std::borrow::Cow;

/// Longest deployment name repeated in an error, bytes.
const ECHOED_MAX: usize = 64;

/// Where a request goes.
pub(super) struct Routed {
    pub(super) route: usize,
    pub(super) pool: usize,
    pub(super) operation: Operation,
    pub(super) facts: Facts,
}

/// Finds the route of a request whose body is known.
pub(super) fn route(request: &RequestHeader, body: &Bytes, live: &Live) -> Result<Routed, Denial> {
    let target = operation::parse(request.uri.path())?;
    let facts = facts_of(request, body, target.operation, target.style)?;
    let deployment: Option<Cow<'_, str>> = match (&target.deployment, &facts.model) {
        (Some(deployment), _) => Some(deployment.clone()),
        (None, Some(model)) => Some(Cow::Borrowed(model.value.as_str())),
        (None, None) => operation::deployment_in_query(target.operation, request.uri.query()),
    };
    let host = host_of(request);
    match route::find(&live.matchers, &host, request.uri.path(), deployment.as_deref()) {
        Match::Route(index) => {
            let pool = live.fleet.snapshot.routes.get(index).map_or(0, |r| r.pool);
            Ok(Routed { route: index, pool, operation: target.operation, facts })
        }
        Match::NoDeployment => Err(Denial::DeploymentNotFound { deployment: echo(deployment.as_deref()) }),
        Match::NoRoute => Err(Denial::RouteNotFound),
    }
}

/// What the body says, where the operation has a body that says something.
fn facts_of(request: &RequestHeader, body: &Bytes, operation: Operation, style: Style) -> Result<Facts, Denial> {
    if body.is_empty() && !operation.model_in_body() {
        return Ok(Facts::default());
    }
    let content_type = request.headers.get(header::CONTENT_TYPE).and_then(|v| v.to_str().ok()).unwrap_or("");
    let must_name_model = style == Style::V1 && operation.model_in_body();
    if content_type.trim_start().get(..19).is_some_and(|t| t.eq_ignore_ascii_case("multipart/form-data")) {
        return match facts::from_multipart(content_type, body) {
            Ok(facts) if must_name_model && facts.model.is_none() => {
                Err(Denial::BadMultipart { what: "a `model` field is required" })
            }
            Ok(facts) => Ok(facts),
            Err(problem) if operation.model_in_body() => Err(problem.into()),
            Err(_opaque) => Ok(Facts::default()),
        };
    }
    if request.method != http::Method::POST {
        return Ok(Facts::default());
    }
    match facts::from_json(body, must_name_model) {
        Ok(facts) => Ok(facts),
        Err(problem) if operation.model_in_body() => Err(problem.into()),
        // An operation we do not know: its body passes as it is.
        Err(_opaque) => Ok(Facts::default()),
    }
}

/// Host without port, lower case.
fn host_of(request: &RequestHeader) -> String {
    let authority = match request.uri.authority() {
        Some(authority) => authority.as_str(),
        None => request.headers.get(header::HOST).and_then(|h| h.to_str().ok()).unwrap_or(""),
    };
    let end = match (authority.rfind(':'), authority.rfind(']')) {
        (Some(colon), Some(bracket)) if colon < bracket => authority.len(),
        (Some(colon), _) => colon,
        (None, _) => authority.len(),
    };
    authority.get(..end).unwrap_or(authority).to_ascii_lowercase()
}

fn echo(deployment: Option<&str>) -> String {
    deployment.unwrap_or("").chars().filter(|c| !c.is_control()).take(ECHOED_MAX).collect()
}
