//! The page of usage limits: their ceilings, and who has used how much of which. Chains that are not made of names of the
//! configuration are not listed: nobody knows their values.

use crate::config::snapshot::Snapshot;
use crate::domain::Moment;
use crate::policy::limit::{Limit, Now, Part, Rule, Window};
use crate::state::{Chain, ChainKey, Fleet};
use crate::telemetry::clock;
use serde_json::{Value, json};

/// Most buckets of one limit that are listed.
const LISTED_MAX: usize = 1000;

/// Every limit, in the order of the file.
pub(super) fn page(fleet: &Fleet, moment: Moment) -> Value {
    let now = Now { moment, unix: clock::unix_seconds() };
    let describe = |limit: &Limit| {
        json!({
            "limit": limit.name.as_str(),
            "by": limit.by.iter().map(part).collect::<Vec<_>>(),
            "everywhere": limit.everywhere,
            "ceilings": limit.rules.iter().map(ceiling).collect::<Vec<_>>(),
            "used": used(fleet, limit, now),
        })
    };
    json!({
        "generation": fleet.snapshot.generation,
        "buckets": fleet.limits.len(),
        "crowded": fleet.limits.crowded(),
        "limits": fleet.snapshot.usage_limits.list.iter().map(describe).collect::<Vec<_>>(),
    })
}

fn part(part: &Part) -> Value {
    match part {
        Part::Claim(name) => json!({ "claim": name }),
        other => json!(word(other)),
    }
}

const fn word(part: &Part) -> &'static str {
    match part {
        Part::Consumer => "consumer",
        Part::Plan => "plan",
        Part::Route => "route",
        Part::Deployment => "deployment",
        Part::Address => "address",
        Part::Claim(_) => "claim",
    }
}

fn ceiling(rule: &Rule) -> Value {
    let per = match rule.window {
        Window::Sliding(per) => json!({ "seconds": per.as_secs_f64() }),
        Window::Calendar(period) => json!(period.label()),
        Window::Held => Value::Null,
    };
    json!({ "measure": rule.measure.label(), "max": rule.max, "per": per })
}

/// The buckets of a limit that are in use; null where its values are nobody's names.
fn used(fleet: &Fleet, limit: &Limit, now: Now) -> Value {
    let Some(values) = values(&fleet.snapshot, &limit.by) else { return Value::Null };
    let mut listed = Vec::new();
    for value in values {
        let chain = chain(limit, value);
        for rule in &limit.rules {
            let Some(standing) = fleet.limits.standing(chain, rule, now) else { continue };
            listed.push(json!({
                "of": value,
                "measure": rule.measure.label(),
                "max": standing.max,
                "remaining": standing.remaining,
                "owed": standing.owed,
                "reset_seconds": standing.reset.as_secs_f64(),
            }));
            if listed.len() >= LISTED_MAX {
                return listed.into();
            }
        }
    }
    listed.into()
}

fn chain(limit: &Limit, value: Option<&str>) -> ChainKey {
    let mut chain = Chain::new(limit.name.as_str());
    for part in &limit.by {
        chain.push(part, value.map(str::as_bytes));
    }
    chain.end()
}

/// Every value that a chain of at most one part can have, none included.
fn values<'s>(snapshot: &'s Snapshot, by: &[Part]) -> Option<Vec<Option<&'s str>>> {
    let access = snapshot.access.as_ref();
    let names: Vec<&str> = match by {
        [] => Vec::new(),
        [Part::Consumer] => access.map_or_else(Vec::new, |a| a.consumers.iter().map(|c| c.name.as_str()).collect()),
        [Part::Plan] => access.map_or_else(Vec::new, |a| a.plans.iter().map(|plan| plan.as_str()).collect()),
        [Part::Route] => snapshot.routes.iter().map(|route| route.name.as_str()).collect(),
        _ => return None,
    };
    Some(std::iter::once(None).chain(names.into_iter().map(Some)).collect())
}
