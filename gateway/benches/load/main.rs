//! Load benchmark of the real release binary beside nginx (plain proxying) and a bare Pingora proxy.
//!
//! `cargo bench -p tidegate --bench load` runs every scenario in interleaved rounds and prints medians of same-round
//! pairs: never divide figures of two runs. Options after `--`: `--rounds N` (5), `--seconds N` (4), `--only NAME`,
//! `--binary BINARY` (the release to measure, for instance the `target/tidegate` of `deploy/build.sh`; an absolute path),
//! `--beside BINARY` (another release, in the same rounds); `--only tls` is TLS handshakes and HTTP/2 beside nginx;
//! `--only parts` is what the firewall costs (50 custom rules, built-in protection, body policy) and what 100 consumers
//! with three limits each cost, beside the gateway without them (chats of 4 KB).
//!
//! Budgets (ratios to the bare Pingora proxy in the same round): open loop 1,000 req/s CPU ≤ 1.1, p50 ≤ 1.2; 32
//! connections saturated CPU ≤ 1.3; primary always 429 ≤ 1.15 of the healthy path; SSE CPU per chunk ≤ 1.2, first-byte
//! p99 ≤ 2 × nginx, no chunk dropped or merged.
//!
//! Proxies are pinned to CPU 1, the mock and the load to CPU 0. Everything is on loopback and bounded in time.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::print_stderr,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    clippy::disallowed_methods,
    missing_docs,
    unreachable_pub,
    unnameable_types,
    reason = "a benchmark measures, prints and may stop at any surprise"
)]

mod client;
mod floor;
mod mock;
mod peers;
mod report;
mod secure;

use client::{Load, Sample};
use peers::{Peer, Peers};
use std::time::Duration;

/// What one scenario asks of every peer.
#[derive(Clone, Copy)]
pub struct Scenario {
    pub name: &'static str,
    pub load: Load,
    pub throttled_primary: bool,
}

const SCENARIOS: &[Scenario] = &[
    Scenario {
        name: "open-1000",
        load: Load::Open { rate: 1000, connections: 64, body: 1024 },
        throttled_primary: false,
    },
    Scenario { name: "closed-32", load: Load::Closed { connections: 32, body: 1024 }, throttled_primary: false },
    Scenario {
        name: "throttled",
        load: Load::Open { rate: 1000, connections: 64, body: 1024 },
        throttled_primary: true,
    },
    Scenario { name: "sse-500", load: Load::Streams { connections: 500 }, throttled_primary: false },
    Scenario { name: "body-10m", load: Load::Closed { connections: 2, body: 10 << 20 }, throttled_primary: false },
];

/// Ratios are to the gateway without parts.
const PARTS: Scenario =
    Scenario { name: "parts", load: Load::Open { rate: 1000, connections: 64, body: 4096 }, throttled_primary: false };

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.first().map(String::as_str) {
        Some("mock") => return mock::serve(&arguments[1..]),
        Some("floor") => floor::serve(&arguments[1]),
        _ => {}
    }
    let value = |name: &str| arguments.iter().position(|a| a == name).and_then(|at| arguments.get(at + 1)).cloned();
    let rounds: usize = value("--rounds").map_or(5, |v| v.parse().expect("--rounds N"));
    let seconds: u64 = value("--seconds").map_or(4, |v| v.parse().expect("--seconds N"));
    let only = value("--only");
    if only.as_deref().is_none_or(|name| name == "tls") {
        secure::run(rounds, Duration::from_secs(seconds));
    }
    if only.as_deref() == Some("tls") {
        return;
    }
    if only.as_deref().is_none_or(|name| name == "parts") {
        let peers = Peers::parted();
        run(&peers, &PARTS, rounds, Duration::from_secs(seconds));
    }
    if only.as_deref() == Some("parts") {
        return;
    }
    let peers = Peers::start(value("--beside").as_deref());
    println!("{rounds} interleaved rounds of {seconds} s; CPU is that of the proxy's whole process");
    for scenario in SCENARIOS.iter().filter(|s| only.as_deref().is_none_or(|o| o == s.name)) {
        run(&peers, scenario, rounds, Duration::from_secs(seconds));
    }
    if only.is_none_or(|o| o == "memory") {
        report::memory(&peers);
    }
}

fn run(peers: &Peers, scenario: &Scenario, rounds: usize, time: Duration) {
    let table: Vec<Vec<Sample>> = (0..rounds).map(|_| round(peers, scenario, time)).collect();
    report::print(scenario, &peers.names(), &table);
}

fn round(peers: &Peers, scenario: &Scenario, time: Duration) -> Vec<Sample> {
    peers.all().iter().map(|peer| measure(peer, scenario, time)).collect()
}

fn measure(peer: &Peer, scenario: &Scenario, time: Duration) -> Sample {
    let address = if scenario.throttled_primary { peer.throttled } else { peer.plain };
    // The first requests open connections, fill pools and, where the primary is throttled, learn of it.
    client::run(scenario.load, address, Duration::from_millis(500));
    let before = peer.cpu(scenario.throttled_primary);
    let mut sample = client::run(scenario.load, address, time);
    sample.cpu = peer.cpu(scenario.throttled_primary) - before;
    sample
}
