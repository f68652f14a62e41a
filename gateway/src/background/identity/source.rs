//! Gets one token, in the way of its identity: one request or one command. The caller sets the time; the answer is vetted in
//! [`super::answer`].

use super::answer::{ANSWER_SIZE_MAX, Got, read, refusal};
use super::{assertion, cli};
use crate::background::http::{self, Answer};
use crate::config::snapshot::{Application, Credential, Endpoint, OwnToken, Place, UserAssigned};
use crate::telemetry::clock;
use ::http::header::{ACCEPT, CONTENT_TYPE};
use ::http::{HeaderValue, Request, StatusCode};
use bytes::Bytes;
use http_body_util::Full;
use std::path::Path;
use tokio::io::AsyncReadExt;
use url::form_urlencoded::Serializer;

/// Kinds of a client's proof.
const JWT_BEARER: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";
/// Largest token of Kubernetes, bytes.
const PROOF_SIZE_MAX: u64 = 16 * 1024;

/// One try.
pub(super) async fn get(token: &OwnToken) -> Result<Got, String> {
    let scope = &token.scope;
    let body = match &token.identity.credential {
        Credential::Managed { assigned, place } => managed(place, assigned.as_ref(), scope).await?,
        Credential::Workload { application, token_file } => {
            let proof = proof(token_file).await?;
            exchange(application, scope, &[("client_assertion_type", JWT_BEARER), ("client_assertion", &proof)]).await?
        }
        Credential::Secret { application, secret } => {
            let secret = secret.as_ref().ok_or("its secret is not known yet")?;
            exchange(application, scope, &[("client_secret", secret.expose())]).await?
        }
        Credential::Certificate { application, key } => {
            let audience = token_url(application);
            let proof = assertion::sign(key, &application.client_id, &audience, clock::unix_seconds())?;
            exchange(application, scope, &[("client_assertion_type", JWT_BEARER), ("client_assertion", &proof)]).await?
        }
        Credential::Cli { directory } => Bytes::from(cli::ask(directory.as_deref(), scope).await?),
    };
    read(&body, clock::unix_seconds())
}

/// Asks the machine or app that we run on.
async fn managed(place: &Place, assigned: Option<&UserAssigned>, scope: &str) -> Result<Bytes, String> {
    let version = if place.header.is_some() { "2019-08-01" } else { "2018-02-01" };
    let who = assigned.map(|assigned| match assigned {
        UserAssigned::Client(id) => ("client_id", id.as_str()),
        UserAssigned::Object(id) => ("object_id", id.as_str()),
    });
    let resource = scope.strip_suffix("/.default").unwrap_or(scope);
    let query = encoded([("api-version", version), ("resource", resource)].into_iter().chain(who));
    let gap = if place.endpoint.target.contains('?') { '&' } else { '?' };
    let target = format!("{}{gap}{query}", place.endpoint.target);
    let endpoint = Endpoint { target, ..place.endpoint.clone() };
    let request = Request::get("/").header(ACCEPT, "application/json");
    let request = match &place.header {
        None => request.header("metadata", "true"),
        Some(secret) => request.header("x-identity-header", sensitive(secret.expose())?),
    };
    told(http::exchange(&endpoint, built(request.body(Full::default()))?, ANSWER_SIZE_MAX).await?)
}

/// Asks Entra ID for a token of `application`, which proves itself by `proof`.
async fn exchange(application: &Application, scope: &str, proof: &[(&str, &str)]) -> Result<Bytes, String> {
    let endpoint = Endpoint::parse(&token_url(application), application.ca_file.clone())?;
    let asked = [("grant_type", "client_credentials"), ("client_id", &application.client_id), ("scope", scope)];
    let form = encoded(asked.into_iter().chain(proof.iter().copied()));
    let request = Request::post("/").header(ACCEPT, "application/json");
    let request = request.header(CONTENT_TYPE, "application/x-www-form-urlencoded");
    let request = built(request.body(Full::from(form)))?;
    told(http::exchange(&endpoint, request, ANSWER_SIZE_MAX).await?)
}

fn encoded<'p>(pairs: impl Iterator<Item = (&'p str, &'p str)>) -> String {
    Serializer::new(String::new()).extend_pairs(pairs).finish()
}

fn token_url(application: &Application) -> String {
    format!("{}/{}/oauth2/v2.0/token", application.authority.trim_end_matches('/'), application.directory)
}

fn told(answer: Answer) -> Result<Bytes, String> {
    match answer.status {
        StatusCode::OK => Ok(answer.body),
        status => Err(refusal(status.as_u16(), &answer.body)),
    }
}

/// The token that Kubernetes keeps in a file.
async fn proof(file: &Path) -> Result<String, String> {
    let failed = |what: &dyn std::fmt::Display| format!("{} cannot be read: {what}", file.display());
    let mut text = String::new();
    let opened = tokio::fs::File::open(file).await.map_err(|error| failed(&error))?;
    opened.take(PROOF_SIZE_MAX + 1).read_to_string(&mut text).await.map_err(|error| failed(&error))?;
    let token = text.trim();
    if token.is_empty() || u64::try_from(text.len()).unwrap_or(u64::MAX) > PROOF_SIZE_MAX {
        return Err(failed(&"it is empty or larger than a token"));
    }
    Ok(token.to_owned())
}

fn sensitive(text: &str) -> Result<HeaderValue, String> {
    let mut value =
        HeaderValue::from_str(text).map_err(|_error| "`IDENTITY_HEADER` is none that a header could carry")?;
    value.set_sensitive(true);
    Ok(value)
}

fn built(request: Result<Request<Full<Bytes>>, ::http::Error>) -> Result<Request<Full<Bytes>>, String> {
    request.map_err(|error| error.to_string())
}
