//! Residency: random zones, kinds, pools, clients and troubles against the real configuration, `policy` and `state`. What is
//! inside is judged anew here, from the numbers that the configuration was written from.
//!
//! Invariants: no attempt outside any zone that binds its request, whatever the need; none on a backend before it may be
//! asked again after a 429; who cannot be served inside is refused, and only who must be.

use crate::seeds;
use std::cell::Cell;
use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tidegate::config::load_text;
use tidegate::config::snapshot::Snapshot;
use tidegate::domain::{Moment, Outcome, Zones};
use tidegate::policy::failover::{Next, Situation, next};
use tidegate::policy::health::Thresholds;
use tidegate::policy::residency::{Said, Unbindable};
use tidegate::policy::screen::view::Country;
use tidegate::state::{Fleet, Pick, Registry, Tried, Wanted};

const REGIONS: [&str; 6] = ["swedencentral", "francecentral", "northeurope", "eastus", "westus", "japaneast"];
/// Members of the data zones, by index.
const DATA_ZONES: [&[usize]; 2] = [&[0, 1], &[3, 4]];
const KINDS: [&str; 4] = ["regional", "data_zone_eu", "data_zone_us", "global"];
const COUNTRIES: [&str; 5] = ["DE", "US", "JP", "CN", "ZZ"];
/// Requests in one world, one after the other.
const REQUESTS: u32 = 800;

struct Zone {
    regions: BTreeSet<usize>,
    kinds: BTreeSet<usize>,
    countries: Vec<usize>,
}

struct Backend {
    region: usize,
    kind: Option<usize>,
    priority: u32,
    weight: u32,
}

/// What a configuration was written from.
struct Plan {
    zones: Vec<Zone>,
    /// Zone of each consumer.
    consumers: Vec<Option<usize>>,
    pools: Vec<Vec<Backend>>,
    /// `refuse`, `unbound` or a zone.
    other: Result<Option<usize>, ()>,
    unknown: Result<Option<usize>, ()>,
    default: Option<usize>,
}

fn some<T>(rng: &mut fastrand::Rng, from: impl Iterator<Item = T>, share: f64) -> Vec<T> {
    from.filter(|_| rng.f64() < share).collect()
}

impl Plan {
    fn new(rng: &mut fastrand::Rng) -> Self {
        let count = rng.usize(1..=4);
        let mut free: Vec<usize> = (0..COUNTRIES.len() - 1).collect();
        let zones = (0..count).map(|_| {
            let mut regions: BTreeSet<usize> = some(rng, 0..REGIONS.len(), 0.4).into_iter().collect();
            regions.insert(rng.usize(0..REGIONS.len()));
            let mut kinds: BTreeSet<usize> = some(rng, 0..KINDS.len(), 0.5).into_iter().collect();
            kinds.insert(0);
            let countries = if free.is_empty() || rng.bool() {
                Vec::new()
            } else {
                vec![free.swap_remove(rng.usize(0..free.len()))]
            };
            Zone { regions, kinds, countries }
        });
        let zones: Vec<Zone> = zones.collect();
        let one = |rng: &mut fastrand::Rng| rng.bool().then(|| rng.usize(0..count));
        let unlisted = |rng: &mut fastrand::Rng| if rng.u8(0..4) == 0 { Err(()) } else { Ok(one(rng)) };
        let backend = |rng: &mut fastrand::Rng| Backend {
            region: rng.usize(0..REGIONS.len()),
            kind: (rng.u8(0..8) > 0).then(|| if rng.bool() { 0 } else { rng.usize(0..KINDS.len()) }),
            priority: rng.u32(1..=2),
            weight: rng.u32(1..=10),
        };
        let pools = (0..rng.usize(1..=2)).map(|_| (0..rng.usize(2..=6)).map(|_| backend(rng)).collect());
        let pools = pools.collect();
        let consumers = (0..4).map(|_| one(rng)).collect();
        let default = (rng.u8(0..4) == 0).then(|| rng.usize(0..count));
        Self { zones, consumers, pools, other: unlisted(rng), unknown: unlisted(rng), default }
    }

