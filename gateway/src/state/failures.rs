//! [`Failures`]: who fails to authenticate, counted by address and minute. A fixed number of counters, no lock: a guesser with
//! many addresses displaces the addresses that have failed least, and costs no memory. It refuses nobody itself.

use crate::domain::Moment;
use std::hash::{BuildHasher, RandomState};
use std::net::{IpAddr, Ipv6Addr};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Counters: 128 KiB in all.
const SLOTS: usize = 16_384;
/// Counters that an address may have.
const WAYS: usize = 4;
const MINUTE_MICROS: u64 = 60_000_000;
/// Leading bits of an IPv6 address that count: one customer has at least a /64.
const V6_BITS: u32 = 64;

/// Failed attempts to authenticate, by address and minute.
#[derive(Debug)]
pub struct Failures {
    /// 32 bits of the address's hash, 16 of the minute, 16 of the count.
    slots: Box<[AtomicU64]>,
    hasher: RandomState,
}

impl Default for Failures {
    fn default() -> Self {
        Self { slots: (0..SLOTS).map(|_| AtomicU64::new(0)).collect(), hasher: RandomState::new() }
    }
}

/// What one counter says.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Entry {
    tag: u32,
    minute: u16,
    count: u16,
}

impl Entry {
    const fn read(bits: u64) -> Self {
        let [a, b, c, d, e, f, g, h] = bits.to_be_bytes();
        Self {
            tag: u32::from_be_bytes([a, b, c, d]),
            minute: u16::from_be_bytes([e, f]),
            count: u16::from_be_bytes([g, h]),
        }
    }

    fn bits(self) -> u64 {
        u64::from(self.tag) << 32 | u64::from(self.minute) << 16 | u64::from(self.count)
    }
}

impl Failures {
    /// Counts a failure. When more than `max` have been counted in this minute: how long until it ends.
    pub fn count(&self, address: IpAddr, max: u32, now: Moment) -> Option<Duration> {
        let (tag, ways) = self.place(address);
        let minute = minute(now);
        // Whoever changes a counter in between has counted too: a few turns are enough.
        for _ in 0..WAYS {
            let own = ways.iter().find(|slot| {
                let entry = Entry::read(slot.load(Ordering::Relaxed));
                entry.tag == tag && entry.minute == minute && entry.count > 0
            });
            let idlest = || {
                ways.iter().min_by_key(|slot| {
                    let entry = Entry::read(slot.load(Ordering::Relaxed));
                    if entry.minute == minute { entry.count } else { 0 }
                })
            };
            let slot = own.or_else(idlest)?;
            let seen = slot.load(Ordering::Relaxed);
            let entry = Entry::read(seen);
            let same = entry.tag == tag && entry.minute == minute;
            let next = Entry { tag, minute, count: if same { entry.count.saturating_add(1) } else { 1 } };
            if slot.compare_exchange(seen, next.bits(), Ordering::Relaxed, Ordering::Relaxed).is_ok() {
                return (u32::from(next.count) > max).then(|| rest(now));
            }
        }
        None
    }

    /// Whether more than `max` have been counted in this minute: how long until it ends.
    #[must_use]
    pub fn beyond(&self, address: IpAddr, max: u32, now: Moment) -> Option<Duration> {
        let (tag, ways) = self.place(address);
        let minute = minute(now);
        let over = |slot: &AtomicU64| {
            let entry = Entry::read(slot.load(Ordering::Relaxed));
            entry.tag == tag && entry.minute == minute && u32::from(entry.count) > max
        };
        ways.iter().any(over).then(|| rest(now))
    }

    fn place(&self, address: IpAddr) -> (u32, &[AtomicU64]) {
        let hash = self.hasher.hash_one(counted(address));
        let set = usize::try_from(hash % (SLOTS / WAYS) as u64).unwrap_or(0);
        let ways = self.slots.get(set * WAYS..(set + 1) * WAYS).unwrap_or_default();
        (u32::try_from(hash >> 32).unwrap_or(0), ways)
    }
}

fn minute(now: Moment) -> u16 {
    u16::try_from(now.as_micros() / MINUTE_MICROS % (1 << 16)).unwrap_or(0)
}

fn rest(now: Moment) -> Duration {
    Duration::from_micros(MINUTE_MICROS - now.as_micros() % MINUTE_MICROS)
}

fn counted(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(v6) => IpAddr::V6(Ipv6Addr::from_bits(v6.to_bits() & (u128::MAX << (128 - V6_BITS)))),
        v4 => v4,
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests may panic")]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000;

    fn address(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn one_too_many_waits_for_the_minute_to_end() {
        let failures = Failures::default();
        let at = |second: u64| Moment::from_micros(second * SECOND);
        let one = address("192.0.2.1");
        assert_eq!([61, 62, 63].map(|s| failures.count(one, 3, at(s))), [None, None, None]);
        assert_eq!(failures.beyond(one, 3, at(64)), None);
        assert_eq!(failures.count(one, 3, at(70)), Some(Duration::from_secs(50)));
        assert_eq!(failures.beyond(one, 3, at(119)), Some(Duration::from_secs(1)));
        assert_eq!(failures.beyond(address("192.0.2.2"), 3, at(70)), None, "another address");
        assert_eq!(failures.beyond(one, 3, at(120)), None, "another minute");
        assert_eq!(failures.count(one, 3, at(121)), None);
    }

    #[test]
    fn a_customer_has_one_counter() {
        let failures = Failures::default();
        let now = Moment::from_micros(SECOND);
        for (one, other, same) in [
            ("2001:db8::1", "2001:db8::ffff:1", true),
            ("2001:db8::1", "2001:db8:0:1::1", false),
            ("::ffff:192.0.2.7", "192.0.2.7", true),
        ] {
            failures.count(address(one), 0, now);
            assert_eq!(failures.beyond(address(other), 0, now).is_some(), same, "{one} {other}");
        }
    }

    #[test]
    fn a_flood_of_addresses_does_not_displace_the_guesser() {
        let failures = Failures::default();
        let now = Moment::from_micros(SECOND);
        let guesser = address("192.0.2.1");
        for _ in 0..100 {
            failures.count(guesser, 10, now);
        }
        for bits in 0..200_000_u32 {
            failures.count(IpAddr::V4(bits.into()), 10, now);
        }
        assert!(failures.beyond(guesser, 10, now).is_some());
    }

    #[test]
    fn counters_saturate_and_threads_lose_nothing() {
        let failures = Failures::default();
        let (now, one) = (Moment::from_micros(SECOND), address("192.0.2.1"));
        std::thread::scope(|scope| {
            for _ in 0..2 {
                scope.spawn(|| (0..40_000).for_each(|_| assert_eq!(failures.count(one, 70_000, now), None)));
            }
        });
        assert!(failures.beyond(one, 30_000, now).is_some());
        assert_eq!(failures.beyond(one, u32::from(u16::MAX), now), None);
    }
}
