//! Usage limits of a configuration.

use crate::policy::limit::Limit;
use std::path::PathBuf;

/// How much may be used.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct UsageLimits {
    /// Every limit, in the order of the file.
    pub list: Vec<Limit>,
    /// Indices of those that hold for every request.
    pub everywhere: Vec<usize>,
    /// Where is kept what was used of quotas.
    pub state: Option<PathBuf>,
}
