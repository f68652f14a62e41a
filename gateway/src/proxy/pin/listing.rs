//! [`Listing`]: where in the lists of a pool's resources a request is.

use crate::openai::page::Page;
use crate::state::Tried;

/// Where in the lists of a pool a request is.
#[derive(Debug, Default)]
pub(in crate::proxy) struct Listing {
    /// Those that may be asked, in the order of the pool.
    pub(super) resources: Vec<u64>,
    pub(super) at: usize,
    /// The client goes on behind an item of this resource.
    pub(super) goes_on: bool,
    /// The backends that the request must not use, whatever their resource.
    pub(super) barred: Tried,
}

impl Listing {
    /// The resource whose turn it is.
    pub(super) fn resource(&self) -> Option<u64> {
        self.resources.get(self.at).copied()
    }

    /// It is over: the resource whose turn it is now.
    pub(super) fn turn(&mut self) -> Option<u64> {
        self.at += 1;
        self.goes_on = false;
        self.resource()
    }

    /// Reads its page.
    pub(super) fn page(&self) -> Page {
        Page::new(self.at + 1 < self.resources.len(), self.goes_on)
    }
}
