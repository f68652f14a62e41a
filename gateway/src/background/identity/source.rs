//! Gets one token, in the way of its identity, by a credential of `azure_identity` that is made for this one try: a kept one would
//! answer from its cache until minutes before a token's end, and so neither renew ahead nor after a refusal. The caller sets the
//! time; what is told is vetted in [`super::answer`] on its way to the credential.

use super::answer::{ANSWER_SIZE_MAX, Dialect, Got, refusal, vet};
use super::assertion;
use super::cli::Az;
use crate::background::{azure, http};
use crate::config::snapshot::{Application, Credential, Endpoint, OwnToken, Place, SigningKey, UserAssigned};
use crate::domain::Secret;
use crate::telemetry::clock;
use ::http::{HeaderValue, StatusCode};
use async_trait::async_trait;
use azure_core::cloud::CustomConfiguration;
use azure_core::credentials::TokenCredential;
use azure_core::http::headers::Headers;
use azure_core::http::{AsyncRawResponse, ClientMethodOptions, ClientOptions, HttpClient, Request};
use azure_identity::{
    AzureCliCredential, AzureCliCredentialOptions, ClientAssertion, ClientAssertionCredential,
    ClientAssertionCredentialOptions, ClientSecretCredential, ClientSecretCredentialOptions, ManagedIdentityCredential,
    ManagedIdentityCredentialOptions, UserAssignedId,
};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tokio::io::AsyncReadExt;

/// Largest token of Kubernetes, bytes.
const PROOF_SIZE_MAX: u64 = 16 * 1024;
/// What App Service wants to be shown.
const IDENTITY_HEADER: &str = "x-identity-header";
/// What only the crate itself can refuse.
const UNUSABLE: &str = "azure_identity cannot use this identity as it is configured";

type Result<T> = std::result::Result<T, String>;

/// One try.
pub(super) async fn get(token: &OwnToken) -> Result<Got> {
    let credential = credential(&token.identity.credential)?;
    let got = credential.get_token(&[&token.scope], None).await.map_err(|error| azure::told(&error, UNUSABLE))?;
    Got::new(got.token.secret(), got.expires_on.unix_timestamp(), clock::unix_seconds())
}

fn credential(credential: &Credential) -> Result<Arc<dyn TokenCredential>> {
    Ok(match credential {
        Credential::Managed { assigned, place } => managed(assigned.as_ref(), place)?,
        Credential::Workload { application, token_file } => by_assertion(application, Proof::File(token_file.clone()))?,
        Credential::Certificate { application, key } => {
            let (client_id, audience) = (application.client_id.clone(), token_url(application));
            by_assertion(application, Proof::Signed { key: key.clone(), client_id, audience })?
        }
        Credential::Secret { application, secret } => {
            let secret = secret.as_ref().ok_or("its secret is not known yet")?.expose().to_owned();
            let options = ClientSecretCredentialOptions { client_options: asking(application)? };
            let client_id = application.client_id.clone();
            let made = ClientSecretCredential::new(&application.directory, client_id, secret.into(), Some(options));
            made.map_err(|error| azure::told(&error, UNUSABLE))?
        }
        Credential::Cli { directory } => {
            let executor: Arc<dyn azure_identity::Executor> = Arc::new(Az);
            let options = AzureCliCredentialOptions {
                tenant_id: directory.clone(),
                executor: Some(executor),
                ..AzureCliCredentialOptions::default()
            };
            AzureCliCredential::new(Some(options)).map_err(|error| azure::told(&error, UNUSABLE))?
        }
    })
}

/// The machine or app that we run on. The crate reads from the environment which of them it is, as the configuration has; where
/// it asks and what it shows there comes from the configuration.
fn managed(assigned: Option<&UserAssigned>, place: &Place) -> Result<Arc<dyn TokenCredential>> {
    let wire = Wire { endpoint: place.endpoint.clone(), header: place.header.clone(), dialect: Dialect::Machine };
    let user_assigned_id = assigned.map(|assigned| match assigned {
        UserAssigned::Client(id) => UserAssignedId::ClientId(id.clone()),
        UserAssigned::Object(id) => UserAssignedId::ObjectId(id.clone()),
    });
    let options = ManagedIdentityCredentialOptions { user_assigned_id, client_options: azure::options(wire) };
    let unknown = "the environment is that of Azure Arc, Azure ML, Cloud Shell or Service Fabric, whose identities are not \
                   supported: take another kind";
    Ok(ManagedIdentityCredential::new(Some(options)).map_err(|error| azure::told(&error, unknown))?)
}

