//! Overload and what follows it: quotas that run out, and the return from a total outage (no metastability).

use crate::region::{Quota, Region, Trouble};
use crate::seeds;
use crate::world::{Place, World};
use tidegate::domain::Outcome;

/// Three regions of 20 requests a second each.
fn metered(trouble: Option<(u64, u64, Trouble)>) -> Vec<(Place, Region)> {
    let place = Place { priority: 1, weight: 1 };
    let one = || {
        let mut region = Region::of_millis(100);
        region.quota = Some(Quota::new(20.0, 20.0));
        match trouble {
            Some((from, to, trouble)) => region.with(from, to, trouble),
            None => region,
        }
    };
    vec![(place, one()), (place, one()), (place, one())]
}

/// Row 9: everything answers 503 for 10 s at twice the capacity, then is healthy; clients come back as SDKs do.
#[test]
fn goodput_is_back_within_five_seconds_of_a_total_outage() {
    seeds::each("goodput_is_back", |seed| {
        let mut world = World::new(seed, metered(Some((10, 20, Trouble::Unavailable(1.0)))), |_| {});
        world.rate = 120.0;
        world.returns_max = 2;
        world.run_to(35);
        let capacity = 60.0;
        let before = world.ledger.served(5.0, 10.0) as f64 / 5.0;
        let after = world.ledger.served(25.0, 35.0) as f64 / 10.0;
        assert!(before >= 0.95 * capacity, "before: {before}/s");
        assert!(after >= 0.95 * capacity, "after: {after}/s (before: {before}/s)");
    });
}

/// Below its quota the pool serves everybody, though single regions run out again and again.
#[test]
fn nobody_sees_a_429_while_another_region_has_room() {
    seeds::each("nobody_sees_a_429", |seed| {
        let mut regions = metered(None);
        regions[0].1.quota = Some(Quota::new(5.0, 5.0));
        regions[1].1.quota = Some(Quota::new(20.0, 10.0));
        regions[2].1.quota = None;
        let mut world = World::new(seed, regions, |_| {});
        world.rate = 100.0;
        world.run_to(20);
        world.finish();
        assert!(world.ledger.ended.iter().all(|e| e.outcome == Some(Outcome::Served)));
    });
}

/// Row 7: everything throttled means one honest answer, not a storm of attempts.
#[test]
fn a_throttled_pool_is_hardly_asked() {
    seeds::each("a_throttled_pool", |seed| {
        let rest = std::time::Duration::from_secs(3);
        let mut world = World::new(seed, metered(Some((5, 35, Trouble::Limited(rest)))), |_| {});
        world.run_to(35);
        let attempts = world.ledger.attempts(6.0, 35.0);
        // At most one trial per region and rest, plus the failovers of the requests that made them.
        assert!(attempts <= 3 * (29 / 3 + 1), "{attempts} attempts in 29 s");
        assert!(world.ledger.all_throttled > 800);
    });
}
