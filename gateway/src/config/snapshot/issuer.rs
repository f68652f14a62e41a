//! Issuers of tokens: what is asked of a token, and where the issuer's keys are.

use crate::domain::IssuerName;
use crate::policy::token::{self, KeySet};
use http::HeaderValue;
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use url::{Host, Url};

/// Somebody whose signed tokens prove a consumer.
#[derive(Clone, Debug)]
pub struct Issuer {
    /// Its name in logs and metrics.
    pub name: IssuerName,
    /// What is asked of its tokens.
    pub rules: token::Issuer,
    /// Where its keys are.
    pub source: KeySource,
    /// How often they are looked at again.
    pub refresh: Duration,
    /// Shortest pause between two looks because of an unknown key.
    pub refresh_min: Duration,
    /// How long they are trusted while they cannot be fetched.
    pub stale_max: Duration,
}

/// Where an issuer's keys are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KeySource {
    /// In a file. It is never stale.
    File {
        /// The file.
        path: PathBuf,
        /// What was in it when the configuration was loaded.
        keys: Arc<KeySet>,
    },
    /// A key set.
    Url(Endpoint),
    /// An OpenID Connect discovery document, which names the key set.
    Discovery(Endpoint),
}

/// Something that is fetched with GET.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    /// Whether it is asked over TLS.
    pub tls: bool,
    /// Name or address of its host.
    pub host: String,
    /// Port.
    pub port: u16,
    /// Value of `Host`.
    pub authority: HeaderValue,
    /// Path and query.
    pub target: String,
    /// CAs to trust instead of the system's.
    pub ca_file: Option<PathBuf>,
}

impl Issuer {
    /// How old its keys may be; a file's any age.
    #[must_use]
    pub const fn keys_age_max(&self) -> Option<Duration> {
        match self.source {
            KeySource::File { .. } => None,
            KeySource::Url(_) | KeySource::Discovery(_) => Some(self.stale_max),
        }
    }
}

impl KeySource {
    /// Whether keys that were learned from `self` are those of `other`.
    #[must_use]
    pub fn is_same_place(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::File { path: one, .. }, Self::File { path: two, .. }) => one == two,
            (one, two) => one == two,
        }
    }
}

impl Endpoint {
    /// Takes a URL apart. Plain `http` is for this host only: what somebody on the way can exchange proves nothing.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parse(text: &str, ca_file: Option<PathBuf>) -> Result<Self, String> {
        Self::parse_where(text, ca_file, |address| address.is_loopback())
    }

    /// The same of a machine's own service, which may have a link-local address: nobody routes to it.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn local(text: &str) -> Result<Self, String> {
        let link_local = |address: IpAddr| matches!(address, IpAddr::V4(address) if address.is_link_local());
        Self::parse_where(text, None, |address| address.is_loopback() || link_local(address))
    }

    /// Whether it is on this host.
    #[must_use]
    pub fn is_here(&self) -> bool {
        self.host == "localhost" || self.host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
    }

    fn parse_where(text: &str, ca_file: Option<PathBuf>, plain: impl Fn(IpAddr) -> bool) -> Result<Self, String> {
        let url = Url::parse(text).map_err(|error| format!("is not a URL: {error}"))?;
        let tls = match url.scheme() {
            "https" => true,
            "http" => false,
            _ => return Err("must begin with https://".to_owned()),
        };
        let (host, near) = match url.host() {
            Some(Host::Domain(name)) => (name.to_owned(), name == "localhost"),
            Some(Host::Ipv4(address)) => (address.to_string(), plain(address.into())),
            Some(Host::Ipv6(address)) => (address.to_string(), plain(address.into())),
            None => return Err("has no host".to_owned()),
        };
        if !tls && !near {
            return Err(
                "must begin with https://: over plain http anybody on the way can exchange what it says".to_owned()
            );
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err("must not hold a user name or password".to_owned());
        }
        if url.fragment().is_some() {
            return Err("must not hold a fragment".to_owned());
        }
        let port = url.port_or_known_default().filter(|port| *port != 0).ok_or("has port 0")?;
        let bracketed = url.host_str().unwrap_or_default();
        let authority = url.port().map_or_else(|| bracketed.to_owned(), |port| format!("{bracketed}:{port}"));
        let authority = HeaderValue::from_str(&authority)
            .map_err(|_error| "its host cannot stand in a `Host` header".to_owned())?;
        let query = url.query().map(|query| format!("?{query}")).unwrap_or_default();
        Ok(Self { tls, host, port, authority, target: format!("{}{query}", url.path()), ca_file })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_this_host_is_here() {
        let here = |url| Endpoint::parse(url, None).map(|endpoint| endpoint.is_here());
        for url in ["https://localhost:8443", "https://127.0.0.2", "https://[::1]:1", "http://127.0.0.1:1"] {
            assert_eq!(here(url), Ok(true), "{url}");
        }
        for url in ["https://contoso.vault.azure.net", "https://localhost.example", "https://10.0.0.1", "https://[::2]"]
        {
            assert_eq!(here(url), Ok(false), "{url}");
        }
    }
}
