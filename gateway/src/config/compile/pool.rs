//! Compiles one pool: the parameters of its policies, its probe and its backends.

use super::{backend, name, ordered, positive, probe, streams, unique, zero_or_more};
use crate::config::file::{self, Switch};
use crate::config::report::Report;
use crate::config::snapshot::{Pool, Timeouts};
use crate::domain::PoolName;
use crate::openai::affinity::Affinity;
use crate::policy::distance::{Nearest, Spot};
use crate::policy::hedge::{BUDGET_MAX, Hedge};
use crate::policy::residency::Outside;
use crate::policy::{eject::Ejection, failover::Failover, select::Selection, throttle::Rests};
use std::collections::BTreeMap;

/// Compiles the pool with this index; `None` only after a problem.
pub(super) fn compile(typed: &file::Pool, index: usize, home: Option<Spot>, report: &mut Report<'_>) -> Option<Pool> {
    let path = format!("pools[{index}]");
    let pool = name(PoolName::new(&typed.name), &format!("{path}.name"), report);
    let probe = match &typed.probe {
        Switch::Off => None,
        Switch::On(typed) => Some(probe::compile(typed, &format!("{path}.probe"), report)),
    };
    let selection = selection(&typed.selection, &format!("{path}.selection"), report);
    let failover = failover(&typed.failover, &format!("{path}.failover"), report);
    let ejection = ejection(&typed.ejection, &format!("{path}.ejection"), report);
    let timeouts = timeouts(&typed.timeouts, &format!("{path}.timeouts"), report);
    let (gate, pace) = streams::compile(&typed.streams, &format!("{path}.streams"), report);
    let hedge = typed.hedge.as_ref().map(|typed| hedge(typed, &format!("{path}.hedge"), report));
    if hedge.is_some() && typed.backends.len() < 2 {
        report.warn(&format!("{path}.hedge"), "needs a second backend in the pool: nothing is ever hedged", None);
    }
    unique(typed.backends.iter().map(|one| one.name.as_str()), &format!("{path}.backends"), "backends", report);
    same_deployment(typed, &path, report);
    let mut backends = Vec::with_capacity(typed.backends.len());
    for (index, typed) in typed.backends.iter().enumerate() {
        backends.push(backend::compile(typed, pool.as_ref(), &format!("{path}.backends[{index}]"), home, report));
    }
    if !typed.backends.is_empty() && typed.backends.iter().all(|one| !one.enabled) {
        report.warn(&format!("{path}.backends"), "none of them is enabled", None);
    }
    Some(Pool {
        name: pool?,
        required: typed.required,
        selection,
        affinity: affinity(typed.selection.affinity),
        failover,
        ejection,
        probe: match probe {
            Some(probe) => Some(probe?),
            None => None,
        },
        timeouts,
        gate,
        nearest: match typed.selection.nearest {
            file::Nearest::Home => Nearest::Home,
            file::Nearest::Client => Nearest::Client,
        },
        outside: Outside::default(),
        pace,
        hedge,
        backends: backends.into_iter().collect::<Option<_>>()?,
    })
}

/// One deployment listed twice gets two shares and, when it fails, two attempts.
fn same_deployment(typed: &file::Pool, path: &str, report: &mut Report<'_>) {
    let mut seen: BTreeMap<(&str, Option<&str>), usize> = BTreeMap::new();
    for (index, one) in typed.backends.iter().enumerate() {
        let key = (one.url.trim_end_matches('/'), one.deployment.as_deref());
        if let Some(first) = seen.get(&key) {
            let message = format!("is the same deployment as backends[{first}]: a failover would reach it again");
            report.warn(&format!("{path}.backends[{index}].url"), message, None);
        } else {
            seen.insert(key, index);
        }
    }
}

