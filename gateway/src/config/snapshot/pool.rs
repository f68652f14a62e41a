//! A pool, ready to run.

use super::Backend;
use crate::domain::PoolName;
use crate::openai::affinity::Affinity;
use crate::policy::distance::Nearest;
use crate::policy::hedge::Hedge;
use crate::policy::pace::FirstToken;
use crate::policy::residency::Outside;
use crate::policy::{eject, failover, health, select};
use http::{HeaderName, HeaderValue};
use std::time::Duration;

/// A named set of interchangeable backends.
#[derive(Clone, Debug)]
pub struct Pool {
    /// Its name.
    pub name: PoolName,
    /// `/readyz` needs one eligible backend here.
    pub required: bool,
    /// Parameters of selection.
    pub selection: select::Selection,
    /// What keeps requests on one of several equal backends.
    pub affinity: Option<Affinity>,
    /// Parameters of failover.
    pub failover: failover::Failover,
    /// Parameters of ejection.
    pub ejection: eject::Ejection,
    /// Active probes; none when absent.
    pub probe: Option<Probe>,
    /// Connection-level limits of an attempt.
    pub timeouts: Timeouts,
    /// What a stream must show before it is relayed; none where it is relayed as it comes.
    pub gate: Option<Gate>,
    /// From where distance counts.
    pub nearest: Nearest,
    /// Which of its backends are outside of each zone.
    pub outside: Outside,
    /// What a stream must keep to.
    pub pace: Pace,
    /// When a slow request is sent to a second backend, where it ever is.
    pub hedge: Option<Hedge>,
    /// Its backends, 1 to 64, in the order of the file.
    pub backends: Vec<Backend>,
}

/// A stream is held until its first delta, or until one of these is reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Gate {
    /// Start-up events.
    pub events: u32,
    /// Bytes of the body.
    pub bytes: usize,
    /// Time from its header.
    pub time: Duration,
}

/// What a stream must keep to, where its pool says so.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Pace {
    /// To its first delta.
    pub first_token: Option<FirstToken>,
    /// Longest pause behind that.
    pub stall: Option<Duration>,
    /// Fewest bytes in such a time.
    pub rate: Option<(u64, Duration)>,
}

/// Connection-level limits of an attempt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Timeouts {
    /// TCP connect.
    pub connect: Duration,
    /// TCP connect and TLS handshake together.
    pub handshake: Duration,
    /// Longest pause inside an answer.
    pub idle: Duration,
    /// One write to the backend.
    pub write: Duration,
    /// The whole answer, from arrival.
    pub total: Duration,
    /// Longest silence of a WebSocket in both directions.
    pub websocket_idle: Duration,
    /// An idle connection to a backend is closed after this.
    pub keepalive: Duration,
}

/// Active health check of a pool's backends.
#[derive(Clone, Debug, PartialEq)]
pub struct Probe {
    /// How it asks.
    pub kind: ProbeKind,
    /// Time between probes of one backend.
    pub interval: Duration,
    /// Spread of the interval as a share of it (0 to 1).
    pub jitter: f64,
    /// Limit of one probe, connection included.
    pub timeout: Duration,
    /// Thresholds both ways.
    pub thresholds: health::Thresholds,
}

/// How a probe asks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ProbeKind {
    /// Connects (TLS where the backend has it) and closes.
    Tcp,
    /// Sends a request and looks at the status.
    Http {
        /// `GET` or `HEAD`.
        method: http::Method,
        /// Path and query, under the backend's base URL.
        path: String,
        /// Statuses that count as alive.
        statuses: Vec<u16>,
        /// Send the backend's own credential along.
        credential: bool,
        /// More headers.
        headers: Vec<(HeaderName, HeaderValue)>,
    },
}
