//! Buckets under many threads, many names and many endings.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "tests may panic")]

use super::*;
use crate::domain::Moment;
use crate::policy::limit::calendar::Period;
use crate::policy::limit::{Measure, Part, Window};
use proptest::prelude::*;
use std::sync::Arc;
use std::time::Duration;

const SECOND: u64 = 1_000_000;

fn at(micros: u64) -> Now {
    Now { moment: Moment::from_micros(micros), unix: 1_000_000 * 3600 + micros / SECOND }
}

fn chain(limit: &str, value: &str) -> ChainKey {
    let mut chain = Chain::new(limit);
    chain.push(&Part::Consumer, Some(value.as_bytes()));
    chain.end()
}

const fn rule(measure: Measure, window: Window, max: u64) -> Rule {
    Rule { measure, window, max, strict: false }
}

fn rate(max: u64) -> Rule {
    rule(Measure::Requests, Window::Sliding(Duration::from_secs(60)), max)
}

fn charge(limit: usize, chain: ChainKey, rule: &Rule, amount: u64) -> Charge<'_> {
    Charge { limit, chain, rule, amount }
}

#[test]
fn all_threads_together_pass_exactly_the_ceiling() {
    let (limits, rule, passed) = (Arc::new(Limits::default()), rate(1000), AtomicU64::new(0));
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                for _ in 0..500 {
                    let mut reserved = Reserved::new(Arc::clone(&limits));
                    let charges = [charge(0, chain("a", "x"), &rule, 1)];
                    if reserved.take(charges.into_iter(), &[], at(SECOND)).is_ok() {
                        reserved.settle(|_| 0, at(SECOND));
                        passed.fetch_add(1, Ordering::Relaxed);
                    }
                }
            });
        }
    });
    assert_eq!(passed.load(Ordering::Relaxed), 1000);
}

#[test]
fn a_refusal_takes_nothing_and_tells_when_all_would_give() {
    let limits = Arc::new(Limits::default());
    let minute = rate(2);
    let second = rule(Measure::Tokens, Window::Sliding(Duration::from_secs(31)), 100);
    let (a, b) = (chain("a", "x"), chain("b", "x"));
    let ask = |tokens| {
        let mut reserved = Reserved::new(Arc::clone(&limits));
        let charges = [charge(0, a, &minute, 1), charge(1, b, &second, tokens)];
        let taken = reserved.take(charges.into_iter(), &[], at(31 * SECOND));
        (taken, reserved)
    };
    let (taken, first) = ask(90);
    taken.unwrap();
    assert_eq!(first.told().tokens.unwrap().remaining, 10);
    let (refused, second_try) = ask(11);
    let wait = Duration::from_secs(32);
    assert_eq!(refused, Err(Refused { limit: 1, measure: Measure::Tokens, wait }));
    assert_eq!(second_try.told().requests.unwrap().remaining, 1, "the request was given back");
    let (taken, second_request) = ask(10);
    taken.unwrap();
    let (refused, _) = ask(1);
    assert_eq!(refused.unwrap_err().limit, 0, "the longer wait is told");
    drop((first, second_request));
    assert_eq!(limits.standing(a, &minute, at(31 * SECOND)).unwrap().remaining, 2);
    assert_eq!(limits.standing(b, &second, at(31 * SECOND)).unwrap().remaining, 100);
}

#[test]
fn a_quota_that_is_gone_is_told_before_a_rate() {
    let limits = Arc::new(Limits::default());
    let (quota, rate) = (rule(Measure::RequestQuota, Window::Calendar(Period::Hour), 0), rate(0));
    let charges = [charge(0, chain("a", "x"), &rate, 1), charge(1, chain("b", "x"), &quota, 1)];
    let refused = Reserved::new(limits).take(charges.into_iter(), &[], at(0)).unwrap_err();
    assert_eq!((refused.limit, refused.measure), (1, Measure::RequestQuota));
}

#[test]
fn tokens_are_settled_and_what_has_not_ended_is_held() {
    let limits = Arc::new(Limits::default());
    let tokens = rule(Measure::Tokens, Window::Sliding(Duration::from_secs(60)), 100);
    let held = rule(Measure::Concurrent, Window::Held, 1);
    let key = chain("a", "x");
    let begin = || {
        let mut reserved = Reserved::new(Arc::clone(&limits));
        let charges = [charge(0, key, &held, 1), charge(0, key, &tokens, 40)];
        reserved.take(charges.into_iter(), &[], at(SECOND)).map(|()| reserved)
    };
    let mut one = begin().unwrap();
    assert_eq!(begin().unwrap_err().measure, Measure::Concurrent);
    one.settle(|_| 15, at(2 * SECOND));
    assert_eq!(limits.standing(key, &tokens, at(2 * SECOND)).unwrap().remaining, 85);
    let mut two = begin().unwrap();
    two.settle(|_| 140, at(2 * SECOND));
    let standing = limits.standing(key, &tokens, at(2 * SECOND)).unwrap();
    assert_eq!((standing.remaining, standing.owed), (0, 55));
}

