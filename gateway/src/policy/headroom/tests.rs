#![allow(clippy::unwrap_used, reason = "tests may panic")]
use super::*;
use proptest::prelude::{ProptestConfig, any, prop_assert, proptest};

fn at(millis: u64) -> Moment {
    Moment::from_micros(millis * 1000)
}

const fn cost(tokens: u64) -> Cost {
    Cost { tokens }
}

const fn quota(tokens: Option<u64>, requests: Option<u64>) -> Quota {
    Quota { tokens, requests }
}

fn of(tokens: Option<u64>, requests: Option<u64>) -> Headroom {
    let mut headroom = Headroom::default();
    headroom.configure(quota(tokens, requests));
    headroom
}

fn tokens(limit: Option<u64>, remaining: Option<u64>, reset_s: Option<u64>) -> Budgets {
    let tokens = Told { limit, remaining, reset: reset_s.map(Duration::from_secs) };
    Budgets { tokens, ..Budgets::default() }
}

fn requests(limit: Option<u64>, remaining: Option<u64>, reset_s: Option<u64>) -> Budgets {
    let requests = Told { limit, remaining, reset: reset_s.map(Duration::from_secs) };
    Budgets { requests, ..Budgets::default() }
}

#[test]
fn a_backend_of_which_nothing_is_known_always_has_room() {
    let mut headroom = Headroom::default();
    assert!(!headroom.is_known());
    for second in 0..100 {
        assert!(headroom.has_room(cost(u64::MAX), at(second)));
        let mark = headroom.take(cost(1 << 40), at(second));
        headroom.correct(&Budgets::default(), &mark, at(second));
    }
    assert_eq!(headroom.left(at(100)), Left::default());
}

#[test]
fn a_configured_minute_is_used_up_and_begins_anew() {
    let mut headroom = of(Some(1000), None);
    assert!(headroom.has_room(cost(1000), at(5_000)));
    assert!(!headroom.has_room(cost(1001), at(5_000)), "would never fit");
    let _ = headroom.take(cost(700), at(5_000));
    assert!(headroom.has_room(cost(300), at(20_000)));
    assert!(!headroom.has_room(cost(301), at(64_999)));
    assert!(headroom.has_room(cost(1000), at(65_000)), "a minute after the first attempt");
    let _ = headroom.take(cost(400), at(200_000));
    assert_eq!(headroom.left(at(244_999)).tokens, Some(600));
    assert_eq!(headroom.left(at(245_000)).tokens, Some(1000), "minutes keep their beat through silence");
}

#[test]
fn a_header_corrects_by_what_was_started_since() {
    let mut headroom = of(Some(1000), None);
    let first = headroom.take(cost(100), at(0));
    let _ = headroom.take(cost(50), at(10));
    let _ = headroom.take(cost(50), at(20));
    assert_eq!(headroom.left(at(20)).tokens, Some(800));
    headroom.correct(&tokens(Some(1000), Some(400), None), &first, at(30));
    assert_eq!(headroom.left(at(30)).tokens, Some(300), "somebody else has taken 500");
}

#[test]
fn limits_are_learned_where_none_is_configured() {
    let mut headroom = Headroom::default();
    let mark = headroom.take(cost(100), at(0));
    headroom.correct(&tokens(Some(1000), Some(900), Some(40)), &mark, at(100));
    assert!(headroom.is_known());
    assert_eq!((headroom.left(at(100)).tokens, headroom.left(at(100)).tokens_limit), (Some(900), Some(1000)));
    assert!(!headroom.has_room(cost(901), at(40_099)));
    assert!(headroom.has_room(cost(1000), at(40_100)), "begins anew when it was told to");
    assert_eq!(headroom.left(at(300_100)).tokens, None, "what was told long ago is forgotten");
}

