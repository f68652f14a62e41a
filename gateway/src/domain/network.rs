//! [`Network`] and [`NetworkSet`]: blocks of addresses, and the question whether an address lies in one of them.
//!
//! An IPv4 address written as IPv6 (`::ffff:192.0.2.1`) is the IPv4 address, everywhere.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

/// A block of addresses: an address and the number of its leading bits that count.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Network {
    address: IpAddr,
    prefix: u8,
}

/// Why text is no [`Network`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NetworkError {
    /// The part before the slash is no address.
    #[error("is no IP address or CIDR block")]
    Address,
    /// The part after the slash is no length of this family.
    #[error("has no prefix length from 0 to {max} after the slash")]
    Prefix {
        /// Bits of the family.
        max: u8,
    },
    /// Bits beyond the prefix are set: either the address or the length is a slip.
    #[error("has bits set beyond its prefix; the block is written {network}")]
    HostBits {
        /// What was probably meant.
        network: Network,
    },
}

/// Many networks, merged into sorted ranges: a look-up is a binary search.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NetworkSet {
    v4: Vec<(u32, u32)>,
    v6: Vec<(u128, u128)>,
}

impl Network {
    /// Whether `address` lies in it.
    #[must_use]
    pub fn contains(&self, address: IpAddr) -> bool {
        match (self.address, address.to_canonical()) {
            (IpAddr::V4(network), IpAddr::V4(address)) => {
                let mask = mask(128 - 32 + u32::from(self.prefix));
                u128::from(network.to_bits()) == u128::from(address.to_bits()) & mask
            }
            (IpAddr::V6(network), IpAddr::V6(address)) => {
                network.to_bits() == address.to_bits() & mask(u32::from(self.prefix))
            }
            _ => false,
        }
    }
}

/// The leading `ones` of 128 bits.
fn mask(ones: u32) -> u128 {
    u128::MAX.checked_shl(128u32.saturating_sub(ones)).unwrap_or(0)
}

impl FromStr for Network {
    type Err = NetworkError;

    /// `192.0.2.0/24`, `2001:db8::/32`, or a single address.
    fn from_str(text: &str) -> Result<Self, NetworkError> {
        let (address, length) = text.split_once('/').map_or((text, None), |(address, length)| (address, Some(length)));
        let typed: IpAddr = address.parse().map_err(|_error| NetworkError::Address)?;
        let max = if typed.is_ipv4() { 32 } else { 128 };
        let prefix = match length {
            None => max,
            Some(digits) if !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit()) => {
                digits.parse().ok().filter(|length| *length <= max).ok_or(NetworkError::Prefix { max })?
            }
            Some(_) => return Err(NetworkError::Prefix { max }),
        };
        let (address, prefix) = match typed.to_canonical() {
            IpAddr::V4(v4) if typed.is_ipv6() && prefix >= 96 => (IpAddr::V4(v4), prefix - 96),
            IpAddr::V4(_) if typed.is_ipv6() => (typed, prefix),
            canonical => (canonical, prefix),
        };
        let network = Self { address: first(address, prefix), prefix };
        if network.address == address { Ok(network) } else { Err(NetworkError::HostBits { network }) }
    }
}

fn first(address: IpAddr, prefix: u8) -> IpAddr {
    match address {
        IpAddr::V4(v4) => {
            let bits = u128::from(v4.to_bits()) & mask(128 - 32 + u32::from(prefix));
            IpAddr::V4(Ipv4Addr::from_bits(u32::try_from(bits).unwrap_or(0)))
        }
        IpAddr::V6(v6) => IpAddr::V6(Ipv6Addr::from_bits(v6.to_bits() & mask(u32::from(prefix)))),
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.prefix)
    }
}

impl NetworkSet {
    /// Whether `address` lies in one of the networks.
    #[must_use]
    pub fn contains(&self, address: IpAddr) -> bool {
        match address.to_canonical() {
            IpAddr::V4(v4) => covers(&self.v4, v4.to_bits()),
            IpAddr::V6(v6) => covers(&self.v6, v6.to_bits()),
        }
    }

    /// No network at all.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.v4.is_empty() && self.v6.is_empty()
    }
}

