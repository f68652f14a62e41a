//! Who we are for Azure: identities, the tokens that we want of them, and the secrets that a Key Vault holds.

use super::Endpoint;
use crate::domain::{IdentityName, Secret};
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

/// Who we are for Microsoft Entra ID.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// Its name in logs and metrics.
    pub name: IdentityName,
    /// How it proves itself.
    pub credential: Credential,
    /// Limit of one try to get a token.
    pub timeout: Duration,
}

/// How an identity proves itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Credential {
    /// By the machine or app that we run on.
    Managed {
        /// Which of its identities, where it is not the system-assigned one.
        assigned: Option<UserAssigned>,
        /// Where it tells.
        place: Box<Place>,
    },
    /// By a token of Kubernetes.
    Workload {
        /// Whom it asks.
        application: Application,
        /// Where the token is.
        token_file: PathBuf,
    },
    /// By a secret; none while it is not known.
    Secret {
        /// Whom it asks.
        application: Application,
        /// The secret.
        secret: Option<Secret>,
    },
    /// By a certificate.
    Certificate {
        /// Whom it asks.
        application: Application,
        /// Certificate and key.
        key: SigningKey,
    },
    /// By the Azure CLI.
    Cli {
        /// The tenant, where it is not the CLI's own.
        directory: Option<String>,
    },
}

/// A managed identity that an operator made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum UserAssigned {
    /// By its client id.
    Client(String),
    /// By its object id.
    Object(String),
}

/// Where a machine or an app tells the tokens of its identities.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// The service, without a query.
    pub endpoint: Endpoint,
    /// What App Service wants to be shown; a virtual machine wants nothing.
    pub header: Option<Secret>,
}

/// An application of a tenant of Entra ID, and where its tokens are asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Application {
    /// The tenant, by its id or domain.
    pub directory: String,
    /// The application's client id.
    pub client_id: String,
    /// URL of the authority, without a path.
    pub authority: String,
    /// CAs to trust there instead of the system's.
    pub ca_file: Option<PathBuf>,
}

/// An RSA key with the fingerprint of its certificate. It prints as `***`.
#[derive(Clone, PartialEq, Eq)]
pub struct SigningKey {
    /// PKCS #8, DER.
    pub key: Arc<[u8]>,
    /// SHA-256 of the certificate.
    pub fingerprint: [u8; 32],
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

/// A token that we want of one of our identities. All who want the same share one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OwnToken {
    /// Whose.
    pub identity: Identity,
    /// What it is for.
    pub scope: Arc<str>,
}

impl OwnToken {
    /// Whether a token that was got for `self` is one for `other`. How the identity proves itself may change, not who it is.
    #[must_use]
    pub fn is_same_bearer(&self, other: &Self) -> bool {
        let same = match (&self.identity.credential, &other.identity.credential) {
            (Credential::Managed { assigned: one, .. }, Credential::Managed { assigned: two, .. }) => one == two,
            (Credential::Cli { directory: one }, Credential::Cli { directory: two }) => one == two,
            (one, two) => one.application().is_some() && one.application() == two.application(),
        };
        same && self.scope == other.scope
    }
}

impl Credential {
    /// The application, where it is one.
    #[must_use]
    pub const fn application(&self) -> Option<&Application> {
        match self {
            Self::Workload { application, .. }
            | Self::Secret { application, .. }
            | Self::Certificate { application, .. } => Some(application),
            Self::Managed { .. } | Self::Cli { .. } => None,
        }
    }
}

/// A secret in a Key Vault.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct VaultSecret {
    /// URL of the vault, without a path.
    pub vault: String,
    /// Its host and, where it is not the usual one, port: what metrics call it.
    pub host: String,
    /// Name of the secret.
    pub name: String,
    /// Its version; the latest when absent.
    pub version: Option<String>,
}

impl fmt::Display for VaultSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.host, self.name)?;
        self.version.iter().try_for_each(|version| write!(f, "/{version}"))
    }
}

/// How secrets are read from Key Vaults.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyVault {
    /// Index of the token that reads them, in [`Snapshot::own_tokens`](super::Snapshot::own_tokens).
    pub token: usize,
    /// How often they are looked at again.
    pub refresh: Duration,
    /// Limit of one request.
    pub timeout: Duration,
    /// CAs to trust instead of the system's.
    pub ca_file: Option<PathBuf>,
    /// Where the last good values are kept.
    pub last_good: Option<Keepsake>,
    /// Every secret that the configuration takes from a vault, in order.
    pub wanted: Vec<VaultSecret>,
}

/// A file of the last good values.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Keepsake {
    /// The file.
    pub file: PathBuf,
    /// What it is encrypted with.
    pub key: Option<Secret>,
}

/// The text of a configuration. It prints as `…`.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Text(pub Arc<str>);

impl fmt::Debug for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("…")
    }
}

/// Where an identity's tokens are asked for, taken apart.
///
/// # Errors
/// What is wrong with `url`.
pub fn authority(url: &str, ca_file: Option<PathBuf>) -> Result<Endpoint, String> {
    let endpoint = Endpoint::parse(url, ca_file)?;
    if endpoint.target != "/" {
        return Err("must not hold a path or query".to_owned());
    }
    Ok(endpoint)
}
