//! What a million buckets of usage limits hold of memory, measured with the allocator of the binary: before, while they count, and once
//! they are idle.
//!
//! Budget: 200 MB, and idle ones are dropped. It stops with an error where that does not hold.

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::disallowed_methods,
    reason = "a bench measures, prints and may panic"
)]

use std::sync::Arc;
use std::time::Duration;
use tidegate::domain::Moment;
use tidegate::policy::limit::{Measure, Now, Part, Rule, Window};
use tidegate::state::{Chain, Charge, Limits, Reserved};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const BUCKETS: u64 = 1_000_000;
const BUDGET: u64 = 200_000_000;

fn at(second: u64) -> Now {
    Now { moment: Moment::from_micros(second * 1_000_000), unix: 1_800_000_000 + second }
}

/// Resident memory of this process, bytes.
fn resident() -> u64 {
    let text = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = text.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() * 1024
}

/// The allocator gives back what tables have grown out of a second later, when something large is freed after that: the gateway
/// does the same every five seconds.
fn settle() {
    for _ in 0..3 {
        std::thread::sleep(Duration::from_millis(1500));
        drop(std::hint::black_box(Vec::<u8>::with_capacity(1 << 20)));
    }
}

fn main() {
    let limits = Arc::new(Limits::default());
    let rule = Rule {
        measure: Measure::Tokens,
        window: Window::Sliding(Duration::from_secs(60)),
        max: 1_000_000,
        strict: false,
    };
    let before = resident();
    for index in 0..BUCKETS {
        let mut chain = Chain::new("each");
        chain.push(&Part::Address, Some(&index.to_be_bytes()));
        let mut reserved = Reserved::new(Arc::clone(&limits));
        let charge = Charge { limit: 0, chain: chain.end(), rule: &rule, amount: 1000 };
        reserved.take([charge].into_iter(), &[], at(1)).unwrap();
        reserved.settle(|_| 700, at(1));
    }
    settle();
    let (count, held) = (limits.len(), resident() - before);
    println!("{count} buckets: {:.1} MB, {:.0} bytes each", held as f64 / 1e6, held as f64 / count as f64);
    assert!(count as u64 >= BUCKETS * 998 / 1000, "the others share one");
    // More passes than there are parts.
    (0..200).for_each(|_| limits.sweep(at(120)));
    assert!(limits.is_empty());
    settle();
    let left = resident().saturating_sub(before);
    println!("idle, and dropped: {:.1} MB", left as f64 / 1e6);
    assert!(held <= BUDGET, "a million buckets hold {held} bytes");
    assert!(left < held / 4, "{left} of {held} bytes are still held");
}
