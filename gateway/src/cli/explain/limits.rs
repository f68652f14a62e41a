//! The limits on a request's way through one pool, in words.

use crate::cli::span::{print_size, print_span};
use crate::config::snapshot::{Pool, Snapshot};
use crate::policy::limit::{self, Measure, Rule, Window};
use serde::Serialize;

/// One limit.
#[derive(Debug, Serialize)]
pub(super) struct Limit {
    pub(super) what: &'static str,
    pub(super) limit: String,
}

/// Every limit that the request meets, in the order of its way.
pub(super) fn explain(snapshot: &Snapshot, (route, pool): (Option<&str>, &Pool), stream: bool) -> Vec<Limit> {
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
    let lines = lines.into_iter().map(|(what, limit)| Limit { what, limit });
    lines.chain(usage(snapshot, route)).collect()
}

/// The usage limits that hold for the request, and those that hold if its consumer has them.
fn usage(snapshot: &Snapshot, route: Option<&str>) -> impl Iterator<Item = Limit> {
    let own = snapshot.routes.iter().find(|known| Some(known.name.as_str()) == route).map(|route| &route.limits);
    snapshot.usage_limits.list.iter().enumerate().filter_map(move |(index, limit)| {
        let named = |limits: &[usize]| limits.contains(&index);
        let of_route = limit.everywhere || own.is_some_and(|own| named(own));
        let consumers = snapshot.access.iter().flat_map(|access| &access.consumers);
        let mut whose = consumers.filter(|consumer| named(&consumer.limits)).map(|consumer| consumer.name.as_str());
        let scope = match (of_route, whose.next()) {
            (true, _) => String::new(),
            (false, Some(first)) => {
                format!(", for {}", std::iter::once(first).chain(whose.take(4)).collect::<Vec<_>>().join(", "))
            }
            (false, None) => return None,
        };
        Some(Limit { what: "usage", limit: format!("{}: {}{scope}", limit.name, ceilings(limit)) })
    })
}

fn ceilings(limit: &limit::Limit) -> String {
    let rule = |rule: &Rule| {
        let per = match rule.window {
            Window::Sliding(per) => format!(" in {}", print_span(per)),
            Window::Calendar(period) => format!(" per {}", period.label()),
            Window::Held => " at the same time".to_owned(),
        };
        let what = match rule.measure {
            Measure::Requests | Measure::RequestQuota | Measure::Concurrent => "requests",
            Measure::Tokens | Measure::TokenQuota => "tokens",
            Measure::Streams => "streams",
        };
        format!("{} {what}{per}", rule.max)
    };
    let most =
        [("max_tokens", limit.ceilings.max_tokens), ("n", limit.ceilings.n), ("prompt", limit.ceilings.prompt_tokens)];
    let most = most.into_iter().filter_map(|(name, max)| Some(format!("{name} at most {}", max?)));
    limit.rules.iter().map(rule).chain(most).collect::<Vec<_>>().join(", ")
}
