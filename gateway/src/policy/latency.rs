//! Smoothed latency with its mean deviation, and when a backend counts as silent. Never reads a clock.

use std::time::Duration;

/// Time constant of the smoothing: a sample after this long a pause replaces 63 % of what was known.
const DECAY: Duration = Duration::from_secs(10);
/// Weight of a sample that follows at once.
const WEIGHT_MIN: f64 = 0.1;
/// Weight of a sample above the mean: bad news travels faster than good news.
const WEIGHT_PEAK: f64 = 0.3;
/// Weight of a sample that may not compare.
const WEIGHT_LEAN: f64 = 0.03;
/// Requests that must wait for their first byte before a backend can be silent: one may just be a long prompt.
const SILENT_WAITING_MIN: u32 = 2;
/// Shortest silence that counts.
const SILENT_MIN: Duration = Duration::from_millis(250);
/// Silence that counts while nothing was measured.
const SILENT_UNMEASURED: Duration = Duration::from_secs(1);

/// Mean and mean deviation of a latency.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Latency {
    /// Smoothed mean.
    pub mean: Duration,
    /// Smoothed mean deviation from it.
    pub deviation: Duration,
}

impl Latency {
    /// What is known after the first sample.
    #[must_use]
    pub fn first(sample: Duration) -> Self {
        Self { mean: sample, deviation: sample / 2 }
    }

    /// What is known after another sample, `pause` after the previous one.
    #[must_use]
    pub fn observe(self, sample: Duration, pause: Duration) -> Self {
        let faded = 1.0 - (-pause.as_secs_f64() / DECAY.as_secs_f64()).exp();
        let floor = if sample > self.mean { WEIGHT_PEAK } else { WEIGHT_MIN };
        let weight = faded.max(floor);
        self.blended(sample, weight)
    }

    /// What is known after a sample that may not compare: many of them count, a burst does not.
    #[must_use]
    pub fn lean(self, sample: Duration) -> Self {
        self.blended(sample, WEIGHT_LEAN)
    }

    fn blended(self, sample: Duration, weight: f64) -> Self {
        Self {
            mean: blend(self.mean, sample, weight),
            deviation: blend(self.deviation, sample.abs_diff(self.mean), weight),
        }
    }
}

/// How long a backend may owe every waiting request its first byte before it is silent.
#[must_use]
pub fn patience(known: Option<Latency>) -> Duration {
    known.map_or(SILENT_UNMEASURED, |latency| {
        let usual = latency.mean.saturating_add(latency.deviation.saturating_mul(4));
        usual.saturating_mul(2).max(SILENT_MIN)
    })
}

/// Whether a backend is silent: at least two requests wait for their first byte, and for longer than its
/// [`patience`] none came, though at least one was waiting (`quiet`).
#[must_use]
pub fn is_silent(waiting: u32, quiet: Duration, known: Option<Latency>) -> bool {
    waiting >= SILENT_WAITING_MIN && quiet > patience(known)
}

fn blend(old: Duration, new: Duration, weight: f64) -> Duration {
    old.mul_f64(1.0 - weight).saturating_add(new.mul_f64(weight))
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn ms(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    #[test]
    fn bad_news_travels_faster_than_good_news() {
        let steady = Latency { mean: ms(100), deviation: ms(5) };
        let up = steady.observe(ms(300), ms(1)).mean;
        let down = Latency { mean: ms(300), deviation: ms(5) }.observe(ms(100), ms(1)).mean;
        assert_eq!((up, down), (ms(160), ms(280)));
    }

    #[test]
    fn a_late_sample_replaces_what_is_stale() {
        let old = Latency { mean: ms(1000), deviation: ms(10) };
        assert!(old.observe(ms(100), Duration::from_secs(60)).mean < ms(105));
    }

    #[test]
    fn two_must_wait_longer_than_the_usual() {
        let known = Some(Latency { mean: ms(100), deviation: ms(10) });
        assert_eq!(patience(known), ms(280));
        assert!(is_silent(2, ms(281), known));
        assert!(!is_silent(1, ms(900), known));
        assert!(!is_silent(9, ms(280), known));
        assert_eq!(patience(Some(Latency { mean: ms(5), deviation: ms(1) })), ms(250));
        assert!(!is_silent(2, ms(1000), None) && is_silent(2, ms(1001), None));
    }
}