    fn text(&self) -> String {
        let names = |list: &mut dyn Iterator<Item = &str>| list.collect::<Vec<_>>().join(", ");
        let unlisted = |unlisted: Result<Option<usize>, ()>| match unlisted {
            Err(()) => "refuse".to_owned(),
            Ok(None) => "unbound".to_owned(),
            Ok(Some(zone)) => format!("{{ zone: z{zone} }}"),
        };
        let mut text = format!(
            "version: 1\nlisteners: [ {{ name: edge, address: \"127.0.0.1:0\" }} ]\nresidency:\n  mode: filter\n  \
             database: GeoLite2-Country-Test.mmdb\n  other_countries: {}\n  unknown_country: {}\n  data_zones: {{ eu: \
             [ swedencentral, francecentral ], us: [ eastus, westus ] }}\n",
            unlisted(self.other),
            unlisted(self.unknown),
        );
        text += &self.default.map(|zone| format!("  default: z{zone}\n")).unwrap_or_default();
        text += "  zones:\n";
        for (index, zone) in self.zones.iter().enumerate() {
            text += &format!(
                "    - {{ name: z{index}, regions: [ {} ], kinds: [ {} ], countries: [ {} ] }}\n",
                names(&mut zone.regions.iter().map(|region| REGIONS[*region])),
                names(&mut zone.kinds.iter().map(|kind| KINDS[*kind])),
                names(&mut zone.countries.iter().map(|country| COUNTRIES[*country])),
            );
        }
        text += "consumers:\n";
        for (index, zone) in self.consumers.iter().enumerate() {
            let zone = zone.map(|zone| format!(", residency: z{zone}")).unwrap_or_default();
            text += &format!("  - {{ name: c{index}{zone} }}\n");
        }
        text += "pools:\n";
        for (pool, backends) in self.pools.iter().enumerate() {
            text += &format!("  - name: p{pool}\n    backends:\n");
            for (index, Backend { region, kind, priority, weight }) in backends.iter().enumerate() {
                let kind = kind.map(|kind| format!(", kind: {}", KINDS[kind])).unwrap_or_default();
                text += &format!(
                    "      - {{ name: b{index}, region: {}, url: \"http://192.0.2.{index}:{}\", priority: {priority}, \
                     weight: {weight}{kind}, auth: none }}\n",
                    REGIONS[*region],
                    8000 + pool,
                );
            }
        }
        text += "routes:\n";
        for pool in 0..self.pools.len() {
            text += &format!("  - {{ name: r{pool}, match: {{ deployment: d{pool} }}, pool: p{pool} }}\n");
        }
        text
    }

    /// Whether everything that the backend may use is in the zone.
    fn inside(&self, zone: usize, backend: &Backend) -> bool {
        let (zone, Some(kind)) = (&self.zones[zone], backend.kind) else { return false };
        let data_zone: &[usize] = match kind {
            1 | 2 => DATA_ZONES[kind - 1],
            _ => &[],
        };
        let used = std::iter::once(&backend.region).chain(data_zone);
        zone.kinds.contains(&kind) && used.into_iter().all(|region| zone.regions.contains(region))
    }

    /// The zones that bind a request, or none where it must be refused.
    fn bound(&self, said: &[usize], country: usize) -> Option<Vec<usize>> {
        let mut zones = said.to_vec();
        if self.zones.iter().any(|zone| !zone.countries.is_empty()) {
            let listed = self.zones.iter().position(|zone| zone.countries.contains(&country));
            let unlisted = if COUNTRIES[country] == "ZZ" { self.unknown } else { self.other };
            zones.extend(listed.map_or(unlisted, |zone| Ok(Some(zone))).ok()?);
        }
        if zones.is_empty() {
            zones.extend(self.default);
        }
        Some(zones)
    }
}

/// One world: its gateway, and until when each backend has told us to stay away.
struct World<'p> {
    plan: &'p Plan,
    fleet: Arc<Fleet>,
    rng: fastrand::Rng,
    closed: Vec<Vec<u64>>,
    /// Microseconds.
    now: u64,
    attempts: u32,
    /// Requests that were bound, and got an attempt.
    bound: u32,
}

fn load(rng: &mut fastrand::Rng) -> (Plan, Snapshot) {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("conf/databases");
    for _ in 0..500 {
        let plan = Plan::new(rng);
        match load_text("sim", &plan.text(), &directory, &|_| None) {
            Ok((snapshot, _)) => return (plan, snapshot),
            Err(problems) => {
                let known =
                    |text: &str| text.contains("no backend is inside zone") || text.contains("zones list countries");
                assert!(problems.0.iter().all(|one| known(&one.message)), "{problems}\n{}", plan.text());
            }
        }
    }
    panic!("no configuration in 500 was one");
}

