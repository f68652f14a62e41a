//! [`IdFlaw`]: why an id of a client's is not taken. Clients are told one thing whatever it is; metrics and log are told this.

/// Why an id is not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum IdFlaw {
    /// It is no sealed one: Azure's own, or somebody's invention.
    Unsealed,
    /// Sealed in a form of another version.
    Version,
    /// Sealed with a key that is not among ours.
    Key,
    /// Changed, cut, or never ours.
    Forged,
    /// Another consumer's.
    Foreign,
    /// Its resource is not in the configuration any more, or not behind a route that the request may take.
    Gone,
    /// Another id of the same request lives on another resource.
    Torn,
}

impl IdFlaw {
    /// Every flaw, for tables and tests.
    pub const ALL: [Self; 7] =
        [Self::Unsealed, Self::Version, Self::Key, Self::Forged, Self::Foreign, Self::Gone, Self::Torn];

    /// Word in metrics and access log.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::Unsealed => "unsealed",
            Self::Version => "version",
            Self::Key => "key",
            Self::Forged => "forged",
            Self::Foreign => "foreign",
            Self::Gone => "gone",
            Self::Torn => "torn",
        }
    }
}
