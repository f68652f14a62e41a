//! Hedges: which backend takes one, and how many there are.

use super::*;
use crate::policy::hedge::Hedge;
use crate::state::Unhedged;

const HEDGE: Hedge = Hedge { budget: 0.02, delay_min: Duration::from_millis(100) };

fn deposit(pool: &PoolState, times: u32) {
    for _ in 0..times {
        assert_eq!(pool.hedging().deposit(&HEDGE, true), None, "no time is known");
    }
}

fn hedge(pool: &PoolState, tried: Tried, now: u64) -> Result<usize, Unhedged> {
    pool.hedging().open(&Wanted::after(tried), at(now), now).map(|mut ticket| {
        let _ = ticket.finish(Outcome::Outraced, None, at(now), 1);
        ticket.index()
    })
}

#[test]
fn a_hedge_goes_to_another_backend_in_service_or_nowhere() {
    let fleet = fleet(&Registry::default(), &[1, 2, 3]);
    let pool = &fleet.pools[0];
    deposit(pool, 500);
    let first = Tried::NONE.with(0);
    assert_eq!(hedge(pool, first, 1), Ok(1));
    fail(pool, 1, 2);
    assert_eq!(hedge(pool, first, 3), Ok(2), "the other one rests");
    assert_eq!(hedge(pool, first.with(2), 4), Err(Unhedged::NoBackend));
    let barred = Wanted { barred: Tried::NONE.with(2), ..Wanted::after(first) };
    assert_eq!(pool.hedging().open(&barred, at(5), 5).err(), Some(Unhedged::NoBackend));
}

#[test]
fn only_hedges_that_are_made_cost_their_share() {
    let fleet = fleet(&Registry::default(), &[1, 2]);
    let pool = &fleet.pools[0];
    let first = Tried::NONE.with(0);
    assert_eq!(hedge(pool, first, 1), Err(Unhedged::OverBudget), "no request has paid in");
    deposit(pool, 50);
    assert_eq!(hedge(pool, first.with(1), 2), Err(Unhedged::NoBackend));
    assert_eq!(hedge(pool, first, 3), Ok(1));
    assert_eq!(hedge(pool, first, 4), Err(Unhedged::OverBudget));
}

#[test]
fn streams_and_whole_answers_have_a_time_each_and_neither_is_below_the_least() {
    let fleet = fleet(&Registry::default(), &[1, 2]);
    let pool = &fleet.pools[0];
    (0..60).for_each(|_| pool.hedging().observe(true, Duration::from_millis(3), at(1)));
    assert_eq!(pool.hedging().deposit(&HEDGE, false), None);
    assert_eq!(pool.hedging().deposit(&HEDGE, true), Some(HEDGE.delay_min));
    (0..60).for_each(|_| pool.hedging().observe(false, SECOND, at(1)));
    let whole = pool.hedging().deposit(&HEDGE, false).unwrap();
    assert!(whole >= SECOND && whole < SECOND + SECOND / 8, "{whole:?}");
}
