//! Who the client is when proxies stand between it and us, and whether a request goes round in circles. Believes nobody
//! but the networks and the Front Doors it was told; never looks at what is asked.

use crate::domain::{ListenerName, NetworkSet};
use std::fmt;
use std::net::{IpAddr, SocketAddr};

/// Most entries of `X-Forwarded-For` and `Via` that are looked at.
const ENTRIES_MAX: usize = 32;
/// Longest entry that may be an address: a bracketed IPv6 one with a port.
const ENTRY_LENGTH_MAX: usize = 64;
/// Beginning of the name by which a Tidegate signs `Via`.
pub const VIA_PREFIX: &str = "tidegate-";

/// Which hops are believed, and how many of us a request may pass.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hops {
    /// Peers in these networks are proxies of ours: what they say of their client holds.
    pub networks: NetworkSet,
    /// Listeners that take the requests of certain Front Doors only.
    pub front_doors: Vec<FrontDoor>,
    /// How many other gateways of this kind a request may have passed.
    pub passes_max: u32,
    /// Make a `traceparent` for a request that has none.
    pub trace_created: bool,
}

/// One listener behind Front Door.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FrontDoor {
    /// The listener.
    pub listener: ListenerName,
    /// The Front Doors whose requests it takes.
    pub ids: Vec<FrontDoorId>,
}

/// The id of a Front Door profile, as in `X-Azure-FDID`: a GUID. It prints as `***`: whoever knows it passes for that Front
/// Door.
#[derive(Clone, PartialEq, Eq)]
pub struct FrontDoorId(Box<str>);

/// What `X-Azure-FDID` may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("is no id of a Front Door")]
pub struct FrontDoorIdError;

/// The request goes round in circles.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Loop;

impl Default for Hops {
    fn default() -> Self {
        Self { networks: NetworkSet::default(), front_doors: Vec::new(), passes_max: 4, trace_created: false }
    }
}

impl Hops {
    /// Whether nobody is believed and nobody is locked out: the usual case, and then there is nothing to ask.
    #[must_use]
    pub fn is_plain(&self) -> bool {
        self.networks.is_empty() && self.front_doors.is_empty()
    }

    /// Whether an address is one of a proxy of ours.
    #[must_use]
    pub fn trusts(&self, address: IpAddr) -> bool {
        self.networks.contains(address)
    }

    /// The Front Doors of a listener.
    #[must_use]
    pub fn front_door(&self, listener: &str) -> Option<&FrontDoor> {
        self.front_doors.iter().find(|door| door.listener.as_str() == listener)
    }

    /// The client behind `peer`: the right-most address of `forwarded` that is not in a trusted network. The values of
    /// `X-Forwarded-For` come in the order of the request. A peer that is not trusted is the client itself, whatever it
    /// says. Behind an entry that is no address nothing is believed: the last good one counts. An entry without a port
    /// has port 0.
    pub fn client<'a, V>(&self, peer: SocketAddr, forwarded: V) -> SocketAddr
    where
        V: DoubleEndedIterator<Item = &'a [u8]>,
    {
        if !self.trusts(peer.ip()) {
            return peer;
        }
        let entries = forwarded.rev().flat_map(|value| value.rsplit(|byte| *byte == b','));
        let mut client = peer;
        for entry in entries.map(<[u8]>::trim_ascii).take(ENTRIES_MAX) {
            // A list may hold empty elements (RFC 9110, 5.6.1).
            if entry.is_empty() {
                continue;
            }
            let Some(address) = address(entry) else { break };
            client = address;
            if !self.trusts(address.ip()) {
                break;
            }
        }
        client
    }

    /// The client as a verified Front Door tells it: the address that connected to it, and where that one is a proxy of
    /// ours, the client that it read out of `X-Forwarded-For`.
    #[must_use]
    pub fn client_of_front_door(&self, socket: Option<&[u8]>, client: Option<&[u8]>) -> Option<SocketAddr> {
        let read = |value: Option<&[u8]>| value.and_then(|value| address(value.trim_ascii()));
        match (read(socket), read(client)) {
            (Some(socket), Some(client)) if self.trusts(socket.ip()) => Some(client),
            (Some(socket), _) => Some(socket),
            (None, client) => client,
        }
    }

    /// Looks for us in the values of `Via`: `own` is the name that we sign with.
    ///
    /// # Errors
    /// [`Loop`] when the request was here before, or has passed too many gateways of our kind.
    pub fn passed<'a>(&self, own: &str, via: impl Iterator<Item = &'a [u8]>) -> Result<(), Loop> {
        let mut passes = 0;
        let entries = via.flat_map(|value| value.split(|byte| *byte == b','));
        for (index, entry) in entries.enumerate() {
            // `received-protocol received-by [comment]`
            let mut words = entry.trim_ascii().split(u8::is_ascii_whitespace).filter(|word| !word.is_empty());
            let Some(name) = words.nth(1).and_then(|word| std::str::from_utf8(word).ok()) else { continue };
            if name.starts_with(VIA_PREFIX) {
                passes += 1;
            }
            // So long a list is a circle of somebody's, whoever signed it.
            if name == own || passes > self.passes_max || index >= ENTRIES_MAX {
                return Err(Loop);
            }
        }
        Ok(())
    }
}

impl FrontDoor {
    /// Whether the request has the id of one of these Front Doors: exactly one value, in any case of letters.
    pub fn admits<'a>(&self, mut values: impl Iterator<Item = &'a [u8]>) -> bool {
        let (Some(value), None) = (values.next(), values.next()) else { return false };
        self.ids.iter().any(|id| id.0.as_bytes().eq_ignore_ascii_case(value.trim_ascii()))
    }
}

impl FrontDoorId {
    /// Checks and takes an id.
    ///
    /// # Errors
    /// [`FrontDoorIdError`] for what is no GUID.
    pub fn new(text: &str) -> Result<Self, FrontDoorIdError> {
        let groups = text.split('-').map(str::len);
        let is_guid = groups.eq([8, 4, 4, 4, 12]) && text.bytes().all(|b| b == b'-' || b.is_ascii_hexdigit());
        if is_guid { Ok(Self(text.into())) } else { Err(FrontDoorIdError) }
    }
}

impl fmt::Debug for FrontDoorId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

/// `192.0.2.7`, `192.0.2.7:4711`, `2001:db8::7`, `[2001:db8::7]` or `[2001:db8::7]:4711`.
fn address(entry: &[u8]) -> Option<SocketAddr> {
    let text = std::str::from_utf8(entry).ok().filter(|text| text.len() <= ENTRY_LENGTH_MAX)?;
    if let Ok(address) = text.parse::<IpAddr>() {
        return Some(SocketAddr::new(address.to_canonical(), 0));
    }
    if let Ok(address) = text.parse::<SocketAddr>() {
        return Some(SocketAddr::new(address.ip().to_canonical(), address.port()));
    }
    let inner = text.strip_prefix('[')?.strip_suffix(']')?;
    let address = IpAddr::V6(inner.parse().ok()?);
    Some(SocketAddr::new(address.to_canonical(), 0))
}

#[cfg(test)]
mod tests;
