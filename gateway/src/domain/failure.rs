//! [`Failure`]: what a backend's 408 or 5xx says about it.

/// What kind of failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Failure {
    /// It has more to do than it can.
    Overloaded,
    /// It failed on this request.
    Internal,
    /// What stands in front of it got no answer.
    Gateway,
    /// It took too long by its own measure.
    Timeout,
}

impl Failure {
    /// Every kind, for tables and tests.
    pub const ALL: [Self; 4] = [Self::Overloaded, Self::Internal, Self::Gateway, Self::Timeout];

    /// Label in metrics and the access log: a closed set.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::Overloaded => "overloaded",
            Self::Internal => "internal",
            Self::Gateway => "gateway",
            Self::Timeout => "timeout",
        }
    }

    /// By the status; a body may say more of a 500.
    #[must_use]
    pub const fn of(status: u16) -> Self {
        match status {
            408 => Self::Timeout,
            502 | 504 => Self::Gateway,
            503 | 529 => Self::Overloaded,
            _ => Self::Internal,
        }
    }
}
