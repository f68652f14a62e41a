//! [`Zones`]: which residencies bind a request, as a set of indexes. What they allow is `policy::residency`'s business.

/// Most residencies of one configuration.
pub const ZONES_MAX: usize = 64;

/// Residencies by their index in the configuration that a request has pinned.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Zones(u64);

impl Zones {
    /// None: the request may be processed anywhere.
    pub const NONE: Self = Self(0);

    /// The one at `index`.
    #[must_use]
    pub const fn one(index: usize) -> Self {
        Self(if index < ZONES_MAX { 1 << index } else { 0 })
    }

    /// These and those.
    #[must_use]
    pub const fn and(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Whether nothing binds.
    #[must_use]
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Their indexes, ascending.
    pub fn indexes(self) -> impl Iterator<Item = usize> {
        let mut left = self.0;
        std::iter::from_fn(move || {
            let index = usize::try_from(left.trailing_zeros()).ok().filter(|_| left != 0)?;
            left &= left - 1;
            Some(index)
        })
    }
}

impl From<Option<usize>> for Zones {
    fn from(index: Option<usize>) -> Self {
        index.map_or(Self::NONE, Self::one)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_set_tells_its_indexes() {
        let zones = Zones::one(63).and(Zones::one(0)).and(Zones::from(Some(5))).and(Zones::from(None));
        assert_eq!(zones.indexes().collect::<Vec<_>>(), [0, 5, 63]);
        assert!(Zones::NONE.is_empty() && Zones::one(ZONES_MAX).is_empty() && !zones.is_empty());
        assert_eq!(Zones::NONE.indexes().count(), 0);
    }
}
