//! Live state of one pool: which backends may take the next attempt, and the pick among them. The choice itself is
//! `policy::select`; this file only says who stands for it.

use super::backend::{BackendState, Rest};
use super::cells::MomentCell;
use super::headroom::HeadroomCell;
use super::own_token::Bearer;
use super::roster::{Budget, Member, PoolCore, PoolShared, Tried, Wanted, bit};
use super::ticket::{Reason, Ticket};
use crate::config::snapshot;
use crate::domain::{Cost, Moment, PoolName};
use crate::policy::select::{CANDIDATES_MAX, Candidate, Choice, Selection, choose, in_best_tier};
use std::sync::Arc;

/// Pools up to this size are gathered into a smaller array.
const SMALL_POOL: usize = 8;

/// What is one backend's own: its state, its quota's headroom, and the token that it is shown.
pub(super) type Own = (Arc<BackendState>, Arc<HeadroomCell>, Option<Arc<Bearer>>);

/// What a pick came to.
#[derive(Debug)]
pub enum Pick {
    /// Attempt this backend.
    Attempt(Ticket),
    /// Nothing was tried, and every backend that could serve rests after a 429.
    AllThrottled {
        /// The soonest return of one of them.
        soonest: Moment,
    },
    /// No backend may take an attempt.
    None {
        /// The soonest return of one that rests.
        soonest: Option<Moment>,
    },
}

/// Live state of one pool, as one snapshot sees it. Clones share it.
#[derive(Clone, Debug)]
pub struct PoolState {
    pub(super) core: Arc<PoolCore>,
}

/// Who may take an attempt, as bit masks over the pool's backends.
#[derive(Clone, Copy, Debug, Default)]
struct Survey {
    /// Enabled, with an address and a credential, probe-healthy, not resting, not silent, not tried.
    eligible: u64,
    /// The same, but silent.
    silent: u64,
    /// Not tried, held back by failures alone.
    failing: u64,
    /// Not tried, held back by probes (and perhaps failures) alone.
    unhealthy: u64,
    /// Enabled backends.
    enabled: u32,
    /// Of these, held back neither by failures nor by probes.
    sound: u32,
    /// Of these, able to take an attempt now, tried or not.
    in_service: u32,
    /// Of the enabled ones, probe-healthy.
    probe_healthy: u32,
    /// Soonest return after a 429; after anything.
    throttled_soonest: Option<Moment>,
    soonest: Option<Moment>,
}

impl PoolState {
    pub(super) fn new(pool: &snapshot::Pool, states: Vec<Own>, shared: Arc<PoolShared>) -> Self {
        let members = pool.backends.iter().zip(states).map(|(backend, (state, headroom, token))| Member {
            state,
            headroom,
            quota_group: backend.quota.group.clone(),
            region: backend.region.clone(),
            enabled: backend.enabled,
            priority: backend.priority,
            weight: backend.weight,
            distance_km: backend.distance_km,
            spot: backend.site.spot,
            short_until: MomentCell::default(),
            token,
            keyless: backend.keyless,
        });
        let core = PoolCore {
            name: pool.name.clone(),
            selection: pool.selection.clone(),
            ejection: pool.ejection.clone(),
            failover: pool.failover.clone(),
            members: members.take(CANDIDATES_MAX).collect(),
            shared,
        };
        Self { core: Arc::new(core) }
    }

    /// [`PoolState::pick_for`] a request that asks for nothing.
    #[must_use]
    pub fn pick(&self, tried: Tried, now: Moment, draw: u64) -> Pick {
        self.pick_for(&Wanted::after(tried), now, draw)
    }