impl FromIterator<Network> for NetworkSet {
    fn from_iter<I: IntoIterator<Item = Network>>(networks: I) -> Self {
        let (mut v4, mut v6) = (Vec::new(), Vec::new());
        for network in networks {
            match network.address {
                IpAddr::V4(first) => {
                    let first = first.to_bits();
                    v4.push((first, first | u32::MAX.checked_shr(u32::from(network.prefix)).unwrap_or(0)));
                }
                IpAddr::V6(first) => {
                    let first = first.to_bits();
                    v6.push((first, first | !mask(u32::from(network.prefix))));
                }
            }
        }
        Self { v4: merged(v4), v6: merged(v6) }
    }
}

fn covers<N: Ord + Copy>(ranges: &[(N, N)], address: N) -> bool {
    let after = ranges.partition_point(|(first, _)| *first <= address);
    after.checked_sub(1).and_then(|index| ranges.get(index)).is_some_and(|(_, last)| address <= *last)
}

fn merged<N: Ord + Copy>(mut ranges: Vec<(N, N)>) -> Vec<(N, N)> {
    ranges.sort_unstable();
    let mut out: Vec<(N, N)> = Vec::with_capacity(ranges.len());
    for (first, last) in ranges {
        match out.last_mut() {
            Some(open) if first <= open.1 => open.1 = open.1.max(last),
            _ => out.push((first, last)),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests may panic")]
    use super::*;
    use proptest::prelude::{ProptestConfig, any, prop_assert_eq, proptest};

    #[test]
    fn text_becomes_a_network_or_says_why_not() {
        for (text, spelled) in [
            ("192.0.2.7", "192.0.2.7/32"),
            ("10.0.0.0/8", "10.0.0.0/8"),
            ("0.0.0.0/0", "0.0.0.0/0"),
            ("2001:db8::/32", "2001:db8::/32"),
            ("::ffff:10.0.0.0/104", "10.0.0.0/8"),
            ("::/0", "::/0"),
        ] {
            assert_eq!(text.parse::<Network>().unwrap().to_string(), spelled);
        }
        for text in ["", "10.0.0", "10.0.0.256", "host", "10.0.0.0 /8", "1.2.3.4.5"] {
            assert_eq!(text.parse::<Network>(), Err(NetworkError::Address), "{text}");
        }
        for text in ["10.0.0.0/33", "10.0.0.0/", "10.0.0.0/+8", "10.0.0.0/8/8", "10.0.0.0/999"] {
            assert_eq!(text.parse::<Network>(), Err(NetworkError::Prefix { max: 32 }), "{text}");
        }
        let slip = "10.0.0.1/8".parse::<Network>().unwrap_err();
        assert!(slip.to_string().ends_with("10.0.0.0/8"), "{slip}");
    }

    #[test]
    fn a_set_holds_what_its_networks_hold() {
        let set: NetworkSet =
            ["10.0.0.0/8", "10.1.0.0/16", "192.0.2.1", "2001:db8::/32"].iter().map(|n| n.parse().unwrap()).collect();
        for (address, inside) in [
            ("10.255.0.1", true),
            ("11.0.0.0", false),
            ("9.255.255.255", false),
            ("192.0.2.1", true),
            ("192.0.2.2", false),
            ("::ffff:10.1.2.3", true),
            ("2001:db8:ffff::1", true),
            ("2001:db9::", false),
        ] {
            assert_eq!(set.contains(address.parse().unwrap()), inside, "{address}");
        }
        assert!(!NetworkSet::default().contains("::1".parse().unwrap()));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(256))]
        #[test]
        fn set_and_networks_agree(blocks in proptest::collection::vec((any::<u32>(), 0u8..=32), 0..8), address in any::<u32>()) {
            let networks: Vec<Network> = blocks
                .iter()
                .map(|(bits, prefix)| Network { address: first(IpAddr::V4(Ipv4Addr::from_bits(*bits)), *prefix), prefix: *prefix })
                .collect();
            let address = IpAddr::V4(Ipv4Addr::from_bits(address));
            let set: NetworkSet = networks.iter().copied().collect();
            prop_assert_eq!(set.contains(address), networks.iter().any(|n| n.contains(address)));
        }
    }
}
