//! Reads secrets from their vaults by Microsoft's client, over our own transport: bounded answers, of which the client sees what
//! can be a secret and nothing else; a value that is of the secret that was asked for and can be used.

use crate::background::identity::refusal;
use crate::background::{azure, http};
use crate::config::snapshot::{Endpoint, KeyVault, VaultSecret};
use crate::config::usable_secret;
use crate::domain::Secret;
use crate::state::Bearer;
use crate::telemetry::clock;
use ::http::StatusCode;
use ::http::header::{AUTHORIZATION, WWW_AUTHENTICATE};
use async_trait::async_trait;
use azure_core::credentials::{AccessToken, TokenCredential, TokenRequestOptions};
use azure_core::http::headers::{self, Headers};
use azure_core::http::{AsyncRawResponse, HttpClient, Request};
use azure_core::time::OffsetDateTime;
use azure_security_keyvault_secrets::models::SecretClientGetSecretOptions;
use azure_security_keyvault_secrets::{SecretClient, SecretClientOptions};
use serde::Deserialize;
use serde_json::json;
use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;

/// Largest answer, bytes: a secret has at most 25 KiB.
const ANSWER_SIZE_MAX: usize = 128 * 1024;
const NO_TOKEN: &str = "there is no token to show to the vault";
const NO_SECRET: &str = "the answer holds no secret";

/// The vaults of one round of looks. A client learns from its vault's first answer how to prove itself, and keeps the token that
/// it has shown until minutes before its end: so it lives for one round, and the next one shows the token of then.
pub(super) struct Vaults<'a> {
    settings: &'a KeyVault,
    bearer: &'a Arc<Bearer>,
    clients: HashMap<&'a str, SecretClient>,
}

