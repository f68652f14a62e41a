//! The headroom of one quota, shared by all threads and by all backends that draw on it: one short lock around the model.

use crate::domain::{Budgets, Cost, Moment, Quota};
use crate::policy::headroom::{Headroom, Left, Mark};
use parking_lot::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// What is left of one quota.
#[derive(Debug, Default)]
pub(super) struct HeadroomCell {
    /// Copy of the model's knowledge, so that a pick takes no lock where nothing is known.
    known: AtomicBool,
    model: Mutex<Headroom>,
}

impl HeadroomCell {
    pub(super) fn configure(&self, quota: Quota) {
        let mut model = self.model.lock();
        model.configure(quota);
        self.known.store(model.is_known(), Ordering::Relaxed);
    }

    pub(super) fn has_room(&self, cost: Cost, now: Moment) -> bool {
        !self.known.load(Ordering::Relaxed) || self.model.lock().has_room(cost, now)
    }

    pub(super) fn take(&self, cost: Cost, now: Moment) -> Mark {
        self.model.lock().take(cost, now)
    }

    pub(super) fn give_back(&self, mark: &Mark) {
        self.model.lock().give_back(mark);
    }

    pub(super) fn correct(&self, told: &Budgets, mark: &Mark, now: Moment) {
        if *told == Budgets::default() {
            return;
        }
        let mut model = self.model.lock();
        model.correct(told, mark, now);
        self.known.store(model.is_known(), Ordering::Relaxed);
    }

    /// A provisioned deployment refused, for `rest`.
    pub(super) fn refused(&self, rest: Duration, now: Moment) {
        self.model.lock().provisioned().refused(rest, now);
    }

    /// Its header told how full it is.
    pub(super) fn tell(&self, share: f64, now: Moment) {
        self.model.lock().provisioned().tell(share, now);
    }

    /// Of what an attempt was charged, so much was used.
    pub(super) fn used(&self, charged: Cost, used: u64, now: Moment) {
        self.model.lock().provisioned().correct(charged.tokens, used, now);
    }

    pub(super) fn utilization(&self, now: Moment) -> Option<f64> {
        self.model.lock().utilization(now)
    }

    pub(super) fn left(&self, now: Moment) -> Left {
        self.model.lock().left(now)
    }
}
