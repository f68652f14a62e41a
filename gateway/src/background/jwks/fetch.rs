//! Fetches an issuer's key set, by way of its discovery document where that is what is configured: one GET each over
//! HTTP/1.1, no redirect, bounded bytes. Decides whose word is taken: the document must be the issuer's own, and may not lead
//! from TLS to plain text. The caller sets the time.

use crate::background::http;
use crate::config::snapshot::{Endpoint, Issuer, KeySource};
use crate::policy::token::SET_SIZE_MAX;
use ::http::header::ACCEPT;
use ::http::{Request, StatusCode};
use http_body_util::Full;
use serde::Deserialize;

/// The part of a discovery document that we use.
#[derive(Deserialize)]
struct Discovery {
    issuer: String,
    jwks_uri: String,
}

/// The bytes of the issuer's key set.
pub(super) async fn keys(issuer: &Issuer) -> Result<Vec<u8>, String> {
    match &issuer.source {
        KeySource::File { path, .. } => Err(format!("{} is a file", path.display())),
        KeySource::Url(endpoint) => get(endpoint).await,
        KeySource::Discovery(endpoint) => get(&key_set(issuer, endpoint, &get(endpoint).await?)?).await,
    }
}

/// Where a discovery document says that the keys are.
fn key_set(issuer: &Issuer, endpoint: &Endpoint, document: &[u8]) -> Result<Endpoint, String> {
    let document: Discovery =
        serde_json::from_slice(document).map_err(|_error| "what is published is no discovery document".to_owned())?;
    if !issuer.rules.names.iter().any(|name| name.is_document_of(&document.issuer)) {
        return Err("the discovery document is of another issuer".to_owned());
    }
    let found = Endpoint::parse(&document.jwks_uri, endpoint.ca_file.clone());
    let found = found.map_err(|why| format!("`jwks_uri` of the discovery document {why}"))?;
    if endpoint.tls && !found.tls {
        return Err("`jwks_uri` of the discovery document leaves TLS".to_owned());
    }
    Ok(found)
}

async fn get(endpoint: &Endpoint) -> Result<Vec<u8>, String> {
    let request = Request::get("/").header(ACCEPT, "application/json").body(Full::default());
    let request = request.map_err(|error| error.to_string())?;
    let answer = http::exchange(endpoint, request, SET_SIZE_MAX).await?;
    if answer.status != StatusCode::OK {
        return Err(format!("status {}", answer.status.as_u16()));
    }
    Ok(answer.body.to_vec())
}