fn selection(typed: &file::Selection, path: &str, report: &mut Report<'_>) -> Selection {
    Selection {
        latency_band: zero_or_more(typed.latency_band, &format!("{path}.latency_band"), report),
        explore: typed.explore.fraction(),
        slow_start: zero_or_more(typed.slow_start, &format!("{path}.slow_start"), report),
        panic_threshold: typed.panic_threshold.fraction(),
        fail_open: typed.fail_open,
    }
}

const fn affinity(typed: file::Affinity) -> Option<Affinity> {
    match typed {
        file::Affinity::Off => None,
        file::Affinity::Key => Some(Affinity::Key),
        file::Affinity::Prefix => Some(Affinity::Prefix),
    }
}

fn failover(typed: &file::Failover, path: &str, report: &mut Report<'_>) -> Failover {
    let stream = format!("{path}.stream_first_byte_timeout");
    Failover {
        attempts_max: typed.attempts_max,
        deadline: positive(typed.deadline, &format!("{path}.deadline"), report),
        first_byte_timeout: positive(typed.first_byte_timeout, &format!("{path}.first_byte_timeout"), report),
        stream_first_byte_timeout: positive(typed.stream_first_byte_timeout, &stream, report),
        budget: typed.budget.fraction(),
        budget_min: typed.budget_min,
    }
}

fn ejection(typed: &file::Ejection, path: &str, report: &mut Report<'_>) -> Ejection {
    ordered(("base", typed.base), ("max", typed.max), path, report);
    ordered(("advised_default", typed.advised_default), ("advised_max", typed.advised_max), path, report);
    Ejection {
        failures: typed.failures,
        failure_share: typed.failure_share.fraction(),
        attempts_min: typed.attempts_min,
        window: positive(typed.window, &format!("{path}.window"), report),
        base: positive(typed.base, &format!("{path}.base"), report),
        max: positive(typed.max, &format!("{path}.max"), report),
        share_max: typed.share_max.fraction(),
        rests: rests(typed, path, report),
        misconfigured: positive(typed.misconfigured, &format!("{path}.misconfigured"), report),
        jitter: typed.jitter.fraction(),
    }
}

fn hedge(typed: &file::Hedge, path: &str, report: &mut Report<'_>) -> Hedge {
    let budget = typed.budget.fraction();
    if budget > BUDGET_MAX {
        let message =
            format!("{}% is too much: at most {}% of the requests may be hedged", typed.budget.0, BUDGET_MAX * 100.0);
        let help =
            "a hedge helps the slowest few; for a pool that is slow as a whole set `failover` or `streams.first_token`";
        report.problem(&format!("{path}.budget"), message, help.to_owned());
    }
    Hedge { budget, delay_min: zero_or_more(typed.delay_min, &format!("{path}.delay_min"), report) }
}

fn rests(typed: &file::Ejection, path: &str, report: &mut Report<'_>) -> Rests {
    Rests {
        unknown: positive(typed.advised_default, &format!("{path}.advised_default"), report),
        max: positive(typed.advised_max, &format!("{path}.advised_max"), report),
        call_rate: positive(typed.call_rate, &format!("{path}.call_rate"), report),
        day_quota: positive(typed.day_quota, &format!("{path}.day_quota"), report),
        capacity_region: zero_or_more(typed.capacity_region, &format!("{path}.capacity_region"), report),
    }
}

fn timeouts(typed: &file::Timeouts, path: &str, report: &mut Report<'_>) -> Timeouts {
    ordered(("connect", typed.connect), ("handshake", typed.handshake), path, report);
    Timeouts {
        connect: positive(typed.connect, &format!("{path}.connect"), report),
        handshake: positive(typed.handshake, &format!("{path}.handshake"), report),
        idle: positive(typed.idle, &format!("{path}.idle"), report),
        write: positive(typed.write, &format!("{path}.write"), report),
        total: positive(typed.total, &format!("{path}.total"), report),
        websocket_idle: positive(typed.websocket_idle, &format!("{path}.websocket_idle"), report),
        keepalive: positive(typed.keepalive, &format!("{path}.keepalive"), report),
    }
}
