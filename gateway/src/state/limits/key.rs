//! The names of buckets: 128 bits of a hash over a limit and the values of its chain. The same in every process, so that
//! quotas can be kept in a file and limits shared; nobody can find two chains with the same name.

use crate::policy::limit::calendar::Period;
use crate::policy::limit::{Part, Rule, Window};
use sha2::{Digest, Sha256};

/// Spreads small numbers over 64 bits.
const SPREAD: u64 = 0x9e37_79b9_7f4a_7c15;

/// The name of one bucket.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Key(pub(super) u64, pub(super) u64);

/// The name of a limit's buckets for one chain of values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ChainKey {
    pub(super) limit: Key,
    pub(super) chain: Key,
}

/// Names a chain, value by value.
#[derive(Clone, Debug)]
pub struct Chain {
    limit: Key,
    values: Option<Sha256>,
}

impl Chain {
    /// The chain of a limit, without values so far.
    #[must_use]
    pub fn new(limit: &str) -> Self {
        Self { limit: name(Sha256::new_with_prefix(limit)), values: None }
    }

    /// Goes on with the value of a part; those without one share a bucket.
    pub fn push(&mut self, part: &Part, value: Option<&[u8]>) {
        let values = self.values.get_or_insert_with(Sha256::new);
        values.update([tag(part)]);
        if let Part::Claim(claim) = part {
            values.update(claim.len().to_be_bytes());
            values.update(claim.as_bytes());
        }
        match value {
            Some(value) => {
                values.update([1]);
                values.update(value.len().to_be_bytes());
                values.update(value);
            }
            None => values.update([0]),
        }
    }

    /// Its name.
    #[must_use]
    pub fn end(self) -> ChainKey {
        let chain = self.values.map_or(Key(0, 0), name);
        ChainKey { limit: self.limit, chain }
    }
}

impl ChainKey {
    /// The chain of the limit without values.
    pub(super) const fn limit(self) -> Self {
        Self { chain: Key(0, 0), ..self }
    }

    /// The name of the bucket for one of the limit's rules. With another window it is another bucket; with another
    /// ceiling it is the same.
    pub(super) fn key(self, rule: &Rule) -> Key {
        let window = match rule.window {
            Window::Sliding(per) => u64::try_from(per.as_micros()).unwrap_or(u64::MAX) << 3,
            Window::Calendar(Period::Hour) => 1,
            Window::Calendar(Period::Day) => 2,
            Window::Calendar(Period::Week) => 3,
            Window::Calendar(Period::Month) => 4,
            Window::Held => 5,
        };
        let measure = (rule.measure as u64 + 1).wrapping_mul(SPREAD);
        // The halves of the limit change places, so that it never cancels out a chain.
        Key(self.chain.0 ^ self.limit.1 ^ measure, self.chain.1 ^ self.limit.0 ^ window.wrapping_mul(SPREAD))
    }
}

const fn tag(part: &Part) -> u8 {
    match part {
        Part::Consumer => b'c',
        Part::Plan => b'p',
        Part::Route => b'r',
        Part::Deployment => b'd',
        Part::Address => b'a',
        Part::Claim(_) => b'j',
    }
}

fn name(hash: Sha256) -> Key {
    let digest = hash.finalize();
    let half =
        |from: usize| digest.iter().skip(from).take(8).fold(0, |number: u64, byte| (number << 8) | u64::from(*byte));
    Key(half(0), half(8))
}
