//! Keys that expire soon: a gauge by consumer, and a warning in the log when one is new among them. It switches nothing off: whether
//! a key is good is asked for every request.

use super::Shared;
use crate::telemetry::clock;
use std::collections::HashSet;
use std::time::Duration;

/// Time enough to make a new key, hand it over and see it used.
const SOON: Duration = Duration::from_secs(14 * 86_400);
/// Pause between two looks; a reload shows within it.
const PAUSE: Duration = Duration::from_secs(30);

/// Keeps the gauges up to date, for ever.
pub(super) async fn keep(shared: &Shared) {
    let mut told = HashSet::new();
    loop {
        look(shared, &mut told, clock::unix_seconds());
        tokio::time::sleep(PAUSE).await;
    }
}

/// `told`: what was warned of already, by consumer and end.
fn look(shared: &Shared, told: &mut HashSet<(String, u64)>, now: u64) {
    let fleet = shared.fleets.load_full();
    let Some(access) = &fleet.snapshot.access else {
        told.clear();
        return;
    };
    let mut ends: Vec<Vec<u64>> = vec![Vec::new(); access.consumers.len()];
    for key in access.keys.by_id.values().chain(access.keys.by_hash.values()) {
        let begun = key.not_before.is_none_or(|begin| begin <= now);
        let end = key.expires.filter(|end| begun && *end > now && *end - now <= SOON.as_secs());
        if let (Some(end), Some(ends)) = (end, ends.get_mut(key.consumer)) {
            ends.push(end);
        }
    }
    let mut known = HashSet::new();
    for (consumer, ends) in access.consumers.iter().zip(ends) {
        let count = if consumer.enabled { ends.len() } else { 0 };
        shared.metrics.consumer(&consumer.name).keys_expiring(count);
        for end in ends.into_iter().take(count) {
            let entry = (consumer.name.to_string(), end);
            if !told.contains(&entry) {
                let days = (end - now) / 86_400;
                log::warn!("consumer {}: a key expires in {days} days, at Unix time {end}", consumer.name);
            }
            known.insert(entry);
        }
    }
    *told = known;
}
