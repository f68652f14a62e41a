//! Schedules of requests over clocks that jump, and a million buckets.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "tests may panic")]

use super::*;
use crate::domain::Moment;
use crate::policy::limit::calendar::Period;
use crate::policy::limit::{Measure, Part, Window};
use proptest::prelude::*;
use std::sync::Arc;
use std::time::Duration;

const SECOND: u64 = 1_000_000;
/// 2026-11-21.
const UNIX: u64 = 1_795_200_000;

const fn rule(measure: Measure, window: Window, max: u64) -> Rule {
    Rule { measure, window, max, strict: false }
}

fn rules() -> [Rule; 6] {
    [
        rule(Measure::Requests, Window::Sliding(Duration::from_secs(1)), 7),
        rule(Measure::Tokens, Window::Sliding(Duration::from_secs(60)), 200),
        rule(Measure::RequestQuota, Window::Calendar(Period::Hour), 30),
        rule(Measure::TokenQuota, Window::Calendar(Period::Month), 5000),
        rule(Measure::Concurrent, Window::Held, 5),
        rule(Measure::Streams, Window::Held, 3),
    ]
}

fn chain(value: u8) -> ChainKey {
    let mut chain = Chain::new("limit");
    chain.push(&Part::Consumer, Some(&[value]));
    chain.end()
}

/// One step of a schedule.
#[derive(Clone, Debug)]
enum Step {
    Take {
        who: u8,
        tokens: u64,
    },
    Settle {
        which: usize,
        share: u64,
    },
    Release {
        which: usize,
    },
    /// Both clocks go on.
    Wait(u64),
    /// The wall clock is set, by so many seconds.
    Jump(i64),
    /// A thread has read its clock a moment ago.
    Late(u64),
    Sweep,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (0_u8..3, 0_u64..260).prop_map(|(who, tokens)| Step::Take { who, tokens }),
        2 => (any::<usize>(), 0_u64..=100).prop_map(|(which, share)| Step::Settle { which, share }),
        1 => any::<usize>().prop_map(|which| Step::Release { which }),
        2 => prop_oneof![0..SECOND, SECOND..90 * SECOND, Just(86_400 * SECOND), Just(40 * 86_400 * SECOND)].prop_map(Step::Wait),
        1 => prop_oneof![-4000_i64..4000, Just(-40 * 86_400), Just(400 * 86_400), Just(-1_795_200_000)].prop_map(Step::Jump),
        1 => (0..3 * SECOND).prop_map(Step::Late),
        1 => Just(Step::Sweep),
    ]
}

