//! What most tests begin with. Two regions, `a` in front of `b`, and what to expect of an answer.

use harness::{Answer, Ask, Setup, Sim, sha256};
use std::time::Duration;

pub(crate) const A: &str = "swedencentral/a";
pub(crate) const B: &str = "francecentral/b";
pub(crate) const KIB: usize = 1024;
pub(crate) const MIB: usize = 1024 * KIB;

pub(crate) const fn ms(count: u64) -> Duration {
    Duration::from_millis(count)
}

pub(crate) const fn secs(count: u64) -> Duration {
    Duration::from_secs(count)
}

/// Region `a` and region `b`, started.
pub(crate) async fn regions() -> (Sim, Sim) {
    (Sim::start("swedencentral").await, Sim::start("francecentral").await)
}

/// `a` first, `b` behind it, and failures that never eject: every request meets `a` first.
pub(crate) fn ladder(a: &Sim, b: &Sim) -> Setup {
    Setup::new()
        .pool("ejection: { failures: 0, failure_share: 0%, jitter: 0% }")
        .backend("a", a, "priority: 1")
        .backend("b", b, "priority: 2")
}

/// `a` and `b` in one tier, equally near, with the product's own ejection.
pub(crate) fn pair(a: &Sim, b: &Sim) -> Setup {
    Setup::new()
        .pool("selection: { slow_start: 0s, explore: 0%, latency_band: 10s }")
        .backend("a", a, "")
        .backend("b", b, "")
}

/// A whole 200 by `backend`.
#[track_caller]
pub(crate) fn served_by(answer: &Answer, backend: &str) {
    assert_eq!((answer.status, answer.header("x-served-by"), &answer.cut), (200, backend, &None), "{answer}");
}

/// The region has received this request's body byte for byte, once.
pub(crate) async fn received_whole(sim: &Sim, ask: &Ask) {
    let record = sim.record(&ask.id).await;
    let body = ask.bytes();
    assert_eq!((record.body_len, &record.body_sha256), (body.len() as u64, &sha256(&body)), "{record:?}");
    let same = sim.records().iter().filter(|r| r.header("x-request-id") == Some(&ask.id)).count();
    assert_eq!(same, 1, "{} was sent {same} times to {}", ask.id, sim.name());
}
