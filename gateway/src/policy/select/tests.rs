//! Selection: the four-step funnel of Front Door (azure.md 1.2) and power of two choices.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests may panic")]

use super::*;
use proptest::prelude::{Strategy, any, prop, prop_assert, prop_assert_eq, proptest};

fn params() -> Selection {
    Selection {
        latency_band: Duration::from_millis(30),
        explore: 0.0,
        slow_start: Duration::from_secs(30),
        panic_threshold: 0.0,
        fail_open: true,
    }
}

fn shares<const N: usize>(candidates: &[Candidate; N], params: &Selection, draws: u32) -> [f64; N] {
    let mut counts = [0_u32; N];
    let mut seed = Chance::new(1);
    for _ in 0..draws {
        counts[choose(candidates, params, None, seed.number()).unwrap().index] += 1;
    }
    counts.map(|n| f64::from(n) / f64::from(draws))
}

fn with_ttfb(ms: u64) -> Candidate {
    Candidate { ttfb: Some(Duration::from_millis(ms)), ..Candidate::NEUTRAL }
}

#[test]
fn nobody_is_chosen_from_nothing() {
    assert_eq!(choose(&[], &params(), None, 5), None);
    assert_eq!(choose(&[], &params(), Some(1), 5), None);
}

#[test]
fn idle_backends_share_by_weight() {
    let pair = [Candidate { weight: 5, ..Candidate::NEUTRAL }, Candidate { weight: 8, ..Candidate::NEUTRAL }];
    let [a, b] = shares(&pair, &params(), 10_000);
    assert!((a - 5.0 / 13.0).abs() < 0.02 && (b - 8.0 / 13.0).abs() < 0.02, "{a} {b}");
}

#[test]
fn lowest_priority_number_wins_whatever_its_latency() {
    let pair = [Candidate { priority: 2, ..with_ttfb(1) }, Candidate { priority: 1, ..with_ttfb(900) }];
    assert_eq!(shares(&pair, &params(), 100), [0.0, 1.0]);
}

#[test]
fn front_doors_example_keeps_a_and_b() {
    let three = [with_ttfb(15), with_ttfb(30), with_ttfb(60)];
    assert_eq!(nearest(&three, &params()), 0b011);
}

#[test]
fn like_is_compared_with_like() {
    let rtt = |ms| Some(Duration::from_millis(ms));
    let mixed = [Candidate { rtt: rtt(10), ..with_ttfb(900) }, Candidate { rtt: rtt(200), ..Candidate::NEUTRAL }];
    assert_eq!(nearest(&mixed, &params()), 0b01, "one has no time to first byte: round trips decide");
    let far = [
        Candidate { distance_km: Some(100.0), rtt: rtt(5), ..Candidate::NEUTRAL },
        Candidate { distance_km: Some(9_000.0), ..Candidate::NEUTRAL },
    ];
    assert_eq!(nearest(&far, &params()), 0b01, "9000 km are 90 ms");
    let unknown = [with_ttfb(900), Candidate::NEUTRAL];
    assert_eq!(nearest(&unknown, &params()), 0b11);
}

#[test]
fn noise_does_not_leave_the_band() {
    let noisy = Candidate { ttfb_spread: Duration::from_millis(120), ..with_ttfb(400) };
    assert_eq!(nearest(&[with_ttfb(300), noisy], &params()), 0b11);
    assert_eq!(nearest(&[with_ttfb(300), Candidate { ttfb_spread: Duration::ZERO, ..noisy }], &params()), 0b01);
}

#[test]
fn a_loaded_or_failing_backend_loses_the_comparison() {
    for bad in [Candidate { in_flight: 20, ..Candidate::NEUTRAL }, Candidate { penalty: 5.0, ..Candidate::NEUTRAL }] {
        let [good, worse] = shares(&[Candidate { in_flight: 1, ..Candidate::NEUTRAL }, bad], &params(), 1_000);
        assert!(good > 0.999 && worse < 0.001);
    }
}

#[test]
fn slow_start_takes_a_tenth() {
    let [_, ramping] = shares(&[Candidate::NEUTRAL, Candidate { share: 0.1, ..Candidate::NEUTRAL }], &params(), 10_000);
    assert!((ramping - 0.1 / 1.1).abs() < 0.02, "{ramping}");
}

#[test]
fn exploration_samples_a_stale_member_of_the_tier_only() {
    let stale = Candidate { explorable: true, ..with_ttfb(900) };
    let other_tier = Candidate { priority: 2, explorable: true, ..Candidate::NEUTRAL };
    let [_, b, c] = shares(&[with_ttfb(100), stale, other_tier], &Selection { explore: 0.05, ..params() }, 10_000);
    assert!((b - 0.05).abs() < 0.01 && c == 0.0, "{b} {c}");
}

#[test]
fn a_key_has_its_place_among_equals_and_a_draw_has_no_say() {
    let three = [1, 2, 3].map(|seed| Candidate { seed, ..with_ttfb(100) });
    for key in 0..50 {
        let home = choose(&three, &params(), Some(key), 1).unwrap();
        assert_eq!(home.home, Some(true));
        for draw in 2..10 {
            assert_eq!(choose(&three, &params(), Some(key), draw), Some(home), "{key}");
        }
        let mut slow = three;
        slow[home.index].ttfb = Some(Duration::from_millis(900));
        assert_ne!(choose(&slow, &params(), Some(key), 1).unwrap().index, home.index, "the band goes first");
        let mut failing = three;
        failing[home.index].penalty = 10.0;
        let moved = choose(&failing, &params(), Some(key), 1).unwrap();
        assert!(moved.index != home.index && moved.home == Some(false), "{key}");
    }
}

fn candidates() -> impl Strategy<Value = Vec<Candidate>> {
    let one = (1..4_u32, 1..1000_u32, 0.1..=1.0_f32, any::<Option<u16>>(), 0..50_u32, 0.0..20.0_f32, any::<bool>());
    prop::collection::vec(one, 0..80).prop_map(|list| {
        let build = |(priority, weight, share, ms, in_flight, penalty, explorable): (_, _, _, Option<u16>, _, _, _)| {
            let ttfb = ms.map(|ms| Duration::from_millis(u64::from(ms)));
            Candidate { priority, weight, share, ttfb, in_flight, penalty, explorable, ..Candidate::NEUTRAL }
        };
        list.into_iter().map(build).collect()
    })
}

proptest! {
    #[test]
    fn the_chosen_one_is_of_the_best_tier_and_in_the_band(
        list in candidates(),
        key in any::<Option<u64>>(),
        draw in any::<u64>(),
    ) {
        let chosen = choose(&list, &params(), key, draw);
        prop_assert_eq!(chosen.is_none(), list.is_empty());
        if let Some(Choice { index, home }) = chosen {
            prop_assert_eq!(home.is_some(), key.is_some());
            let best = list.iter().take(CANDIDATES_MAX).map(|c| c.priority).min();
            prop_assert_eq!(Some(list[index].priority), best);
            prop_assert!(nearest(&list, &params()) & bit(index) != 0);
        }
    }
}