proptest! {
    /// Reservations that are settled with at most what they took never bring a bucket above its ceiling, whatever the clocks do; and when
    /// all requests have ended and every window is over, all of it is there again.
    #[test]
    fn no_schedule_leaves_a_bucket_outside_its_ceiling(steps in prop::collection::vec(step(), 1..250), places in prop_oneof![Just(BUCKETS_MAX), Just(0_usize)]) {
        let limits = Arc::new(Limits { room: places, ..Limits::default() });
        let rules = rules();
        let (mut moment, mut unix, mut latest) = (10 * SECOND, UNIX, UNIX);
        let mut open: Vec<(u64, Reserved)> = Vec::new();
        for step in steps {
            let mut now = Now { moment: Moment::from_micros(moment), unix };
            match step {
                Step::Take { who, tokens } => {
                    let mut reserved = Reserved::new(Arc::clone(&limits));
                    let amount = |rule: &Rule| if rule.measure.is_tokens() { tokens } else { 1 };
                    let charges = rules.iter().map(|rule| Charge { limit: 0, chain: chain(who), rule, amount: amount(rule) });
                    match reserved.take(charges, &[], now) {
                        Ok(()) => open.push((tokens.min(200), reserved)),
                        Err(refused) => prop_assert!(refused.wait > Duration::ZERO),
                    }
                }
                Step::Settle { which, share } if !open.is_empty() => {
                    let (taken, mut reserved) = open.swap_remove(which % open.len());
                    reserved.settle(|_| taken * share / 100, now);
                }
                Step::Release { which } if !open.is_empty() => drop(open.swap_remove(which % open.len())),
                Step::Settle { .. } | Step::Release { .. } => {}
                Step::Wait(micros) => {
                    moment += micros;
                    unix += micros / SECOND;
                }
                Step::Jump(seconds) => unix = unix.saturating_add_signed(seconds),
                Step::Late(micros) => now.moment = Moment::from_micros(moment.saturating_sub(micros)),
                Step::Sweep => (0..SHARDS).for_each(|_| limits.sweep(now)),
            }
            latest = latest.max(unix);
            let places = (0..3).map(chain).chain([chain(0).limit()]);
            for place in places {
                for rule in &rules {
                    let standing = limits.standing(place, rule, now).or(limits.spare_standing(place, rule, now));
                    let Some(standing) = standing else { continue };
                    prop_assert_eq!(standing.owed, 0, "{:?}", rule);
                    prop_assert!(standing.remaining <= rule.max, "{:?}", rule);
                }
            }
        }
        open.clear();
        let end = Now { moment: Moment::from_micros(moment + 120 * SECOND), unix: latest + 70 * 86_400 };
        for rule in &rules {
            for place in (0..3).map(chain).chain([chain(0).limit()]) {
                let standing = limits.standing(place, rule, end).or(limits.spare_standing(place, rule, end));
                prop_assert!(standing.is_none_or(|standing| standing.remaining == rule.max), "{:?} leaks", rule);
            }
        }
        (0..SHARDS).for_each(|_| limits.sweep(end));
        prop_assert!(limits.is_empty() && limits.spare.lock().is_empty(), "what is idle is dropped");
    }
}

impl Limits {
    /// Of the bucket for all who find no room.
    fn spare_standing(&self, chain: ChainKey, rule: &Rule, now: Now) -> Option<Standing> {
        Some(self.spare.lock().get_mut(&chain.key(rule))?.standing(rule, now))
    }
}

#[test]
fn a_million_buckets_are_kept_while_they_count_and_dropped_when_they_are_idle() {
    let limits = Arc::new(Limits::default());
    let rule = rule(Measure::Requests, Window::Sliding(Duration::from_secs(60)), 1);
    let now = |second: u64| Now { moment: Moment::from_micros(second * SECOND), unix: UNIX + second };
    let name = |index: u64| ChainKey { limit: Key(1, 2), chain: Key(index, !index) };
    let take = |index: u64, second: u64| {
        let mut reserved = Reserved::new(Arc::clone(&limits));
        let charge = Charge { limit: 0, chain: name(index), rule: &rule, amount: 1 };
        let taken = reserved.take([charge].into_iter(), &[], now(second)).is_ok();
        reserved.settle(|_| 0, now(second));
        taken
    };
    let taken = (0..1_000_000).filter(|index| take(*index, 1)).count();
    // Parts fill unevenly: the last few may find theirs full, and share one place.
    assert!(limits.len() >= 998_000 && taken >= limits.len(), "{} {taken}", limits.len());
    let held = || {
        limits
            .shards
            .iter()
            .map(|shard| shard.lock().buckets.capacity() * (size_of::<(Key, Bucket)>() + 1))
            .sum::<usize>()
    };
    assert!(held() <= 200_000_000, "{}", held());
    assert!((0..1_000_000).step_by(997).all(|index| !take(index, 2)), "none was forgotten");
    (0..SHARDS).for_each(|_| limits.sweep(now(3)));
    assert!(limits.len() >= 998_000);
    (0..SHARDS).for_each(|_| limits.sweep(now(70)));
    assert_eq!((limits.len(), held()), (0, 0), "all of it is given back");
    assert!(take(5, 71));
}
