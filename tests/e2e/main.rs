//! End to end: the real binary, through sockets and signals only, against simulated regions. A test's name is the promise
//! it keeps. Tests that need a quiet machine are named `load_…` and run one at a time.
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

mod affinity;
mod availability;
mod bad_input;
mod batches;
mod bodies;
mod capabilities;
mod command;
mod connections;
mod consumers;
mod cors;
mod ejection;
mod exhaustion;
mod failover;
mod faults;
mod headers;
mod headroom;
mod hops;
mod http2_abuse;
mod identity;
mod key_vault;
mod kinds;
mod limits;
mod lists;
mod misconfigured;
mod models;
mod overload;
mod protection;
mod provisioned;
mod proxy_protocol;
mod redis_kinds;
mod residency;
mod rules;
mod sdk_shapes;
mod selection;
mod shared_ejections;
mod shared_limits;
mod slow;
mod slowhttptest;
mod smuggling;
mod spillover;
mod stateful;
mod stored;
mod strict_limits;
mod tokens;
mod translation;
mod waf;
mod websocket;
