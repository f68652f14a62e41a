//! [`Rates`]: counters of rate limits, exact over all threads, kept over reloads and bounded in number. It decides only
//! whether a request is one too many; whom a counter belongs to is `policy::screen`'s word.

use crate::domain::Moment;
use crate::policy::screen::custom::{Key, RateLimit};
use parking_lot::Mutex;
use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Independently locked parts.
const SHARDS: usize = 64;
/// Counters in one part; 64 parts hold 262 144, at most some 20 MB.
const COUNTERS_MAX: usize = 4096;
/// A full part is looked through for ended windows at most this often.
const SWEEP_PAUSE: Duration = Duration::from_secs(1);

/// The counters.
#[derive(Debug)]
pub struct Rates {
    shards: Box<[Mutex<Shard>]>,
    /// Two independent hashes name a counter: 128 bits, so that no two groups ever share one.
    hashers: (RandomState, RandomState),
    uncounted: AtomicU64,
}

#[derive(Debug, Default)]
struct Shard {
    counters: HashMap<(u64, u64), Counter>,
    swept: Moment,
}

#[derive(Clone, Copy, Debug)]
struct Counter {
    ends: Moment,
    count: u32,
}

impl Default for Rates {
    fn default() -> Self {
        Self {
            shards: (0..SHARDS).map(|_| Mutex::default()).collect(),
            hashers: (RandomState::new(), RandomState::new()),
            uncounted: AtomicU64::new(0),
        }
    }
}

impl Rates {
    /// Counts a request in its group's window, which begins with the first request. When it is one too many: how long
    /// until the window ends.
    pub fn take(&self, limit: &RateLimit, key: &Key<'_>, now: Moment) -> Option<Duration> {
        let name = (&limit.id, key);
        let name = (self.hashers.0.hash_one(name), self.hashers.1.hash_one(name));
        let index = usize::try_from(name.0 % SHARDS as u64).unwrap_or(0);
        let mut shard = self.shards.get(index)?.lock();
        let fresh = Counter { ends: now.after(limit.window), count: 1 };
        if let Some(counter) = shard.counters.get_mut(&name) {
            // A window that a reload has made shorter ends sooner.
            let ends = counter.ends.min(fresh.ends);
            if ends <= now {
                *counter = fresh;
                return None;
            }
            counter.ends = ends;
            if counter.count >= limit.threshold {
                return Some(now.until(ends));
            }
            counter.count += 1;
            return None;
        }
        if shard.counters.len() >= COUNTERS_MAX && !shard.sweep(now) {
            // Rather a request too many than a limit on somebody else.
            self.uncounted.fetch_add(1, Ordering::Relaxed);
            return None;
        }
        shard.counters.insert(name, fresh);
        None
    }

    /// Requests that passed uncounted because every counter was taken.
    #[must_use]
    pub fn uncounted(&self) -> u64 {
        self.uncounted.load(Ordering::Relaxed)
    }
}

impl Shard {
    /// Forgets ended windows; whether there is room now.
    fn sweep(&mut self, now: Moment) -> bool {
        if now.since(self.swept) < SWEEP_PAUSE {
            return false;
        }
        self.swept = now;
        self.counters.retain(|_, counter| counter.ends > now);
        self.counters.len() < COUNTERS_MAX
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests may panic")]
    use super::*;
    use crate::policy::screen::custom::Group;
    use std::sync::atomic::AtomicU32;

    const SECOND: u64 = 1_000_000;

    fn limit(threshold: u32) -> RateLimit {
        RateLimit { id: "p/r".into(), threshold, window: Duration::from_secs(60), group: Group::None }
    }

    #[test]
    fn a_window_lets_the_threshold_through_and_begins_anew() {
        let (rates, limit) = (Rates::default(), limit(2));
        let at = |seconds: u64| rates.take(&limit, &Key::All, Moment::from_micros(seconds * SECOND));
        assert_eq!((at(1), at(2)), (None, None));
        assert_eq!((at(3), at(60)), (Some(Duration::from_secs(58)), Some(Duration::from_secs(1))));
        assert_eq!((at(61), at(62), at(63)), (None, None, Some(Duration::from_secs(58))));
        let other = Key::Address("192.0.2.1".parse().ok());
        assert_eq!(rates.take(&limit, &other, Moment::from_micros(63 * SECOND)), None);
    }

    #[test]
    fn all_threads_together_pass_exactly_the_threshold() {
        let (rates, limit, passed) = (Rates::default(), limit(1000), AtomicU32::new(0));
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    for _ in 0..500 {
                        if rates.take(&limit, &Key::All, Moment::from_micros(SECOND)).is_none() {
                            passed.fetch_add(1, Ordering::Relaxed);
                        }
                    }
                });
            }
        });
        assert_eq!(passed.load(Ordering::Relaxed), 1000);
    }

    #[test]
    fn counters_are_bounded_and_ended_ones_make_room() {
        let (rates, limit) = (Rates::default(), limit(1));
        let total = SHARDS * COUNTERS_MAX * 2;
        for index in 0..total {
            let text = index.to_string().into_bytes();
            rates.take(&limit, &Key::Text(Some(text.into())), Moment::from_micros(SECOND));
        }
        let held = |rates: &Rates| rates.shards.iter().map(|shard| shard.lock().counters.len()).sum::<usize>();
        assert!(held(&rates) <= SHARDS * COUNTERS_MAX && rates.uncounted() > 0);
        for index in 0..total {
            let text = format!("later {index}").into_bytes();
            rates.take(&limit, &Key::Text(Some(text.into())), Moment::from_micros(100 * SECOND));
        }
        assert!(held(&rates) <= SHARDS * COUNTERS_MAX);
    }
}