#[test]
fn who_finds_no_room_shares_a_limit_with_the_others() {
    let limits = Arc::new(Limits { room: 50, ..Limits::default() });
    let rule = rate(3);
    let take = |name: String, now: u64| {
        let mut reserved = Reserved::new(Arc::clone(&limits));
        let taken = reserved.take([charge(0, chain("a", &name), &rule, 1)].into_iter(), &[], at(now));
        reserved.settle(|_| 0, at(now));
        taken
    };
    let total = SHARDS * 50 + 2000;
    let refused = (0..total).filter(|index| take(index.to_string(), SECOND).is_err()).count();
    assert!(limits.len() == SHARDS * 50);
    assert_eq!(refused, total - SHARDS * 50 - 3, "three of them pass together");
    assert!(limits.crowded() >= refused as u64);
    for _ in 0..SHARDS {
        limits.sweep(at(SECOND));
    }
    assert!(limits.len() > total / 2, "what counts is kept");
    for _ in 0..SHARDS {
        limits.sweep(at(100 * SECOND));
    }
    assert!(limits.is_empty());
    take("new".to_owned(), 100 * SECOND).unwrap();
    let places: usize = limits.shards.iter().map(|shard| shard.lock().buckets.capacity()).sum();
    assert!(places < 1000, "memory is given back: {places}");
}

#[test]
fn a_million_buckets_fit_into_200_mb() {
    // A table of 16 384 places holds 14 336: one byte of control for each place, and a group of them at its end.
    let place = size_of::<(Key, Bucket)>() + 1;
    const { assert!(SHARDS * BUCKETS_MAX >= 1_000_000) };
    assert!(SHARDS * (16_384 * place + 64) <= 200_000_000, "{place}");
}

#[test]
fn quotas_come_back_from_their_bytes() {
    let limits = Arc::new(Limits::default());
    let quota = rule(Measure::TokenQuota, Window::Calendar(Period::Day), 100);
    let mut reserved = Reserved::new(Arc::clone(&limits));
    assert!(limits.quotas_used(at(0)).is_none());
    let other = rate(5);
    let charges = [charge(0, chain("a", "x"), &quota, 60), charge(0, chain("a", "y"), &other, 1)];
    reserved.take(charges.into_iter(), &[], at(0)).unwrap();
    reserved.settle(|_| 60, at(0));
    let bytes = limits.quotas_used(at(0)).unwrap().to_bytes();
    assert!(limits.quotas_used(at(0)).is_none(), "nothing new");
    let (restored, fresh) = (Quotas::from_bytes(&bytes).unwrap(), Limits::default());
    assert_eq!(restored.len(), 1);
    fresh.restore(&restored);
    assert_eq!(fresh.standing(chain("a", "x"), &quota, at(0)).unwrap().remaining, 40);
    for end in 0..bytes.len() {
        assert!(Quotas::from_bytes(&bytes[..end]).is_err());
        let mut changed = bytes.clone();
        changed[end] ^= 1;
        assert!(Quotas::from_bytes(&changed).is_err());
    }
    let mut merged = Quotas::default();
    merged.merge(&restored);
    merged.merge(&limits.quotas(at(86_400 * 2 * SECOND)));
    assert_eq!(merged.len(), 1);
}

#[test]
fn chains_have_names_of_their_own() {
    let mut names = std::collections::HashSet::new();
    let parts = [Part::Consumer, Part::Plan, Part::Claim("tid".into()), Part::Claim("oid".into())];
    for limit in ["a", "b"] {
        names.insert(Chain::new(limit).end().key(&rate(1)));
        for part in &parts {
            for value in [None, Some(&b""[..]), Some(&b"x"[..]), Some(&b"xy"[..])] {
                let mut chain = Chain::new(limit);
                chain.push(part, value);
                for measure in Measure::ALL {
                    for window in [Window::Held, Window::Calendar(Period::Day), Window::Sliding(Duration::from_secs(1))]
                    {
                        assert!(names.insert(chain.clone().end().key(&rule(measure, window, 1))));
                    }
                }
            }
        }
    }
    assert_eq!(chain("a", "x").key(&rate(1)), chain("a", "x").key(&rate(2)), "a ceiling may change");
}

