//! Rests after a 429 are known to all gateways: each tells the server, again and again, which backends it leaves alone
//! after a 429 of its own and how long, and reads what the others do. What was emptied or missed is told the next time.

use super::link::Link;
use super::{Shared, micros};
use crate::config::snapshot::SharedLimits;
use crate::domain::Moment;
use crate::policy::eject::Standing;
use crate::state::{Fleet, SharedName};
use crate::telemetry::clock;
use redis::Script;
use std::collections::HashMap;
use std::time::Duration;

/// Pause between two exchanges.
const PACE: Duration = Duration::from_millis(100);
/// Rests that one gateway tells at a time, and that the server keeps.
const RESTS_MAX: usize = 1024;
/// No rest is longer.
const REST_MAX: Duration = Duration::from_secs(24 * 3600);

/// What was heard so far.
pub(super) struct Rests {
    script: Script,
    /// When each rest ends by the server's clock: one that was heard before is no news, whatever became of it here.
    heard: HashMap<SharedName, u64>,
    /// The configuration whose backends have heard of them.
    generation: u64,
    next: Moment,
}

impl Default for Rests {
    fn default() -> Self {
        let script = Script::new(include_str!("rests.lua"));
        Self { script, heard: HashMap::new(), generation: 0, next: Moment::ZERO }
    }
}

impl Rests {
    /// Tells and hears, when it is time to. Without an answer nothing changes.
    pub(super) async fn exchange(&mut self, shared: &Shared, fleet: &Fleet, settings: &SharedLimits, link: &Link) {
        let now = clock::now();
        if !settings.ejections || now < self.next {
            return;
        }
        self.next = now.after(PACE);
        if self.generation != fleet.snapshot.generation {
            self.generation = fleet.snapshot.generation;
            self.heard.clear();
        }
        let mut invocation = self.script.prepare_invoke();
        invocation.key(format!("{}:rests", settings.prefix)).arg(micros(REST_MAX)).arg(RESTS_MAX);
        for (name, rest) in fleet.own_rests(now).take(RESTS_MAX) {
            invocation.arg(name.to_string()).arg(micros(rest));
        }
        let Some(told) = link.run::<Vec<(String, u64, u64)>>(&invocation).await else { return };
        let news = self.news(told);
        if news.is_empty() {
            return;
        }
        let now = clock::now();
        for stopped in fleet.hear(&news, now, || fastrand::u64(..)) {
            let Standing::Resting { reason, until } = stopped.transition.to else { continue };
            let (id, rest) = (stopped.state.id(), now.until(until));
            shared.metrics.backend(id, stopped.region).ejected(reason.label());
            log::warn!("backend {id}: set aside for {rest:.1?}: another gateway was answered 429");
        }
    }

    /// What had not been heard, with the time that is left of it.
    fn news(&mut self, told: Vec<(String, u64, u64)>) -> HashMap<SharedName, Duration> {
        let told = told.into_iter().take(RESTS_MAX);
        let told = told.filter_map(|(name, ends, left)| Some((SharedName::parse(&name)?, ends, left)));
        let before = std::mem::take(&mut self.heard);
        let mut news = HashMap::new();
        for (name, ends, left) in told {
            if before.get(&name).is_none_or(|known| ends > *known) {
                news.insert(name, Duration::from_micros(left));
            }
            self.heard.insert(name, ends);
        }
        news
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "tests may panic")]
mod tests {
    use super::*;
    use crate::background::tests::{Site, shared};
    use crate::domain::Outcome;
    use crate::policy::eject::Reason;
    use crate::state::{Pick, Tried};

    fn told(name: &str, ends: u64, left: u64) -> Vec<(String, u64, u64)> {
        vec![(name.to_owned(), ends, left)]
    }

    #[test]
    fn a_rest_is_heard_once_and_again_when_it_is_longer() {
        let (mut rests, name) = (Rests::default(), format!("{:032x}", 7));
        assert_eq!(rests.news(told(&name, 1000, 900)).len(), 1);
        assert!(rests.news(told(&name, 1000, 800)).is_empty());
        assert_eq!(rests.news(told(&name, 1500, 700)).values().copied().next(), Some(Duration::from_micros(700)));
    }

    #[test]
    fn garbage_and_more_than_there_may_be_is_passed_over() {
        let mut rests = Rests::default();
        for name in ["", "7", &"x".repeat(32), &"7".repeat(33), "\u{7f}"] {
            assert!(rests.news(told(name, 1000, 900)).is_empty(), "{name:?}");
        }
        let many = (0..RESTS_MAX as u64 * 2).map(|number| (format!("{number:032x}"), 1000, u64::MAX)).collect();
        assert_eq!(rests.news(many).len(), RESTS_MAX);
        assert_eq!(rests.heard.len(), RESTS_MAX);
    }
    #[test]
    fn what_one_gateway_was_answered_the_other_heeds_for_the_same_url_only() {
        let (url, other) = ("http://127.0.0.1:9", "http://127.0.0.1:10");
        let (ours, theirs) = (
            shared(&Site { urls: &[url], ..Site::default() }),
            shared(&Site { urls: &[other, url], ..Site::default() }),
        );
        let (ours, theirs) = (ours.fleets.load_full(), theirs.fleets.load_full());
        let now = clock::now();
        let Pick::Attempt(mut ticket) = ours.pools[0].pick(Tried::NONE, now, 1) else { panic!("no backend") };
        let _ = ticket.finish(Outcome::RateLimited, Some(Duration::from_secs(5)), now, 1);
        let told: HashMap<_, _> = ours.own_rests(now).collect();
        let stopped = theirs.hear(&told, now, || 1);
        let [stopped] = &stopped[..] else { panic!("{stopped:?}") };
        assert_eq!(stopped.state.id().backend.as_str(), "b1");
        assert!(matches!(stopped.transition.to, Standing::Resting { reason: Reason::Shared, .. }));
        assert_eq!(theirs.own_rests(now).count(), 0, "what was heard is not told on");
    }
}
