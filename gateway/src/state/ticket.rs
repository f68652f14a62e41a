//! One attempt's hold on one backend. Counts it in, gives everything back on drop, reports its outcome once.

use super::backend::{BackendState, Rest};
use super::headroom::HeadroomCell;
use super::roster::PoolCore;
use crate::domain::{Budgets, Cost, Moment, Outcome, Region, Throttle};
use crate::policy::budget::Spending;
use crate::policy::eject::{Recorded, Report, Transition};
use crate::policy::headroom::Mark;
use crate::policy::select::Choice;
use crate::policy::throttle;
use std::sync::Arc;
use std::time::Duration;

/// Why an attempt is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reason {
    /// It is a request's first.
    First,
    /// Another one has failed.
    Failover,
    /// Another one is slow.
    Hedge,
}

/// One attempt under way. Dropping it without [`Ticket::finish`] is neutral: nothing is learned, everything is given back.
#[derive(Debug)]
pub struct Ticket {
    core: Arc<PoolCore>,
    state: Arc<BackendState>,
    index: usize,
    home: Option<bool>,
    started: Moment,
    /// Lease of the trial slot it holds.
    trial: Option<Moment>,
    /// What it took of the backend's quota.
    mark: Mark,
    waiting: bool,
    /// What its 429 is about.
    throttle: Option<Throttle>,
    /// It drew from the retry budget and has not settled.
    drawn: bool,
    /// Its success was reported at its header.
    accepted: bool,
    finished: bool,
}

impl Ticket {
    /// Counts an attempt in; `None` when another thread took the trial slot first.
    pub(super) fn open(
        core: &Arc<PoolCore>,
        choice: Choice,
        (reason, cost): (Reason, Cost),
        now: Moment,
    ) -> Option<Self> {
        let Choice { index, home } = choice;
        let member = core.members.get(index)?;
        let state = Arc::clone(&member.state);
        let trial = match state.rest(now) {
            Rest::TrialFree => Some(state.take_trial(now)?),
            // Used in need: without the slot, so that it can never hold up a trial.
            Rest::None | Rest::Failing { .. } => None,
            Rest::Throttled { .. } | Rest::Misconfigured { .. } => return None,
        };
        state.enter(now);
        let drawn = reason == Reason::Failover;
        if reason != Reason::Hedge {
            core.account(drawn, now);
        }
        let mark = member.headroom.take(cost, now);
        let core = Arc::clone(core);
        let (started, waiting) = (now, true);
        Some(Self {
            core,
            state,
            index,
            home,
            started,
            trial,
            mark,
            waiting,
            throttle: None,
            drawn,
            accepted: false,
            finished: false,
        })
    }

    /// Index of the backend in its pool.
    #[must_use]
    pub const fn index(&self) -> usize {
        self.index
    }

    /// Where affinity decided: whether this is the first choice of the request's key, or that one was crowded.
    #[must_use]
    pub const fn home(&self) -> Option<bool> {
        self.home
    }

    /// The backend's state.
    #[must_use]
    pub const fn state(&self) -> &Arc<BackendState> {
        &self.state
    }

    /// The backend's region.
    #[must_use]
    pub fn region(&self) -> Option<&Region> {
        self.core.members.get(self.index).map(|member| &member.region)
    }

    /// When the attempt started.
    #[must_use]
    pub const fn started(&self) -> Moment {
        self.started
    }

    /// Whether it is the one trial of a backend that rested.
    #[must_use]
    pub const fn is_trial(&self) -> bool {
        self.trial.is_some()
    }

    /// The response header came, whatever it says. `measured` when its time compares with others' (a served stream);
    /// errors and answers that do not stream do not.
    pub fn first_byte(&mut self, now: Moment, measured: bool) {
        if std::mem::take(&mut self.waiting) {
            self.state.stop_waiting();
            self.state.heard(now.since(self.started), measured, now);
        }
    }

    /// What the response header tells of the backend's quota, whatever the answer.
    pub fn told(&self, budgets: &Budgets, now: Moment) {
        if let Some(headroom) = self.headroom() {
            headroom.correct(budgets, &self.mark, now);
        }
    }

