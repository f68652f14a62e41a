//! [`Throttle`]: why a backend answered 429, as far as its header tells, or else its body.

/// What a 429 is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Throttle {
    /// The tokens of the minute are used up.
    TokenRate,
    /// Too many requests in a short time.
    CallRate,
    /// The quota of the day is used up, or one that takes as long.
    DayQuota,
    /// A provisioned deployment is full.
    Provisioned,
    /// The region is short: neither a quota nor a time is told.
    Capacity,
    /// A time is told, and no quota.
    Unknown,
}

impl Throttle {
    /// Every kind, for tables and tests.
    pub const ALL: [Self; 6] =
        [Self::TokenRate, Self::CallRate, Self::DayQuota, Self::Provisioned, Self::Capacity, Self::Unknown];

    /// Label in metrics and the access log: a closed set.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::TokenRate => "token_rate",
            Self::CallRate => "call_rate",
            Self::DayQuota => "day_quota",
            Self::Provisioned => "provisioned",
            Self::Capacity => "capacity",
            Self::Unknown => "unknown",
        }
    }
}
