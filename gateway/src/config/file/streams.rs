//! The part of the file about a pool's streams.

use super::values::{Period, Size, Switch};
use crate::config::defaults;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// How streams are relayed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(in crate::config) struct Streams {
    /// Holds a stream until its first delta, so that an error before it fails over; or `off`.
    pub(in crate::config) gate: Switch<Gate>,
    /// How long the first delta may take from the start of an attempt; default: only its header is waited for with a limit.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "FirstToken")]
    pub(in crate::config) first_token: Option<FirstToken>,
    /// Longest pause behind the first delta, keep-alives not counted, `0s` for `timeouts.idle` alone; default `0s`.
    pub(in crate::config) stall: Period,
    /// Fewest bytes per second behind the first delta, averaged over `rate_window`, `0B` for no such limit; default `0B`.
    pub(in crate::config) rate_min: Size,
    /// Over how long `rate_min` is averaged; default `30s`.
    pub(in crate::config) rate_window: Period,
}

impl Default for Streams {
    fn default() -> Self {
        Self {
            gate: Switch::default(),
            first_token: None,
            stall: Period(Duration::ZERO),
            rate_min: Size(0),
            rate_window: Period(defaults::STREAM_RATE_WINDOW),
        }
    }
}

/// How long the first delta of a stream may take.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(in crate::config) struct FirstToken {
    /// Without any prompt; default `30s`.
    pub(in crate::config) base: Period,
    /// More for each 1 000 tokens of the prompt; default `500ms`.
    pub(in crate::config) per_1000_tokens: Period,
}

impl Default for FirstToken {
    fn default() -> Self {
        Self { base: Period(defaults::FIRST_TOKEN_BASE), per_1000_tokens: Period(defaults::FIRST_TOKEN_PER_1000) }
    }
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
