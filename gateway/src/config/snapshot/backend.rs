//! A backend, ready to run.

use super::{BackendQuota, BackendTls, Site};
use crate::domain::{Abilities, BackendId, DeploymentName, Region};
use crate::openai::operation::{Operation, Speaks, Style, Target};
use crate::policy::capability::Capability;
use http::{HeaderName, HeaderValue};

/// One Azure OpenAI deployment in one region.
#[derive(Clone, Debug)]
pub struct Backend {
    /// Its identity.
    pub id: BackendId,
    /// Azure region.
    pub region: Region,
    /// Where it is on the globe, and where it processes data.
    pub site: Site,
    /// Operator's switch.
    pub enabled: bool,
    /// Lower first; equal priorities form a tier.
    pub priority: u32,
    /// Share inside the band, 1 to 1000.
    pub weight: u32,
    /// Where it is.
    pub url: BaseUrl,
    /// Deployment name there; the client's own name when absent.
    pub deployment: Option<DeploymentName>,
    /// Its model, where the file names it.
    pub model: Option<String>,
    /// `api-version` sent to classic paths; the client's own when absent.
    pub api_version: Option<String>,
    /// URL shapes that it takes.
    pub speaks: Speaks,
    /// Realtime sessions that it takes.
    pub realtime: Speaks,
    /// What it can do.
    pub capability: Capability,
    /// What it cannot do, beyond that, on classic paths with its own `api_version`.
    pub lacks_by_version: Abilities,
    /// Deployment that Azure spills to by itself; the client's own header when absent.
    pub spillover: Option<HeaderValue>,
    /// Azure's quota there.
    pub quota: BackendQuota,
    /// Our credential there.
    pub auth: Auth,
    /// One of its secrets is not known yet: it gets no requests.
    pub keyless: bool,
    /// Headers set on every attempt, over the client's.
    pub headers: Vec<(HeaderName, HeaderValue)>,
    /// Great-circle distance from the home region in km, where both are known.
    pub distance_km: Option<f64>,
    /// HTTP/2 to this backend (TLS only, by ALPN).
    pub http2: bool,
    /// `X-Served-By` value: `region/backend`.
    pub served_by: HeaderValue,
}

impl Backend {
    /// The style in which this call goes there; `None` where it cannot.
    #[must_use]
    pub fn style_of(&self, target: &Target<'_>) -> Option<Style> {
        let realtime = target.operation == Operation::Realtime;
        target.style_at(if realtime { self.realtime } else { self.speaks })
    }

    /// What its model is known by: the model of the file, else its deployment's name.
    #[must_use]
    pub fn model_known(&self) -> Option<&str> {
        self.model.as_deref().or_else(|| self.deployment.as_ref().map(DeploymentName::as_str))
    }
}

/// A backend's base URL, taken apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BaseUrl {
    /// `https`.
    pub tls: bool,
    /// Host name or address literal, without brackets: what DNS resolves.
    pub host: String,
    /// Port.
    pub port: u16,
    /// `Host` header value: host, and port where it is not the scheme's own.
    pub authority: HeaderValue,
    /// Path in front of `/openai…`, without trailing slash; mostly empty.
    pub path: String,
    /// Verification, and who we are there.
    pub trust: BackendTls,
}

/// Our credential at a backend. The value is marked sensitive and prints as `Sensitive`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Auth {
    /// No credential.
    None,
    /// `api-key: …`.
    ApiKey(HeaderValue),
    /// `Authorization: Bearer …`; the value includes the scheme.
    Bearer(HeaderValue),
    /// The same with a token of our own, by its index in [`Snapshot::own_tokens`](super::Snapshot::own_tokens).
    Token(usize),
}