impl<'a> Vaults<'a> {
    /// Those of `wanted`. Asks none.
    pub(super) fn new(settings: &'a KeyVault, bearer: &'a Arc<Bearer>, wanted: &[&'a VaultSecret]) -> Self {
        let clients = wanted.iter().filter_map(|secret| {
            let wire = Wire { ca_file: settings.ca_file.clone(), bearer: Arc::clone(bearer) };
            Some((&*secret.vault, client(&secret.vault, wire, bearer)?))
        });
        Self { settings, bearer, clients: clients.collect() }
    }

    /// One look.
    pub(super) async fn get(&self, secret: &VaultSecret) -> Result<Secret, String> {
        if self.bearer.usable(clock::now()).is_none() {
            return Err(NO_TOKEN.to_owned());
        }
        let client = self.clients.get(&*secret.vault).ok_or("its vault has no usable URL")?;
        let limit = self.settings.timeout;
        let asked = tokio::time::timeout(limit, ask(client, secret)).await;
        let (value, id) = asked.unwrap_or_else(|_elapsed| Err(format!("no answer within {limit:?}")))?;
        read(secret, &value, &id)
    }
}

fn client(vault: &str, wire: impl HttpClient + 'static, bearer: &Arc<Bearer>) -> Option<SecretClient> {
    let endpoint = Endpoint::parse(vault, None).ok()?;
    let options = SecretClientOptions {
        client_options: azure::options(wire),
        // On this host there is no domain that a vault and its challenge could share.
        verify_challenge_resource: Some(!endpoint.is_here()),
        ..SecretClientOptions::default()
    };
    SecretClient::new(vault, Arc::new(Shown(Arc::clone(bearer))), Some(options)).ok()
}

/// The value and id that are told.
async fn ask(client: &SecretClient, secret: &VaultSecret) -> Result<(String, String), String> {
    let options = SecretClientGetSecretOptions { secret_version: secret.version.clone(), ..Default::default() };
    let foreign = "what the vault asks for is no token for its own domain";
    let got = client.get_secret(&secret.name, Some(options)).await.map_err(|error| azure::told(&error, foreign))?;
    let told = got.into_model().map_err(|error| azure::told(&error, NO_SECRET))?;
    told.value.zip(told.id).ok_or_else(|| NO_SECRET.to_owned())
}

fn read(secret: &VaultSecret, value: &str, id: &str) -> Result<Secret, String> {
    let place = format!("/secrets/{}/", secret.name).to_ascii_lowercase();
    let told_version = id.to_ascii_lowercase().split_once(&place).map(|(_, version)| version.to_owned());
    let wanted = secret.version.as_deref().map(str::to_ascii_lowercase);
    if told_version.is_none() || (wanted.is_some() && told_version != wanted) {
        return Err("the answer is about another secret".to_owned());
    }
    // As in files: an editor's last line break belongs to nobody.
    let value = value.strip_suffix('\n').map_or(value, |text| text.strip_suffix('\r').unwrap_or(text));
    usable_secret(value).map_err(|what| format!("its value {what}"))?;
    Ok(Secret::new(value))
}

/// Shows the token of our cell, whatever scope a challenge names: for whom it is says the configuration.
#[derive(Debug)]
struct Shown(Arc<Bearer>);

#[async_trait]
impl TokenCredential for Shown {
    async fn get_token(
        &self,
        _scopes: &[&str],
        _options: Option<TokenRequestOptions<'_>>,
    ) -> azure_core::Result<AccessToken> {
        let now = clock::now();
        let held = self.0.usable(now).and_then(|held| held.clone());
        let token = held.as_ref().and_then(|held| Some((held.header.to_str().ok()?.strip_prefix("Bearer ")?, held)));
        let (token, held) = token.ok_or_else(|| azure::refused(NO_TOKEN.to_owned()))?;
        Ok(AccessToken::new(token.to_owned(), OffsetDateTime::now_utc() + now.until(held.expires)))
    }
}

/// Carries what the client asks, and hands it a challenge, a clean answer or none.
#[derive(Debug)]
struct Wire {
    ca_file: Option<PathBuf>,
    bearer: Arc<Bearer>,
}

#[async_trait]
impl HttpClient for Wire {
    async fn execute_request(&self, request: &Request) -> azure_core::Result<AsyncRawResponse> {
        self.carry(request).await.map_err(azure::refused)
    }
}

impl Wire {
    async fn carry(&self, built: &Request) -> Result<AsyncRawResponse, String> {
        let endpoint = Endpoint::parse(built.url().as_str(), self.ca_file.clone())?;
        let request = azure::request(built)?;
        let shown = request.headers().get(AUTHORIZATION).cloned();
        let answer = http::exchange(&endpoint, request, ANSWER_SIZE_MAX).await?;
        let mut told = Headers::new();
        match (answer.status, shown) {
            (StatusCode::OK, _) => {
                Ok(AsyncRawResponse::from_bytes(azure_core::http::StatusCode::Ok, told, clean(&answer.body)?))
            }
            (StatusCode::UNAUTHORIZED, None) => {
                let challenge = answer.headers.get(WWW_AUTHENTICATE).and_then(|value| value.to_str().ok());
                told.insert(
                    headers::WWW_AUTHENTICATE,
                    challenge.ok_or("the vault does not say how to prove ourselves")?.to_owned(),
                );
                Ok(AsyncRawResponse::from_bytes(azure_core::http::StatusCode::Unauthorized, told, ""))
            }
            (status, shown) => {
                let held = self.bearer.held().filter(|held| Some(&held.header) == shown.as_ref());
                if let Some(held) = held.filter(|_| status == StatusCode::UNAUTHORIZED) {
                    self.bearer.refused(held.version, clock::now());
                }
                Err(refusal(status.as_u16(), &answer.body))
            }
        }
    }
}

/// What a vault answers. It has no `Debug`.
#[derive(Deserialize)]
struct Told {
    value: String,
    id: String,
}

/// An answer that says the value and id of a secret, and nothing more.
fn clean(body: &[u8]) -> Result<String, String> {
    let Told { value, id } = serde_json::from_slice(body).map_err(|_error| NO_SECRET.to_owned())?;
    Ok(json!({"value": value, "id": id}).to_string())
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests may panic")]
mod tests {
    use super::*;
    use ::http::HeaderValue;
    use parking_lot::Mutex;
    use std::time::Duration;

    /// A vault that asks for a token of this resource, and remembers what it was shown.
    #[derive(Clone, Debug)]
    struct Asking(&'static str, Arc<Mutex<Vec<String>>>);

    #[async_trait]
    impl HttpClient for Asking {
        async fn execute_request(&self, request: &Request) -> azure_core::Result<AsyncRawResponse> {
            let mut told = Headers::new();
            let Ok(shown) = request.headers().get_str(&headers::AUTHORIZATION) else {
                told.insert(headers::WWW_AUTHENTICATE, format!("Bearer resource=\"{}\"", self.0));
                return Ok(AsyncRawResponse::from_bytes(azure_core::http::StatusCode::Unauthorized, told, ""));
            };
            self.1.lock().push(shown.to_owned());
            let body = r#"{"value":"abc","id":"https://contoso.vault.azure.net/secrets/key/v1"}"#;
            Ok(AsyncRawResponse::from_bytes(azure_core::http::StatusCode::Ok, told, body))
        }
    }

    #[tokio::test]
    async fn our_token_is_shown_to_a_vault_that_asks_for_one_of_its_own_domain_and_to_no_other() {
        let bearer = Arc::new(Bearer::default());
        bearer.publish(HeaderValue::from_static("Bearer canary"), Duration::from_secs(3600), clock::now());
        for (vault, resource, is_shown) in [
            ("https://contoso.vault.azure.net", "https://vault.azure.net", true),
            ("https://contoso.vault.azure.net", "https://vault.azure.cn", false),
            ("https://contoso.vault.azure.net", "https://ault.azure.net", false),
            ("https://contoso.example", "https://vault.azure.net", false),
            ("https://localhost.example", "https://vault.azure.net", false),
            ("https://localhost:8443", "https://vault.azure.net", true),
        ] {
            let asking = Asking(resource, Arc::default());
            let client = client(vault, asking.clone(), &bearer).unwrap();
            let asked = ask(&client, &secret(None)).await;
            assert_eq!(asked.is_ok(), is_shown, "{vault} {resource}");
            assert!(asked.is_ok() || asked.is_err_and(|why| why.contains("no token for its own domain")));
            let shown: &[&str] = if is_shown { &["Bearer canary"] } else { &[] };
            assert_eq!(*asking.1.lock(), shown, "{vault} {resource}");
        }
    }

    fn secret(version: Option<&str>) -> VaultSecret {
        let text = "vault.example".to_owned();
        let version = version.map(str::to_owned);
        VaultSecret { vault: format!("https://{text}"), host: text, name: "key".to_owned(), version }
    }

    #[test]
    fn only_a_usable_value_of_the_secret_that_was_asked_for_is_taken() {
        let read = |version, body: &str| {
            let Told { value, id } = serde_json::from_str(&clean(body.as_bytes())?).unwrap();
            read(&secret(version), &value, &id).map(|value| value.expose().to_owned())
        };
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
