//! The limits on a request's way through one pool, in words.

use crate::cli::span::{print_size, print_span};
use crate::config::snapshot::{Pool, Snapshot};
use serde::Serialize;

/// One limit.
#[derive(Debug, Serialize)]
pub(super) struct Limit {
    pub(super) what: &'static str,
    pub(super) limit: String,
}

/// Every limit that the request meets, in the order of its way.
pub(super) fn explain(snapshot: &Snapshot, pool: &Pool, stream: bool) -> Vec<Limit> {
    let limits = &snapshot.limits;
    let (failover, timeouts) = (&pool.failover, &pool.timeouts);
    let size = |bytes: usize| print_size(u64::try_from(bytes).unwrap_or(u64::MAX));
    let first_byte = if stream { failover.stream_first_byte_timeout } else { failover.first_byte_timeout };
    let plural = if failover.attempts_max == 1 { "" } else { "s" };
    let budget = format!(
        "{:.0} % of the pool's requests, or {} per second; a failover that is served costs nothing",
        failover.budget * 100.0,
        failover.budget_min
    );
    let lines = [
        ("request target", size(limits.uri_length_max)),
        ("headers", format!("{} in {} fields", size(limits.header_size_max), limits.header_count_max)),
        (
            "body",
            format!(
                "{}, {} for all requests together",
                print_size(limits.body_size_max),
                print_size(limits.body_memory_max)
            ),
        ),
        (
            "body arrives",
            format!(
                "within {}, no pause over {}",
                print_span(limits.body_timeout),
                print_span(limits.body_idle_timeout)
            ),
        ),
        ("attempts", format!("{} backend{plural}, each at most once", failover.attempts_max)),
        ("failovers", budget),
        (
            "first byte",
            format!(
                "{} per attempt{}, {} over all",
                print_span(first_byte),
                if stream { " (stream)" } else { "" },
                print_span(failover.deadline)
            ),
        ),
        ("connect", format!("{}, {} with TLS", print_span(timeouts.connect), print_span(timeouts.handshake))),
        ("answer", format!("no pause over {}, {} in all", print_span(timeouts.idle), print_span(timeouts.total))),
    ];
    lines.into_iter().map(|(what, limit)| Limit { what, limit }).collect()
}
