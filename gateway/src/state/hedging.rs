//! A pool's hedges: how long its answers take to begin, how many hedges are left, and the backend of the next one.

use super::pool::PoolState;
use super::roster::Wanted;
use super::ticket::Ticket;
use crate::domain::Moment;
use crate::policy::hedge::Hedge;
use std::time::Duration;

/// What the hedges of one pool rest on.
#[derive(Clone, Copy, Debug)]
pub struct Hedging<'a>(&'a PoolState);

/// Why a hedge was not made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unhedged {
    /// The pool's budget is spent.
    OverBudget,
    /// No other backend is in service, inside the residency and with room.
    NoBackend,
}

impl PoolState {
    /// What its hedges rest on.
    #[must_use]
    pub const fn hedging(&self) -> Hedging<'_> {
        Hedging(self)
    }
}

impl Hedging<'_> {
    /// A request of the pool pays in. Says after which time one of its kind may be hedged; `None` while too little is known.
    #[must_use]
    pub fn deposit(&self, hedge: &Hedge, stream: bool) -> Option<Duration> {
        let mut state = self.0.core.shared.hedging.lock();
        state.credit.deposit(hedge.budget);
        let [streams, answers] = &state.delays;
        let usual = if stream { streams } else { answers }.usual()?;
        Some(usual.max(hedge.delay_min))
    }

    /// An answer of this kind began after `time`.
    pub fn observe(&self, stream: bool, time: Duration, now: Moment) {
        let mut state = self.0.core.shared.hedging.lock();
        let [streams, answers] = &mut state.delays;
        if stream { streams } else { answers }.observe(time, now);
    }

    /// Opens a hedge beside the attempts that `wanted` has tried. Only one that is really made is taken from the budget.
    ///
    /// # Errors
    /// [`Unhedged`] where none may be made.
    pub fn open(&self, wanted: &Wanted, now: Moment, draw: u64) -> Result<Ticket, Unhedged> {
        let mut state = self.0.core.shared.hedging.lock();
        if !state.credit.grants() {
            return Err(Unhedged::OverBudget);
        }
        let ticket = self.0.pick_beside(wanted, now, draw).ok_or(Unhedged::NoBackend)?;
        state.credit.withdraw();
        Ok(ticket)
    }
}