    /// The header tells how full the deployment is.
    pub fn utilized(&self, share: f64, now: Moment) {
        if let Some(headroom) = self.headroom() {
            headroom.tell(share, now);
        }
    }

    /// What its 429 is about; told before [`Ticket::finish`].
    pub const fn throttled(&mut self, kind: Throttle) {
        self.throttle = Some(kind);
    }

    /// The region is short of the model: others there are taken last for a while.
    pub fn region_is_short(&self, now: Moment) {
        self.core.short(self.index, now);
    }

    /// The header is a success: reported now, not when a long answer ends, so that a trial and the counters do not wait
    /// for it. [`Ticket::finish`] still follows.
    pub fn accept(&mut self, now: Moment, draw: u64) -> Option<Transition> {
        if self.accepted || self.finished {
            return None;
        }
        let transition = self.report(Outcome::Served, None, now, draw);
        self.accepted = true;
        transition
    }

    /// The attempt came to `outcome`; a 429 came with `advice`. Only the first call counts.
    pub fn finish(&mut self, outcome: Outcome, advice: Option<Duration>, now: Moment, draw: u64) -> Option<Transition> {
        if self.finished {
            return None;
        }
        let transition = self.report(outcome, advice, now, draw);
        if outcome == Outcome::ConnectFailed {
            self.unspend();
        }
        self.release();
        transition
    }

    /// The 429 that the attempt has finished with as `first` is what `then` says.
    pub fn revise(&self, first: &Recorded, then: &Recorded, now: Moment) {
        if first == then {
            return;
        }
        if then.kind == Throttle::Provisioned
            && let Some(headroom) = self.headroom()
        {
            let rest = throttle::rest(then.kind, then.advice, &self.core.ejection.rests);
            headroom.refused(rest.time, now);
        }
        self.state.revise(first, then, &self.core.ejection);
    }

    fn report(&mut self, outcome: Outcome, advice: Option<Duration>, now: Moment, draw: u64) -> Option<Transition> {
        if std::mem::take(&mut self.drawn) {
            self.core.settle(spending(outcome), now);
        }
        if outcome.is_throttled()
            && self.throttle == Some(Throttle::Provisioned)
            && let Some(headroom) = self.headroom()
        {
            let rest = throttle::rest(Throttle::Provisioned, advice, &self.core.ejection.rests);
            headroom.refused(rest.time, now);
        }
        let _turn = outcome.is_failure().then(|| self.core.shared.ejecting.lock());
        let report = Report {
            outcome,
            throttle: self.throttle,
            advice,
            started: self.started,
            trial: self.trial.take(),
            accepted: self.accepted,
            spare: outcome.is_failure() && self.core.can_spare(self.index),
        };
        self.state.record(&report, &self.core.ejection, now, draw)
    }

    fn headroom(&self) -> Option<&HeadroomCell> {
        self.core.members.get(self.index).map(|member| &*member.headroom)
    }

    /// The backend has never seen it.
    fn unspend(&self) {
        if let Some(headroom) = self.headroom() {
            headroom.give_back(&self.mark);
        }
    }

    fn release(&mut self) {
        if std::mem::replace(&mut self.finished, true) {
            return;
        }
        if std::mem::take(&mut self.waiting) {
            self.state.stop_waiting();
        }
        self.state.leave();
        if let Some(lease) = self.trial.take() {
            self.state.return_trial(lease);
        }
        if std::mem::take(&mut self.drawn) {
            // Forgetting needs no moment: it touches no window.
            self.core.settle(Spending::Forget, self.started);
        }
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        if !self.finished {
            self.unspend();
        }
        self.release();
    }
}

const fn spending(outcome: Outcome) -> Spending {
    if outcome.is_success() {
        Spending::Refund
    } else if matches!(outcome, Outcome::ClientGone | Outcome::Outraced) {
        Spending::Forget
    } else {
        Spending::Charge
    }
}
