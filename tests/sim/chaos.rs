//! Everything at once, at random: tiers, weights, quotas and faults by seed. The world checks every pick; at the end
//! everything is given back, and after the faults stop every backend of the best tier serves again within a bound.

use crate::region::{Quota, Region, Trouble};
use crate::seeds;
use crate::world::{Place, World};
use std::time::Duration;

/// Faults stop here, seconds.
const CALM: u64 = 20;
/// Longest ejection (120 s) with its jitter, and time to be chosen after it.
const BOUND: u64 = CALM + 132 + 60;

fn trouble(rng: &mut fastrand::Rng) -> Trouble {
    match rng.u8(0..9) {
        0 => Trouble::Refuse,
        1 => Trouble::Hang,
        2 => Trouble::Slow(2.0 + rng.f64() * 30.0),
        3 => Trouble::Unavailable(rng.f64()),
        4 => Trouble::Reset(rng.f64()),
        5 => Trouble::BreakLate(rng.f64()),
        6 => Trouble::Limited(Duration::from_millis(rng.u64(0..8_000))),
        7 => Trouble::Denied,
        _ => Trouble::ProbeFails,
    }
}

fn regions(rng: &mut fastrand::Rng) -> Vec<(Place, Region)> {
    let one = |rng: &mut fastrand::Rng| {
        let mut region = Region::of_millis(rng.u64(20..400));
        if rng.u8(0..4) == 0 {
            region.quota = Some(Quota::new(4.0 + rng.f64() * 20.0, 2.0 + rng.f64() * 20.0));
        }
        for _ in 0..rng.u8(0..4) {
            let from = rng.u64(0..CALM);
            region = region.with(from, rng.u64(from..=CALM), trouble(rng));
        }
        (Place { priority: rng.u32(1..=2), weight: rng.u32(1..=10) }, region)
    };
    (0..rng.usize(1..=5)).map(|_| one(rng)).collect()
}

#[test]
fn invariants_hold_and_every_backend_recovers() {
    seeds::each("invariants_hold", |seed| {
        let mut rng = fastrand::Rng::with_seed(seed ^ 0xC4A05);
        let regions = regions(&mut rng);
        let best = regions.iter().map(|(place, _)| place.priority).min();
        let first_tier: Vec<usize> = (0..regions.len()).filter(|i| Some(regions[*i].0.priority) == best).collect();
        let mut world = World::new(seed, regions, |pool| {
            pool.failover.stream_first_byte_timeout = Duration::from_secs(2);
            pool.selection.fail_open = seed % 3 != 0;
        });
        world.rate = 30.0;
        world.run_to(CALM);
        let mut missing = first_tier;
        for second in CALM + 1..=BOUND {
            world.run_to(second);
            let since = CALM as f64;
            missing.retain(|backend| world.ledger.attempts_on(*backend, since, second as f64) == 0);
            if missing.is_empty() {
                break;
            }
        }
        assert!(missing.is_empty(), "{missing:?} got no traffic: {:#?}", world.fleet.report(world.moment()));
        world.finish();
    });
}