    /// Picks a backend for the next attempt of a request.
    ///
    /// Those that have room for it go before those that have not, whatever their tier; where none has, nobody is
    /// refused. In order: eligible ones of the best tier; silent ones; in need (no backend of the pool is in service, or
    /// the sound ones are below the panic threshold) those that only failures hold back, then, with fail-open and no
    /// backend probe-healthy, those that probes hold back. Never one that rests after a 429, refuses us, is switched off
    /// or barred.
    #[must_use]
    pub fn pick_for(&self, wanted: &Wanted, now: Moment, draw: u64) -> Pick {
        let Wanted { cost, tried, barred, .. } = *wanted;
        let reason = if tried.is_empty() { Reason::First } else { Reason::Failover };
        let mut closed = tried;
        // Another thread may take a trial slot between the survey and the pick; each round closes one backend at least.
        for _ in 0..=self.core.members.len() {
            let survey = self.survey(closed, barred, now);
            let usable = self.roomy(survey.usable(&self.core.selection), cost, now);
            if usable == 0 {
                break;
            }
            let chosen = if self.core.members.len() <= SMALL_POOL {
                self.choose_of::<SMALL_POOL>(usable, wanted, now, draw)
            } else {
                self.choose_of::<CANDIDATES_MAX>(usable, wanted, now, draw)
            };
            let Some(choice) = chosen else { break };
            if let Some(ticket) = Ticket::open(&self.core, choice, (reason, cost), now) {
                return Pick::Attempt(ticket);
            }
            closed = closed.with(choice.index);
        }
        let survey = self.survey(tried, barred, now);
        match survey.throttled_soonest {
            Some(soonest) if tried.is_empty() => Pick::AllThrottled { soonest },
            _ => Pick::None { soonest: survey.soonest },
        }
    }

    /// Whether a pick would find a backend.
    #[must_use]
    pub fn has_eligible(&self, wanted: &Wanted, now: Moment) -> bool {
        self.survey(wanted.tried, wanted.barred, now).usable(&self.core.selection) != 0
    }

    /// Backends in service: eligible for a request that has tried nothing, the silent ones included.
    #[must_use]
    pub fn eligible_count(&self, now: Moment) -> usize {
        usize::try_from(self.eligible_marks(now).count_ones()).unwrap_or(usize::MAX)
    }

    /// The same as one bit for each backend.
    pub(super) fn eligible_marks(&self, now: Moment) -> u64 {
        let survey = self.survey(Tried::NONE, Tried::NONE, now);
        survey.eligible | survey.silent
    }

    /// The soonest return of a backend that rests, of those that are not `barred`.
    #[must_use]
    pub fn soonest(&self, barred: Tried, now: Moment) -> Option<Moment> {
        self.survey(Tried::NONE, barred, now).soonest
    }

    /// Of what an attempt at the backend at `index` was charged, it has used so many tokens.
    pub fn used(&self, index: usize, charged: Cost, used: u64, now: Moment) {
        if let Some(member) = self.core.members.get(index) {
            member.headroom.used(charged, used, now);
        }
    }

