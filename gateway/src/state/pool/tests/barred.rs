//! Backends that a request must never use, and the one that it goes to where it can.

use super::*;

fn wanted(barred: Tried) -> Wanted {
    Wanted { barred, ..Wanted::default() }
}

fn index(pick: &Pick) -> Option<usize> {
    match pick {
        Pick::Attempt(ticket) => Some(ticket.index()),
        Pick::AllThrottled { .. } | Pick::None { .. } => None,
    }
}

#[test]
fn neither_need_nor_panic_opens_a_barred_backend() {
    let fleet = fleet(&Registry::default(), &[1, 1, 2]);
    let pool = &fleet.pools[0];
    let only_b = wanted(Tried::NONE.with(0).with(2));
    for now in 0..50 {
        assert_eq!(index(&pool.pick_for(&only_b, at(now), now)), Some(1));
    }
    fail(pool, 1, 60);
    for now in 61..100 {
        assert_eq!(index(&pool.pick_for(&only_b, at(now), now)), Some(1), "in need: the one that it may use");
    }
    assert!(pool.has_eligible(&only_b, at(100)));
    let nobody = wanted(Tried::NONE.with(0).with(1).with(2));
    assert!(matches!(pool.pick_for(&nobody, at(100), 1), Pick::None { soonest: None }));
    assert!(!pool.has_eligible(&nobody, at(100)));
}

#[test]
fn the_soonest_time_is_that_of_the_backends_that_are_not_barred() {
    let fleet = fleet(&Registry::default(), &[1, 2]);
    let pool = &fleet.pools[0];
    assert_eq!(throttle(pool, 0, 5 * SECOND), 0);
    assert_eq!(throttle(pool, 0, 3 * SECOND), 1);
    let only_a = wanted(Tried::NONE.with(1));
    assert!(matches!(pool.pick_for(&only_a, at(10), 1), Pick::AllThrottled { soonest } if soonest == at(5_000)));
    assert_eq!(pool.soonest(only_a.barred, at(10)), Some(at(5_000)));
    assert_eq!(pool.soonest(Tried::NONE, at(10)), Some(at(3_000)));
}

#[test]
fn the_preferred_backend_is_taken_in_the_best_tier_and_only_there() {
    let fleet = fleet(&Registry::default(), &[1, 1, 2]);
    let pool = &fleet.pools[0];
    let prefers = |index| Wanted { preferred: Some(index), ..Wanted::default() };
    for now in 0..50 {
        assert_eq!(index(&pool.pick_for(&prefers(1), at(now), now)), Some(1));
        assert_ne!(index(&pool.pick_for(&prefers(2), at(now), now)), Some(2), "of a worse tier");
        let tried = Wanted { tried: Tried::NONE.with(1), ..prefers(1) };
        assert_eq!(index(&pool.pick_for(&tried, at(now), now)), Some(0), "tried already");
        let barred = Wanted { barred: Tried::NONE.with(1), ..prefers(1) };
        assert_eq!(index(&pool.pick_for(&barred, at(now), now)), Some(0), "barred");
    }
}
