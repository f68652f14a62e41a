//! Reads one secret from its vault: one GET with our token, a bounded answer, and a value that is of that secret and can be used.
//! The caller sets the time.

use crate::background::http;
use crate::background::identity::refusal;
use crate::config::snapshot::{Endpoint, KeyVault, VaultSecret};
use crate::config::usable_secret;
use crate::domain::Secret;
use crate::state::Bearer;
use crate::telemetry::clock;
use ::http::header::{ACCEPT, AUTHORIZATION};
use ::http::{Request, StatusCode};
use http_body_util::Full;
use serde::Deserialize;

/// Version of Key Vault's interface.
const API_VERSION: &str = "7.4";
/// Largest answer, bytes: a secret has at most 25 KiB.
const ANSWER_SIZE_MAX: usize = 128 * 1024;

/// What a vault answers. It has no `Debug`.
#[derive(Deserialize)]
struct Told {
    value: String,
    id: String,
}

/// One look.
pub(super) async fn get(vault: &KeyVault, bearer: &Bearer, secret: &VaultSecret) -> Result<Secret, String> {
    let token =
        bearer.usable(clock::now()).and_then(|held| held.clone()).ok_or("there is no token to show to the vault")?;
    let version = secret.version.as_deref().unwrap_or_default();
    let url = format!("{}/secrets/{}/{version}?api-version={API_VERSION}", secret.vault, secret.name);
    let endpoint = Endpoint::parse(&url, vault.ca_file.clone())?;
    let request = Request::get("/").header(ACCEPT, "application/json").header(AUTHORIZATION, token.header.clone());
    let request = request.body(Full::default()).map_err(|error| error.to_string())?;
    let asked = tokio::time::timeout(vault.timeout, http::exchange(&endpoint, request, ANSWER_SIZE_MAX)).await;
    let answer = asked.unwrap_or_else(|_elapsed| Err(format!("no answer within {:?}", vault.timeout)))?;
    if answer.status == StatusCode::UNAUTHORIZED {
        bearer.refused(token.version, clock::now());
    }
    if answer.status != StatusCode::OK {
        return Err(refusal(answer.status.as_u16(), &answer.body));
    }
    read(secret, &answer.body)
}

fn read(secret: &VaultSecret, body: &[u8]) -> Result<Secret, String> {
    let told: Told = serde_json::from_slice(body).map_err(|_error| "the answer holds no secret".to_owned())?;
    let place = format!("/secrets/{}/", secret.name).to_ascii_lowercase();
    let told_version = told.id.to_ascii_lowercase().split_once(&place).map(|(_, version)| version.to_owned());
    let wanted = secret.version.as_deref().map(str::to_ascii_lowercase);
    if told_version.is_none() || (wanted.is_some() && told_version != wanted) {
        return Err("the answer is about another secret".to_owned());
    }
    // As in files: an editor's last line break belongs to nobody.
    let value =
        told.value.strip_suffix('\n').map_or(told.value.as_str(), |text| text.strip_suffix('\r').unwrap_or(text));
    usable_secret(value).map_err(|what| format!("its value {what}"))?;
    Ok(Secret::new(value))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests may panic")]
mod tests {
    use super::*;

    fn secret(version: Option<&str>) -> VaultSecret {
        let text = "vault.example".to_owned();
        let version = version.map(str::to_owned);
        VaultSecret { vault: format!("https://{text}"), host: text, name: "key".to_owned(), version }
    }

    #[test]
    fn only_a_usable_value_of_the_secret_that_was_asked_for_is_taken() {
        let read = |version, body: &str| read(&secret(version), body.as_bytes()).map(|value| value.expose().to_owned());
        let told = |value: &str, id: &str| format!(r#"{{"value":{value},"id":"{id}"}}"#);
        let id = "https://vault.example/secrets/key/v1";
        assert_eq!(read(None, &told("\"abc\"", id)).unwrap(), "abc");
        assert_eq!(read(Some("V1"), &told("\"abc\\r\\n\"", &id.to_uppercase())).unwrap(), "abc");
        for (version, body) in [
            (None, String::new()),
            (None, "canary".to_owned()),
            (None, r#"{"value":"canary"}"#.to_owned()),
            (None, told("5", id)),
            (None, told("\"\"", id)),
            (None, told("\" canary\"", id)),
            (None, told("\"canary\\nx\"", id)),
            (None, told("\"canäry\"", id)),
            (None, told(&format!("\"{}\"", "a".repeat(20_000)), id)),
            (None, told("\"canary\"", "https://vault.example/secrets/other/v1")),
            (Some("v2"), told("\"canary\"", id)),
        ] {
            let why = read(version, &body).unwrap_err();
            assert!(!why.contains("canary"), "{why}");
        }
    }
}
