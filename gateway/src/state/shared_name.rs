//! [`SharedName`]: what gateways call a backend among themselves.

use crate::config::snapshot::Backend;
use crate::domain::DeploymentName;
use sha2::{Digest, Sha256};
use std::fmt;

/// Digits of a name.
const DIGITS: usize = 32;

/// What gateways call a backend among themselves: 128 bits of a hash over its URL and its deployment. Pools, names and
/// credentials may differ from gateway to gateway.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct SharedName(u128);

impl SharedName {
    pub(super) fn of(backend: &Backend) -> Self {
        let mut hash = Sha256::new();
        hash.update([u8::from(backend.url.tls)]);
        hash.update(backend.url.port.to_be_bytes());
        let deployment = backend.deployment.as_ref().map_or("", DeploymentName::as_str);
        for text in [backend.url.host.as_str(), backend.url.path.as_str(), deployment] {
            hash.update(text.len().to_be_bytes());
            hash.update(text.to_ascii_lowercase());
        }
        let digest = hash.finalize();
        Self(digest.iter().take(DIGITS / 2).fold(0, |number, byte| (number << 8) | u128::from(*byte)))
    }

    /// A name as it is written.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let is_name = text.len() == DIGITS && text.bytes().all(|digit| digit.is_ascii_hexdigit());
        is_name.then(|| u128::from_str_radix(text, 16).ok().map(Self)).flatten()
    }
}

impl fmt::Display for SharedName {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{:032x}", self.0)
    }
}
