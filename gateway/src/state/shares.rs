//! Who of the consumers is here, and how often: requests of each that have arrived and not ended, waiting ones among them. It
//! decides nothing; the count of a consumer is kept over reloads as long as its name is.

use crate::domain::ConsumerName;
use crate::policy::overload::Share;
use parking_lot::Mutex;
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// The counts of all consumers. Clones share them.
#[derive(Clone, Debug, Default)]
pub struct Shares {
    consumers: Arc<Mutex<HashMap<ConsumerName, Arc<AtomicUsize>>>>,
    /// Consumers with at least one request.
    active: Arc<AtomicUsize>,
}

/// The count of one consumer.
#[derive(Clone, Debug)]
pub struct Tally {
    own: Arc<AtomicUsize>,
    active: Arc<AtomicUsize>,
}

/// One request of a consumer, until dropped.
#[derive(Debug)]
pub struct Stay(Tally);

impl Shares {
    /// The counts of these consumers, in their order; others that nobody counts any more are forgotten.
    #[must_use]
    pub fn bind<'n>(&self, names: impl Iterator<Item = &'n ConsumerName>) -> Vec<Tally> {
        let mut consumers = self.consumers.lock();
        let tally = |name: &ConsumerName| Tally {
            own: Arc::clone(consumers.entry(name.clone()).or_default()),
            active: Arc::clone(&self.active),
        };
        let bound = names.map(tally).collect();
        consumers.retain(|_, own| Arc::strong_count(own) > 1);
        bound
    }
}

impl Tally {
    /// One more request has arrived.
    #[must_use]
    pub fn arrive(&self) -> Stay {
        if self.own.fetch_add(1, Ordering::Relaxed) == 0 {
            self.active.fetch_add(1, Ordering::Relaxed);
        }
        Stay(self.clone())
    }
}

impl Stay {
    /// How many requests its consumer has here, this one included, and how many consumers are here.
    #[must_use]
    pub fn share(&self) -> Share {
        Share { own: self.0.own.load(Ordering::Relaxed), active: self.0.active.load(Ordering::Relaxed) }
    }
}

impl Drop for Stay {
    fn drop(&mut self) {
        if self.0.own.fetch_sub(1, Ordering::Relaxed) == 1 {
            self.0.active.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests may panic")]
mod tests {
    use super::*;

    #[test]
    fn whoever_comes_and_goes_leaves_no_count() {
        let shares = Shares::default();
        let names = ["a", "b"].map(|name| ConsumerName::new(name).unwrap());
        let tallies = shares.bind(names.iter());
        let (first, second, other) = (tallies[0].arrive(), tallies[0].arrive(), tallies[1].arrive());
        assert_eq!(first.share(), Share { own: 2, active: 2 });
        let again = shares.bind(names.iter().take(1));
        assert_eq!(again[0].arrive().share(), Share { own: 3, active: 2 }, "kept over a reload");
        drop((first, second));
        assert_eq!(other.share(), Share { own: 1, active: 1 });
        std::thread::scope(|scope| {
            for tally in &tallies {
                scope.spawn(|| (0..10_000).for_each(|_| drop(tally.arrive())));
            }
        });
        assert_eq!(other.share(), Share { own: 1, active: 1 });
    }
}
