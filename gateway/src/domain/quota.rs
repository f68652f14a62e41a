//! What is said about a backend's quota: by the operator, by a request that is to be sent, by the header of an answer.

use std::time::Duration;

/// Quota of a backend per minute, as configured; absent where nothing is configured.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Quota {
    /// Tokens, as Azure counts them at admission.
    pub tokens: Option<u64>,
    /// Requests.
    pub requests: Option<u64>,
}

/// What one attempt takes of a quota when it is admitted, besides one request.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Cost {
    /// The prompt as estimated, and the ceiling of every answer asked for.
    pub tokens: u64,
}

/// What the header of an answer tells of one quota.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Told {
    /// The whole of it.
    pub limit: Option<u64>,
    /// What is left of it.
    pub remaining: Option<u64>,
    /// When the whole of it is there again, from now.
    pub reset: Option<Duration>,
}

/// What the header of an answer tells of both quotas.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Budgets {
    /// Of tokens.
    pub tokens: Told,
    /// Of requests.
    pub requests: Told,
}
