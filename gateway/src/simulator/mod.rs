//! A faithful Azure OpenAI region in a process: quotas, Azure's headers and bodies, streams, and faults on demand.
//!
//! [`Region::start`] binds a port and serves; [`Control`] (or `/_sim/…` on the same port) puts faults in force and reads
//! what arrived. It serves `tidegate simulate`, `tidegate demo`, the end-to-end tests and the load benchmarks.
//!
//! The text of an answer begins with `[region/deployment]`, then `token1 token2 …`: who served, and nothing missing or
//! mixed in. A request steers its own answer with `x-sim-tokens`, `x-sim-chunk-ms`, `x-sim-first-ms`, `x-sim-stall-after`
//! (events, then silence), `x-sim-words: 1` (words of one token each and nothing else), `x-sim-size` (bytes of a whole answer) and `x-sim-stamp: 1` (`x_sim_at_us`: when each content event was made, µs of the machine's monotonic clock).

mod answer;
mod api;
mod body;
mod call;
mod clock;
mod control;
mod deployment;
mod draft;
mod events;
mod facts;
mod fault;
mod headers;
mod options;
mod place;
mod plan;
mod preset;
mod quota;
mod realtime;
mod receive;
mod region;
mod responses;
mod script;
mod serve;
mod shared;
mod socket;
mod stats;
mod stored;
mod target;
mod things;
mod visit;

pub use control::Control;
pub use fault::{FaultError, FaultKind, FaultMatch, FaultRule, StatusFault};
pub use options::{DeploymentOptions, Latency, Quota, RegionOptions, Style, TlsOptions};
pub use preset::PRESETS;
pub use region::Region;
pub use script::{Script, SimulateError, SimulateOptions, Started, run};
pub use stats::{Record, Stats};

#[cfg(test)]
mod tests;
