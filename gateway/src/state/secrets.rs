//! [`Secrets`]: the last good values of secrets in vaults, kept over reloads. It fetches and writes nothing.

use crate::config::snapshot::VaultSecret;
use crate::domain::Secret;
use parking_lot::Mutex;
use std::collections::{BTreeMap, BTreeSet};

/// The last good value of every secret that is wanted.
#[derive(Debug, Default)]
pub struct Secrets(Mutex<BTreeMap<VaultSecret, Kept>>);

/// A value, and when it was last seen to be that.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kept {
    /// The value.
    pub value: Secret,
    /// Unix time, seconds.
    pub seen: u64,
}

impl Secrets {
    /// The value, where it is known.
    #[must_use]
    pub fn get(&self, secret: &VaultSecret) -> Option<Secret> {
        self.0.lock().get(secret).map(|kept| kept.value.clone())
    }

    /// When its value was last seen.
    #[must_use]
    pub fn seen(&self, secret: &VaultSecret) -> Option<u64> {
        self.0.lock().get(secret).map(|kept| kept.seen)
    }

    /// A vault holds this. Whether it is another value than before.
    pub fn put(&self, secret: VaultSecret, kept: Kept) -> bool {
        let value = kept.value.clone();
        let before = self.0.lock().insert(secret, kept);
        before.is_none_or(|before| before.value != value)
    }

    /// Forgets what nobody wants any more.
    pub fn retain(&self, wanted: &[VaultSecret]) {
        let wanted: BTreeSet<_> = wanted.iter().collect();
        self.0.lock().retain(|secret, _| wanted.contains(secret));
    }

    /// Everything, in order.
    #[must_use]
    pub fn all(&self) -> BTreeMap<VaultSecret, Kept> {
        self.0.lock().clone()
    }
}
