//! What the clients of the demo saw, in numbers. Pure: moments are arguments, every table has a limit.

use super::story::ACTORS;
use std::collections::BTreeMap;
use std::time::Duration;

/// Milliseconds that are told apart; anything slower counts as this.
const MILLIS_MAX: usize = 30_000;
/// Different errors remembered.
const ERRORS_MAX: usize = 16;

/// What one request came to, as its client saw it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Seen {
    /// The region that served it, by its index.
    pub(super) served_by: Option<usize>,
    /// Attempts that failed before: region and outcome.
    pub(super) failed: Vec<(usize, String)>,
    /// From sending to the header of the answer.
    pub(super) first_byte: Duration,
    /// What went wrong.
    pub(super) error: Option<String>,
}

/// Counters of one region.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct RegionCounts {
    pub(super) served: u64,
    /// Attempts answered with 429.
    pub(super) throttled: u64,
    /// Attempts that failed otherwise.
    pub(super) failed: u64,
}

/// Everything since the start.
#[derive(Debug)]
pub(super) struct Tally {
    pub(super) regions: [RegionCounts; ACTORS.len()],
    /// Served in the last whole second, by region.
    pub(super) last_second: [u64; ACTORS.len()],
    this_second: [u64; ACTORS.len()],
    pub(super) requests: u64,
    pub(super) attempts: u64,
    pub(super) failovers: u64,
    pub(super) client_errors: u64,
    /// Requests not sent because too many were under way.
    pub(super) held_back: u64,
    errors: BTreeMap<String, u64>,
    millis: Vec<u32>,
}

impl Default for Tally {
    fn default() -> Self {
        Self {
            regions: Default::default(),
            last_second: Default::default(),
            this_second: Default::default(),
            requests: 0,
            attempts: 0,
            failovers: 0,
            client_errors: 0,
            held_back: 0,
            errors: BTreeMap::new(),
            millis: vec![0; MILLIS_MAX + 1],
        }
    }
}

impl Tally {
    /// A request ended.
    pub(super) fn add(&mut self, seen: &Seen) {
        self.requests += 1;
        let failed = u64::try_from(seen.failed.len()).unwrap_or(u64::MAX);
        self.attempts += failed + u64::from(seen.served_by.is_some());
        self.failovers += if seen.served_by.is_some() { failed } else { failed.saturating_sub(1) };
        for (region, outcome) in &seen.failed {
            if let Some(counts) = self.regions.get_mut(*region) {
                if outcome == "rate_limited" {
                    counts.throttled += 1;
                } else {
                    counts.failed += 1;
                }
            }
        }
        if let Some(region) = seen.served_by
            && let (Some(counts), Some(now)) = (self.regions.get_mut(region), self.this_second.get_mut(region))
        {
            counts.served += 1;
            *now += 1;
        }
        match &seen.error {
            Some(error) => {
                self.client_errors += 1;
                if self.errors.len() < ERRORS_MAX || self.errors.contains_key(error) {
                    *self.errors.entry(error.clone()).or_default() += 1;
                }
            }
            None => {
                let at = usize::try_from(seen.first_byte.as_millis()).unwrap_or(MILLIS_MAX).min(MILLIS_MAX);
                if let Some(slot) = self.millis.get_mut(at) {
                    *slot = slot.saturating_add(1);
                }
            }
        }
    }

    /// A second is over.
    pub(super) fn second(&mut self) {
        self.last_second = std::mem::take(&mut self.this_second);
    }

    /// The time to the first byte that `percent` of the requests without error stay below.
    pub(super) fn percentile(&self, percent: u32) -> Option<Duration> {
        let all: u64 = self.millis.iter().map(|count| u64::from(*count)).sum();
        let wanted = (all * u64::from(percent)).div_ceil(100).max(1);
        let mut below = 0;
        let at = self.millis.iter().position(|count| {
            below += u64::from(*count);
            below >= wanted
        })?;
        Some(Duration::from_millis(u64::try_from(at).unwrap_or(u64::MAX)))
    }

