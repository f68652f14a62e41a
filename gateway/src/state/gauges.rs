//! What is going on right now, for draining and for metrics. Limits nothing.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Requests in flight and open streams of the whole process. Clones share their counts.
#[derive(Clone, Debug, Default)]
pub struct Gauges {
    requests: Arc<AtomicUsize>,
    streams: Arc<AtomicUsize>,
}

/// Counts as one until it is dropped.
#[derive(Debug)]
pub struct Presence(Arc<AtomicUsize>);

impl Gauges {
    /// Counts a request until the returned value is dropped.
    #[must_use]
    pub fn request(&self) -> Presence {
        Presence::of(&self.requests)
    }

    /// Counts a streamed answer until the returned value is dropped.
    #[must_use]
    pub fn stream(&self) -> Presence {
        Presence::of(&self.streams)
    }

    /// Requests in flight.
    #[must_use]
    pub fn requests_in_flight(&self) -> usize {
        self.requests.load(Ordering::Relaxed)
    }

    /// Streamed answers under way.
    #[must_use]
    pub fn streams_open(&self) -> usize {
        self.streams.load(Ordering::Relaxed)
    }
}

impl Presence {
    fn of(gauge: &Arc<AtomicUsize>) -> Self {
        gauge.fetch_add(1, Ordering::Relaxed);
        Self(Arc::clone(gauge))
    }
}

impl Drop for Presence {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn presence_ends_with_its_guard() {
        let gauges = Gauges::default();
        let (one, two) = (gauges.request(), gauges.clone().request());
        let stream = gauges.stream();
        assert_eq!((gauges.requests_in_flight(), gauges.streams_open()), (2, 1));
        drop((one, two, stream));
        assert_eq!((gauges.requests_in_flight(), gauges.streams_open()), (0, 0));
    }
}