#[test]
fn a_reset_is_where_all_that_told_of_it_agree() {
    let mut headroom = of(Some(1000), None);
    // The minute begins at 40.3 s; what is told is rounded up.
    for (started, now, reset) in [(0, 200, 41), (5_000, 5_300, 36), (10_000, 10_100, 31), (30_350, 30_400, 10)] {
        let mark = headroom.take(cost(10), at(started));
        headroom.correct(&tokens(None, Some(900), Some(reset)), &mark, at(now));
    }
    assert_eq!(headroom.left(at(40_299)).tokens, Some(900));
    assert_eq!(headroom.left(at(40_400)).tokens, Some(1000));
    // Told at admission and answered half a minute later: the reset is where it was.
    let slow = headroom.take(cost(10), at(45_000));
    headroom.correct(&tokens(None, Some(100), Some(56)), &slow, at(75_000));
    assert_eq!(headroom.left(at(100_399)).tokens, Some(100));
    assert_eq!(headroom.left(at(100_400)).tokens, Some(1000));
}

#[test]
fn what_is_told_of_a_minute_that_is_over_says_nothing() {
    let mut headroom = of(Some(1000), None);
    let old = headroom.take(cost(1000), at(1_000));
    assert_eq!(headroom.left(at(61_000)).tokens, Some(1000));
    let _ = headroom.take(cost(200), at(61_500));
    headroom.correct(&tokens(Some(1000), Some(0), Some(1)), &old, at(62_000));
    assert_eq!(headroom.left(at(62_000)).tokens, Some(800));
    headroom.give_back(&old);
    assert_eq!(headroom.left(at(62_000)).tokens, Some(800));
}

#[test]
fn what_was_never_sent_is_given_back() {
    let mut headroom = of(Some(1000), None);
    let first = headroom.take(cost(100), at(0));
    let lost = headroom.take(cost(300), at(1));
    headroom.give_back(&lost);
    assert_eq!(headroom.left(at(2)).tokens, Some(900));
    headroom.correct(&tokens(Some(1000), Some(900), None), &first, at(3));
    assert_eq!(headroom.left(at(3)).tokens, Some(900), "and not taken off again");
}

#[test]
fn a_limit_below_the_configured_one_is_a_cut() {
    let mut headroom = of(Some(1000), None);
    let mark = headroom.take(cost(100), at(0));
    headroom.correct(&tokens(Some(400), Some(300), None), &mark, at(10));
    let left = headroom.left(at(10));
    assert_eq!((left.cut, left.tokens, left.tokens_limit), (true, Some(300), Some(400)));
    let mark = headroom.take(cost(100), at(70_000));
    headroom.correct(&tokens(Some(1000), Some(900), None), &mark, at(70_010));
    assert_eq!((headroom.left(at(70_010)).cut, headroom.left(at(70_010)).tokens), (false, Some(900)));
}

#[test]
fn a_limit_above_the_configured_one_keeps_to_the_configured_one() {
    let mut headroom = of(Some(1000), None);
    let mark = headroom.take(cost(100), at(0));
    headroom.correct(&tokens(Some(5000), Some(4700), None), &mark, at(10));
    let left = headroom.left(at(10));
    assert_eq!((left.cut, left.tokens, left.tokens_limit), (false, Some(700), Some(1000)));
}

#[test]
fn numbers_that_cannot_be_are_ignored() {
    let mut headroom = of(Some(1000), Some(60));
    let mark = headroom.take(cost(100), at(0));
    let before = headroom.left(at(10));
    for told in [
        tokens(Some(0), Some(0), Some(5)),
        tokens(Some(500), Some(501), Some(5)),
        requests(Some(0), Some(0), Some(5)),
        requests(Some(10), Some(11), Some(5)),
    ] {
        headroom.correct(&told, &mark, at(10));
        assert_eq!(headroom.left(at(10)), before, "{told:?}");
    }
    headroom.correct(&tokens(None, Some(0), Some(86_400)), &mark, at(10));
    assert!(headroom.has_room(cost(1000), at(60_000)), "no minute lasts a day");
    let mark = headroom.take(cost(100), at(61_000));
    headroom.correct(&tokens(Some(1), Some(0), None), &mark, at(61_010));
    assert!(!headroom.has_room(cost(2), at(200_000)));
    assert!(headroom.has_room(cost(1000), at(361_010)), "a wrong limit is not believed for ever");
}