proptest! {
    /// However requests begin and end: what is held and used is what buckets say, and in the end nothing is left over.
    #[test]
    fn no_schedule_leaks(steps in prop::collection::vec((0_u8..4, 0_u64..60, 0_u64..90, 0_usize..3), 1..150)) {
        let limits = Arc::new(Limits::default());
        let rules = [
            rule(Measure::Requests, Window::Sliding(Duration::from_secs(3600)), 40),
            rule(Measure::Tokens, Window::Sliding(Duration::from_secs(3600)), 200),
            rule(Measure::TokenQuota, Window::Calendar(Period::Day), 300),
            rule(Measure::Concurrent, Window::Held, 5),
        ];
        let keys = [chain("a", "x"), chain("a", "y"), chain("b", "x")];
        let mut open: Vec<(usize, u64, Reserved)> = Vec::new();
        let (mut requests, mut used) = ([0_u64; 3], [0_u64; 3]);
        for (index, (what, amount, actual, who)) in steps.into_iter().enumerate() {
            let now = at(SECOND * 4000 + 1000 * index as u64);
            if what < 2 || open.is_empty() {
                let mut reserved = Reserved::new(Arc::clone(&limits));
                let charges = rules.iter().map(|rule| {
                    charge(0, keys[who], rule, if rule.measure.is_tokens() { amount } else { 1 })
                });
                if reserved.take(charges, &[], now).is_ok() {
                    open.push((who, amount, reserved));
                }
            } else {
                let (who, _, mut reserved) = open.swap_remove(index % open.len());
                if what == 2 {
                    reserved.settle(|_| actual, now);
                    requests[who] += 1;
                    used[who] += actual;
                }
            }
            for who in 0..3 {
                let mine = || open.iter().filter(|(other, ..)| *other == who);
                let (count, tokens) = (mine().count() as u64, mine().map(|(_, tokens, _)| tokens).sum::<u64>());
                let want = [requests[who] + count, used[who] + tokens, used[who] + tokens, count];
                for (rule, want) in rules.iter().zip(want) {
                    let standing = limits.standing(keys[who], rule, now).unwrap_or(Standing {
                        max: rule.max, remaining: rule.max, ..Standing::default()
                    });
                    prop_assert_eq!(standing.remaining, rule.max.saturating_sub(want));
                    prop_assert_eq!(standing.owed, want.saturating_sub(rule.max));
                }
            }
        }
        open.clear();
        for key in keys {
            let held = limits.standing(key, &rules[3], at(SECOND * 4001));
            prop_assert!(held.is_none_or(|standing| standing.remaining == 5));
        }
    }
}

fn grant(balance: u64, left: u64) -> Grant {
    Grant { balance, left, back: Duration::from_millis(700), good: Duration::from_secs(1) }
}

/// Takes once from `limits` and settles as told.
fn spend(limits: &Arc<Limits>, rule: &Rule, amount: u64, used: u64, now: Now) -> Result<(), Refused> {
    let mut reserved = Reserved::new(Arc::clone(limits));
    reserved.take([charge(0, chain("a", "x"), rule, amount)].into_iter(), &[], now)?;
    reserved.settle(|_| used, now);
    Ok(())
}

#[test]
fn without_a_lease_a_gateway_keeps_to_its_fair_share() {
    let limits = Arc::new(Limits::default());
    limits.share(3);
    let rule = rate(9);
    let passed = (0..9).filter(|_| spend(&limits, &rule, 1, 0, at(SECOND)).is_ok()).count();
    assert_eq!(passed, 3);
    assert!(limits.is_lacking() && !limits.is_lacking());
    let reports = limits.reports(at(SECOND));
    assert_eq!((reports.len(), reports[0].spent, reports[0].mine, reports[0].largest), (1, 3, 3, 1));
    assert!(limits.reports(at(SECOND)).is_empty(), "told once");
    limits.untold(&reports[0]);
    assert_eq!(limits.reports(at(SECOND))[0].spent, 3, "and again where nobody has heard");
}

