//! How many bytes of request bodies the process holds. Never allocates them: it only says whether they fit.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// The byte budget of request bodies. Clones share it.
#[derive(Clone, Debug)]
pub struct BodyMemory(Arc<Accounts>);

#[derive(Debug)]
struct Accounts {
    held: AtomicU64,
    ceiling: AtomicU64,
}

/// Bytes held; given back on drop.
#[derive(Debug)]
pub struct Reservation {
    memory: BodyMemory,
    bytes: u64,
}

impl BodyMemory {
    /// A budget of `ceiling` bytes.
    #[must_use]
    pub fn new(ceiling: u64) -> Self {
        Self(Arc::new(Accounts { held: AtomicU64::new(0), ceiling: AtomicU64::new(ceiling) }))
    }

    /// Reserves `bytes`; `None` when they do not fit.
    #[must_use]
    pub fn reserve(&self, bytes: u64) -> Option<Reservation> {
        self.take(bytes)?;
        Some(Reservation { memory: self.clone(), bytes })
    }

    /// Changes the ceiling. Reservations that are out stay, even above it.
    pub fn set_ceiling(&self, ceiling: u64) {
        self.0.ceiling.store(ceiling, Ordering::Relaxed);
    }

    /// Bytes held now.
    #[must_use]
    pub fn held(&self) -> u64 {
        self.0.held.load(Ordering::Relaxed)
    }

    fn take(&self, bytes: u64) -> Option<()> {
        let ceiling = self.0.ceiling.load(Ordering::Relaxed);
        let fits = |held: u64| held.checked_add(bytes).filter(|sum| *sum <= ceiling || bytes == 0);
        self.0.held.fetch_update(Ordering::Relaxed, Ordering::Relaxed, fits).ok().map(|_| ())
    }
}

impl Reservation {
    /// Reserves `more` bytes on top; when they do not fit, nothing changes and the answer is `None`.
    #[must_use]
    pub fn grow(&mut self, more: u64) -> Option<()> {
        self.memory.take(more)?;
        self.bytes = self.bytes.saturating_add(more);
        Some(())
    }

    /// Gives back what exceeds `bytes`.
    pub fn shrink_to(&mut self, bytes: u64) {
        let excess = self.bytes.saturating_sub(bytes);
        self.memory.0.held.fetch_sub(excess, Ordering::Relaxed);
        self.bytes -= excess;
    }

    /// Bytes held by this reservation.
    #[must_use]
    pub const fn bytes(&self) -> u64 {
        self.bytes
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        self.memory.0.held.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests may panic")]
    use super::*;

    #[test]
    fn bytes_fit_or_nothing_changes() {
        let memory = BodyMemory::new(100);
        let mut one = memory.reserve(60).unwrap();
        assert!(memory.reserve(41).is_none() && memory.reserve(u64::MAX).is_none());
        assert_eq!(one.grow(40), Some(()));
        assert_eq!(one.grow(1), None);
        assert_eq!((memory.held(), one.bytes()), (100, 100));
        one.shrink_to(30);
        assert_eq!((memory.held(), one.bytes()), (30, 30));
        memory.set_ceiling(10);
        assert!(memory.reserve(1).is_none() && memory.reserve(0).is_some());
        drop(one);
        assert_eq!(memory.held(), 0);
    }
}
