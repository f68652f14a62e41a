//! What the process does when it is asked for more than it can carry.

use crate::policy::overload::Ceilings;
use http::{HeaderName, HeaderValue};

/// Ceilings of the process, and who goes first.
#[derive(Clone, Debug, PartialEq)]
pub struct Overload {
    /// The ceilings.
    pub ceilings: Ceilings,
    /// A request with this header, and this value in any case, is of the batch class.
    pub batch_header: Option<(HeaderName, HeaderValue)>,
    /// Routes of the batch class, by their index in the snapshot.
    pub batch_routes: Vec<usize>,
}
