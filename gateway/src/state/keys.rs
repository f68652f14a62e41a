//! [`IssuerKeys`]: the keys of an issuer as they were last seen, kept over reloads. It decides how often an unknown key may
//! cause a look, and whether keys are too old to be trusted; it fetches nothing.

use crate::domain::Moment;
use crate::policy::token::KeySet;
use arc_swap::{ArcSwapOption, Guard};
use parking_lot::Mutex;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

/// Requests that wait for one look at an issuer's keys; all others are refused at once.
const WAITING_MAX: usize = 256;

/// The keys of one issuer.
#[derive(Debug, Default)]
pub struct IssuerKeys {
    held: ArcSwapOption<Held>,
    /// A look was asked for, or is under way because of it.
    pending: AtomicBool,
    /// Microseconds of the moment from which on another look may be asked for.
    next: AtomicU64,
    waiting: AtomicUsize,
    waker: Mutex<Option<Waker>>,
}

/// Keys with their age.
#[derive(Debug)]
pub struct Held {
    /// The keys.
    pub keys: Arc<KeySet>,
    /// When they were last seen to be these.
    pub at: Moment,
    /// Changes with the keys.
    pub version: u64,
}

/// A place among those that wait for a look; dropping it gives it back.
#[derive(Debug)]
pub struct Wait<'a>(&'a IssuerKeys);

impl IssuerKeys {
    /// The keys, unless there are none or they are older than `age_max`.
    #[must_use]
    pub fn trusted(&self, age_max: Option<Duration>, now: Moment) -> Option<Guard<Option<Arc<Held>>>> {
        let held = self.held.load();
        let fresh = held.as_ref().is_some_and(|held| age_max.is_none_or(|max| now.since(held.at) <= max));
        fresh.then_some(held)
    }

    /// Whether any keys were ever seen.
    #[must_use]
    pub fn is_missing(&self) -> bool {
        self.held.load().is_none()
    }

    /// The issuer publishes these. Whether they are others than before.
    pub fn publish(&self, keys: &Arc<KeySet>, now: Moment) -> bool {
        let before = self.held.load();
        let changed = before.as_ref().is_none_or(|held| held.keys != *keys);
        let version = before.as_ref().map_or(0, |held| held.version) + u64::from(changed);
        self.held.store(Some(Arc::new(Held { keys: Arc::clone(keys), at: now, version })));
        changed
    }

    /// A token names an unknown key: asks for a look, at most one in `pause`.
    pub fn ask(&self, pause: Duration, now: Moment) {
        let next = self.next.load(Ordering::Relaxed);
        let later = now.after(pause).as_micros();
        let claim = || self.next.compare_exchange(next, later, Ordering::AcqRel, Ordering::Relaxed).is_ok();
        if now.as_micros() >= next && !self.is_pending() && claim() {
            self.pending.store(true, Ordering::Release);
            if let Some(waker) = self.waker.lock().take() {
                waker.wake();
            }
        }
    }

    /// A place among those that wait for the look that was asked for; none where nobody looks, or too many wait.
    #[must_use]
    pub fn wait(&self) -> Option<Wait<'_>> {
        if !self.is_pending() {
            return None;
        }
        // Given back by the drop, here or later.
        let place = Wait(self);
        (self.waiting.fetch_add(1, Ordering::AcqRel) < WAITING_MAX).then_some(place)
    }

    /// Ready once a look was asked for.
    pub fn poll_asked(&self, context: &Context<'_>) -> Poll<()> {
        *self.waker.lock() = Some(context.waker().clone());
        if self.is_pending() { Poll::Ready(()) } else { Poll::Pending }
    }

    /// The look that was asked for has ended, whatever it found.
    pub fn looked(&self) {
        self.pending.store(false, Ordering::Release);
    }

    fn is_pending(&self) -> bool {
        self.pending.load(Ordering::Acquire)
    }
}

impl Wait<'_> {
    /// Whether the look has ended.
    #[must_use]
    pub fn is_over(&self) -> bool {
        !self.0.is_pending()
    }
}

impl Drop for Wait<'_> {
    fn drop(&mut self) {
        self.0.waiting.fetch_sub(1, Ordering::AcqRel);
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests may panic")]
mod tests {
    use super::*;

    const PAUSE: Duration = Duration::from_secs(30);

    fn keys(x: &str) -> Arc<KeySet> {
        let text = format!(r#"{{"keys":[{{"kty":"OKP","crv":"Ed25519","x":"{x}"}}]}}"#);
        Arc::new(KeySet::read(text.as_bytes()).unwrap())
    }

    const fn at(seconds: u64) -> Moment {
        Moment::from_micros(seconds * 1_000_000)
    }

    #[test]
    fn keys_are_trusted_while_they_are_young_enough_and_versions_count_changes() {
        let (one, two) = (keys(&"A".repeat(43)), keys(&format!("{}g", "B".repeat(42))));
        let store = IssuerKeys::default();
        assert!(store.is_missing() && store.trusted(None, at(1)).is_none());
        assert!(store.publish(&one, at(1)) && !store.publish(&one, at(10)) && store.publish(&two, at(20)));
        let version = store.trusted(None, at(1_000_000)).unwrap().as_ref().unwrap().version;
        assert_eq!(version, 2);
        let day = Some(Duration::from_secs(86_400));
        assert!(store.trusted(day, at(86_420)).is_some() && store.trusted(day, at(86_421)).is_none());
    }

    #[test]
    fn many_unknown_keys_cause_one_look_in_a_pause_and_few_wait_for_it() {
        let store = IssuerKeys::default();
        let context = Context::from_waker(Waker::noop());
        assert!(store.poll_asked(&context).is_pending());
        let waits: Vec<_> = (0..2 * WAITING_MAX)
            .filter_map(|_| {
                store.ask(PAUSE, at(100));
                store.wait()
            })
            .collect();
        assert_eq!(waits.len(), WAITING_MAX);
        assert!(store.poll_asked(&context).is_ready() && waits.iter().all(|wait| !wait.is_over()));
        store.looked();
        assert!(waits.iter().all(Wait::is_over));
        drop(waits);
        store.ask(PAUSE, at(129));
        assert!(store.wait().is_none() && store.poll_asked(&context).is_pending());
        store.ask(PAUSE, at(130));
        assert!(store.wait().is_some() && store.poll_asked(&context).is_ready());
    }
}
