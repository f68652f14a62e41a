//! Compiles the quotas of backends, and what those of one group say together.

use super::name;
use crate::config::file;
use crate::config::report::Report;
use crate::config::snapshot::{BackendQuota, Pool};
use crate::domain::{Quota, QuotaName};
use std::collections::BTreeMap;

/// Compiles the quota of the backend at `path`; `None` only after a problem.
pub(super) fn compile(typed: Option<&file::Quota>, path: &str, report: &mut Report<'_>) -> Option<BackendQuota> {
    let Some(typed) = typed else { return Some(BackendQuota::default()) };
    let path = format!("{path}.quota");
    let quota = Quota { tokens: typed.tokens_per_minute, requests: typed.requests_per_minute };
    if quota == Quota::default() && typed.group.is_none() && !report.any_replaced(&path, "_minute") {
        let help = "write `tokens_per_minute`, `requests_per_minute` or `group`, or leave `quota` out".to_owned();
        report.problem(&path, "says nothing", help);
    }
    let group = match &typed.group {
        Some(group) => Some(name(QuotaName::new(group), &format!("{path}.group"), report)?),
        None => None,
    };
    Some(BackendQuota { group, quota })
}

/// Gives every member of a group what one of them says. Those that say something say the same.
pub(super) fn share(typed: &[file::Pool], pools: &mut [Pool], report: &mut Report<'_>) {
    let mut groups: BTreeMap<&str, [Option<(u64, String)>; 2]> = BTreeMap::new();
    for (at, pool) in typed.iter().enumerate() {
        for (index, backend) in pool.backends.iter().enumerate() {
            let Some((group, quota)) = backend.quota.as_ref().and_then(|q| Some((q.group.as_deref()?, q))) else {
                continue;
            };
            let said =
                [("tokens_per_minute", quota.tokens_per_minute), ("requests_per_minute", quota.requests_per_minute)];
            for (slot, (key, number)) in groups.entry(group).or_default().iter_mut().zip(said) {
                let path = format!("pools[{at}].backends[{index}].quota.{key}");
                match (&slot, number) {
                    (Some((before, there)), Some(number)) if *before != number => {
                        let help = format!("{there} says {before}; one of them is enough");
                        report.problem(&path, format!("the quota `{group}` has two limits"), help);
                    }
                    (None, Some(number)) => *slot = Some((number, path)),
                    _ => {}
                }
            }
        }
    }
    for quota in pools.iter_mut().flat_map(|pool| &mut pool.backends).map(|backend| &mut backend.quota) {
        if let Some([tokens, requests]) = quota.group.as_ref().and_then(|group| groups.get(group.as_str())) {
            let number = |said: &Option<(u64, String)>| said.as_ref().map(|(number, _)| *number);
            quota.quota = Quota { tokens: number(tokens), requests: number(requests) };
        }
    }
}
