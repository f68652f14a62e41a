//! The part of the file about a pool's streams.

use super::values::{Period, Size, Switch};
use crate::config::defaults;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// How streams are relayed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(in crate::config) struct Streams {
    /// Holds a stream until its first delta, so that an error before it fails over; or `off`.
    pub(in crate::config) gate: Switch<Gate>,
}

/// What a stream is held for at most; at the first of these it is relayed as it comes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(in crate::config) struct Gate {
    /// Events without a delta, 1 to 1000; default `16`.
    #[schemars(range(min = 1, max = 1000))]
    pub(in crate::config) events: u32,
    /// Bytes, 1 byte to 1 MiB; default `128KiB`.
    pub(in crate::config) bytes: Size,
    /// Time from the response header, at most `1m`; default `5s`.
    pub(in crate::config) time: Period,
}

impl Default for Gate {
    fn default() -> Self {
        Self { events: defaults::GATE_EVENTS, bytes: Size(defaults::GATE_BYTES), time: Period(defaults::GATE_TIME) }
    }
}