/// An application that proves itself by an assertion. The crate's credential of workload identities is this one over a file that
/// it reads whole, as it is, on the thread of the caller; its credential of certificates is this one over OpenSSL.
fn by_assertion(application: &Application, proof: Proof) -> Result<Arc<dyn TokenCredential>> {
    let options = ClientAssertionCredentialOptions { client_options: asking(application)? };
    let (directory, client_id) = (application.directory.clone(), application.client_id.clone());
    let made = ClientAssertionCredential::new(directory, client_id, proof, Some(options));
    Ok(made.map_err(|error| azure::told(&error, UNUSABLE))?)
}

/// How Entra ID is asked for a token of `application`.
fn asking(application: &Application) -> Result<ClientOptions> {
    let endpoint = Endpoint::parse(&token_url(application), application.ca_file.clone())?;
    let mut cloud = CustomConfiguration::default();
    // The crate takes no `http://`, which the configuration allows on this host. It goes where the wire leads in any case.
    cloud.authority_host = format!("https://{}", endpoint.authority.to_str().map_err(|error| error.to_string())?);
    let mut options = azure::options(Wire { endpoint, header: None, dialect: Dialect::Directory });
    options.cloud = Some(Arc::new(cloud.into()));
    Ok(options)
}

fn token_url(application: &Application) -> String {
    format!("{}/{}/oauth2/v2.0/token", application.authority.trim_end_matches('/'), application.directory)
}

/// Carries what a credential asks to the place that the configuration names, whatever address the crate has in mind, and hands
/// it a clean answer or none.
#[derive(Debug)]
struct Wire {
    endpoint: Endpoint,
    header: Option<Secret>,
    dialect: Dialect,
}

#[async_trait]
impl HttpClient for Wire {
    async fn execute_request(&self, request: &Request) -> azure_core::Result<AsyncRawResponse> {
        let clean = self.carry(request).await.map_err(azure::refused)?;
        Ok(AsyncRawResponse::from_bytes(azure_core::http::StatusCode::Ok, Headers::new(), clean))
    }
}

impl Wire {
    async fn carry(&self, built: &Request) -> Result<String> {
        let mut endpoint = self.endpoint.clone();
        if let Some(query) = built.url().query() {
            let gap = if endpoint.target.contains('?') { '&' } else { '?' };
            endpoint.target = format!("{}{gap}{query}", endpoint.target);
        }
        let mut request = azure::request(built)?;
        request.headers_mut().remove(IDENTITY_HEADER);
        if let Some(secret) = &self.header {
            request.headers_mut().insert(IDENTITY_HEADER, sensitive(secret.expose())?);
        }
        let answer = http::exchange(&endpoint, request, ANSWER_SIZE_MAX).await?;
        if answer.status != StatusCode::OK {
            return Err(refusal(answer.status.as_u16(), &answer.body));
        }
        let now = clock::unix_seconds();
        Ok(vet(&answer.body, now)?.told(self.dialect, now))
    }
}

/// What an application proves itself by.
#[derive(Debug)]
enum Proof {
    /// The token that Kubernetes keeps in a file.
    File(PathBuf),
    /// What its certificate's key has signed.
    Signed { key: SigningKey, client_id: String, audience: String },
}

#[async_trait]
impl ClientAssertion for Proof {
    async fn secret(&self, _options: Option<ClientMethodOptions<'_>>) -> azure_core::Result<String> {
        let proof = match self {
            Self::File(file) => read(file).await,
            Self::Signed { key, client_id, audience } => {
                assertion::sign(key, client_id, audience, clock::unix_seconds())
            }
        };
        proof.map_err(azure::refused)
    }
}

async fn read(file: &Path) -> Result<String> {
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

fn sensitive(text: &str) -> Result<HeaderValue> {
    let mut value =
        HeaderValue::from_str(text).map_err(|_error| "`IDENTITY_HEADER` is none that a header could carry")?;
    value.set_sensitive(true);
    Ok(value)
}
