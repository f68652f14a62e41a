//! What most of these tests begin with: two regions, a gateway over them, a stream of a given length and pace.

use harness::{Answer, Ask, Event, Events, Gateway, Opened, Setup, Sim, within};
use std::time::Duration;

pub(crate) const A: &str = "swedencentral/a";
pub(crate) const B: &str = "francecentral/b";
pub(crate) const KIB: u64 = 1024;
pub(crate) const MIB: u64 = 1024 * KIB;

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

/// `a` first, `b` behind it.
pub(crate) fn ladder(a: &Sim, b: &Sim) -> Setup {
    Setup::new().backend("a", a, "priority: 1").backend("b", b, "priority: 2")
}

/// `a` alone: what happens to it is what the client sees.
pub(crate) fn single(a: &Sim) -> Setup {
    Setup::new().pool("ejection: { failures: 0, failure_share: 0% }").backend("a", a, "")
}

/// A stream of `tokens` content events, `pace` apart, each stamped with the time of its making.
pub(crate) fn stream(tokens: u64, pace: Duration) -> Ask {
    paced(Ask::stream("gpt"), tokens, pace)
}

/// Steers the region's answer: so many tokens, so far apart.
pub(crate) fn paced(ask: Ask, tokens: u64, pace: Duration) -> Ask {
    ask.header("x-sim-tokens", &tokens.to_string())
        .header("x-sim-chunk-ms", &pace.as_millis().to_string())
        .header("x-sim-stamp", "1")
}

/// A chat whose answer has exactly `bytes`.
pub(crate) fn answer_of(bytes: u64) -> Ask {
    Ask::chat("gpt").header("x-sim-size", &bytes.to_string())
}

/// The number of a content event; absent for the others.
pub(crate) fn index(event: &Event) -> Option<u64> {
    event.json()["x_sim_index"].as_u64()
}

/// All content events from 1 to `tokens`, in order, none twice; no error event; `[DONE]` last.
#[track_caller]
pub(crate) fn is_whole(events: &[Event], tokens: u64) {
    let numbers: Vec<u64> = events.iter().filter_map(index).collect();
    assert_eq!(numbers, (1..=tokens).collect::<Vec<_>>());
    assert!(!events.iter().any(Event::is_error), "{events:?}");
    assert!(events.last().is_some_and(Event::is_done), "{:?}", events.last());
}

/// Opens a stream and reads until its first content event.
pub(crate) async fn begun(opened: Opened) -> Events {
    assert_eq!(opened.status, 200, "{opened:?}");
    let mut events = opened.events();
    within("the first content event", secs(10), async {
        while let Some(event) = events.next().await {
            if index(&event) == Some(1) {
                return;
            }
        }
        panic!("the stream ended before its first content event");
    })
    .await;
    events
}

/// A whole 200.
#[track_caller]
pub(crate) fn is_ok(answer: &Answer) {
    assert_eq!((answer.status, &answer.cut), (200, &None), "{answer}");
}

/// Nothing is in flight any more, by every gauge.
pub(crate) async fn until_idle(gateway: &Gateway) {
    for name in ["tidegate_requests_in_flight", "tidegate_streams_open", "tidegate_backend_attempts_in_flight"] {
        gateway.until_metric(name, &[], |value| value.abs() < 0.5).await;
    }
    gateway.until_metric("tidegate_body_memory_bytes", &[], |value| value.abs() < 0.5).await;
}
