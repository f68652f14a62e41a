//! Small values in atomics, for reads on every request. A lost update between two threads is harmless by design: each
//! cell holds an estimate.

use crate::domain::Moment;
use crate::policy::latency::Latency;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Time constant of the penalty's decay.
const PENALTY_DECAY_SECONDS: f32 = 5.0;
/// Penalties below this are none.
const PENALTY_MIN: f32 = 0.01;
/// No penalty grows beyond this.
const PENALTY_MAX: f32 = 1000.0;

/// A moment; [`Moment::ZERO`] means never.
#[derive(Debug, Default)]
pub(super) struct MomentCell(AtomicU64);

impl MomentCell {
    pub(super) fn get(&self) -> Moment {
        Moment::from_micros(self.0.load(Ordering::Acquire))
    }

    pub(super) fn set(&self, moment: Moment) {
        self.0.store(moment.as_micros(), Ordering::Release);
    }
}

/// A smoothed latency and when its last sample came.
#[derive(Debug, Default)]
pub(super) struct LatencyCell {
    /// Mean and deviation in µs, 32 bits each; all zero: nothing known.
    packed: AtomicU64,
    sampled: MomentCell,
}

impl LatencyCell {
    pub(super) fn get(&self) -> Option<Latency> {
        let packed = self.packed.load(Ordering::Relaxed);
        (packed != 0).then(|| Latency {
            mean: Duration::from_micros(packed >> 32),
            deviation: Duration::from_micros(packed & u64::from(u32::MAX)),
        })
    }

    /// How long ago the last sample came.
    pub(super) fn age(&self, now: Moment) -> Duration {
        now.since(self.sampled.get())
    }

    pub(super) fn observe(&self, sample: Duration, now: Moment) {
        let sample = sample.max(Duration::from_micros(1));
        self.set(self.get().map_or_else(|| Latency::first(sample), |known| known.observe(sample, self.age(now))), now);
    }

    /// Leans what is known towards a sample that may not compare.
    pub(super) fn lean(&self, sample: Duration, now: Moment) {
        if let Some(known) = self.get() {
            self.set(known.lean(sample), now);
        }
    }

    fn set(&self, latency: Latency, now: Moment) {
        let packed = (micros(latency.mean).max(1) << 32) | micros(latency.deviation);
        self.packed.store(packed, Ordering::Relaxed);
        self.sampled.set(now);
    }
}

/// A number that decays with time.
#[derive(Debug, Default)]
pub(super) struct PenaltyCell {
    /// The number's bits below, the millisecond it was valid at (wrapping) above.
    packed: AtomicU64,
}

impl PenaltyCell {
    pub(super) fn get(&self, now: Moment) -> f32 {
        let packed = self.packed.load(Ordering::Relaxed);
        if packed == 0 {
            return 0.0;
        }
        let elapsed = stamp(now).wrapping_sub(low(packed >> 32));
        let value = f32::from_bits(low(packed));
        let left = value * (-Duration::from_millis(u64::from(elapsed)).as_secs_f32() / PENALTY_DECAY_SECONDS).exp();
        if left < PENALTY_MIN { 0.0 } else { left }
    }

    pub(super) fn add(&self, more: f32, now: Moment) {
        let value = (self.get(now) + more).min(PENALTY_MAX);
        self.packed.store((u64::from(stamp(now)) << 32) | u64::from(value.to_bits()), Ordering::Relaxed);
    }

    pub(super) fn clear(&self) {
        self.packed.store(0, Ordering::Relaxed);
    }
}

fn stamp(now: Moment) -> u32 {
    low(now.as_micros() / 1000)
}

fn low(value: u64) -> u32 {
    u32::try_from(value & u64::from(u32::MAX)).unwrap_or(u32::MAX)
}

fn micros(value: Duration) -> u64 {
    u64::try_from(value.as_micros()).unwrap_or(u64::MAX).min(u64::from(u32::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: u64) -> Moment {
        Moment::from_micros(millis * 1000)
    }

    #[test]
    fn latencies_survive_packing() {
        let cell = LatencyCell::default();
        assert_eq!(cell.get(), None);
        cell.observe(Duration::from_millis(120), at(5));
        assert_eq!(cell.get(), Some(Latency::first(Duration::from_millis(120))));
        assert_eq!(cell.age(at(1005)), Duration::from_secs(1));
        cell.observe(Duration::from_secs(u64::from(u32::MAX)), at(6));
        assert!(cell.get().is_some_and(|l| l.mean > Duration::from_secs(4000)), "saturates");
    }

    #[test]
    fn penalties_decay_to_nothing() {
        let cell = PenaltyCell::default();
        cell.add(5.0, at(1_000));
        assert!((cell.get(at(6_000)) - 5.0 / std::f32::consts::E).abs() < 0.01);
        assert!(cell.get(at(60_000)).abs() < f32::EPSILON);
        cell.add(9999.0, at(1_000));
        assert!(cell.get(at(1_000)) <= PENALTY_MAX);
    }
}
