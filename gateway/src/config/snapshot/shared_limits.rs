//! Limits that several gateways share.

use crate::domain::Secret;

/// Where limits are shared, and with how many.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SharedLimits {
    /// Addresses, at least one; without credentials.
    pub urls: Vec<String>,
    /// What is there.
    pub mode: RedisMode,
    /// CAs to trust instead of the system's, PEM: as the file was when the configuration was loaded.
    pub authorities: Option<Vec<u8>>,
    /// Our name there.
    pub username: Option<String>,
    /// Our password there.
    pub password: Option<Secret>,
    /// How many gateways share.
    pub gateways: u32,
    /// Beginning of the keys.
    pub prefix: String,
    /// Rests after a 429 are shared, too.
    pub ejections: bool,
}

/// What kind of server it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RedisMode {
    /// One server, or one address for all.
    Single,
    /// A cluster; the addresses are some of its nodes.
    Sharded,
    /// Sentinels, who know which server is the master.
    Sentinel {
        /// What they call it.
        master: String,
    },
}
