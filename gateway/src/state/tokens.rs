//! [`Tokens`]: tokens that were verified a moment ago, so that the signature of each is checked once in five minutes. Bounded;
//! what was verified under another configuration or other keys counts no more. It admits nothing that
//! [`policy::token`](crate::policy::token) has not.

use crate::domain::{Caller, Claims, Proof};
use crate::policy::token::Admitted;
use parking_lot::Mutex;
use std::collections::HashMap;
use std::sync::Arc;

/// Independently locked parts.
pub(super) const SHARDS: usize = 64;
/// Tokens in one part; 16 384 in all.
pub(super) const TOKENS_MAX: usize = 256;
/// A token is verified anew after this long, seconds.
pub(super) const KNOWN_FOR: u64 = 300;

/// Verified tokens by their SHA-256.
#[derive(Debug)]
pub struct Tokens(Box<[Mutex<HashMap<Name, Known>>]>);

pub(super) type Name = [u8; 32];

#[derive(Debug)]
pub(super) struct Known {
    pub(super) caller: Caller,
    pub(super) issuer: usize,
    /// The configuration and the issuer's keys that it was verified under.
    pub(super) under: (u64, u64),
    /// Unix second.
    pub(super) until: u64,
}

impl Default for Tokens {
    fn default() -> Self {
        Self((0..SHARDS).map(|_| Mutex::default()).collect())
    }
}

impl Tokens {
    fn shard(&self, name: &Name) -> Option<&Mutex<HashMap<Name, Known>>> {
        let [first, ..] = name;
        self.0.get(usize::from(*first) % SHARDS)
    }

    /// Whom a token proves that counts still.
    pub(super) fn find(&self, name: &Name, counts: impl Fn(&Known) -> bool) -> Option<Caller> {
        let shard = self.shard(name)?.lock();
        shard.get(name).filter(|known| counts(known)).map(|known| known.caller.clone())
    }

    /// Remembers what was verified by these keys of this issuer.
    pub(super) fn keep(
        &self,
        name: Name,
        (issuer, under): (usize, (u64, u64)),
        admitted: Admitted,
        now: u64,
    ) -> Caller {
        let claims = (!admitted.claims.is_empty()).then(|| Arc::new(Claims::new(admitted.claims)));
        let caller = Caller { consumer: admitted.consumer, proof: Proof::Token, zones: admitted.zones, claims };
        let until = admitted.expires.min(now.saturating_add(KNOWN_FOR));
        if let Some(shard) = self.shard(&name) {
            let mut shard = shard.lock();
            if shard.len() >= TOKENS_MAX && !shard.contains_key(&name) {
                shard.retain(|_, known| known.until > now);
            }
            if shard.len() >= TOKENS_MAX && !shard.contains_key(&name) {
                let first = shard.iter().min_by_key(|(_, known)| known.until).map(|(name, _)| *name);
                first.map(|first| shard.remove(&first));
            }
            shard.insert(name, Known { caller: caller.clone(), issuer, under, until });
        }
        caller
    }

    /// How many are known.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.iter().map(|shard| shard.lock().len()).sum()
    }

    /// Whether none is known.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}
