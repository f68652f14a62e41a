//! [`Ending`]: what a whole request came to. A closed set, in the access log and in metrics.

/// What a whole request came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Ending {
    /// An answer below 400 was relayed to its end.
    Served,
    /// A backend's 4xx, caused by the client, was relayed.
    ClientError,
    /// The backend's content filter refused what the client sent.
    ContentFiltered,
    /// A backend's 429 was relayed as received.
    RateLimited,
    /// A backend's 408 or 5xx was relayed as received.
    ServerError,
    /// Every backend of the pool was throttled; ours is the 429.
    AllThrottled,
    /// We answered by ourselves, as configured: a preflight or a redirect.
    Answered,
    /// We refused the request (size, shape, route).
    Denied,
    /// No backend could be reached, or none was eligible: 502 or 503 of ours.
    Unreachable,
    /// The deadline passed before a response header: 504 of ours.
    TimedOut,
    /// A relayed response broke off and was ended honestly.
    BrokenLate,
    /// A relayed stream ended with the backend's own error event.
    StreamFailed,
    /// A relayed stream fell silent or crawled, and was ended honestly.
    StreamStalled,
    /// The client left before the end.
    ClientGone,
    /// We failed.
    Faulted,
}

impl Ending {
    /// Every ending, for tables and tests.
    pub const ALL: [Self; 15] = [
        Self::Served,
        Self::ClientError,
        Self::ContentFiltered,
        Self::RateLimited,
        Self::ServerError,
        Self::AllThrottled,
        Self::Answered,
        Self::Denied,
        Self::Unreachable,
        Self::TimedOut,
        Self::BrokenLate,
        Self::StreamFailed,
        Self::StreamStalled,
        Self::ClientGone,
        Self::Faulted,
    ];

    /// Label in metrics and access log.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::Served => "served",
            Self::ClientError => "client_error",
            Self::ContentFiltered => "content_filtered",
            Self::RateLimited => "rate_limited",
            Self::ServerError => "server_error",
            Self::AllThrottled => "all_throttled",
            Self::Answered => "answered",
            Self::Denied => "denied",
            Self::Unreachable => "unreachable",
            Self::TimedOut => "timed_out",
            Self::BrokenLate => "broken_late",
            Self::StreamFailed => "stream_failed",
            Self::StreamStalled => "stream_stalled",
            Self::ClientGone => "client_gone",
            Self::Faulted => "faulted",
        }
    }
}
