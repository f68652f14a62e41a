//! Which clients' connections are open: in total, and by address. Says whether another one fits; closes nothing itself.
//!
//! An entry lives as long as a connection of its address: the table is bounded by the total.

use parking_lot::Mutex;
use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Leading bits of an IPv6 address that count: one customer has at least a /64.
const V6_PREFIX: u32 = 64;

/// The open connections. Clones share the counts.
#[derive(Clone, Debug, Default)]
pub struct Connections(Arc<Counts>);

#[derive(Debug, Default)]
struct Counts {
    open: AtomicUsize,
    addresses: Mutex<HashMap<IpAddr, u32>>,
}

/// One open connection, until it is dropped.
#[derive(Debug)]
pub struct Seat {
    counts: Arc<Counts>,
    address: Option<IpAddr>,
}

impl Connections {
    /// A seat for one more connection; `None` when `max` are open.
    #[must_use]
    pub fn take(&self, max: usize) -> Option<Seat> {
        let fits = |open: usize| (open < max).then_some(open + 1);
        self.0.open.fetch_update(Ordering::Relaxed, Ordering::Relaxed, fits).ok()?;
        Some(Seat { counts: Arc::clone(&self.0), address: None })
    }

    /// Connections open now.
    #[must_use]
    pub fn open(&self) -> usize {
        self.0.open.load(Ordering::Relaxed)
    }

    /// Addresses with an open connection that counts for them.
    #[must_use]
    pub fn addresses(&self) -> usize {
        self.0.addresses.lock().len()
    }
}

impl Seat {
    /// Counts it for its client's address too; `false`, and nothing changes, when `max` of that address are open.
    #[must_use]
    pub fn claim(&mut self, address: IpAddr, max: u32) -> bool {
        let address = counted(address);
        let mut addresses = self.counts.addresses.lock();
        let open = addresses.get(&address).copied().unwrap_or(0);
        if open >= max || self.address.is_some() {
            return false;
        }
        addresses.insert(address, open + 1);
        drop(addresses);
        self.address = Some(address);
        true
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.counts.open.fetch_sub(1, Ordering::Relaxed);
        let Some(address) = self.address else { return };
        let mut addresses = self.counts.addresses.lock();
        match addresses.get_mut(&address) {
            Some(open) if *open > 1 => *open -= 1,
            _ => {
                addresses.remove(&address);
                // After a flood the table gives its memory back.
                if addresses.capacity() > 64 && addresses.len() < addresses.capacity() / 8 {
                    addresses.shrink_to_fit();
                }
            }
        }
    }
}

/// What an address counts as: itself, or its /64 network for IPv6.
fn counted(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(v6) => IpAddr::V6(Ipv6Addr::from_bits(v6.to_bits() >> (128 - V6_PREFIX) << (128 - V6_PREFIX))),
        v4 @ IpAddr::V4(_) => v4,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests may panic")]
    use super::*;

    fn at(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn seats_end_at_the_total_and_come_back() {
        let connections = Connections::default();
        let (one, two) = (connections.take(2).unwrap(), connections.take(2).unwrap());
        assert!(connections.take(2).is_none());
        assert_eq!(connections.open(), 2);
        drop(one);
        assert!(connections.take(2).is_some());
        drop(two);
        assert_eq!(connections.open(), 0);
    }

    #[test]
    fn an_address_has_its_own_cap_and_ipv6_counts_by_network() {
        let connections = Connections::default();
        let seat = |address: &str| {
            let mut seat = connections.take(100).unwrap();
            seat.claim(at(address), 2).then_some(seat)
        };
        let held = (seat("192.0.2.1").unwrap(), seat("::ffff:192.0.2.1").unwrap(), seat("192.0.2.2").unwrap());
        assert!(seat("192.0.2.1").is_none());
        let six = (seat("2001:db8:0:1::1").unwrap(), seat("2001:db8:0:1:ffff::2").unwrap());
        assert!(seat("2001:db8:0:1:1::").is_none());
        assert!(seat("2001:db8:0:2::1").is_some());
        assert_eq!((connections.open(), connections.addresses()), (5, 3));
        drop((held, six));
        assert_eq!((connections.open(), connections.addresses()), (0, 0));
    }
}
