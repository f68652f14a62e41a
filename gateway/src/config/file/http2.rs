//! The part of the file about HTTP/2 with clients.

use super::values::{Period, Size};
use crate::config::defaults;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Limits of a client's HTTP/2 connection.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(in crate::config) struct Http2 {
    /// Most streams at a time, 1 to 10000; default `100`.
    #[schemars(range(min = 1, max = 10_000))]
    pub(in crate::config) streams_max: u32,
    /// Largest decoded header list of a request; default `64KiB`.
    pub(in crate::config) header_list_max: Size,
    /// Streams reset by the client before they were looked at that end the connection, 1 to 10000; default `20`.
    #[schemars(range(min = 1, max = 10_000))]
    pub(in crate::config) resets_pending_max: u32,
    /// Streams reset by us for the client's mistakes that end the connection, 1 to 10000; default `100`.
    #[schemars(range(min = 1, max = 10_000))]
    pub(in crate::config) resets_forced_max: u32,
    /// Receive window of a stream; default `1MiB`.
    pub(in crate::config) stream_window: Size,
    /// Receive window of the connection; default `4MiB`.
    pub(in crate::config) connection_window: Size,
    /// How long an answer waits for a client that gives no window; default `1m`.
    pub(in crate::config) stalled_timeout: Period,
}

impl Default for Http2 {
    fn default() -> Self {
        Self {
            streams_max: defaults::HTTP2_STREAMS_MAX,
            header_list_max: Size(defaults::HTTP2_HEADER_LIST_MAX),
            resets_pending_max: defaults::HTTP2_RESETS_PENDING_MAX,
            resets_forced_max: defaults::HTTP2_RESETS_FORCED_MAX,
            stream_window: Size(defaults::HTTP2_STREAM_WINDOW),
            connection_window: Size(defaults::HTTP2_CONNECTION_WINDOW),
            stalled_timeout: Period(defaults::HTTP2_STALLED_TIMEOUT),
        }
    }
}
