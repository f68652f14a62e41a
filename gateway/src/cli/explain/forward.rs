//! What one backend would be sent: the same rewriting as on the path. Never prints a credential.

use super::Ask;
use crate::config::snapshot::{Auth, Backend};
use crate::openai::operation::{self, Destination, Style, Target};
use serde::Serialize;

/// The request as this backend would get it.
#[derive(Debug, Serialize)]
pub(super) struct Forward {
    pub(super) url: String,
    /// `model` of the body, where it is replaced or put in.
    pub(super) model: Option<String>,
    /// Headers that the gateway sets, `name: value`; secrets are `***`.
    pub(super) headers: Vec<String>,
}

/// Rewrites the request for `backend`; `resolved` is what the client's name for it stands for.
pub(super) fn explain(backend: &Backend, target: &Target<'_>, (ask, resolved): (&Ask, Option<&str>)) -> Forward {
    let own = backend.deployment.as_ref().map(|name| name.as_str());
    let style = backend.style_of(target).unwrap_or(target.style);
    let asked = target.deployment.as_deref().or(ask.model.as_deref());
    let deployment = own.or_else(|| resolved.filter(|resolved| style != target.style || asked != Some(*resolved)));
    let api_version = backend.api_version.as_deref();
    let to = Destination { base_path: &backend.url.path, style, deployment, api_version };
    let path = operation::rewrite_path(target, &to, ask.query.as_deref());
    let scheme = if backend.url.tls { "https" } else { "http" };
    let host = backend.url.authority.to_str().unwrap_or(&backend.url.host);
    let (path, query) = path.split_once('?').map_or((path.as_str(), None), |(path, query)| (path, Some(query)));
    let query = query.map(|query| format!("?{}", operation::scrub_query(query))).unwrap_or_default();
    let put_in = style == Style::V1 && target.deployment.is_some() && target.operation.model_in_body();
    let in_body = target.deployment.is_none() && target.operation.model_in_body();
    let model = deployment.filter(|new| put_in || (in_body && ask.model.as_deref().is_some_and(|asked| asked != *new)));
    let mut headers = vec![format!("host: {host}")];
    match &backend.auth {
        Auth::None => {}
        Auth::ApiKey(_) => headers.push("api-key: ***".to_owned()),
        Auth::Bearer(_) | Auth::Token(_) => headers.push("authorization: Bearer ***".to_owned()),
    }
    for (name, value) in &backend.headers {
        let value = value.to_str().ok().filter(|_| !value.is_sensitive()).unwrap_or("***");
        headers.push(format!("{name}: {value}"));
    }
    Forward { url: format!("{scheme}://{host}{path}{query}"), model: model.map(str::to_owned), headers }
}
