//! Living with it, end to end: streams, reload, drain, upgrade, signals, start, and the official SDK, against the real
//! binary. A test's name is the promise it keeps. Tests that need a quiet machine are named `load_…`.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    clippy::large_futures,
    clippy::print_stderr,
    reason = "tests may panic, and read the real clock"
)]

mod common;

mod absurd;
mod breaks;
mod canaries;
mod counting;
mod drain;
mod gate;
mod hedge;
mod leaving;
mod observability;
mod pace;
mod reload;
mod reload_load;
mod sdk;
mod secrets;
mod silence;
mod start;
mod streaming;
mod upgrade;
mod usage;