impl World<'_> {
    fn request(&mut self) {
        self.now += self.rng.u64(0..100_000);
        let pool = self.rng.usize(0..self.plan.pools.len());
        let consumer = self.plan.consumers[self.rng.usize(0..self.plan.consumers.len())];
        let pick = |rng: &mut fastrand::Rng, zones: usize| (rng.u8(0..4) == 0).then(|| rng.usize(0..zones));
        let listener = pick(&mut self.rng, self.plan.zones.len());
        let token = pick(&mut self.rng, self.plan.zones.len());
        let country = self.rng.usize(0..COUNTRIES.len());
        let said: Vec<usize> = consumer.into_iter().chain(listener).chain(token).collect();
        let at = Country::new(COUNTRIES[country]).unwrap();
        let rules = &self.fleet.snapshot.residency.as_ref().unwrap().rules;
        let zones = rules.bind(Said { listener, consumer, token: token.into(), country: at });
        let Some(bound) = self.plan.bound(&said, country) else {
            assert_eq!(zones, Err(Unbindable::Country));
            return;
        };
        let zones = match zones {
            Ok(zones) => zones,
            Err(why) => {
                let regions = |region: &usize| bound.iter().all(|zone| self.plan.zones[*zone].regions.contains(region));
                let kinds = |kind: &usize| bound.iter().all(|zone| self.plan.zones[*zone].kinds.contains(kind));
                let agree =
                    (0..REGIONS.len()).any(|region| regions(&region)) && (0..KINDS.len()).any(|kind| kinds(&kind));
                assert!(why == Unbindable::Conflict && !agree, "{bound:?}");
                return;
            }
        };
        let expected = bound.iter().fold(Zones::NONE, |all, zone| all.and(Zones::one(*zone)));
        assert_eq!(zones, expected);
        let barred = Tried::of(self.fleet.snapshot.pools[pool].outside.of(zones));
        let count = self.attempts;
        self.attempt((pool, &bound), Wanted { barred, ..Wanted::default() });
        self.bound += u32::from(!bound.is_empty() && self.attempts > count);
    }

    /// Attempts as the request path makes them, each judged.
    fn attempt(&mut self, (pool, bound): (usize, &[usize]), mut wanted: Wanted) {
        let arrived = Moment::from_micros(self.now);
        let failover = &self.fleet.snapshot.pools[pool].failover;
        loop {
            let at = Moment::from_micros(self.now);
            let Pick::Attempt(mut ticket) = self.fleet.pools[pool].pick_for(&wanted, at, self.rng.u64(..)) else {
                return;
            };
            let index = ticket.index();
            let backend = &self.plan.pools[pool][index];
            for zone in bound {
                assert!(
                    self.plan.inside(*zone, backend),
                    "b{index} of p{pool} is outside z{zone}\n{}",
                    self.plan.text()
                );
            }
            assert!(self.now >= self.closed[pool][index], "b{index} of p{pool} rests still\n{}", self.plan.text());
            self.attempts += 1;
            wanted.tried = wanted.tried.with(index);
            self.now += self.rng.u64(1..200_000);
            let at = Moment::from_micros(self.now);
            let (outcome, advice) = match self.rng.u8(0..10) {
                0..=3 => (Outcome::Served, None),
                4..=5 => (Outcome::ServerError, None),
                6 => (Outcome::ConnectFailed, None),
                7 => (Outcome::TimedOut, None),
                _ => (Outcome::RateLimited, Some(Duration::from_millis(self.rng.u64(1..20_000)))),
            };
            ticket.first_byte(at, outcome == Outcome::Served);
            let _ = ticket.finish(outcome, advice, at, self.rng.u64(..));
            if let Some(rest) = advice {
                self.closed[pool][index] = self.now + u64::try_from(rest.as_micros()).unwrap();
            }
            let state = &self.fleet.pools[pool];
            let situation = Situation {
                attempts: wanted.tried.count(),
                attempts_max: failover.attempts_max,
                eligible_left: state.has_eligible(&wanted, at),
                deadline_passed: at >= arrived.after(failover.deadline),
                relayed: false,
                budget: true,
                replayable: true,
            };
            if next(outcome, &situation) != Next::NextAttempt {
                return;
            }
        }
    }

    /// A region dies or comes back, as probes see it.
    fn probe(&mut self) {
        let thresholds = Thresholds { healthy_after: 1, unhealthy_after: 1 };
        for pool in 0..self.plan.pools.len() {
            let index = self.rng.usize(0..self.plan.pools[pool].len());
            let state = self.fleet.pools[pool].backend(index).unwrap();
            let _ = state.probed(self.rng.bool(), None, thresholds, Moment::from_micros(self.now));
        }
    }
}

#[test]
fn no_attempt_leaves_its_zones_and_no_rest_is_cut_short() {
    let (attempts, bound) = (Cell::new(0_u32), Cell::new(0_u32));
    seeds::each("no_attempt_leaves_its_zones", |seed| {
        let mut rng = fastrand::Rng::with_seed(seed ^ 0x2E51D);
        let (plan, snapshot) = load(&mut rng);
        let fleet = Registry::default().bind(Arc::new(snapshot));
        let closed = plan.pools.iter().map(|backends| vec![0; backends.len()]).collect();
        let mut world = World { plan: &plan, fleet, rng, closed, now: 1, attempts: 0, bound: 0 };
        for number in 0..REQUESTS {
            if number % 20 == 0 {
                world.probe();
            }
            world.request();
        }
        attempts.set(attempts.get() + world.attempts);
        bound.set(bound.get() + world.bound);
    });
    let seen = (attempts.get(), bound.get());
    assert!(seen.0 > 0 && seen.1 > 0, "nothing was tried: {seen:?}");
}
