//! TLS, end to end: certificates of listeners, of clients and towards backends, against the real binary. A test's name is
//! the promise it keeps.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    clippy::large_futures,
    reason = "tests may panic, and read the real clock"
)]

mod acme;
mod backends;
mod certificates;
mod clients;
mod common;
mod profile;
mod redirect;
mod socket;
