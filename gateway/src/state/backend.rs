//! What is known of one backend: addresses, load, latency, probe health, ejection. Atomics answer selection; one short
//! lock guards the machines. Never chooses and never limits.

use super::addresses::Addresses;
use super::cells::{LatencyCell, MomentCell, PenaltyCell};
use super::headroom::HeadroomCell;
use super::shared_name::SharedName;
use crate::domain::{BackendId, Moment};
use crate::policy::affinity;
use crate::policy::eject::{Ejection, Machine, Recorded, Report, Standing, Transition};
use crate::policy::health::{Health, HealthChange, Thresholds};
use crate::policy::latency;
use crate::policy::select::Candidate;
use parking_lot::Mutex;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, Ordering};
use std::time::Duration;

/// A time to first byte older than this is stale: the backend may be sampled.
const TTFB_FRESH: Duration = Duration::from_secs(10);
/// A stale one still compares for this long: what was slow stays out of the band until a sample says otherwise.
const TTFB_KEPT: Duration = Duration::from_secs(600);
/// What one failure weighs, in attempts in flight.
const PENALTY_FAILURE: f32 = 5.0;
/// Smallest slow-start share.
const SHARE_MIN: f32 = 0.1;

/// Live state of one backend, shared by all threads.
#[derive(Debug)]
pub struct BackendState {
    id: BackendId,
    shared_name: SharedName,
    /// Hash of its name, for affinity.
    seed: u64,
    addresses: Addresses,
    in_flight: AtomicU32,
    waiting: AtomicU32,
    /// When `waiting` last left zero.
    waiting_since: MomentCell,
    first_byte_last: MomentCell,
    /// Comparable times to first byte: the latency band.
    ttfb: LatencyCell,
    /// All times to first byte that tell of usual waits: silence.
    wait: LatencyCell,
    rtt: LatencyCell,
    penalty: PenaltyCell,
    /// When slow start began; never: full share.
    returned: MomentCell,
    healthy: AtomicBool,
    /// Copy of the machine's rest, for reads without the lock: see [`Rest`].
    rest: AtomicU8,
    rest_until: MomentCell,
    throttled_until: MomentCell,
    trial_until: MomentCell,
    /// Of its own quota; unused while it shares another.
    headroom: Arc<HeadroomCell>,
    machines: Mutex<Machines>,
}

#[derive(Debug, Default)]
struct Machines {
    ejection: Machine,
    health: Health,
}

/// What selection may do with a backend, by its ejection machine alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Rest {
    /// In service.
    None,
    /// Its rest is over and the trial slot is free.
    TrialFree,
    /// Rests, or waits for a trial under way, after a 429: never used.
    Throttled { until: Moment },
    /// The same after failures: used in need.
    Failing { until: Moment },
    /// The same after refusing us: never used.
    Misconfigured { until: Moment },
}

/// How long a trial under way is expected to take, for those who ask when to come back.
const TRIAL_EXPECTED: Duration = Duration::from_millis(500);

const REST_NONE: u8 = 0;
const REST_THROTTLED: u8 = 1;
const REST_FAILING: u8 = 2;
const REST_MISCONFIGURED: u8 = 3;

impl BackendState {
    pub(super) fn new(id: BackendId, shared_name: SharedName, addresses: Addresses) -> Self {
        Self {
            seed: affinity::hash(0, id.backend.as_str().as_bytes()),
            id,
            shared_name,
            addresses,
            in_flight: AtomicU32::new(0),
            waiting: AtomicU32::new(0),
            waiting_since: MomentCell::default(),
            first_byte_last: MomentCell::default(),
            ttfb: LatencyCell::default(),
            wait: LatencyCell::default(),
            rtt: LatencyCell::default(),
            penalty: PenaltyCell::default(),
            returned: MomentCell::default(),
            healthy: AtomicBool::new(true),
            rest: AtomicU8::new(REST_NONE),
            rest_until: MomentCell::default(),
            throttled_until: MomentCell::default(),
            trial_until: MomentCell::default(),
            headroom: Arc::default(),
            machines: Mutex::new(Machines::default()),
        }
    }

    /// Its identity.
    #[must_use]
    pub const fn id(&self) -> &BackendId {
        &self.id
    }

    /// Its name among gateways.
    pub(super) const fn shared_name(&self) -> SharedName {
        self.shared_name
    }

    /// Its resolved addresses.
    #[must_use]
    pub const fn addresses(&self) -> &Addresses {
        &self.addresses
    }

    /// What is left of its own quota.
    pub(super) const fn headroom(&self) -> &Arc<HeadroomCell> {
        &self.headroom
    }

    /// Attempts in flight.
    #[must_use]
    pub fn in_flight(&self) -> u32 {
        self.in_flight.load(Ordering::Relaxed)
    }

