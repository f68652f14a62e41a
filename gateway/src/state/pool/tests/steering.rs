//! What steers among backends that all could serve: a key's home, and a region that is short.

use super::*;
use crate::domain::{Budgets, Throttle, Told};
use crate::policy::throttle::Rests;

pub(super) const RESTS: Rests = Rests {
    unknown: SECOND,
    max: Duration::from_secs(60),
    call_rate: SECOND,
    day_quota: SECOND,
    capacity_region: Duration::from_secs(5),
};

fn take(pool: &PoolState, wanted: &Wanted, now: u64) -> Ticket {
    match pool.pick_for(wanted, at(now), now ^ 0x5eed) {
        Pick::Attempt(ticket) => ticket,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_key_has_a_home_that_neither_room_nor_rest_nor_tier_give_way_to() {
    let fleet = fleet(&Registry::default(), &[1, 1, 2]);
    let pool = &fleet.pools[0];
    for number in 0..20 {
        let wanted = Wanted { key: Some(number), ..Wanted::default() };
        let home = take(pool, &wanted, number);
        assert_eq!(home.home(), Some(true));
        let home = home.index();
        assert!(home < 2, "the best tier");
        for now in 0..20 {
            assert_eq!(take(pool, &wanted, now).index(), home);
        }
        let tried = Wanted { tried: Tried::NONE.with(home), ..wanted };
        assert_eq!(take(pool, &tried, 1).index(), 1 - home);
        let barred = Wanted { barred: Tried::NONE.with(home), ..wanted };
        assert_eq!(take(pool, &barred, 1).index(), 1 - home);
    }
    let full = Told { limit: Some(1000), remaining: Some(0), reset: Some(60 * SECOND) };
    let wanted = Wanted { key: Some(3), cost: Cost { tokens: 10 }, ..Wanted::default() };
    let ticket = take(pool, &wanted, 100);
    ticket.told(&Budgets { tokens: full, requests: Told::default() }, at(101));
    assert_eq!(take(pool, &wanted, 102).index(), 1 - ticket.index(), "its home has no room");
}

#[test]
fn others_in_a_region_that_is_short_are_taken_last_for_a_while() {
    let elsewhere = Backend { region: Region::new("uksouth").unwrap(), ..backend("c", 3) };
    let registry = Registry::default();
    let fleet = registry.bind(snapshot(pool(vec![backend("a", 1), backend("b", 2), elsewhere])));
    let pool = &fleet.pools[0];
    let mut ticket = attempt(pool, Tried::NONE, 0);
    assert_eq!(ticket.index(), 0);
    ticket.throttled(Throttle::Capacity);
    ticket.region_is_short(at(0));
    let _ = ticket.finish(Outcome::RateLimited, None, at(0), 1);
    assert_eq!(attempt(pool, Tried::NONE, 1).index(), 2);
    assert_eq!(attempt(pool, Tried::NONE.with(2), 1).index(), 1, "nobody is refused for it");
    assert_eq!(attempt(pool, Tried::NONE, 4_999).index(), 0, "the one that was asked has its own rest");
    assert_eq!(attempt(pool, Tried::NONE.with(0), 4_999).index(), 2);
    assert_eq!(attempt(pool, Tried::NONE.with(0), 5_000).index(), 1);
}

#[test]
fn a_changed_backend_starts_anew_and_a_changed_credential_is_given_a_chance() {
    let registry = Registry::default();
    let denied = |fleet: &Fleet| {
        let mut ticket = attempt(&fleet.pools[0], Tried::NONE, 0);
        let _ = ticket.finish(Outcome::BackendDenied, None, at(0), 1);
    };
    let mut one = backend("a", 1);
    let first = registry.bind(snapshot(pool(vec![one.clone()])));
    denied(&first);
    assert_eq!(registry.bind(snapshot(pool(vec![one.clone()]))).pools[0].eligible_count(at(1)), 0);
    one.auth = Auth::ApiKey(HeaderValue::from_static("new"));
    let second = registry.bind(snapshot(pool(vec![one.clone()])));
    assert_eq!(second.pools[0].eligible_count(at(1)), 1);
    denied(&second);
    one.url.host = "192.0.2.2".into();
    assert_eq!(registry.bind(snapshot(pool(vec![one]))).pools[0].eligible_count(at(1)), 1);
}
