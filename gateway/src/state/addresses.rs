//! Resolved addresses of one backend. Never resolves: `background` does, off the request path.

use arc_swap::ArcSwap;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Most addresses kept of one name.
const ADDRESSES_MAX: usize = 16;

/// The last good addresses of a backend's host.
#[derive(Debug, Default)]
pub struct Addresses {
    list: ArcSwap<Vec<SocketAddr>>,
    /// Length of `list`, so that selection need not touch it.
    count: AtomicUsize,
}

impl Addresses {
    /// Addresses of `host`, known at once when it is an address literal.
    pub(super) fn of_host(host: &str, port: u16) -> Self {
        let addresses = Self::default();
        if let Ok(literal) = host.parse::<IpAddr>() {
            addresses.replace(vec![SocketAddr::new(literal, port)]);
        }
        addresses
    }

    /// Takes over what a look-up found. An empty list changes nothing: the last good ones stay.
    pub fn replace(&self, mut found: Vec<SocketAddr>) {
        if found.is_empty() {
            return;
        }
        found.truncate(ADDRESSES_MAX);
        self.count.store(found.len(), Ordering::Release);
        self.list.store(Arc::new(found));
    }

    /// The address for turn `turn`: turns walk around the list.
    #[must_use]
    pub fn address(&self, turn: usize) -> Option<SocketAddr> {
        let list = self.list.load();
        list.get(turn.checked_rem(list.len())?).copied()
    }

    /// How many there are.
    #[must_use]
    pub fn count(&self) -> usize {
        self.count.load(Ordering::Acquire)
    }

    /// A copy of all.
    #[must_use]
    pub fn all(&self) -> Vec<SocketAddr> {
        self.list.load().as_ref().clone()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests may panic")]
    use super::*;

    #[test]
    fn the_last_good_addresses_stay() {
        let named = Addresses::of_host("a.example", 443);
        assert_eq!((named.count(), named.address(3)), (0, None));
        let two: Vec<SocketAddr> = vec!["192.0.2.1:443".parse().unwrap(), "[2001:db8::1]:443".parse().unwrap()];
        named.replace(two.clone());
        named.replace(Vec::new());
        assert_eq!([0, 1, 2].map(|turn| named.address(turn)), [Some(two[0]), Some(two[1]), Some(two[0])]);
        assert_eq!(named.count(), 2);
    }

    #[test]
    fn literals_need_no_look_up() {
        assert_eq!(Addresses::of_host("2001:db8::1", 8443).address(0), Some("[2001:db8::1]:8443".parse().unwrap()));
    }
}
