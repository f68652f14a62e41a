//! A backend's quota.

use crate::domain::{Quota, QuotaName};

/// The quota that a backend draws on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BackendQuota {
    /// The quota that it shares with the others of this name.
    pub group: Option<QuotaName>,
    /// What is configured of it, by any of those that share it.
    pub quota: Quota,
}
