//! The arithmetic against models that remember everything.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "tests may panic")]

use super::bucket::Bucket;
use super::calendar::{Calendar, Period};
use super::sliding::{PARTS, Sliding};
use super::*;
use proptest::prelude::*;

const SECOND: u64 = 1_000_000;

fn at(micros: u64) -> Now {
    Now { moment: Moment::from_micros(micros), unix: micros / SECOND }
}

fn sliding(max: u64, per: u64) -> Rule {
    Rule { measure: Measure::Requests, window: Window::Sliding(Duration::from_micros(per)), max, strict: false }
}

#[test]
fn a_window_is_exact_at_its_edges() {
    // A 31st of 31 s is a second: a burst at the beginning of one counts to the end of the 31st second after it.
    let rule = sliding(10, 31 * SECOND);
    let mut bucket = Bucket::new(rule.window);
    let begin = 100 * SECOND;
    for _ in 0..10 {
        bucket.take(&rule, 1, at(begin)).unwrap();
    }
    let wait = bucket.take(&rule, 1, at(begin)).unwrap_err();
    assert_eq!(wait, Duration::from_secs(32));
    assert_eq!(bucket.take(&rule, 1, at(begin + 31 * SECOND)).unwrap_err(), Duration::from_secs(1));
    assert_eq!(bucket.take(&rule, 1, at(begin + 32 * SECOND - 1)).unwrap_err(), Duration::from_micros(1));
    bucket.take(&rule, 10, at(begin + 32 * SECOND)).unwrap();
}

#[test]
fn a_ceiling_of_zero_gives_nothing() {
    let rule = sliding(0, SECOND);
    let mut bucket = Bucket::new(rule.window);
    assert_eq!(bucket.take(&rule, 1, at(0)), Err(Duration::from_secs(1)));
    assert_eq!(bucket.take(&rule, 0, at(0)), Err(Duration::from_secs(1)));
    for window in [Window::Calendar(Period::Day), Window::Held] {
        let rule = Rule { measure: Measure::Concurrent, window, max: 0, strict: false };
        assert!(Bucket::new(window).take(&rule, 1, at(5)).is_err());
    }
}

#[test]
fn more_than_the_ceiling_takes_the_whole_of_it() {
    let rule = sliding(100, SECOND);
    let mut bucket = Bucket::new(rule.window);
    let (taken, _) = bucket.take(&rule, 1000, at(0)).unwrap();
    assert_eq!((taken, bucket.standing(&rule, at(0)).remaining), (100, 0));
}

#[test]
fn what_was_used_above_the_ceiling_is_owed() {
    let rule = sliding(100, SECOND);
    let mut bucket = Bucket::new(rule.window);
    bucket.take(&rule, 50, at(0)).unwrap();
    bucket.add(&rule, 150, at(0));
    let standing = bucket.standing(&rule, at(0));
    assert_eq!((standing.remaining, standing.owed), (0, 100));
    assert!(bucket.take(&rule, 1, at(SECOND)).is_err());
    let later = at(SECOND + SECOND / u64::from(PARTS) + 100);
    assert_eq!(bucket.standing(&rule, later).remaining, 100);
}

#[test]
fn a_reading_of_the_clock_that_comes_late_changes_nothing() {
    let rule = sliding(10, SECOND);
    let mut bucket = Bucket::new(rule.window);
    bucket.take(&rule, 6, at(5 * SECOND)).unwrap();
    // Another thread has read its clock before.
    bucket.take(&rule, 4, at(5 * SECOND - SECOND / 2)).unwrap();
    let wait = bucket.take(&rule, 1, at(5 * SECOND - SECOND / 2)).unwrap_err();
    assert!(bucket.take(&rule, 1, at(5 * SECOND - SECOND / 2 + u64::try_from(wait.as_micros()).unwrap())).is_ok());
}

