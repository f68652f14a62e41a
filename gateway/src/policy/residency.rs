//! Where the data of a request may be processed: what zones hold, which of them bind a request, and whether a backend is inside.
//!
//! | A backend of the kind | processes data in | and is inside a zone that allows the kind and |
//! |---|---|---|
//! | `regional` | its region | has its region |
//! | `data_zone_eu`, `data_zone_us` | any region of that data zone | has its region and every region of that data zone |
//! | `global` | any region of Azure | has its region; zones do not allow the kind unless they say so |
//! | not stated | nobody knows | never |
//!
//! A request is bound by everything that is said about it: its listener, its consumer, its token and its country. All of them
//! must hold; what has nothing in common is refused. It chooses no backend.

use super::screen::view::Country;
use crate::domain::{Region, ZoneName, Zones};
use std::collections::BTreeMap;

/// Most regions that all zones of a configuration name together.
pub const REGIONS_MAX: usize = 256;

/// How a deployment processes data, in Azure's words.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// In its own region: `Standard`, `ProvisionedManaged`.
    Regional,
    /// In any region of the EU data zone: `DataZoneStandard`, `DataZoneProvisionedManaged` there.
    DataZoneEu,
    /// In any region of the US data zone.
    DataZoneUs,
    /// In any region: `GlobalStandard`, `GlobalProvisionedManaged`.
    Global,
}

impl Kind {
    /// Every kind, for tables and tests.
    pub const ALL: [Self; 4] = [Self::Regional, Self::DataZoneEu, Self::DataZoneUs, Self::Global];

    /// Its word in the configuration.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::Regional => "regional",
            Self::DataZoneEu => "data_zone_eu",
            Self::DataZoneUs => "data_zone_us",
            Self::Global => "global",
        }
    }

    /// Where a deployment of this kind in `region` processes data, for headers and logs.
    #[must_use]
    pub fn place(self, region: &Region) -> &str {
        match self {
            Self::Regional => region.as_str(),
            Self::DataZoneEu => "eu",
            Self::DataZoneUs => "us",
            Self::Global => "global",
        }
    }
}

/// Kinds of deployments.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Kinds(u8);

impl Kinds {
    /// Whether this kind is one of them.
    #[must_use]
    pub const fn has(self, kind: Kind) -> bool {
        self.0 & (1 << kind as u8) != 0
    }

    const fn both(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }
}

impl FromIterator<Kind> for Kinds {
    fn from_iter<I: IntoIterator<Item = Kind>>(kinds: I) -> Self {
        Self(kinds.into_iter().fold(0, |all, kind| all | 1 << kind as u8))
    }
}

/// Regions of Azure's data zones.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DataZones {
    /// Of the EU data zone.
    pub eu: Vec<Region>,
    /// Of the US data zone.
    pub us: Vec<Region>,
}

impl DataZones {
    /// Those of a kind; of none where the kind has no data zone.
    #[must_use]
    pub fn of(&self, kind: Kind) -> &[Region] {
        match kind {
            Kind::DataZoneEu => &self.eu,
            Kind::DataZoneUs => &self.us,
            Kind::Regional | Kind::Global => &[],
        }
    }
}

/// A residency: where data may be processed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Zone {
    /// Its name.
    pub name: ZoneName,
    /// Its regions in lower case, sorted.
    regions: Vec<Box<str>>,
    /// Kinds of deployments that it allows.
    kinds: Kinds,
    /// Of these, those whose data zone lies in its regions, and those that have none.
    whole: Kinds,
    /// Its regions as marks over those of all zones.
    marks: Marks,
}

type Marks = [u64; REGIONS_MAX / 64];

impl Zone {
    /// A zone of these regions.
    #[must_use]
    pub fn new(name: ZoneName, regions: &[Region], kinds: Kinds, data_zones: &DataZones) -> Self {
        let mut regions: Vec<Box<str>> =
            regions.iter().map(|region| region.as_str().to_ascii_lowercase().into()).collect();
        regions.sort_unstable();
        regions.dedup();
        let mut zone = Self { name, regions, kinds, whole: Kinds::default(), marks: Marks::default() };
        let spans = |kind: &Kind| kinds.has(*kind) && data_zones.of(*kind).iter().all(|region| zone.has(region));
        zone.whole = Kind::ALL.into_iter().filter(spans).collect();
        zone
    }

    /// Whether what a deployment of this kind in this region gets is processed inside.
    #[must_use]
    pub fn holds(&self, region: &Region, kind: Option<Kind>) -> bool {
        kind.is_some_and(|kind| self.whole.has(kind)) && self.has(region)
    }

    /// Whether it allows deployments that process data anywhere.
    #[must_use]
    pub const fn allows_global(&self) -> bool {
        self.kinds.has(Kind::Global)
    }

    fn has(&self, region: &Region) -> bool {
        let wanted = || region.as_str().bytes().map(|byte| byte.to_ascii_lowercase());
        self.regions.binary_search_by(|known| known.bytes().cmp(wanted())).is_ok()
    }
}

/// What holds for a client that no zone lists.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Unlisted {
    /// It is refused.
    #[default]
    Refuse,
    /// Its country says nothing.
    Unbound,
    /// This zone.
    Zone(usize),
}

/// The zones of a configuration, and which countries they bind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Residency {
    zones: Vec<Zone>,
    countries: BTreeMap<Country, usize>,
    other_countries: Unlisted,
    unknown_country: Unlisted,
    default: Option<usize>,
}

