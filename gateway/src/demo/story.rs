//! What happens when: the three regions, what each can take, and the moments at which one goes dark and comes back.

use crate::simulator::{Control, DeploymentOptions, FaultKind, FaultRule, Latency, Quota, RegionOptions};
use std::time::Duration;

/// Chat deployment as clients know it.
pub(super) const CHAT: &str = "gpt-4o";
/// Embeddings deployment.
pub(super) const EMBEDDINGS: &str = "text-embedding-3-small";
/// API version that classic requests carry.
pub(super) const API_VERSION: &str = "2024-10-21";

/// One region of the story.
#[derive(Clone, Copy, Debug)]
pub(super) struct Actor {
    /// Azure's slug.
    pub(super) region: &'static str,
    /// Its backend's name.
    pub(super) backend: &'static str,
    /// Its chat deployment: names differ by region, as they do in life.
    pub(super) chat: &'static str,
    pub(super) priority: u32,
    pub(super) weight: u32,
    /// To the first token, milliseconds.
    first_token: u64,
}

/// The regions, in the order in which they are shown.
pub(super) const ACTORS: [Actor; 3] = [
    Actor { region: "swedencentral", backend: "sweden", chat: "gpt-4o-prod", priority: 1, weight: 3, first_token: 60 },
    Actor { region: "francecentral", backend: "france", chat: "gpt-4o", priority: 1, weight: 1, first_token: 80 },
    Actor { region: "eastus2", backend: "virginia", chat: "gpt-4o", priority: 2, weight: 1, first_token: 160 },
];

/// The region that goes dark.
pub(super) const DARK: usize = 0;
/// The region that runs into its quota.
const SCARCE: usize = 1;
/// When it goes dark and when it is back, as shares of the whole, in percent.
const DARK_FROM: u32 = 25;
const DARK_TO: u32 = 60;
/// Length of an answer, tokens, and the time of each.
const TOKENS: u32 = 16;
const PER_TOKEN: Duration = Duration::from_millis(8);

/// A change of the scene.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Turn {
    /// The region neither takes connections nor answers requests any more.
    Darkens,
    /// It is as before.
    Returns,
}

/// The turns of a story of this length.
pub(super) fn turns(duration: Duration) -> [(Duration, Turn); 2] {
    [(duration * DARK_FROM / 100, Turn::Darkens), (duration * DARK_TO / 100, Turn::Returns)]
}

/// Options of the region at `index` under a load of `rate` requests per second.
pub(super) fn region(index: usize, actor: &Actor, rate: u32, key: &str) -> RegionOptions {
    let chat = if index == SCARCE {
        // A bit more than its usual share, so that it throttles as soon as another region is missing.
        Quota::Standard { tpm: 100_000_000, rpm: (u64::from(rate) * 60 / 5).max(60) }
    } else {
        Quota::Unlimited
    };
    RegionOptions {
        deployments: vec![
            DeploymentOptions::new(actor.chat, chat),
            DeploymentOptions::new(EMBEDDINGS, Quota::Unlimited),
        ],
        api_key: Some(key.to_owned()),
        latency: Latency {
            first_token: Duration::from_millis(actor.first_token),
            per_token: PER_TOKEN,
            jitter: 0.2,
            ..Latency::default()
        },
        tokens_out: TOKENS,
        records_max: 0,
        seed: u64::try_from(index).unwrap_or(0) + 1,
        ..RegionOptions::new(actor.region)
    }
}

/// Carries a turn out. Streams under way go on: a region that falls silent does not take back what it has sent.
pub(super) fn play(turn: Turn, control: &Control) {
    match turn {
        Turn::Darkens => {
            for kind in [
                FaultKind::HangBeforeHeaders { for_ms: None },
                FaultKind::Refuse { keep_connections: true, for_ms: None },
            ] {
                // Both are well formed, and no others are in force.
                let _ = control.add_fault(FaultRule::new(kind).operation("any"));
            }
        }
        Turn::Returns => control.clear_faults(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_dark_time_lies_inside_the_story() {
        let [(from, first), (to, second)] = turns(Duration::from_secs(60));
        assert_eq!((from, to), (Duration::from_secs(15), Duration::from_secs(36)));
        assert_eq!((first, second), (Turn::Darkens, Turn::Returns));
    }
}
