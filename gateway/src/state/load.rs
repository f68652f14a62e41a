//! How busy the process is: requests that have begun, requests that wait for their turn, and how short memory is. It counts
//! up to the ceilings it is given and never decides one.

use crate::policy::overload::{Load, Pressure};
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicUsize, Ordering};

/// The counts. Clones share them.
#[derive(Clone, Debug, Default)]
pub struct Floor(Arc<Counts>);

#[derive(Debug, Default)]
struct Counts {
    in_flight: AtomicUsize,
    waiting: AtomicUsize,
    pressure: AtomicU8,
}

/// A request that has begun, until dropped.
#[derive(Debug)]
pub struct Slot(Floor);

/// A request that waits, until dropped.
#[derive(Debug)]
pub struct Place(Floor);

impl Floor {
    /// What is going on.
    #[must_use]
    pub fn load(&self) -> Load {
        let counts = &self.0;
        Load {
            in_flight: counts.in_flight.load(Ordering::Relaxed),
            waiting: counts.waiting.load(Ordering::Relaxed),
            pressure: self.pressure(),
        }
    }

    /// How short memory is.
    #[must_use]
    pub fn pressure(&self) -> Pressure {
        match self.0.pressure.load(Ordering::Relaxed) {
            0 => Pressure::Calm,
            1 => Pressure::Tight,
            _ => Pressure::Full,
        }
    }

    /// Memory was looked at.
    pub fn press(&self, pressure: Pressure) {
        self.0.pressure.store(pressure as u8, Ordering::Relaxed);
    }

    /// One more begins, unless `below` have.
    #[must_use]
    pub fn begin(&self, below: usize) -> Option<Slot> {
        up(&self.0.in_flight, below).then(|| Slot(self.clone()))
    }

    /// One more waits, unless `below` do.
    #[must_use]
    pub fn queue(&self, below: usize) -> Option<Place> {
        up(&self.0.waiting, below).then(|| Place(self.clone()))
    }

    /// Somebody waits.
    #[must_use]
    pub fn is_waited_for(&self) -> bool {
        self.0.waiting.load(Ordering::SeqCst) > 0
    }
}

fn up(count: &AtomicUsize, below: usize) -> bool {
    let fits = |count: usize| (count < below).then(|| count.saturating_add(1));
    count.fetch_update(Ordering::SeqCst, Ordering::Relaxed, fits).is_ok()
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.0.0.in_flight.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.0.waiting.fetch_sub(1, Ordering::SeqCst);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests may panic")]
    use super::*;

    #[test]
    fn the_ceilings_hold_whoever_asks_and_all_is_given_back() {
        let floor = Floor::default();
        let threads: Vec<_> = (0..8)
            .map(|_| {
                let floor = floor.clone();
                std::thread::spawn(move || {
                    for _ in 0..2000 {
                        let (slot, place) = (floor.begin(3), floor.queue(2));
                        let load = floor.load();
                        assert!(load.in_flight <= 3 && load.waiting <= 2, "{load:?}");
                        drop((slot, place));
                    }
                })
            })
            .collect();
        for thread in threads {
            thread.join().unwrap();
        }
        assert_eq!(floor.load(), Load::default());
        assert!(floor.begin(0).is_none() && !floor.is_waited_for());
    }

    #[test]
    fn pressure_is_kept() {
        let floor = Floor::default();
        for pressure in [Pressure::Calm, Pressure::Tight, Pressure::Full] {
            floor.press(pressure);
            assert_eq!(floor.clone().pressure(), pressure);
        }
    }
}