    /// Its retry budget.
    #[must_use]
    pub fn budget(&self) -> Budget<'_> {
        Budget(&self.core)
    }

    /// A backend for a hedge, other than those that `wanted` has tried: in service and with room, or none.
    pub(super) fn pick_beside(&self, wanted: &Wanted, now: Moment, draw: u64) -> Option<Ticket> {
        let eligible = self.survey(wanted.tried, wanted.barred, now).eligible;
        let free = self.core.members.iter().enumerate().filter(|(index, member)| {
            eligible & bit(*index) != 0
                && member.state.rest(now) == Rest::None
                && member.short_until.get() <= now
                && member.headroom.has_room(wanted.cost, now)
        });
        let usable = free.fold(0, |mask, (index, _)| mask | bit(index));
        let choice = self.choose_of::<CANDIDATES_MAX>(usable, wanted, now, draw)?;
        Ticket::open(&self.core, choice, (Reason::Hedge, wanted.cost), now)
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &PoolName {
        &self.core.name
    }

    /// State of the backend at `index` of the snapshot's list.
    #[must_use]
    pub fn backend(&self, index: usize) -> Option<&Arc<BackendState>> {
        self.core.members.get(index).map(|member| &member.state)
    }

    /// States of all backends, in the snapshot's order.
    pub fn backends(&self) -> impl Iterator<Item = &Arc<BackendState>> {
        self.core.members.iter().map(|member| &member.state)
    }

    fn survey(&self, tried: Tried, barred: Tried, now: Moment) -> Survey {
        let mut survey = Survey::default();
        for (index, member) in self.core.members.iter().enumerate() {
            if member.enabled && !barred.contains(index) {
                survey.count(index, member, tried.contains(index), now);
            }
        }
        survey
    }

    /// Of the usable ones those that have room for `cost`, in a region that is not short; all of them where none has.
    fn roomy(&self, usable: u64, cost: Cost, now: Moment) -> u64 {
        if usable.is_power_of_two() {
            return usable;
        }
        let marked = self.core.members.iter().enumerate().filter(|(index, _)| usable & bit(*index) != 0);
        let roomy = marked.filter(|(_, member)| member.short_until.get() <= now && member.headroom.has_room(cost, now));
        match roomy.fold(0, |mask, (index, _)| mask | bit(index)) {
            0 => usable,
            roomy => roomy,
        }
    }

    fn choose_of<const N: usize>(&self, usable: u64, wanted: &Wanted, now: Moment, draw: u64) -> Option<Choice> {
        let mut candidates = [Candidate::NEUTRAL; N];
        let mut indexes = [0_usize; N];
        let mut count = 0;
        let marked = self.core.members.iter().enumerate().filter(|(index, _)| usable & bit(*index) != 0);
        for ((index, member), (candidate, slot)) in marked.zip(candidates.iter_mut().zip(indexes.iter_mut())) {
            let Member { state, priority, weight, distance_km, spot, .. } = member;
            let from_client = wanted.client.zip(*spot).map(|(client, spot)| client.distance_km(spot));
            *candidate = state.candidate(*priority, *weight, from_client.or(*distance_km), now);
            candidate.share = state.share(self.core.selection.slow_start, now);
            *slot = index;
            count += 1;
        }
        let candidates = candidates.get(..count)?;
        if let Some(preferred) = wanted.preferred.filter(|index| usable & bit(*index) != 0) {
            let place = indexes.iter().take(count).position(|index| *index == preferred);
            if place.is_some_and(|place| in_best_tier(candidates, place)) {
                return Some(Choice { index: preferred, home: None });
            }
        }
        let chosen = choose(candidates, &self.core.selection, wanted.key, draw)?;
        Some(Choice { index: *indexes.get(chosen.index)?, ..chosen })
    }
}

impl Survey {
    fn count(&mut self, index: usize, member: &Member, tried: bool, now: Moment) {
        let state = &member.state;
        self.enabled += 1;
        if member.is_keyless(now) {
            return;
        }
        let healthy = state.is_probe_healthy();
        self.probe_healthy += u32::from(healthy);
        let rest = state.rest(now);
        self.sound += u32::from(healthy && matches!(rest, Rest::None | Rest::TrialFree | Rest::Throttled { .. }));
        let until = match rest {
            Rest::None | Rest::TrialFree => None,
            Rest::Throttled { until } | Rest::Failing { until } | Rest::Misconfigured { until } => Some(until),
        };
        if state.addresses().count() == 0 {
            return;
        }
        if healthy && !tried {
            self.soonest = sooner(self.soonest, until);
            if let Rest::Throttled { until } = rest {
                self.throttled_soonest = sooner(self.throttled_soonest, Some(until));
            }
        }
        let mark = if tried { 0 } else { bit(index) };
        match rest {
            Rest::Throttled { .. } | Rest::Misconfigured { .. } => {}
            _ if !healthy => self.unhealthy |= mark,
            Rest::Failing { .. } => self.failing |= mark,
            Rest::None | Rest::TrialFree => {
                self.in_service += 1;
                let set = if state.is_silent(now) { &mut self.silent } else { &mut self.eligible };
                *set |= mark;
            }
        }
    }

    /// The backends that may take the next attempt, in the order of [`PoolState::pick`].
    fn usable(&self, selection: &Selection) -> u64 {
        if f64::from(self.sound) < selection.panic_threshold * f64::from(self.enabled) {
            let all = self.eligible | self.failing | self.unhealthy;
            if all != 0 {
                return all;
            }
        }
        if self.eligible != 0 {
            return self.eligible;
        }
        if self.silent != 0 {
            return self.silent;
        }
        if self.in_service > 0 {
            return 0;
        }
        if self.failing != 0 {
            return self.failing;
        }
        if selection.fail_open && self.probe_healthy == 0 { self.unhealthy } else { 0 }
    }
}

fn sooner(a: Option<Moment>, b: Option<Moment>) -> Option<Moment> {
    match (a, b) {
        (Some(a), Some(b)) => Some(a.min(b)),
        (a, b) => a.or(b),
    }
}

#[cfg(test)]
pub(super) mod tests;