    /// Percent of the requests without error.
    pub(super) fn success(&self) -> f64 {
        if self.requests == 0 {
            return 100.0;
        }
        // Cut, not rounded: 100 % means all.
        let share = (self.requests - self.client_errors) as f64 / self.requests as f64;
        (share * 10_000.0).floor() / 100.0
    }

    /// The different errors and how often each was seen.
    pub(super) fn errors(&self) -> impl Iterator<Item = (&str, u64)> {
        self.errors.iter().map(|(error, count)| (error.as_str(), *count))
    }
}

/// Reads `x-tidegate-attempts` (`region/backend=outcome, …`): the attempts before the one that was relayed.
pub(super) fn read_trail(trail: &str) -> Vec<(usize, String)> {
    const ATTEMPTS_MAX: usize = 16;
    let steps = trail.split(", ").take(ATTEMPTS_MAX).filter_map(|step| {
        let (place, outcome) = step.split_once('=')?;
        Some((region_of(place)?, outcome.to_owned()))
    });
    steps.filter(|(_, outcome)| outcome != "served").collect()
}

/// The index of `region` in `region/backend`.
pub(super) fn region_of(place: &str) -> Option<usize> {
    let region = place.split('/').next()?;
    ACTORS.iter().position(|actor| actor.region == region)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::indexing_slicing, reason = "tests may panic")]
    use super::*;

    fn seen(served_by: Option<usize>, trail: &str, millis: u64, error: Option<&str>) -> Seen {
        let first_byte = Duration::from_millis(millis);
        Seen { served_by, failed: read_trail(trail), first_byte, error: error.map(str::to_owned) }
    }

    #[test]
    fn requests_attempts_and_failovers_add_up() {
        let mut tally = Tally::default();
        tally.add(&seen(Some(0), "swedencentral/sweden=served", 60, None));
        tally.add(&seen(
            Some(2),
            "swedencentral/sweden=timed_out, francecentral/france=rate_limited, eastus2/virginia=served",
            1200,
            None,
        ));
        tally.add(&seen(None, "swedencentral/sweden=timed_out", 5, Some("503 no_backend_available")));
        assert_eq!((tally.requests, tally.attempts, tally.failovers, tally.client_errors), (3, 5, 2, 1));
        assert_eq!(tally.regions[0], RegionCounts { served: 1, throttled: 0, failed: 2 });
        assert_eq!(tally.regions[1], RegionCounts { served: 0, throttled: 1, failed: 0 });
        assert_eq!(tally.errors().collect::<Vec<_>>(), [("503 no_backend_available", 1)]);
        assert_eq!(tally.last_second, [0, 0, 0]);
        tally.second();
        assert_eq!(tally.last_second, [1, 0, 1]);
        tally.second();
        assert_eq!(tally.last_second, [0, 0, 0]);
    }

    #[test]
    fn percentiles_and_success_do_not_flatter() {
        let mut tally = Tally::default();
        assert_eq!((tally.percentile(50), tally.success()), (None, 100.0));
        for millis in 1..=100 {
            tally.add(&seen(Some(0), "", millis, None));
        }
        assert_eq!(tally.percentile(50), Some(Duration::from_millis(50)));
        assert_eq!(tally.percentile(99), Some(Duration::from_millis(99)));
        for _ in 0..99_900 {
            tally.add(&seen(Some(0), "", 1_000_000, None));
        }
        assert_eq!(tally.percentile(99), Some(Duration::from_millis(30_000)));
        tally.add(&seen(None, "", 1, Some("x")));
        assert!(tally.success() < 100.0, "{}", tally.success());
    }

    #[test]
    fn the_table_of_errors_has_a_limit() {
        let mut tally = Tally::default();
        for number in 0..100 {
            tally.add(&seen(None, "", 1, Some(&number.to_string())));
        }
        assert_eq!((tally.errors().count(), tally.client_errors), (ERRORS_MAX, 100));
    }

    #[test]
    fn unknown_regions_are_left_out() {
        assert_eq!(region_of("eastus2/virginia"), Some(2));
        assert_eq!(read_trail("-"), []);
        assert_eq!(read_trail("mars/x=served, mars/y=timed_out"), []);
    }
}
