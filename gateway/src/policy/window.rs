//! A sliding window of counters: ten sub-windows in a ring. Never reads a clock.

use crate::domain::Moment;
use std::time::Duration;

/// Sub-windows of a window.
const SLOTS: usize = 10;

/// Two counters over a sliding window.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Window {
    slots: [Slot; SLOTS],
}

#[derive(Clone, Copy, Debug, Default)]
struct Slot {
    /// Number of the sub-window since the start of the clock, plus one; zero: never used.
    number: u64,
    counts: [u32; 2],
}

impl Window {
    /// Adds to the counters at `now`.
    pub(super) fn add(&mut self, counts: [u32; 2], length: Duration, now: Moment) {
        let number = number(length, now);
        let index = usize::try_from(number % SLOTS as u64).unwrap_or(0);
        let Some(slot) = self.slots.get_mut(index) else { return };
        if slot.number != number {
            *slot = Slot { number, counts: [0, 0] };
        }
        for (have, more) in slot.counts.iter_mut().zip(counts) {
            *have = have.saturating_add(more);
        }
    }

    /// Sums over the window that ends at `now`.
    pub(super) fn sums(&self, length: Duration, now: Moment) -> [u64; 2] {
        self.sums_to(length, now, number(length, now))
    }

    /// The same without the sub-window under way.
    pub(super) fn sums_completed(&self, length: Duration, now: Moment) -> [u64; 2] {
        self.sums_to(length, now, number(length, now) - 1)
    }

    fn sums_to(&self, length: Duration, now: Moment, last: u64) -> [u64; 2] {
        let current = number(length, now);
        let recent = |slot: &&Slot| slot.number <= last && slot.number + SLOTS as u64 > current && slot.number > 0;
        self.slots
            .iter()
            .filter(recent)
            .fold([0, 0], |[a, b], slot| [a + u64::from(slot.counts[0]), b + u64::from(slot.counts[1])])
    }

    /// Forgets everything.
    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }
}

fn number(length: Duration, now: Moment) -> u64 {
    let slot = u64::try_from(length.as_micros()).unwrap_or(u64::MAX) / SLOTS as u64;
    now.as_micros() / slot.max(1) + 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn old_counts_slide_out() {
        let length = Duration::from_secs(10);
        let at = |seconds: u64| Moment::from_micros(seconds * 1_000_000);
        let mut window = Window::default();
        window.add([1, 0], length, at(0));
        window.add([2, 1], length, at(5));
        assert_eq!(window.sums(length, at(9)), [3, 1]);
        assert_eq!(window.sums(length, at(10)), [2, 1]);
        assert_eq!(window.sums(length, at(15)), [0, 0]);
        window.add([1, 1], length, at(15));
        assert_eq!(window.sums(length, at(15)), [1, 1], "the ring's slot is taken over");
    }
}