/// What is said about the residency of one request.
#[derive(Clone, Copy, Debug, Default)]
pub struct Said {
    /// By the listener that it came to.
    pub listener: Option<usize>,
    /// By its consumer.
    pub consumer: Option<usize>,
    /// By its token.
    pub token: Zones,
    /// Where its client is, as far as is known; looked at only where [`Residency::asks_country`].
    pub country: Country,
}

/// Why a request cannot be bound.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unbindable {
    /// Nothing is configured for its country.
    Country,
    /// Its zones have no region, or no kind of deployment, in common.
    Conflict,
}

impl Residency {
    /// These zones, for clients of these countries. Regions beyond the 256th of all zones have nothing in common with any.
    #[must_use]
    pub fn new(mut zones: Vec<Zone>, countries: BTreeMap<Country, usize>) -> Self {
        let mut all: Vec<Box<str>> = zones.iter().flat_map(|zone| zone.regions.iter().cloned()).collect();
        all.sort_unstable();
        all.dedup();
        for zone in &mut zones {
            for at in zone.regions.iter().filter_map(|region| all.binary_search(region).ok()) {
                if let Some(word) = zone.marks.get_mut(at / 64) {
                    *word |= 1 << (at % 64);
                }
            }
        }
        let (other_countries, unknown_country) = (Unlisted::Refuse, Unlisted::Refuse);
        Self { zones, countries, other_countries, unknown_country, default: None }
    }

    /// With what holds for other countries, for unknown ones, and where nothing else is said.
    #[must_use]
    pub fn with(self, other_countries: Unlisted, unknown_country: Unlisted, default: Option<usize>) -> Self {
        Self { other_countries, unknown_country, default, ..self }
    }

    /// Its zones, in the order of the file.
    #[must_use]
    pub fn zones(&self) -> &[Zone] {
        &self.zones
    }

    /// Whether the client's country says something.
    #[must_use]
    pub fn asks_country(&self) -> bool {
        !self.countries.is_empty()
    }

    /// Every zone that some country may be bound by, and which countries these are, in words.
    pub fn by_country(&self) -> impl Iterator<Item = (usize, String)> {
        let listed = self.countries.iter().map(|(country, zone)| (*zone, format!("country {country}")));
        let rest = [(self.other_countries, "any other country"), (self.unknown_country, "an unknown country")];
        let rest = rest.into_iter().filter(|_| self.asks_country()).filter_map(|(unlisted, words)| match unlisted {
            Unlisted::Zone(zone) => Some((zone, words.to_owned())),
            Unlisted::Refuse | Unlisted::Unbound => None,
        });
        listed.chain(rest)
    }

    /// The zone of requests about which nothing else is said.
    #[must_use]
    pub const fn default_zone(&self) -> Option<usize> {
        self.default
    }

    /// The zones that bind a request: all that are said.
    ///
    /// # Errors
    /// Why it must be refused.
    pub fn bind(&self, said: Said) -> Result<Zones, Unbindable> {
        let mut zones = said.token.and(said.listener.into()).and(said.consumer.into());
        if self.asks_country() {
            zones = zones.and(self.of_country(said.country)?);
        }
        if zones.is_empty() {
            return Ok(self.default.into());
        }
        if self.agree(zones) { Ok(zones) } else { Err(Unbindable::Conflict) }
    }

    fn of_country(&self, country: Country) -> Result<Zones, Unbindable> {
        let unlisted = match self.countries.get(&country) {
            Some(zone) => return Ok(Zones::one(*zone)),
            None if country == Country::UNKNOWN => self.unknown_country,
            None => self.other_countries,
        };
        match unlisted {
            Unlisted::Refuse => Err(Unbindable::Country),
            Unlisted::Unbound => Ok(Zones::NONE),
            Unlisted::Zone(zone) => Ok(Zones::one(zone)),
        }
    }

    /// Whether some region and some kind of deployment is in all of them.
    fn agree(&self, zones: Zones) -> bool {
        let mut named = zones.indexes().filter_map(|index| self.zones.get(index));
        let Some(first) = named.next() else { return false };
        let (mut marks, mut kinds, mut alone) = (first.marks, first.kinds, true);
        for zone in named {
            alone = false;
            kinds = kinds.both(zone.kinds);
            marks.iter_mut().zip(zone.marks).for_each(|(word, other)| *word &= other);
        }
        alone || (kinds != Kinds::default() && marks != Marks::default())
    }

    /// Whether what a deployment of this kind in this region gets is processed inside all of `zones`. Asked of every attempt
    /// on its own, beside the marks that the configuration was compiled to.
    #[must_use]
    pub fn holds(&self, zones: Zones, region: &Region, kind: Option<Kind>) -> bool {
        zones.indexes().all(|index| self.zones.get(index).is_some_and(|zone| zone.holds(region, kind)))
    }
}

/// Which backends of a pool are outside of each zone, one mark for each backend.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Outside(Vec<u64>);

impl Outside {
    /// Of backends in this order.
    #[must_use]
    pub fn new<'b>(residency: &Residency, backends: impl Iterator<Item = (&'b Region, Option<Kind>)> + Clone) -> Self {
        let outside = |zone: &Zone| {
            let marked = backends.clone().enumerate().filter(|(_, (region, kind))| !zone.holds(region, *kind));
            marked
                .fold(0, |marks, (index, _)| marks | 1_u64.checked_shl(u32::try_from(index).unwrap_or(64)).unwrap_or(0))
        };
        Self(residency.zones.iter().map(outside).collect())
    }

    /// The backends that a request of these zones may never use.
    #[must_use]
    pub fn of(&self, zones: Zones) -> u64 {
        zones.indexes().fold(0, |marks, index| marks | self.0.get(index).copied().unwrap_or(u64::MAX))
    }
}

#[cfg(test)]
mod tests;
