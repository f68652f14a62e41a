//! [`Outcome`]: what one attempt came to, and the single place for the questions asked about it.

/// What one attempt came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// The backend answered below 400.
    Served,
    /// The backend answered 4xx that the client caused (not 408, 429, nor our own credential or deployment).
    ClientError,
    /// The backend answered 429.
    RateLimited,
    /// The backend answered 408 or 5xx.
    ServerError,
    /// No connection, TLS or HTTP/2 preface: nothing was sent.
    ConnectFailed,
    /// No response header within the attempt's first-byte timeout.
    TimedOut,
    /// The connection broke after sending and before a complete response header.
    BrokenEarly,
    /// The backend answered 401 or 403 to *our* credential.
    BackendDenied,
    /// The backend answered 404 `DeploymentNotFound` to *our* deployment name.
    DeploymentMissing,
    /// The response broke after its first byte was relayed.
    BrokenLate,
    /// The client left.
    ClientGone,
    /// A 200 stream told an error that would have been a 429.
    StreamThrottled,
    /// A 200 stream told an error that would have been a 5xx.
    StreamFailed,
    /// A 200 stream ended or broke off before anything of it was relayed.
    StreamBroken,
    /// A 200 stream was late with its first delta, fell silent behind it, or crawled.
    StreamStalled,
    /// The backend's content filter refused what the client sent.
    ContentFiltered,
    /// The backend answered 400: the prompt is too long for its context, and another has a larger one.
    ContextExceeded,
    /// It was given up: of two attempts that raced, the other's answer began first.
    Outraced,
}

impl Outcome {
    /// Every outcome, for tables and tests.
    pub const ALL: [Self; 18] = [
        Self::Served,
        Self::ClientError,
        Self::RateLimited,
        Self::ServerError,
        Self::ConnectFailed,
        Self::TimedOut,
        Self::BrokenEarly,
        Self::BackendDenied,
        Self::DeploymentMissing,
        Self::BrokenLate,
        Self::ClientGone,
        Self::StreamThrottled,
        Self::StreamFailed,
        Self::StreamBroken,
        Self::StreamStalled,
        Self::ContentFiltered,
        Self::ContextExceeded,
        Self::Outraced,
    ];

    /// Label in metrics, access log and the attempts trail: a closed set.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::Served => "served",
            Self::ClientError => "client_error",
            Self::RateLimited => "rate_limited",
            Self::ServerError => "server_error",
            Self::ConnectFailed => "connect_failed",
            Self::TimedOut => "timed_out",
            Self::BrokenEarly => "broken_early",
            Self::BackendDenied => "backend_denied",
            Self::DeploymentMissing => "deployment_missing",
            Self::BrokenLate => "broken_late",
            Self::ClientGone => "client_gone",
            Self::StreamThrottled => "stream_throttled",
            Self::StreamFailed => "stream_failed",
            Self::StreamBroken => "stream_broken",
            Self::StreamStalled => "stream_stalled",
            Self::ContentFiltered => "content_filtered",
            Self::ContextExceeded => "context_exceeded",
            Self::Outraced => "outraced",
        }
    }

    /// Counts toward failure ejection (429, client faults and the client's leaving do not).
    #[must_use]
    pub const fn is_failure(self) -> bool {
        matches!(
            self,
            Self::ServerError
                | Self::ConnectFailed
                | Self::TimedOut
                | Self::BrokenEarly
                | Self::BrokenLate
                | Self::StreamFailed
                | Self::StreamBroken
                | Self::StreamStalled
        )
    }

    /// The backend is at its limit: it rests as advised.
    #[must_use]
    pub const fn is_throttled(self) -> bool {
        matches!(self, Self::RateLimited | Self::StreamThrottled)
    }

    /// Proves that the backend works: a success for the failure counters and a half-open trial.
    #[must_use]
    pub const fn is_success(self) -> bool {
        matches!(self, Self::Served | Self::ClientError | Self::ContentFiltered | Self::ContextExceeded)
    }

    /// The backend refuses *us*: set aside at once, with an alarm.
    #[must_use]
    pub const fn is_misconfiguration(self) -> bool {
        matches!(self, Self::BackendDenied | Self::DeploymentMissing)
    }
}