#[test]
fn requests_are_counted_over_ten_seconds() {
    let mut headroom = of(None, Some(60));
    for n in 0..10 {
        assert!(headroom.has_room(cost(0), at(1_000 + n)), "10 in ten seconds");
        let _ = headroom.take(cost(0), at(1_000 + n));
    }
    assert!(!headroom.has_room(cost(0), at(1_010)));
    assert!(!headroom.has_room(cost(0), at(11_000)), "wherever Azure's window begins");
    assert!(headroom.has_room(cost(0), at(12_500)));
}

#[test]
fn from_600_a_minute_on_each_second_is_counted() {
    let (mut large, mut small) = (of(None, Some(600)), of(None, Some(599)));
    for n in 0..10 {
        let _ = (large.take(cost(0), at(1_000 + n)), small.take(cost(0), at(1_000 + n)));
    }
    assert!(!large.has_room(cost(0), at(1_500)));
    assert!(small.has_room(cost(0), at(1_500)));
    assert!(large.has_room(cost(0), at(2_300)));
}

#[test]
fn told_requests_hold_until_their_reset() {
    let mut headroom = Headroom::default();
    let mark = headroom.take(cost(0), at(0));
    let _ = headroom.take(cost(0), at(1));
    headroom.correct(&requests(None, Some(2), Some(4)), &mark, at(100));
    assert_eq!(headroom.left(at(100)).requests, Some(1));
    let _ = headroom.take(cost(0), at(200));
    assert!(!headroom.has_room(cost(0), at(3_999)));
    assert!(headroom.has_room(cost(0), at(4_000)));
    headroom.correct(&requests(None, Some(0), Some(60)), &mark, at(10_001));
    assert!(headroom.has_room(cost(0), at(10_001)), "an answer that took long tells of the past");
}

#[test]
fn a_reload_changes_the_limit_and_keeps_what_was_told() {
    let mut headroom = of(Some(1000), None);
    let _ = headroom.take(cost(1000), at(0));
    headroom.configure(quota(Some(1000), None));
    assert!(!headroom.has_room(cost(1), at(1)), "the same quota is no new one");
    headroom.configure(quota(Some(3000), None));
    assert_eq!(headroom.left(at(1)).tokens, Some(3000));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]
    /// Whatever is told, nothing panics, nothing is left beyond the configured limit, and after five quiet minutes
    /// everything is as configured.
    #[test]
    fn any_story_of_headers_ends_well(
        steps in proptest::collection::vec(
            (0_u64..90_000, any::<u32>(), any::<Option<u64>>(), any::<Option<u64>>(), any::<Option<u64>>()), 1..40
        ),
        limit in 1_u64..1_000_000,
    ) {
        let mut headroom = of(Some(limit), Some(limit));
        let mut now = 0;
        let mut marks = Vec::new();
        for (wait, tokens, told, remaining, reset) in steps {
            now += wait;
            marks.push(headroom.take(cost(tokens.into()), at(now)));
            let reset = reset.map(Duration::from_micros);
            let told = Told { limit: told, remaining, reset };
            let mark = marks.swap_remove(usize::try_from(tokens).unwrap() % marks.len());
            headroom.correct(&Budgets { tokens: told, requests: told }, &mark, at(now));
            let left = headroom.left(at(now));
            prop_assert!(left.tokens.unwrap() <= limit && left.requests.unwrap() <= limit.div_ceil(6));
        }
        let left = headroom.left(at(now + 300_001));
        prop_assert!(left.tokens == Some(limit) && !left.cut);
    }
}
