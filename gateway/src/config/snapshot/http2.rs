//! Limits of a client's HTTP/2 connection.

use std::time::Duration;

/// Limits of a client's HTTP/2 connection; all but one need a restart to change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Http2 {
    /// Streams at a time.
    pub streams_max: u32,
    /// Decoded header list of one request, bytes.
    pub header_list_max: u32,
    /// Streams that the client has reset before we have looked at them; one more ends the connection.
    pub resets_pending_max: usize,
    /// Streams that its mistakes make us reset; one more ends the connection.
    pub resets_forced_max: usize,
    /// Receive window of a stream, bytes.
    pub stream_window: u32,
    /// Receive window of the connection, bytes.
    pub connection_window: u32,
    /// How long an answer waits for a client that gives no window. Follows a reload.
    pub stalled_timeout: Duration,
}
