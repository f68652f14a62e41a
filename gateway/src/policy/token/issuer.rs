//! What the configuration asks of an issuer's tokens, and which consumer they prove. Decides about one token; where keys
//! come from and whether they are fresh enough is the caller's business.

use super::{Algorithms, Flaw, KeySet, Token};
use crate::domain::Zones;
use std::collections::BTreeMap;

/// Most values of a claim that is a list, such as `groups`.
const VALUES_MAX: usize = 512;
/// Longest claim that is kept for limits, bytes.
const KEPT_LENGTH_MAX: usize = 256;
/// What stands in an issuer's name for the Entra tenant.
pub const PLACEHOLDER: &str = "{tenant}";

/// What is asked of tokens of one issuer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Issuer {
    /// Values of `iss`: exact, or with one placeholder.
    pub names: Vec<IssuerPattern>,
    /// Values of `aud`; one of them must be there.
    pub audiences: Vec<Box<str>>,
    /// Values of `tid`; empty for any, which only a name without placeholder may have.
    pub directories: Vec<Box<str>>,
    /// Algorithms, beside what the key's type says.
    pub algorithms: Algorithms,
    /// Required claims; all of them.
    pub requirements: Vec<Requirement>,
    /// How far clocks may differ, seconds.
    pub leeway: u32,
    /// Who it is.
    pub consumer: Mapping,
    /// What says where its requests may be processed.
    pub residency: Option<ResidencyClaim>,
    /// Claims that are kept for limits, sorted.
    pub kept: Vec<Box<str>>,
}

/// A value of `iss`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum IssuerPattern {
    /// This one.
    Exact(Box<str>),
    /// This one around the token's own `tid`.
    Around(Box<str>, Box<str>),
}

/// Values that a claim must have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Requirement {
    /// Its name; `scp` and `scope` are texts of words.
    pub claim: Box<str>,
    /// The values.
    pub values: Vec<Box<str>>,
    /// All of them, instead of one.
    pub all: bool,
}

/// From a token to a consumer, as an index.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Mapping {
    /// Always this one.
    One(usize),
    /// By the value of a claim.
    ByClaim {
        /// The claim.
        claim: Box<str>,
        /// Its values.
        map: BTreeMap<Box<str>, usize>,
        /// For every other value; none refuses them.
        other: Option<usize>,
    },
}

/// From a token to the zones that bind its requests, by the values of a claim.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ResidencyClaim {
    /// The claim.
    pub claim: Box<str>,
    /// Its values.
    pub map: BTreeMap<Box<str>, usize>,
    /// Whether a token without it is refused.
    pub required: bool,
}

/// A claim's name and its text.
pub type Claim = (Box<str>, Box<str>);

/// What a good token says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Admitted {
    /// Index of the consumer.
    pub consumer: usize,
    /// The zones that bind its requests.
    pub zones: Zones,
    /// The kept claims that it has, sorted by name.
    pub claims: Vec<Claim>,
    /// When its time is over, leeway included, in Unix seconds.
    pub expires: u64,
}

impl Issuer {
    /// Whether the token names this issuer, and us. Believes it for now: this only finds whom to ask.
    ///
    /// # Errors
    /// [`Flaw::Issuer`], [`Flaw::Audience`], or [`Flaw::Claims`] where they cannot be read.
    pub fn is_meant(&self, token: &Token) -> Result<(), Flaw> {
        let claims = &token.claims;
        let issuer = claims.text("iss")?.ok_or(Flaw::Claims)?;
        // Only Entra's is an id; what it is elsewhere is nobody's business here.
        let directory = claims.text("tid").unwrap_or_default();
        if !self.names.iter().any(|name| name.is(&issuer, directory.as_deref())) {
            return Err(Flaw::Issuer);
        }
        let audiences = claims.list("aud")?;
        let ours = |one: &String| self.audiences.iter().any(|own| **own == **one);
        if audiences.len() <= VALUES_MAX && audiences.iter().any(ours) { Ok(()) } else { Err(Flaw::Audience) }
    }

    /// The verdict on a token that [`is_meant`](Self::is_meant) for us. `now` is the wall clock in Unix seconds.
    ///
    /// # Errors
    /// The first flaw, in the order of the table.
    pub fn admit(&self, token: &Token, keys: &KeySet, now: u64) -> Result<Admitted, Flaw> {
        self.is_meant(token)?;
        keys.verify(token, self.algorithms)?;
        let expires = self.in_force(token, now)?;
        self.at_home(token)?;
        for requirement in &self.requirements {
            requirement.hold(token)?;
        }
        let consumer = self.consumer_of(token)?;
        let zones = self.residency.as_ref().map_or(Ok(Zones::NONE), |claim| claim.zones(token))?;
        Ok(Admitted { consumer, zones, claims: self.kept(token)?, expires })
    }

