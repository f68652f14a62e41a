//! The parts of the file about who we are for Azure: identities that get tokens, and the Key Vault that holds secrets.

use super::tls::Pair;
use super::values::{Period, Secret};
use crate::config::defaults;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// Who we are for Microsoft Entra ID: exactly one of `managed_identity`, `workload_identity`, `client_secret`, `client_certificate` and `azure_cli`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::config) struct Identity {
    /// Name in logs and metrics, unique among identities.
    pub(in crate::config) name: String,
    /// The identity of the machine or app that we run on: of App Service where its variables are set, else of the virtual machine (IMDS).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "ManagedIdentity")]
    pub(in crate::config) managed_identity: Option<ManagedIdentity>,
    /// A token of Kubernetes, exchanged for one of Entra ID (AKS).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "WorkloadIdentity")]
    pub(in crate::config) workload_identity: Option<WorkloadIdentity>,
    /// An application that proves itself by a secret.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "ClientSecret")]
    pub(in crate::config) client_secret: Option<ClientSecret>,
    /// An application that proves itself by a certificate.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "ClientCertificate")]
    pub(in crate::config) client_certificate: Option<ClientCertificate>,
    /// Whoever is logged in with the Azure CLI here; for development.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "AzureCli")]
    pub(in crate::config) azure_cli: Option<AzureCli>,
    /// Limit of one try to get a token, at most `1m`; default `10s`.
    #[serde(default = "timeout")]
    pub(in crate::config) timeout: Period,
}

const fn timeout() -> Period {
    Period(defaults::IDENTITY_TIMEOUT)
}

/// A managed identity; without a key the one that the system assigned.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::config) struct ManagedIdentity {
    /// A user-assigned identity by its client id; default: the system-assigned one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String")]
    pub(in crate::config) client_id: Option<String>,
    /// The same by its object id; default: the system-assigned one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String")]
    pub(in crate::config) object_id: Option<String>,
}

/// A token of Kubernetes, exchanged for one of Entra ID.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::config) struct WorkloadIdentity {
    /// The tenant, by its id or domain; default: the variable `AZURE_TENANT_ID`.
    #[serde(default, rename = "tenant_id", skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String")]
    pub(in crate::config) directory: Option<String>,
    /// The application's client id; default: the variable `AZURE_CLIENT_ID`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String")]
    pub(in crate::config) client_id: Option<String>,
    /// The file that Kubernetes keeps its token in, read at every exchange; default: the variable `AZURE_FEDERATED_TOKEN_FILE`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "PathBuf")]
    pub(in crate::config) token_file: Option<PathBuf>,
    /// Where tokens are asked for; default: the variable `AZURE_AUTHORITY_HOST`, else `https://login.microsoftonline.com`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String")]
    pub(in crate::config) authority: Option<String>,
    /// PEM file of CAs to trust there instead of the system's; default: the system's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "PathBuf")]
    pub(in crate::config) ca_file: Option<PathBuf>,
}

/// An application that proves itself by a secret.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::config) struct ClientSecret {
    /// The tenant, by its id or domain.
    #[serde(rename = "tenant_id")]
    pub(in crate::config) directory: String,
    /// The application's client id.
    pub(in crate::config) client_id: String,
    /// Its secret.
    pub(in crate::config) secret: Secret,
    /// Where tokens are asked for; default: the variable `AZURE_AUTHORITY_HOST`, else `https://login.microsoftonline.com`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String")]
    pub(in crate::config) authority: Option<String>,
    /// PEM file of CAs to trust there instead of the system's; default: the system's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "PathBuf")]
    pub(in crate::config) ca_file: Option<PathBuf>,
}

/// An application that proves itself by a certificate.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::config) struct ClientCertificate {
    /// The tenant, by its id or domain.
    #[serde(rename = "tenant_id")]
    pub(in crate::config) directory: String,
    /// The application's client id.
    pub(in crate::config) client_id: String,
    /// The certificate and its RSA key; read again on reload.
    pub(in crate::config) pair: Pair,
    /// Where tokens are asked for; default: the variable `AZURE_AUTHORITY_HOST`, else `https://login.microsoftonline.com`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String")]
    pub(in crate::config) authority: Option<String>,
    /// PEM file of CAs to trust there instead of the system's; default: the system's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "PathBuf")]
    pub(in crate::config) ca_file: Option<PathBuf>,
}

/// Whoever is logged in with the Azure CLI here.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::config) struct AzureCli {
    /// The tenant, by its id or domain; default: the CLI's own.
    #[serde(default, rename = "tenant_id", skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String")]
    pub(in crate::config) directory: Option<String>,
}

/// A token of one of our identities.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::config) struct TokenAuth {
    /// Name of the identity, one of `identities`.
    pub(in crate::config) identity: String,
    /// What the token is for, such as `https://ai.azure.com/.default`; default `https://cognitiveservices.azure.com/.default`.
    #[serde(default = "scope")]
    pub(in crate::config) scope: String,
}

fn scope() -> String {
    defaults::TOKEN_SCOPE.to_owned()
}

/// How secrets are read from Azure Key Vault.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::config) struct KeyVault {
    /// Name of the identity that may read them, one of `identities`.
    pub(in crate::config) identity: String,
    /// What its token is for; default `https://vault.azure.net/.default`.
    #[serde(default = "vault_scope")]
    pub(in crate::config) scope: String,
    /// How often they are looked at again; default `5m`.
    #[serde(default = "refresh")]
    pub(in crate::config) refresh: Period,
    /// Limit of one request to a vault, at most `1m`; default `5s`.
    #[serde(default = "vault_timeout")]
    pub(in crate::config) timeout: Period,
    /// PEM file of CAs to trust there instead of the system's; default: the system's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "PathBuf")]
    pub(in crate::config) ca_file: Option<PathBuf>,
    /// Where the last good values are kept for a start without the vault; default: nowhere.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Keepsake")]
    pub(in crate::config) last_good: Option<Keepsake>,
}

fn vault_scope() -> String {
    defaults::VAULT_SCOPE.to_owned()
}

const fn refresh() -> Period {
    Period(defaults::VAULT_REFRESH)
}

const fn vault_timeout() -> Period {
    Period(defaults::VAULT_TIMEOUT)
}

/// A file of the last good values, with mode 0600.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::config) struct Keepsake {
    /// The file, relative to the configuration's directory; its directory must exist.
    pub(in crate::config) file: PathBuf,
    /// What it is encrypted with; default: it is not, its mode alone protects it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Secret")]
    pub(in crate::config) key: Option<Secret>,
}
