//! Tables: medians over the rounds, and the median of same-round ratios to the first peer (the bare Pingora proxy).

use crate::Scenario;
use crate::client::{self, Load, Sample, quantile};
use crate::peers::Peers;
use std::time::Duration;

/// Prints one scenario. `table` holds one row per round, one sample per peer.
pub fn print(scenario: &Scenario, names: &[&str], table: &[Vec<Sample>]) {
    let streams = matches!(scenario.load, Load::Streams { .. });
    let unit = if streams { "chunk" } else { "request" };
    println!("\n{}", scenario.name);
    println!(
        "{:<14} {:>14} {:>8} {:>10} {:>8} {:>10} {:>10} {:>9} {:>8} {:>6}",
        "system",
        format!("cpu µs/{unit}"),
        "× first",
        "p50 µs",
        "× first",
        "p99 µs",
        "delay p50",
        "answers",
        "failed",
        "odd"
    );
    for (index, name) in names.iter().enumerate() {
        let column = |f: &dyn Fn(&Sample) -> f64| median(table.iter().map(|row| f(&row[index])).collect());
        let ratio = |f: &dyn Fn(&Sample) -> f64| median(table.iter().map(|row| f(&row[index]) / f(&row[0])).collect());
        let cpu = |s: &Sample| s.cpu.as_secs_f64() * 1e6 / (if streams { s.chunks } else { s.answers }).max(1) as f64;
        let p50 = |s: &Sample| quantile(&s.latencies, 0.5) as f64;
        let p99 = |s: &Sample| quantile(&s.latencies, 0.99) as f64;
        let delay = |s: &Sample| quantile(&s.delays, 0.5) as f64;
        println!(
            "{name:<14} {:>14.1} {:>8.2} {:>10.0} {:>8.2} {:>10.0} {:>10.0} {:>9.0} {:>8} {:>6}",
            column(&cpu),
            ratio(&cpu),
            column(&p50),
            ratio(&p50),
            column(&p99),
            column(&delay),
            column(&|s| s.answers as f64),
            table.iter().map(|row| row[index].failures).sum::<u64>(),
            table.iter().map(|row| row[index].odd_chunks).sum::<u64>(),
        );
    }
}

/// Memory of the gateway: idle, under 10 MiB bodies, and 60 s later.
pub fn memory(peers: &Peers) {
    let peer = peers.named("tidegate");
    let idle = peer.rss();
    client::run(Load::Closed { connections: 16, body: 10 << 20 }, peer.plain, Duration::from_secs(8));
    let loaded = peer.rss();
    std::thread::sleep(Duration::from_secs(60));
    let after = peer.rss();
    let mib = |bytes: u64| bytes as f64 / 1048576.0;
    println!(
        "\nmemory: {:.1} MiB before, {:.1} MiB under 16 connections of 10 MiB bodies, {:.1} MiB 60 s later ({:.2} × before)",
        mib(idle),
        mib(loaded),
        mib(after),
        after as f64 / idle as f64
    );
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(0.0)
}
