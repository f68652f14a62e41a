//! Test harness: the real `tidegate` binary as a child process, simulated regions in this one, and clients that see
//! everything. It asserts nothing about the gateway by itself, and uses no fixed port and no bare sleep as a proof.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stderr,
    clippy::disallowed_methods,
    reason = "a harness for tests: it panics with what went wrong, and time and environment are the real ones"
)]

mod ask;
mod azure;
mod binary;
mod ca;
mod client;
mod gateway;
mod issuer;
mod load;
mod metrics;
mod ports;
mod raw;
mod redis;
mod setup;
mod sim;
mod sse;
mod wait;
mod wire;

pub use ask::{Ask, Payload, sha256};
pub use azure::{Asked, Azure, Mood, application, assertion};
pub use binary::{binary, node_modules, tool, venv_python, workspace_file};
pub use ca::Authority;
pub use client::{Answer, Client, Opened, Proto};
pub use gateway::{Exit, Gateway};
pub use issuer::Issuer;
pub use load::{Load, LoadRun, Report, Shot};
pub use metrics::Metrics;
pub use ports::Port;
pub use raw::{Raw, RawAnswer};
pub use redis::Redis;
pub use setup::Setup;
pub use sim::Sim;
pub use sse::{End, Event, Events};
pub use wait::{eventually, within};
pub use wire::{BlackHole, Wire};