    /// Attempts that wait for their first byte.
    #[must_use]
    pub fn waiting(&self) -> u32 {
        self.waiting.load(Ordering::Relaxed)
    }

    /// Whether probes let traffic through.
    #[must_use]
    pub fn is_probe_healthy(&self) -> bool {
        self.healthy.load(Ordering::Relaxed)
    }

    /// Smoothed comparable time to first byte.
    #[must_use]
    pub fn ttfb(&self) -> Option<Duration> {
        self.ttfb.get().map(|l| l.mean)
    }

    /// Smoothed round trip of probes.
    #[must_use]
    pub fn rtt(&self) -> Option<Duration> {
        self.rtt.get().map(|l| l.mean)
    }

    /// Where its ejection machine stands.
    #[must_use]
    pub fn standing(&self, now: Moment) -> Standing {
        self.machines.lock().ejection.standing(now)
    }

    /// Failures in a row.
    #[must_use]
    pub fn consecutive_failures(&self) -> u32 {
        self.machines.lock().ejection.consecutive_failures()
    }

    /// Whether requests wait on it for longer than they should while it says nothing.
    #[must_use]
    pub fn is_silent(&self, now: Moment) -> bool {
        let waiting = self.waiting();
        // Checked first: the rest costs three loads, and an idle backend is the usual case.
        waiting > 1 && {
            let quiet = now.since(self.first_byte_last.get().max(self.waiting_since.get()));
            latency::is_silent(waiting, quiet, self.wait.get())
        }
    }

    /// Takes a probe's result in, with its round trip where it was answered.
    pub fn probed(&self, ok: bool, rtt: Option<Duration>, thresholds: Thresholds, now: Moment) -> Option<HealthChange> {
        if let Some(rtt) = rtt {
            self.rtt.observe(rtt, now);
        }
        let change = self.machines.lock().health.observe(ok, thresholds);
        match change {
            Some(HealthChange::BecameHealthy) => {
                self.returned.set(now);
                self.healthy.store(true, Ordering::Relaxed);
            }
            Some(HealthChange::BecameUnhealthy) => self.healthy.store(false, Ordering::Relaxed),
            None => {}
        }
        change
    }

    /// Probes were switched off: nothing they said counts any more.
    pub(super) fn forget_probes(&self) {
        self.machines.lock().health = Health::default();
        self.healthy.store(true, Ordering::Relaxed);
    }

    /// Our credential changed: the backend may have stopped refusing us.
    pub fn forgive_misconfiguration(&self) {
        let mut machines = self.machines.lock();
        machines.ejection.forgive_misconfiguration();
        self.publish(&machines.ejection);
    }

    /// What its ejection machine allows, without the lock.
    pub(super) fn rest(&self, now: Moment) -> Rest {
        let kind = self.rest.load(Ordering::Acquire);
        if kind == REST_NONE {
            return Rest::None;
        }
        let rest_until = self.rest_until.get();
        let trial_until = self.trial_until.get();
        let throttled_until = self.throttled_until.get();
        let (until, throttled) = match (rest_until > now, trial_until > now) {
            (true, _) => (rest_until, throttled_until > now),
            // After a 429 the trial goes alone, even where failures would let others along.
            (false, true) => (trial_until.min(now.after(TRIAL_EXPECTED)), throttled_until > Moment::ZERO),
            (false, false) => return Rest::TrialFree,
        };
        match kind {
            REST_MISCONFIGURED => Rest::Misconfigured { until },
            REST_FAILING if !throttled => Rest::Failing { until },
            _ => Rest::Throttled { until },
        }
    }

    /// Whether failures (not refusals of us) hold it back now.
    pub(super) fn is_failing(&self) -> bool {
        self.rest.load(Ordering::Acquire) == REST_FAILING
    }

    /// What selection knows about it. `priority`, `weight` and `distance_km` come from the configuration.
    pub(super) fn candidate(&self, priority: u32, weight: u32, distance_km: Option<f64>, now: Moment) -> Candidate {
        let in_flight = self.in_flight();
        let age = self.ttfb.age(now);
        let ttfb = self.ttfb.get().filter(|_| age <= TTFB_KEPT);
        Candidate {
            priority,
            weight,
            share: 1.0,
            ttfb: ttfb.map(|l| l.mean),
            ttfb_spread: ttfb.map_or(Duration::ZERO, |l| l.deviation),
            rtt: self.rtt(),
            distance_km,
            in_flight,
            // At the end of its rest it waits for one trial: what it did before has been atoned for, or beside an idle
            // backend it would wait until the last trace of its failures is gone.
            penalty: if self.rest(now) == Rest::TrialFree { 0.0 } else { self.penalty.get(now) },
            explorable: in_flight == 0 && (ttfb.is_none() || age > TTFB_FRESH),
            seed: self.seed,
        }
    }

