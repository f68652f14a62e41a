//! What resources store for clients.

use super::{Backend, BaseUrl};
use crate::policy::seal::{self, Key};

/// How clients get at what resources store.
#[derive(Clone, Debug, Default)]
pub struct Stateful {
    /// Clients hold sealed ids; else Azure's own.
    pub sealed: bool,
    /// Keys of sealed ids, the one that seals first; without one, the process has its own.
    pub keys: Vec<Key>,
    /// Calls that we do not know are refused.
    pub refuse_unknown: bool,
    /// What becomes of lists of everything.
    pub lists: Lists,
}

/// What becomes of lists of everything.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Lists {
    /// Each is of one resource.
    #[default]
    Allow,
    /// All resources of a pool are listed, one after the other.
    Merged,
    /// They are refused.
    Refuse,
}

impl Backend {
    /// What sealed ids tell of the Azure resource behind the backend's URL. State lives on a resource: backends that share one
    /// share it.
    #[must_use]
    pub fn resource(&self) -> u64 {
        let BaseUrl { authority, path, .. } = &self.url;
        let authority = authority.to_str().unwrap_or_default().to_ascii_lowercase();
        seal::digest_of("resource", &format!("{authority}{path}"))
    }
}
