//! Simulation: the real `policy` and `state` under a virtual clock, against seeded regions with latency, quota and faults.
//!
//! No socket, no sleep, no thread: a seed decides everything. A failure names the seed and the command that replays it
//! (`SIM_SEED` runs one seed only). Invariants are checked at every pick, by reading the backends' standing independently.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "tests may panic")]

mod chaos;
mod headroom;
mod incidents;
mod invariants;
mod ledger;
mod overload;
mod region;
mod residency;
mod seeds;
mod world;