    /// Its slow-start share, 0.1 to 1.
    pub(super) fn share(&self, slow_start: Duration, now: Moment) -> f32 {
        let returned = self.returned.get();
        if returned == Moment::ZERO || slow_start.is_zero() {
            return 1.0;
        }
        let ramp = now.since(returned).as_secs_f32() / slow_start.as_secs_f32();
        ramp.mul_add(1.0 - SHARE_MIN, SHARE_MIN).min(1.0)
    }

    pub(super) fn penalty(&self, now: Moment) -> f32 {
        self.penalty.get(now)
    }

    /// An attempt starts.
    pub(super) fn enter(&self, now: Moment) {
        self.in_flight.fetch_add(1, Ordering::Relaxed);
        if self.waiting.fetch_add(1, Ordering::Relaxed) == 0 {
            self.waiting_since.set(now);
        }
    }

    /// An attempt that was waiting for its first byte waits no more.
    pub(super) fn stop_waiting(&self) {
        self.waiting.fetch_sub(1, Ordering::Relaxed);
    }

    /// An attempt is over.
    pub(super) fn leave(&self) {
        self.in_flight.fetch_sub(1, Ordering::Relaxed);
    }

    /// An attempt's first byte came after `wait`; `measured` when it compares with others.
    pub(super) fn heard(&self, wait: Duration, measured: bool, now: Moment) {
        self.first_byte_last.set(now);
        if measured {
            self.ttfb.observe(wait, now);
        }
        // What does not compare is either slow by nature (no stream: the first byte is the last) or an error, which is
        // fast. The slow ones teach patience at once, the fast ones unlearn it slowly.
        if measured || self.wait.get().is_none_or(|known| wait > known.mean) {
            self.wait.observe(wait, now);
        } else {
            self.wait.lean(wait, now);
        }
    }

    /// Takes the trial slot; the moment it counts as lost.
    pub(super) fn take_trial(&self, now: Moment) -> Option<Moment> {
        let mut machines = self.machines.lock();
        let lease = machines.ejection.take_trial(now)?;
        self.trial_until.set(lease);
        Some(lease)
    }

    /// Gives the trial slot back without a verdict.
    pub(super) fn return_trial(&self, lease: Moment) {
        let mut machines = self.machines.lock();
        machines.ejection.return_trial(lease);
        self.publish(&machines.ejection);
    }

    /// Takes an attempt's outcome in.
    pub(super) fn record(&self, report: &Report, params: &Ejection, now: Moment, draw: u64) -> Option<Transition> {
        if report.outcome.is_failure() {
            self.penalty.add(PENALTY_FAILURE, now);
        }
        let mut machines = self.machines.lock();
        let failing = machines.ejection.is_failing();
        let transition = machines.ejection.record(report, params, now, draw);
        if failing && !machines.ejection.is_failing() {
            self.returned.set(now);
            self.penalty.clear();
        }
        self.publish(&machines.ejection);
        transition
    }

    /// The 429 that was recorded as `first` is what `then` says.
    pub(super) fn revise(&self, first: &Recorded, then: &Recorded, params: &Ejection) {
        let mut machines = self.machines.lock();
        machines.ejection.revise(first, then, params);
        self.publish(&machines.ejection);
    }

    /// What is left of its rest after a 429 that this gateway has met itself.
    pub(super) fn own_rest(&self, now: Moment) -> Option<Duration> {
        if self.throttled_until.get() <= now {
            return None;
        }
        self.machines.lock().ejection.own_rest(now)
    }

    /// Another gateway leaves it alone for `rest` after a 429.
    pub(super) fn hear(&self, rest: Duration, params: &Ejection, now: Moment, draw: u64) -> Option<Transition> {
        let mut machines = self.machines.lock();
        let transition = machines.ejection.hear(rest, params, now, draw);
        self.publish(&machines.ejection);
        transition
    }

    /// Copies the machine's rest to where selection reads it; called under the lock. The kind goes last: a reader that
    /// sees it sees its times.
    fn publish(&self, machine: &Machine) {
        self.throttled_until.set(machine.throttled_until().unwrap_or_default());
        self.rest_until.set(machine.rest_until().unwrap_or_default());
        self.trial_until.set(machine.trial_until().unwrap_or_default());
        let kind = if machine.rest_until().is_none() {
            REST_NONE
        } else if machine.is_misconfigured() {
            REST_MISCONFIGURED
        } else if machine.is_failing() {
            REST_FAILING
        } else {
            REST_THROTTLED
        };
        self.rest.store(kind, Ordering::Release);
    }
}