    /// When the token's time is over; it is not yet, and has begun.
    fn in_force(&self, token: &Token, now: u64) -> Result<u64, Flaw> {
        let claims = &token.claims;
        let (expires, begins, issued) = (claims.date("exp")?, claims.date("nbf")?, claims.date("iat")?);
        let over = whole(expires.ok_or(Flaw::Claims)?.floor()) + u64::from(self.leeway);
        if now >= over {
            return Err(Flaw::Expired);
        }
        let latest = now + u64::from(self.leeway);
        let ahead = |date: Option<f64>| date.is_some_and(|date| whole(date.ceil()) > latest);
        if ahead(begins) || ahead(issued) { Err(Flaw::NotYetValid) } else { Ok(over) }
    }

    fn at_home(&self, token: &Token) -> Result<(), Flaw> {
        if self.directories.is_empty() {
            return Ok(());
        }
        let directory = token.claims.text("tid")?.ok_or(Flaw::Directory)?;
        let known = self.directories.iter().any(|own| own.eq_ignore_ascii_case(&directory));
        if known { Ok(()) } else { Err(Flaw::Directory) }
    }

    fn consumer_of(&self, token: &Token) -> Result<usize, Flaw> {
        match &self.consumer {
            Mapping::One(consumer) => Ok(*consumer),
            Mapping::ByClaim { claim, map, other } => {
                let values = token.claims.list(claim)?;
                let known = values.iter().take(VALUES_MAX).find_map(|value| map.get(&**value)).copied();
                known.or(*other).ok_or(Flaw::Consumer)
            }
        }
    }

    fn kept(&self, token: &Token) -> Result<Vec<Claim>, Flaw> {
        let mut kept = Vec::with_capacity(self.kept.len());
        for name in &self.kept {
            let Some(value) = token.claims.plain(name) else { continue };
            if value.len() > KEPT_LENGTH_MAX {
                return Err(Flaw::Claims);
            }
            kept.push((name.clone(), value.into()));
        }
        Ok(kept)
    }
}

impl ResidencyClaim {
    /// The zones of a token: those of all its values, each of which must be known.
    fn zones(&self, token: &Token) -> Result<Zones, Flaw> {
        let values = token.claims.list(&self.claim)?;
        if values.len() > VALUES_MAX || (values.is_empty() && self.required) {
            return Err(Flaw::Residency);
        }
        values.iter().try_fold(Zones::NONE, |zones, value| {
            self.map.get(&**value).map(|zone| zones.and(Zones::one(*zone))).ok_or(Flaw::Residency)
        })
    }
}

impl IssuerPattern {
    /// From the configuration.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn new(typed: &str) -> Result<Self, &'static str> {
        if typed.is_empty() {
            return Err("must not be empty");
        }
        match typed.split_once(PLACEHOLDER) {
            None => Ok(Self::Exact(typed.into())),
            Some((_, after)) if after.contains(PLACEHOLDER) => Err("has the placeholder twice"),
            Some((before, after)) => Ok(Self::Around(before.into(), after.into())),
        }
    }

    /// Whether a discovery document of this issuer may call itself so: with any tenant, or with a placeholder of its own.
    #[must_use]
    pub fn is_document_of(&self, issuer: &str) -> bool {
        match self {
            Self::Exact(name) => **name == *issuer,
            Self::Around(before, after) => {
                issuer.strip_prefix(&**before).is_some_and(|rest| rest.len() > after.len() && rest.ends_with(&**after))
            }
        }
    }

    /// Whether an issuer calls itself so, in the token's tenant.
    fn is(&self, issuer: &str, directory: Option<&str>) -> bool {
        match self {
            Self::Exact(name) => **name == *issuer,
            Self::Around(before, after) => {
                let inner = issuer.strip_prefix(&**before).and_then(|rest| rest.strip_suffix(&**after));
                inner.is_some_and(|inner| !inner.is_empty() && Some(inner) == directory)
            }
        }
    }
}

impl Requirement {
    fn hold(&self, token: &Token) -> Result<(), Flaw> {
        let mut values = token.claims.list(&self.claim)?;
        if let ("scp" | "scope", [words]) = (&*self.claim, &*values) {
            values = words.split(' ').map(str::to_owned).collect();
        }
        values.truncate(VALUES_MAX);
        let has = |wanted: &str| values.iter().any(|value| *value == wanted);
        let mut wanted = self.values.iter().map(|value| &**value);
        let holds = if self.all { wanted.all(has) } else { wanted.any(has) };
        if holds { Ok(()) } else { Err(Flaw::Scope) }
    }
}

/// A date within its bounds as whole seconds.
#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "from 0 to the year 9999")]
const fn whole(date: f64) -> u64 {
    date as u64
}
