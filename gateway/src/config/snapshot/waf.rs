//! The web application firewall of one configuration: its policies, and where addresses are registered. It looks things up
//! in memory and never opens a file.

use crate::config::countries;
use crate::policy::distance::{Point, Spot};
use crate::policy::screen::ruleset::Policy;
use crate::policy::screen::view::{Country, Place};
use maxminddb::Reader;
use maxminddb::geoip2;
use serde::Deserialize;
use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

/// The web application firewall. Each route has its policy; this is the rest.
#[derive(Clone, Debug)]
pub struct Waf {
    /// The policy of requests that no route takes.
    pub policy: Option<Arc<Policy>>,
    /// Every policy, for metrics.
    pub policies: Vec<Arc<Policy>>,
    /// Where addresses are registered.
    pub databases: Option<Arc<Databases>>,
}

/// Databases that tell where an address is registered, held in memory.
pub struct Databases {
    countries: Option<Reader<Vec<u8>>>,
    systems: Option<Reader<Vec<u8>>>,
}

/// Where an address is, as far as a database knows.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Located {
    /// Its country.
    pub country: Country,
    /// On the globe: as the database says, else about the middle of its country.
    pub spot: Option<Spot>,
}

/// What is read of a database's record, and nothing else.
#[derive(Deserialize)]
struct Record<'a> {
    #[serde(borrow, default)]
    country: Code<'a>,
    #[serde(borrow, default)]
    registered_country: Code<'a>,
    #[serde(default)]
    location: Degrees,
}

#[derive(Default, Deserialize)]
struct Code<'a> {
    iso_code: Option<&'a str>,
}

#[derive(Default, Deserialize)]
struct Degrees {
    latitude: Option<f64>,
    longitude: Option<f64>,
}

/// Why bytes are no database that we can use.
#[derive(Debug, thiserror::Error)]
pub enum DatabaseError {
    /// Not the format.
    #[error("holds no MaxMind database: {0}")]
    Format(String),
    /// Another kind of database.
    #[error("is a database of the kind `{0}`")]
    Kind(String),
}

impl Located {
    /// About the middle of a country.
    #[must_use]
    pub fn in_country(country: Country) -> Self {
        Self { country, spot: countries::middle(country).map(Point::spot) }
    }
}

impl Waf {
    /// Where `address` is registered, as far as the databases know.
    #[must_use]
    pub fn place(&self, address: Option<IpAddr>) -> Place {
        self.databases.as_ref().zip(address).map(|(known, at)| known.place(at)).unwrap_or_default()
    }
}

impl Databases {
    /// Reads the databases of countries (or cities) and of autonomous systems from bytes.
    ///
    /// # Errors
    /// [`DatabaseError`], with `true` where it is about the second one.
    pub fn new(countries: Option<Vec<u8>>, systems: Option<Vec<u8>>) -> Result<Self, (bool, DatabaseError)> {
        let countries = countries.map(|bytes| open(bytes, &["Country", "City", "Enterprise"])).transpose();
        let systems = systems.map(|bytes| open(bytes, &["ASN", "ISP"])).transpose();
        Ok(Self {
            countries: countries.map_err(|error| (false, error))?,
            systems: systems.map_err(|error| (true, error))?,
        })
    }

    /// Where `address` is registered; what is not known is `ZZ` and nothing.
    #[must_use]
    pub fn place(&self, address: IpAddr) -> Place {
        let address = address.to_canonical();
        Place { country: self.country(address).unwrap_or_default(), asn: self.system(address) }
    }

    /// Where `address` is; what is not known is `ZZ` and nothing.
    #[must_use]
    pub fn locate(&self, address: IpAddr) -> Located {
        self.record(address.to_canonical()).unwrap_or_default()
    }

    fn record(&self, address: IpAddr) -> Option<Located> {
        let record = self.countries.as_ref()?.lookup(address).ok()?.decode::<Record<'_>>().ok()??;
        let code = record.country.iso_code.or(record.registered_country.iso_code);
        let country = code.and_then(Country::new).unwrap_or_default();
        let told = record.location.latitude.zip(record.location.longitude);
        let told = told.map(|(latitude, longitude)| Point { latitude, longitude });
        Some(Located { country, spot: told.or_else(|| countries::middle(country)).map(Point::spot) })
    }

    fn country(&self, address: IpAddr) -> Option<Country> {
        let found = self.countries.as_ref()?.lookup(address).ok()?;
        let record = found.decode::<geoip2::Country<'_>>().ok()??;
        Country::new(record.country.iso_code.or(record.registered_country.iso_code)?)
    }

    fn system(&self, address: IpAddr) -> Option<u32> {
        let found = self.systems.as_ref()?.lookup(address).ok()?;
        found.decode::<geoip2::Asn<'_>>().ok()??.autonomous_system_number
    }

    /// Whether it can tell countries, and systems.
    #[must_use]
    pub const fn knows(&self) -> (bool, bool) {
        (self.countries.is_some(), self.systems.is_some())
    }
}

impl fmt::Debug for Databases {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Databases").field("knows", &self.knows()).finish_non_exhaustive()
    }
}

fn open(bytes: Vec<u8>, kinds: &[&str]) -> Result<Reader<Vec<u8>>, DatabaseError> {
    let reader = Reader::from_source(bytes).map_err(|error| DatabaseError::Format(error.to_string()))?;
    let kind = reader.metadata().database_type.clone();
    if kinds.iter().any(|known| kind.contains(known)) { Ok(reader) } else { Err(DatabaseError::Kind(kind)) }
}
