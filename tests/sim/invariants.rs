//! What must hold at every pick, judged by an independent reading of the backends' standing.

use tidegate::config::snapshot::Pool;
use tidegate::domain::Moment;
use tidegate::policy::eject::{Reason, Standing};
use tidegate::state::{Pick, PoolState, Tried};

/// What the oracle sees of one backend, just before a pick.
#[derive(Clone, Copy, Debug)]
struct Sight {
    priority: u32,
    tried: bool,
    /// Enabled and with an address.
    usable: bool,
    healthy: bool,
    silent: bool,
    standing: Standing,
}

/// What the oracle sees of the pool.
#[derive(Debug)]
pub(crate) struct Oracle {
    now: Moment,
    sights: Vec<Sight>,
    fail_open: bool,
}

impl Sight {
    /// Not resting, or waiting for a trial.
    fn in_service(&self, now: Moment) -> bool {
        let fit = match self.standing {
            Standing::Open => true,
            Standing::Resting { until, .. } => until <= now,
            Standing::Trial { .. } => false,
        };
        self.usable && self.healthy && fit
    }

    fn eligible(&self, now: Moment) -> bool {
        self.in_service(now) && !self.silent && !self.tried
    }

    fn failing(&self) -> bool {
        match self.standing {
            Standing::Resting { reason, .. } | Standing::Trial { reason, .. } => {
                matches!(reason, Reason::ConsecutiveFailures | Reason::FailureShare)
            }
            Standing::Open => false,
        }
    }
}

impl Oracle {
    pub(crate) fn read(spec: &Pool, pool: &PoolState, tried: Tried, now: Moment) -> Self {
        let look = |(index, backend): (usize, &tidegate::config::snapshot::Backend)| {
            let state = pool.backend(index).unwrap();
            Sight {
                priority: backend.priority,
                tried: tried.contains(index),
                usable: backend.enabled && state.addresses().count() > 0,
                healthy: state.is_probe_healthy(),
                silent: state.is_silent(now),
                standing: state.standing(now),
            }
        };
        let sights = spec.backends.iter().enumerate().map(look).collect();
        Self { now, sights, fail_open: spec.selection.fail_open }
    }

    /// Judges what was picked.
    pub(crate) fn judge(&self, pick: &Pick) {
        let eligible: Vec<&Sight> = self.sights.iter().filter(|s| s.eligible(self.now)).collect();
        match pick {
            Pick::Attempt(ticket) => {
                let chosen = &self.sights[ticket.index()];
                assert!(chosen.usable && !chosen.tried, "{chosen:?}");
                if let Some(best) = eligible.iter().map(|s| s.priority).min() {
                    assert!(
                        chosen.eligible(self.now),
                        "never an ejected backend while an eligible one exists: {self:?}"
                    );
                    assert_eq!(chosen.priority, best, "never tier k+1 while tier k has an eligible one: {self:?}");
                } else if chosen.in_service(self.now) {
                    assert!(chosen.silent);
                } else {
                    self.judge_need(chosen);
                }
            }
            Pick::AllThrottled { soonest } => {
                assert!(eligible.is_empty(), "{self:?}");
                assert!(*soonest > self.now, "a client is never told to come back at once: {self:?}");
                assert!(self.sights.iter().all(|s| !s.tried));
            }
            Pick::None { .. } => assert!(eligible.is_empty(), "{self:?}"),
        }
    }

    /// Nobody is in service: who may be used all the same.
    fn judge_need(&self, chosen: &Sight) {
        assert!(!self.sights.iter().any(|s| s.in_service(self.now)), "in need only: {self:?}");
        let standing_allows = chosen.failing() || matches!(chosen.standing, Standing::Open) || {
            matches!(chosen.standing, Standing::Resting { until, .. } if until <= self.now)
        };
        assert!(standing_allows, "a rest after a 429 or a refusal of us is kept even in need: {self:?}");
        if !chosen.healthy {
            assert!(self.fail_open && self.sights.iter().all(|s| !s.usable || !s.healthy), "{self:?}");
        }
    }
}
