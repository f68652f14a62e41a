//! What a pool's picks and tickets share: its backends, its parameters, its retry budget. Chooses nothing.

use super::backend::BackendState;
use super::cells::MomentCell;
use super::headroom::HeadroomCell;
use super::own_token::Bearer;
use crate::domain::{Cost, Moment, PoolName, QuotaName, Region};
use crate::policy::budget::{RetryBudget, Spending};
use crate::policy::distance::Spot;
use crate::policy::eject::Ejection;
use crate::policy::failover::Failover;
use crate::policy::hedge;
use crate::policy::select::{CANDIDATES_MAX, Selection};
use parking_lot::Mutex;
use std::sync::Arc;

/// The backends that one request has tried, by their index in the pool.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tried(u64);

impl Tried {
    /// None yet.
    pub const NONE: Self = Self(0);

    /// Those of this mask, one bit for each backend.
    #[must_use]
    pub const fn of(mask: u64) -> Self {
        Self(mask)
    }

    /// These and the backend at `index`.
    #[must_use]
    pub const fn with(self, index: usize) -> Self {
        Self(self.0 | bit(index))
    }

    /// Whether the backend at `index` was tried.
    #[must_use]
    pub const fn contains(self, index: usize) -> bool {
        self.0 & bit(index) != 0
    }

    /// Whether nothing was tried.
    #[must_use]
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// The members of either.
    #[must_use]
    pub const fn union(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// How many were tried.
    #[must_use]
    pub const fn count(self) -> u32 {
        self.0.count_ones()
    }
}

/// What a request asks of a pick.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Wanted {
    /// What it takes of a backend's quota.
    pub cost: Cost,
    /// The backends that it has tried.
    pub tried: Tried,
    /// The backends that it must never use. For it they are not there: no need and no panic opens them.
    pub barred: Tried,
    /// The backend that it goes to where that one is of the best tier and has room.
    pub preferred: Option<usize>,
    /// Requests with the same one go to the same backend, among equals.
    pub key: Option<u64>,
    /// Where its client is: distance counts from there instead of from the home region.
    pub client: Option<Spot>,
}

impl Wanted {
    /// A request that has tried `tried` and asks for nothing.
    #[must_use]
    pub fn after(tried: Tried) -> Self {
        Self { tried, ..Self::default() }
    }
}

#[derive(Debug)]
pub(super) struct PoolCore {
    pub(super) name: PoolName,
    pub(super) selection: Selection,
    pub(super) ejection: Ejection,
    pub(super) failover: Failover,
    pub(super) members: Box<[Member]>,
    pub(super) shared: Arc<PoolShared>,
}

/// One backend with what selection needs of its configuration.
#[derive(Debug)]
pub(super) struct Member {
    pub(super) state: Arc<BackendState>,
    /// Of its own quota or of the one that it shares.
    pub(super) headroom: Arc<HeadroomCell>,
    pub(super) quota_group: Option<QuotaName>,
    pub(super) region: Region,
    pub(super) enabled: bool,
    pub(super) priority: u32,
    pub(super) weight: u32,
    pub(super) distance_km: Option<f64>,
    pub(super) spot: Option<Spot>,
    /// Until when its region is short of the model.
    pub(super) short_until: MomentCell,
    /// The token that it is shown.
    pub(super) token: Option<Arc<Bearer>>,
    /// One of its secrets is not known yet.
    pub(super) keyless: bool,
}

impl Member {
    /// Whether we have nothing to show it: it would only refuse us.
    pub(super) fn is_keyless(&self, now: Moment) -> bool {
        self.keyless || self.token.as_ref().is_some_and(|token| token.usable(now).is_none())
    }
}

/// How fast a pool's answers begin, and the hedges that it may make.
#[derive(Debug, Default)]
pub(super) struct HedgingState {
    /// Streams, and answers that come whole.
    pub(super) delays: [hedge::Delays; 2],
    pub(super) credit: hedge::Credit,
}

/// What a pool keeps over reloads besides its backends.
#[derive(Debug, Default)]
pub(super) struct PoolShared {
    budget: Mutex<RetryBudget>,
    pub(super) hedging: Mutex<HedgingState>,
    /// Held while a failure is recorded, so that two ejections at once cannot both be the last one allowed.
    pub(super) ejecting: Mutex<()>,
}

/// A pool's retry budget. Tickets pay into it and draw from it themselves; callers only ask.
#[derive(Clone, Copy, Debug)]
pub struct Budget<'a>(pub(super) &'a PoolCore);

impl Budget<'_> {
    /// Whether the pool's budget grants one more failover. The ticket of that attempt draws it.
    #[must_use]
    pub fn grants(&self, now: Moment) -> bool {
        let Failover { budget, budget_min, .. } = self.0.failover;
        self.0.shared.budget.lock().grants(budget, budget_min, now)
    }
}

impl PoolCore {
    /// A request's first attempt pays in, every further one draws.
    pub(super) fn account(&self, failover: bool, now: Moment) {
        let mut budget = self.shared.budget.lock();
        if failover { budget.withdraw() } else { budget.deposit(now) }
    }

    /// The region of the backend at `index` is short of the model: so are the others there.
    pub(super) fn short(&self, index: usize, now: Moment) {
        let until = now.after(self.ejection.rests.capacity_region);
        let region = self.members.get(index).map(|member| &member.region);
        let others = self.members.iter().enumerate().filter(|(other, _)| *other != index);
        for (_, member) in others.filter(|(_, member)| Some(&member.region) == region) {
            member.short_until.set(until);
        }
    }

    pub(super) fn settle(&self, spending: Spending, now: Moment) {
        self.shared.budget.lock().settle(spending, now);
    }

    /// Whether failures may eject the backend at `index`: the share of the pool that failures hold back stays within its
    /// limit, or it is the first one where there are at least two.
    pub(super) fn can_spare(&self, index: usize) -> bool {
        let enabled = self.members.iter().filter(|m| m.enabled).count();
        let others = self.members.iter().enumerate().filter(|(i, m)| *i != index && m.enabled && m.state.is_failing());
        let failing = others.count();
        enabled > 1 && (failing == 0 || (failing + 1) as f64 <= self.ejection.share_max * enabled as f64)
    }
}

/// The mark of the backend at `index`; none beyond what a pool may have.
pub(super) const fn bit(index: usize) -> u64 {
    if index < CANDIDATES_MAX { 1 << index } else { 0 }
}
