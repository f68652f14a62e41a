//! Whom a token proves, by the keys that its issuer was last seen to have: a look at the memory of verified ones, else the
//! verdict of [`policy::token`](crate::policy::token). Never waits and never fetches.

use super::keys::{IssuerKeys, Wait};
use super::registry::Fleet;
use super::tokens::{Known, Name};
use crate::config::snapshot::Issuer;
use crate::domain::{Caller, Moment};
use crate::policy::token::{Flaw, Token};
use sha2::{Digest, Sha256};

/// Both clocks.
#[derive(Clone, Copy, Debug)]
pub struct Now {
    /// For ages.
    pub moment: Moment,
    /// For dates: Unix seconds by the wall clock.
    pub unix: u64,
}

impl Fleet {
    /// Whom the token proves. Never waits and never fetches.
    ///
    /// # Errors
    /// Why it proves nobody.
    pub fn token(&self, text: &str, now: Now) -> Result<Caller, Flaw> {
        let name: Name = Sha256::digest(text.as_bytes()).into();
        if let Some(caller) = self.tokens.find(&name, |known| self.counts(known, now)) {
            return Ok(caller);
        }
        let token = Token::read(text)?;
        let (index, issuer, store) = self.issuer_of(&token)?;
        let mut seen = 0;
        loop {
            let held = store.trusted(issuer.keys_age_max(), now.moment).ok_or(Flaw::KeysMissing)?;
            let held = held.as_ref().ok_or(Flaw::KeysMissing)?;
            match issuer.rules.admit(&token, &held.keys, now.unix) {
                Ok(admitted) => {
                    let under = (self.snapshot.generation, held.version);
                    return Ok(self.tokens.keep(name, (index, under), admitted, now.unix));
                }
                // Keys that came meanwhile are asked once more.
                // Keys that came meanwhile are asked once more.
                Err(Flaw::KeyUnknown) if held.version != seen => {
                    seen = held.version;
                    store.ask(issuer.refresh_min, now.moment);
                }
                Err(flaw) => return Err(flaw),
            }
        }
    }

    /// Looks at issuers' keys that are under way because a token named an unknown one: it may be known when they are over.
    #[must_use]
    pub fn looks(&self) -> Vec<Wait<'_>> {
        self.issuers.iter().filter_map(|keys| keys.wait()).collect()
    }

    fn issuers(&self) -> impl Iterator<Item = (usize, &Issuer, &IssuerKeys)> {
        let configured = self.snapshot.access.iter().flat_map(|access| &access.issuers);
        configured.zip(&self.issuers).enumerate().map(|(index, (issuer, store))| (index, issuer, &**store))
    }

    /// Whom the token says it is from.
    fn issuer_of(&self, token: &Token) -> Result<(usize, &Issuer, &IssuerKeys), Flaw> {
        let mut flaw = Flaw::Issuer;
        for one in self.issuers() {
            match one.1.rules.is_meant(token) {
                Ok(()) => return Ok(one),
                Err(Flaw::Issuer) => {}
                Err(nearer) => flaw = nearer,
            }
        }
        Err(flaw)
    }

    /// Whether what was verified still holds.
    fn counts(&self, known: &Known, now: Now) -> bool {
        if known.until <= now.unix || known.under.0 != self.snapshot.generation {
            return false;
        }
        let issuers = self.snapshot.access.as_ref().map(|access| access.issuers.as_slice()).unwrap_or_default();
        let Some((issuer, store)) = issuers.get(known.issuer).zip(self.issuers.get(known.issuer)) else { return false };
        let held = store.trusted(issuer.keys_age_max(), now.moment);
        held.is_some_and(|held| held.as_ref().is_some_and(|held| held.version == known.under.1))
    }
}

#[cfg(test)]
mod tests;
