//! A sliding window, exact at its edges: 31 sub-windows and the one under way.
//!
//! What is counted at some moment counts until its sub-window lies a whole window back: at least the window, at most a
//! 31st of it longer. So no stretch of time as long as the window ever holds more than the ceiling, and the moment at which
//! enough has slid out is known exactly.

use super::Now;
use crate::domain::Moment;
use std::time::Duration;

/// Sub-windows of a window.
pub const PARTS: u32 = 31;
/// The ring holds one more: a power of two, so that numbers may run over.
const RING: u32 = PARTS + 1;

/// Amounts over a sliding window.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sliding {
    /// By number of the sub-window, as a ring.
    slots: [u32; RING as usize],
    /// Number of the latest one, cut to 32 bits.
    latest: u32,
    /// The second of the process's clock in which everything will have slid out.
    ends: u32,
}

impl Sliding {
    /// What is counted now.
    pub fn used(&mut self, per: Duration, now: Now) -> u64 {
        self.advance(number(per, now.moment));
        self.sum()
    }

    /// Counts `amount` now, and says in which sub-window.
    pub fn add(&mut self, amount: u64, per: Duration, now: Now) -> u32 {
        self.advance(number(per, now.moment));
        let latest = self.latest;
        self.set(latest, self.slot(latest).saturating_add(narrow(amount)));
        let ends = now.moment.after(per).after(part(per)).as_micros() / 1_000_000 + 1;
        self.ends = u32::try_from(ends).unwrap_or(u32::MAX);
        latest
    }

    /// Takes back `amount` of what was counted in the sub-window `number`: as much of it as still counts, which is returned.
    pub fn take_back(&mut self, amount: u64, number: u32) -> u64 {
        if self.latest.wrapping_sub(number) >= RING {
            return 0;
        }
        let counted = self.slot(number);
        let back = narrow(amount).min(counted);
        self.set(number, counted - back);
        u64::from(back)
    }

    /// How long until no more than `rest` is counted of what is counted now; zero where it is so already.
    pub fn until(&mut self, rest: u64, per: Duration, now: Now) -> Duration {
        self.advance(number(per, now.moment));
        let mut left = self.sum();
        // The latest may be ahead of `now`, which another thread has read earlier.
        let ahead = u64::from(self.latest.wrapping_sub(number(per, now.moment)));
        let latest = count(per, now.moment).saturating_add(ahead);
        for age in (0..RING).rev() {
            if left <= rest {
                break;
            }
            left -= u64::from(self.slot(self.latest.wrapping_sub(age)));
            if left <= rest {
                let gone = latest.saturating_add(u64::from(RING - age)).saturating_mul(micros(part(per)));
                return now.moment.until(Moment::from_micros(gone));
            }
        }
        Duration::ZERO
    }

    /// Nothing counts any more.
    #[must_use]
    pub fn is_over(&self, now: Now) -> bool {
        u64::from(self.ends) < now.moment.as_micros() / 1_000_000
    }

    fn sum(&self) -> u64 {
        self.slots.iter().map(|slot| u64::from(*slot)).sum()
    }

    fn slot(&self, number: u32) -> u32 {
        self.slots.get((number % RING) as usize).copied().unwrap_or(0)
    }

    fn set(&mut self, number: u32, amount: u32) {
        if let Some(slot) = self.slots.get_mut((number % RING) as usize) {
            *slot = amount;
        }
    }

    /// Empties the sub-windows that have begun since.
    fn advance(&mut self, number: u32) {
        let ahead = number.wrapping_sub(self.latest);
        if ahead == 0 || ahead > u32::MAX / 2 {
            return;
        }
        if ahead >= RING {
            self.slots = [0; RING as usize];
        } else {
            for step in 1..=ahead {
                self.set(self.latest.wrapping_add(step), 0);
            }
        }
        self.latest = number;
    }
}

/// Length of a sub-window.
fn part(per: Duration) -> Duration {
    Duration::from_micros(micros(per).div_ceil(u64::from(PARTS)).max(1))
}

/// Number of the sub-window under way, since the start of the clock.
fn count(per: Duration, now: Moment) -> u64 {
    now.as_micros() / micros(part(per))
}

#[allow(clippy::cast_possible_truncation, reason = "the ring goes by the lower bits")]
fn number(per: Duration, now: Moment) -> u32 {
    count(per, now) as u32
}

fn micros(length: Duration) -> u64 {
    u64::try_from(length.as_micros()).unwrap_or(u64::MAX)
}

fn narrow(amount: u64) -> u32 {
    u32::try_from(amount).unwrap_or(u32::MAX)
}
