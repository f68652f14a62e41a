//! The signals of the gateway: every metric in one table ([`table`]), one access log line per request ([`access_log`]),
//! the process log ([`logging`]) and the clock they share ([`clock`]).
//!
//! Signals never decide anything, never block a request and never hold a prompt or a secret.

pub mod access_log;
pub mod clock;
mod limits;
pub mod logging;
pub mod meters;
pub mod metrics;
pub mod process;
mod sink;
pub mod table;

pub use access_log::{AccessLog, AttemptRecord, AzureRecord, Record, TokensRecord, WafRecord, dotted};
pub use clock::{Timestamp, now, unix_ms};
pub use limits::{LimitMeters, LimitTable};
pub use meters::{BackendMeters, ConsumerMeters, PoolMeters, ProbeResult, RouteMeters, RuleMeters};
pub use metrics::{Metrics, Spending};
