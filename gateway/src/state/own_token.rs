//! [`Bearer`]: a token of ours as it was last got, kept over reloads. It decides whether it can still be shown, when the next
//! one is due, and how often a refusal may ask for another; it fetches nothing.

use crate::domain::Moment;
use arc_swap::{ArcSwapOption, Guard};
use http::HeaderValue;
use parking_lot::Mutex;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

/// A new token is got after this share of the old one's life.
const AHEAD: f64 = 0.75;
/// A refusal asks for another token at most once in this time.
pub const REFUSAL_PAUSE: Duration = Duration::from_secs(30);

/// A token of ours that requests and vaults are sent with.
#[derive(Debug, Default)]
pub struct Bearer {
    held: ArcSwapOption<HeldToken>,
    /// Another was asked for, or is being got because of it.
    pending: AtomicBool,
    /// Microseconds of the moment from which on another may be asked for.
    next: AtomicU64,
    waker: Mutex<Option<Waker>>,
}

/// A token with its dates.
#[derive(Debug)]
pub struct HeldToken {
    /// `Bearer …`, marked sensitive.
    pub header: HeaderValue,
    /// When it is worth nothing any more.
    pub expires: Moment,
    /// When the next one is due.
    pub due: Moment,
    /// Changes with the token.
    pub version: u64,
}

impl Bearer {
    /// The token, while it can be shown.
    #[must_use]
    pub fn usable(&self, now: Moment) -> Option<Guard<Option<Arc<HeldToken>>>> {
        let held = self.held.load();
        let fresh = held.as_ref().is_some_and(|held| now < held.expires);
        fresh.then_some(held)
    }

    /// The token, whatever its age.
    #[must_use]
    pub fn held(&self) -> Option<Arc<HeldToken>> {
        self.held.load_full()
    }

    /// A new token that lives for `life`. Whether it differs from the one before.
    pub fn publish(&self, header: HeaderValue, life: Duration, now: Moment) -> bool {
        let before = self.held.load();
        let changed = before.as_ref().is_none_or(|held| held.header != header);
        let version = before.as_ref().map_or(0, |held| held.version) + u64::from(changed);
        let due = now.after(life.mul_f64(AHEAD));
        self.held.store(Some(Arc::new(HeldToken { header, expires: now.after(life), due, version })));
        changed
    }

    /// A backend refused the token of `version` with 401. Asks for another, unless this one is another already or somebody
    /// asked a moment ago. Whether the refused token is still the one that is held.
    pub fn refused(&self, version: u64, now: Moment) -> bool {
        if self.held.load().as_ref().is_some_and(|held| held.version != version) {
            return false;
        }
        let next = self.next.load(Ordering::Relaxed);
        let later = now.after(REFUSAL_PAUSE).as_micros();
        let claim = || self.next.compare_exchange(next, later, Ordering::AcqRel, Ordering::Relaxed).is_ok();
        if now.as_micros() >= next && claim() {
            self.pending.store(true, Ordering::Release);
            if let Some(waker) = self.waker.lock().take() {
                waker.wake();
            }
        }
        true
    }

    /// Ready once another token was asked for.
    pub fn poll_asked(&self, context: &Context<'_>) -> Poll<()> {
        *self.waker.lock() = Some(context.waker().clone());
        if self.pending.load(Ordering::Acquire) { Poll::Ready(()) } else { Poll::Pending }
    }

    /// What was asked for was tried, whatever came of it.
    pub fn tried(&self) {
        self.pending.store(false, Ordering::Release);
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests may panic")]
mod tests {
    use super::*;

    const HOUR: Duration = Duration::from_secs(3600);

    const fn at(seconds: u64) -> Moment {
        Moment::from_micros(seconds * 1_000_000)
    }

    #[test]
    fn a_token_is_shown_until_its_end_and_renewed_ahead_of_it() {
        let bearer = Bearer::default();
        assert!(bearer.usable(at(1)).is_none() && bearer.held().is_none());
        assert!(bearer.publish(HeaderValue::from_static("Bearer a"), HOUR, at(100)));
        let held = bearer.held().unwrap();
        assert_eq!((held.due, held.expires, held.version), (at(2800), at(3700), 1));
        assert!(bearer.usable(at(3699)).is_some() && bearer.usable(at(3700)).is_none());
        assert!(!bearer.publish(HeaderValue::from_static("Bearer a"), HOUR, at(3000)), "the same again lives longer");
        assert_eq!((bearer.held().unwrap().expires, bearer.held().unwrap().version), (at(6600), 1));
    }

    #[test]
    fn many_refusals_of_one_token_ask_for_one_and_a_refusal_of_an_old_one_for_none() {
        let bearer = Bearer::default();
        let context = Context::from_waker(Waker::noop());
        bearer.publish(HeaderValue::from_static("Bearer a"), HOUR, at(0));
        assert!(bearer.poll_asked(&context).is_pending());
        assert!((0..100).all(|_| bearer.refused(1, at(10))));
        assert!(bearer.poll_asked(&context).is_ready());
        bearer.tried();
        assert!(bearer.refused(1, at(39)) && bearer.poll_asked(&context).is_pending(), "within the pause");
        assert!(bearer.refused(1, at(40)) && bearer.poll_asked(&context).is_ready());
        bearer.tried();
        bearer.publish(HeaderValue::from_static("Bearer b"), HOUR, at(41));
        assert!(!bearer.refused(1, at(100)) && bearer.poll_asked(&context).is_pending());
    }
}
