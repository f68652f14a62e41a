//! [`Limits`]: the buckets of usage limits, exact over all threads, kept over reloads and bounded in number. The
//! arithmetic is `policy::limit`; who is charged for what is the request path's word.
//!
//! At most 72 × 14 336 buckets, some 190 MB. Who finds no room shares one bucket per ceiling with all others that find
//! none: nobody is ever without a limit.

mod key;
mod lease;
mod quotas;
mod reserved;
mod strict;

pub use key::{Chain, ChainKey};
pub use lease::{Grant, Report};
pub use quotas::{Quotas, QuotasError};
pub use reserved::{Charge, Refused, Reserved, Told};
pub use strict::{Asked, Line, Question, Verdict};

use crate::policy::limit::bucket::{Bucket, Standing};
use crate::policy::limit::{Now, Rule};
use key::Key;
use lease::{Account, Lease};
use parking_lot::Mutex;
use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize, Ordering};

/// Independently locked parts.
const SHARDS: usize = 72;
/// Buckets in one part: what a hash table of 16 384 places holds before it grows.
const BUCKETS_MAX: usize = 14_336;
/// A part that holds less than this share of what it could gives memory back.
const SPARSE: usize = 4;

/// The buckets.
#[derive(Debug)]
pub struct Limits {
    shards: Box<[Mutex<Shard>]>,
    /// Buckets of those who found no room: one per ceiling.
    spare: Mutex<HashMap<Key, Bucket>>,
    hasher: RandomState,
    crowded: AtomicU64,
    /// A quota was used since this was last asked.
    used: AtomicBool,
    swept: AtomicUsize,
    /// How many gateways share the limits; none: this gateway has them to itself.
    gateways: AtomicU32,
    /// A lease is missing, or smaller than what is left.
    lacking: AtomicBool,
    line: Line,
    /// Buckets that one part may hold.
    room: usize,
}

#[derive(Debug, Default)]
struct Shard {
    buckets: HashMap<Key, Bucket>,
    /// Slices of those that are shared.
    leases: HashMap<Key, Lease>,
    /// The second in which a full part was last looked through.
    looked: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            shards: (0..SHARDS).map(|_| Mutex::default()).collect(),
            spare: Mutex::default(),
            hasher: RandomState::new(),
            crowded: AtomicU64::new(0),
            used: AtomicBool::new(false),
            swept: AtomicUsize::new(0),
            gateways: AtomicU32::new(0),
            lacking: AtomicBool::new(false),
            line: Line::default(),
            room: BUCKETS_MAX,
        }
    }
}

impl Limits {
    /// How the bucket of `chain` stands under `rule`; `None` where nothing was used.
    #[must_use]
    pub fn standing(&self, chain: ChainKey, rule: &Rule, now: Now) -> Option<Standing> {
        let key = chain.key(rule);
        let gateways = self.gateways.load(Ordering::Relaxed);
        let mut shard = self.shard(key)?.lock();
        let Shard { buckets, leases, .. } = &mut *shard;
        let bucket = buckets.get_mut(&key)?;
        Some(Account { bucket, lease: leases.get_mut(&key), gateways }.standing(rule, now))
    }

    /// Buckets that exist.
    #[must_use]
    pub fn len(&self) -> usize {
        self.shards.iter().map(|shard| shard.lock().buckets.len()).sum()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How often somebody found no room for a bucket of its own.
    #[must_use]
    pub fn crowded(&self) -> u64 {
        self.crowded.load(Ordering::Relaxed)
    }

    /// Forgets the idle buckets of one part, the next one at each call.
    pub fn sweep(&self, now: Now) {
        let index = self.swept.fetch_add(1, Ordering::Relaxed) % SHARDS;
        if let Some(shard) = self.shards.get(index) {
            shard.lock().sweep(now);
        }
        if index == 0 {
            self.spare.lock().retain(|_, bucket| !bucket.is_over(now));
        }
    }

    /// Acts on the bucket of `chain`, which is made where it is missing; says where that was.
    fn with<T>(&self, chain: ChainKey, rule: &Rule, now: Now, act: impl FnOnce(&mut Account<'_>) -> T) -> (T, Place) {
        if rule.measure.is_quota() {
            self.used.store(true, Ordering::Relaxed);
        }
        let key = chain.key(rule);
        let gateways = self.gateways.load(Ordering::Relaxed);
        let is_leased = gateways > 0 && lease::is_shared(rule);
        if let Some(shard) = self.shard(key) {
            let mut shard = shard.lock();
            if shard.buckets.contains_key(&key) || shard.has_room(self.room, now) {
                let Shard { buckets, leases, .. } = &mut *shard;
                let bucket = buckets.entry(key).or_insert_with(|| Bucket::new(rule.window));
                let lease = if is_leased { lease::of(leases, key, rule) } else { None };
                let mut account = Account { bucket, lease, gateways };
                let done = act(&mut account);
                if account.is_lacking(now) {
                    self.lacking.store(true, Ordering::Relaxed);
                }
                return (done, Place { key, spare: false });
            }
        }
        self.crowded.fetch_add(1, Ordering::Relaxed);
        let key = chain.limit().key(rule);
        let mut spare = self.spare.lock();
        let bucket = spare.entry(key).or_insert_with(|| Bucket::new(rule.window));
        (act(&mut Account { bucket, lease: None, gateways }), Place { key, spare: true })
    }

    /// Acts on the bucket at `place`, where it still is.
    fn at(&self, place: Place, rule: &Rule, act: impl FnOnce(&mut Account<'_>)) {
        let gateways = self.gateways.load(Ordering::Relaxed);
        if place.spare {
            let mut spare = self.spare.lock();
            if let Some(bucket) = spare.get_mut(&place.key) {
                act(&mut Account { bucket, lease: None, gateways });
            }
        } else if let Some(shard) = self.shard(place.key) {
            let mut shard = shard.lock();
            let Shard { buckets, leases, .. } = &mut *shard;
            if let Some(bucket) = buckets.get_mut(&place.key) {
                let is_leased = gateways > 0 && lease::is_shared(rule);
                let lease = if is_leased { lease::of(leases, place.key, rule) } else { None };
                act(&mut Account { bucket, lease, gateways });
            }
        }
    }

    fn shard(&self, key: Key) -> Option<&Mutex<Shard>> {
        let index = usize::try_from(self.hasher.hash_one(key) % SHARDS as u64).unwrap_or(0);
        self.shards.get(index)
    }
}

/// Where a bucket is.
#[derive(Clone, Copy, Debug)]
struct Place {
    key: Key,
    spare: bool,
}

impl Shard {
    /// A full part is looked through for idle buckets at most once a second.
    fn has_room(&mut self, room: usize, now: Now) -> bool {
        let second = now.moment.as_micros() / 1_000_000;
        if self.buckets.len() >= room && self.looked != second {
            self.looked = second;
            self.sweep(now);
        }
        self.buckets.len() < room
    }

    fn sweep(&mut self, now: Now) {
        self.buckets.retain(|_, bucket| !bucket.is_over(now));
        if self.buckets.len() < self.buckets.capacity() / SPARSE {
            self.buckets.shrink_to(self.buckets.len() * 2);
        }
    }
}

#[cfg(test)]
mod schedules;
#[cfg(test)]
mod tests;
