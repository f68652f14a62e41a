//! Residency of one configuration: the zones, who is bound by them, and where clients are.

use super::{Databases, Snapshot};
use crate::domain::ListenerName;
use crate::policy::distance::Spot;
use crate::policy::residency::{self, Kind};
use http::HeaderValue;
use std::net::IpAddr;
use std::sync::Arc;

/// Where the data of whose requests may be processed.
#[derive(Clone, Debug)]
pub struct Residency {
    /// The zones, and which countries they bind.
    pub rules: residency::Residency,
    /// Every listener with the zone that binds its requests; empty where none does.
    pub listeners: Vec<(ListenerName, Option<usize>)>,
    /// What was proved when the configuration was loaded.
    pub proof: Proof,
}

/// Every way from somebody who is bound to a backend: consumer, token, listener or country → route → pool → backend.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Proof {
    /// Ways that end at a backend inside the zone.
    pub inside: u64,
    /// Ways that end at a backend outside, which is barred.
    pub barred: u64,
}

/// Where a backend is on the globe, and where it processes data.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Site {
    /// How its deployment processes data, where the file states it.
    pub kind: Option<Kind>,
    /// Where it is, where that is known.
    pub spot: Option<Spot>,
    /// Value of `X-Tidegate-Region`: the place where it processes data, where that is known.
    pub place: Option<HeaderValue>,
}

impl Snapshot {
    /// The databases that tell where clients are.
    #[must_use]
    pub fn locator(&self) -> Option<&Arc<Databases>> {
        self.locator.as_ref().or_else(|| self.waf.as_ref()?.databases.as_ref())
    }

    /// Where a client is; nothing is known of one without an address.
    #[must_use]
    pub fn locate(&self, address: Option<IpAddr>) -> super::Located {
        self.locator().zip(address).map(|(known, address)| known.locate(address)).unwrap_or_default()
    }
}
