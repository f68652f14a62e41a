//! The part of the file about overload.

use super::values::{Period, Share, Size};
use crate::config::defaults;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What the process does when it is asked for more than it can carry.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(in crate::config) struct Overload {
    /// Most requests in flight in the whole process, 1 to 1000000; default `20000`.
    #[schemars(range(min = 1, max = 1_000_000))]
    pub(in crate::config) in_flight_max: u32,
    /// Most requests that wait for their turn, 0 to 128; default `128`.
    #[schemars(range(min = 0, max = 128))]
    pub(in crate::config) queue_max: u32,
    /// Longest wait for a turn, at most 250ms; default `250ms`.
    pub(in crate::config) queue_timeout: Period,
    /// Share of `in_flight_max` above which batch requests are shed; default `80%`.
    pub(in crate::config) batch_share: Share,
    /// Header that puts a request into the batch class; default: none does.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "BatchHeader")]
    pub(in crate::config) batch_header: Option<BatchHeader>,
    /// Names of the routes of the batch class.
    #[schemars(length(max = 1024))]
    pub(in crate::config) batch_routes: Vec<String>,
    /// Ceiling of resident memory; default: none.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Memory")]
    pub(in crate::config) memory: Option<Memory>,
}

/// Header that puts a request into the batch class.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::config) struct BatchHeader {
    /// Name of the header.
    pub(in crate::config) name: String,
    /// Its value, in any case; default `batch`.
    #[serde(default = "batch_value")]
    pub(in crate::config) value: String,
}

fn batch_value() -> String {
    defaults::BATCH_VALUE.to_owned()
}

/// Ceiling of resident memory.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::config) struct Memory {
    /// What the process may hold.
    pub(in crate::config) max: Size,
    /// Share of it above which connections are not kept, the queue is a quarter and batch is shed; default `85%`.
    #[serde(default = "shrink")]
    pub(in crate::config) shrink: Share,
    /// Share of it above which nothing new is taken; default `95%`.
    #[serde(default = "refuse")]
    pub(in crate::config) refuse: Share,
}

const fn shrink() -> Share {
    Share(defaults::MEMORY_SHRINK_PERCENT)
}

const fn refuse() -> Share {
    Share(defaults::MEMORY_REFUSE_PERCENT)
}

impl Default for Overload {
    fn default() -> Self {
        Self {
            in_flight_max: defaults::IN_FLIGHT_MAX,
            queue_max: defaults::QUEUE_MAX,
            queue_timeout: Period(defaults::QUEUE_TIMEOUT),
            batch_share: Share(defaults::BATCH_SHARE_PERCENT),
            batch_header: None,
            batch_routes: Vec::new(),
            memory: None,
        }
    }
}