proptest! {
    /// No stretch as long as the window holds more than the ceiling; what is refused would make a stretch a 31st longer
    /// hold more; the told time is the first at which it passes.
    #[test]
    fn windows_hold_the_ceiling(
        max in 1_u64..50,
        per in 40_u64..100_000,
        steps in prop::collection::vec((0_u64..5_000, 1_u64..8), 1..200),
    ) {
        let rule = sliding(max, per);
        let mut bucket = Bucket::new(rule.window);
        let mut log: Vec<(u64, u64)> = Vec::new();
        let mut now = 1_000_000;
        let slack = per.div_ceil(u64::from(PARTS)) * u64::from(PARTS + 1);
        let over = |log: &[(u64, u64)], from: u64| log.iter().filter(|(at, _)| *at > from).map(|(_, n)| n).sum::<u64>();
        for (pause, amount) in steps {
            now += pause;
            let asked = amount.min(max);
            match bucket.take(&rule, amount, at(now)) {
                Ok((taken, _)) => {
                    prop_assert_eq!(taken, asked);
                    log.push((now, taken));
                    prop_assert!(over(&log, now - per) <= max);
                }
                Err(wait) => {
                    prop_assert!(over(&log, now.saturating_sub(slack + 1)) + asked > max);
                    let wait = u64::try_from(wait.as_micros()).unwrap();
                    prop_assert!(wait > 0 && wait <= slack);
                    let (mut before, mut then) = (bucket, bucket);
                    prop_assert!(before.take(&rule, amount, at(now + wait - 1)).is_err());
                    prop_assert!(then.take(&rule, amount, at(now + wait)).is_ok());
                }
            }
        }
    }

    /// Whatever is reserved, settled and released in whatever order: while it counts, the bucket holds exactly what is
    /// outstanding and what was used; nothing leaks.
    #[test]
    fn nothing_leaks(
        steps in prop::collection::vec((0_u8..3, 0_u64..40, 0_u64..80), 1..200),
        window in prop::sample::select(vec![
            Window::Sliding(Duration::from_secs(3600)), Window::Calendar(Period::Day), Window::Held,
        ]),
    ) {
        let rule = Rule { measure: Measure::Tokens, window, max: 100, strict: false };
        let mut bucket = Bucket::new(window);
        let mut open: Vec<(u64, u32)> = Vec::new();
        let mut used = 0;
        for (index, (what, amount, actual)) in steps.into_iter().enumerate() {
            let now = at(SECOND * 90_000 + 1000 * index as u64);
            let outstanding: u64 = open.iter().map(|(taken, _)| taken).sum();
            match (what, open.is_empty()) {
                (0, _) | (_, true) => match bucket.take(&rule, amount, now) {
                    Ok(taken) => {
                        open.push(taken);
                        prop_assert!(used + outstanding + amount <= 100);
                    }
                    Err(_) => prop_assert!(used + outstanding + amount > 100),
                },
                (1, _) => {
                    let (taken, mark) = open.remove(index % open.len());
                    bucket.take_back(taken, mark);
                    bucket.add(&rule, actual, now);
                    used += actual;
                }
                _ => {
                    let (taken, mark) = open.remove(index % open.len());
                    bucket.take_back(taken, mark);
                }
            }
            let outstanding: u64 = open.iter().map(|(taken, _)| taken).sum();
            prop_assert_eq!(bucket.used(&rule, now), used + outstanding);
            let standing = bucket.standing(&rule, now);
            prop_assert_eq!(standing.remaining, 100_u64.saturating_sub(used + outstanding));
            prop_assert_eq!(standing.owed, (used + outstanding).saturating_sub(100));
        }
    }

    /// A clock that goes back and forth by less than a period gives one quota per period.
    #[test]
    fn a_clock_that_jumps_back_gives_no_second_quota(steps in prop::collection::vec(0_u64..7200, 1..100)) {
        let mut bucket = Calendar::default();
        let mut by_period = std::collections::BTreeMap::<u32, u64>::new();
        let (begin, mut highest) = (1_000_000 * 3600, 0);
        for offset in steps {
            let now = Now { moment: Moment::ZERO, unix: begin + offset };
            highest = highest.max(Period::Hour.number(now.unix));
            if bucket.used(Period::Hour, now) < 5 {
                bucket.add(1, Period::Hour, now);
                *by_period.entry(highest).or_default() += 1;
            }
        }
        prop_assert!(by_period.values().all(|count| *count <= 5), "{by_period:?}");
    }
}

#[test]
fn a_clock_that_was_years_ahead_keeps_what_was_used_and_ends_with_the_period() {
    let mut bucket = Calendar::default();
    let now = |unix| Now { moment: Moment::ZERO, unix };
    let day = 86_400;
    bucket.add(5, Period::Day, now(20_000 * day));
    bucket.add(3, Period::Day, now(30_000 * day));
    assert_eq!(bucket.used(Period::Day, now(20_000 * day + 60)), 3);
    assert_eq!(bucket.until_end(Period::Day, now(20_000 * day + 60)), Duration::from_secs(day - 60));
    assert_eq!(bucket.used(Period::Day, now(20_001 * day)), 0);
}

#[test]
fn periods_are_the_calendars() {
    // 2026-11-21T10:50:44Z, a Saturday.
    let unix = 1_795_258_244;
    for (period, end) in [
        (Period::Hour, 1_795_258_800),  // 11:00
        (Period::Day, 1_795_305_600),   // Sunday
        (Period::Week, 1_795_392_000),  // Monday, 23 November
        (Period::Month, 1_796_083_200), // 1 December
    ] {
        assert_eq!(period.end(period.number(unix)), end, "{}", period.label());
        assert_eq!(period.number(end), period.number(unix) + 1);
        assert_eq!(period.number(end - 1), period.number(unix));
    }
    // Every month of a century, leap years included.
    let mut end = 0;
    for month in 0..1200 {
        let next = Period::Month.end(month);
        assert!([28, 29, 30, 31].contains(&((next - end) / 86_400)), "{month}");
        assert_eq!((Period::Month.number(end), Period::Month.number(next - 1)), (month, month));
        end = next;
    }
}

#[test]
fn tokens_count_by_kind() {
    let weights = Weights { input: 1000, output: 4000, cached: 100, reasoning: 2500 };
    let usage = Usage { prompt: 100, completion: 50, cached: 40, reasoning: 10 };
    assert_eq!(weights.of_usage(usage), 60 + 4 + 160 + 25);
    assert_eq!(weights.of_estimate(100, 50), 100 + 200);
    assert_eq!(Weights::default().of_usage(usage), 150);
    let absurd = Usage { prompt: u64::MAX, completion: u64::MAX, cached: u64::MAX, reasoning: 0 };
    assert!(Weights::default().of_usage(absurd) > TOKENS_BELIEVED_MAX);
}

#[test]
fn what_has_slid_out_is_forgotten() {
    let mut window = Sliding::default();
    let per = Duration::from_secs(60);
    window.add(5, per, at(SECOND));
    assert!(!window.is_over(at(60 * SECOND)) && window.is_over(at(66 * SECOND)));
    assert!(Sliding::default().is_over(at(SECOND)));
    assert!(size_of::<Bucket>() <= 144, "{}", size_of::<Bucket>());
}
