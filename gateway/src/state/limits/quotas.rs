//! [`Quotas`]: what was used of quotas, as bytes for a file, so that a restart gives no second quota. It reads and writes no
//! file itself.

use super::Limits;
use super::key::Key;
use crate::policy::limit::Now;
use crate::policy::limit::bucket::Bucket;
use crate::policy::limit::calendar::Calendar;
use sha2::{Digest, Sha256};
use std::collections::HashMap;
use std::sync::atomic::Ordering;

/// The first bytes of every file: what it is, and the version of its format.
const MAGIC: &[u8; 16] = b"tidegate-quota-1";
/// Key, used, period, end.
const ENTRY: usize = 8 + 8 + 8 + 4 + 4;
/// Checksum over everything before it.
const CHECKSUM: usize = 32;

/// What was used of quotas.
#[derive(Clone, Debug, Default)]
pub struct Quotas(HashMap<Key, Calendar>);

/// Why bytes are none that we wrote.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum QuotasError {
    /// It begins otherwise.
    #[error("is no file of quotas of this version")]
    Foreign,
    /// It is cut off or changed.
    #[error("is damaged")]
    Damaged,
}

impl Limits {
    /// What was used of quotas, if anything was since the last call.
    #[must_use]
    pub fn quotas_used(&self, now: Now) -> Option<Quotas> {
        self.used.swap(false, Ordering::Relaxed).then(|| self.quotas(now))
    }

    /// What was used of quotas.
    #[must_use]
    pub fn quotas(&self, now: Now) -> Quotas {
        let mut all = HashMap::new();
        for shard in &self.shards {
            for (key, bucket) in &shard.lock().buckets {
                if let Bucket::Calendar(calendar) = bucket
                    && !calendar.is_over(now)
                {
                    all.insert(*key, *calendar);
                }
            }
        }
        Quotas(all)
    }

    /// Goes on from what was used before.
    pub fn restore(&self, quotas: &Quotas) {
        for (key, calendar) in &quotas.0 {
            let Some(shard) = self.shard(*key) else { continue };
            let mut shard = shard.lock();
            if shard.buckets.len() < self.room {
                shard.buckets.entry(*key).or_insert(Bucket::Calendar(*calendar));
            }
        }
    }
}

impl Quotas {
    /// Of two, the more used of each: after an upgrade the old process must not take back what the new one has counted.
    pub fn merge(&mut self, other: &Self) {
        for (key, theirs) in &other.0 {
            let ours = self.0.entry(*key).or_insert(*theirs);
            if (theirs.period, theirs.used) > (ours.period, ours.used) {
                *ours = *theirs;
            }
        }
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// For a file.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(MAGIC.len() + self.0.len() * ENTRY + CHECKSUM);
        bytes.extend_from_slice(MAGIC);
        for (key, calendar) in &self.0 {
            for number in [key.0, key.1, calendar.used] {
                bytes.extend_from_slice(&number.to_be_bytes());
            }
            for number in [calendar.period, calendar.ends] {
                bytes.extend_from_slice(&number.to_be_bytes());
            }
        }
        let checksum = Sha256::digest(&bytes);
        bytes.extend_from_slice(&checksum);
        bytes
    }

    /// From a file.
    ///
    /// # Errors
    /// These are not bytes of [`Quotas::to_bytes`].
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, QuotasError> {
        let (body, checksum) =
            bytes.split_at_checked(bytes.len().saturating_sub(CHECKSUM)).ok_or(QuotasError::Foreign)?;
        let entries = body.strip_prefix(MAGIC).ok_or(QuotasError::Foreign)?;
        if Sha256::digest(body).as_slice() != checksum || !entries.len().is_multiple_of(ENTRY) {
            return Err(QuotasError::Damaged);
        }
        Ok(Self(entries.chunks_exact(ENTRY).filter_map(entry).collect()))
    }
}

fn entry(bytes: &[u8]) -> Option<(Key, Calendar)> {
    let (first, rest) = bytes.split_first_chunk::<8>()?;
    let (second, rest) = rest.split_first_chunk::<8>()?;
    let (used, rest) = rest.split_first_chunk::<8>()?;
    let (period, rest) = rest.split_first_chunk::<4>()?;
    let ends = rest.first_chunk::<4>()?;
    let calendar = Calendar {
        used: u64::from_be_bytes(*used),
        period: u32::from_be_bytes(*period),
        ends: u32::from_be_bytes(*ends),
    };
    Some((Key(u64::from_be_bytes(*first), u64::from_be_bytes(*second)), calendar))
}