#[test]
fn a_lease_is_spent_to_its_end_and_no_longer_than_it_is_good() {
    let limits = Arc::new(Limits::default());
    limits.share(3);
    let rule = rule(Measure::Tokens, Window::Sliding(Duration::from_secs(60)), 900);
    spend(&limits, &rule, 100, 40, at(SECOND)).unwrap();
    let report = limits.reports(at(SECOND)).swap_remove(0);
    assert_eq!(report.spent, 40);
    limits.granted(&report, grant(250, 800), at(SECOND).moment);
    spend(&limits, &rule, 200, 150, at(SECOND)).unwrap();
    spend(&limits, &rule, 100, 120, at(SECOND)).unwrap();
    let refused = spend(&limits, &rule, 1, 1, at(SECOND)).unwrap_err();
    assert_eq!(refused.wait, Duration::from_millis(700));
    assert_eq!(limits.standing(chain("a", "x"), &rule, at(SECOND)).unwrap().remaining, 530);
    assert_eq!(limits.reports(at(SECOND))[0].spent, 270);
    // The lease is over: 310 of the fair 300 were used here.
    spend(&limits, &rule, 1, 1, at(3 * SECOND)).unwrap_err();
    spend(&limits, &rule, 300, 1, at(70 * SECOND)).unwrap();
}

#[test]
fn a_quota_that_is_left_is_not_told_to_be_gone() {
    let limits = Arc::new(Limits::default());
    limits.share(2);
    let rule = rule(Measure::RequestQuota, Window::Calendar(Period::Day), 100);
    spend(&limits, &rule, 1, 0, at(SECOND)).unwrap();
    let report = limits.reports(at(SECOND)).swap_remove(0);
    limits.granted(&report, grant(0, 10), at(SECOND).moment);
    let passed = (0..20).filter(|_| spend(&limits, &rule, 1, 0, at(SECOND)).is_ok()).count();
    assert!((5..=10).contains(&passed), "{passed}");
    let report = limits.reports(at(SECOND)).swap_remove(0);
    limits.granted(&report, grant(0, 0), at(SECOND).moment);
    assert!(spend(&limits, &rule, 1, 0, at(SECOND)).is_err());
}

#[test]
fn an_idle_lease_is_returned_and_forgotten() {
    let limits = Arc::new(Limits::default());
    limits.share(2);
    let rule = rate(100);
    spend(&limits, &rule, 1, 0, at(SECOND)).unwrap();
    let report = limits.reports(at(SECOND)).swap_remove(0);
    limits.granted(&report, grant(20, 80), at(SECOND).moment);
    let later = at(20 * SECOND);
    let report = limits.reports(later).swap_remove(0);
    assert_eq!((report.wanted, report.largest), (0, 0), "nothing is wanted any more");
    limits.granted(&report, grant(0, 99), later.moment);
    assert!(limits.reports(later).is_empty());
    assert_eq!(limits.shards.iter().map(|shard| shard.lock().leases.len()).sum::<usize>(), 0);
}

#[test]
fn a_strict_limit_does_what_the_server_says_and_alone_keeps_to_its_share_of_what_was_left() {
    let limits = Arc::new(Limits::default());
    limits.share(3);
    let rule = Rule { strict: true, ..rate(30) };
    let take = |verdict: Option<Verdict>, now| {
        let mut reserved = Reserved::new(Arc::clone(&limits));
        let charges = [charge(0, chain("a", "x"), &rule, 1)];
        let questions = reserved.questions(charges.into_iter(), now);
        let answers: Vec<_> = questions.into_iter().zip(verdict).collect();
        let taken = reserved.take(charges.into_iter(), &answers, now);
        reserved.settle(|_| 0, now);
        taken.is_ok()
    };
    let back = Duration::from_secs(1);
    assert!(take(Some(Verdict { given: true, left: 6, back }), at(SECOND)));
    assert!(limits.reports(at(SECOND)).is_empty(), "the server has counted it");
    assert_eq!((0..5).filter(|_| take(None, at(SECOND))).count(), 2, "a third of the six that were left");
    assert!(!take(Some(Verdict { given: false, left: 0, back }), at(SECOND)));
    assert!(!take(None, at(SECOND)));
    // Nothing was heard for a second: a third of the thirty, of which three are used.
    assert_eq!((0..20).filter(|_| take(None, at(3 * SECOND))).count(), 7);
    let report = limits.reports(at(3 * SECOND)).swap_remove(0);
    assert_eq!((report.spent, report.mine, report.wanted, report.largest), (9, 10, 0, 0));
}

#[test]
fn a_verdict_that_came_too_late_is_given_back() {
    let limits = Arc::new(Limits::default());
    limits.share(3);
    let rule = Rule { strict: true, ..rate(30) };
    let question = Reserved::new(Arc::clone(&limits))
        .questions([charge(0, chain("a", "x"), &rule, 1)].into_iter(), at(SECOND))
        .swap_remove(0);
    limits.too_late(&question);
    assert_eq!(limits.reports(at(SECOND))[0].spent, -1);
}
