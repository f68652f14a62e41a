//! The decisions of one request: route, select, failover.
//!
//! Budget: all three together below 5 µs, a pick among three backends below 1 µs; headroom, affinity and residency add at
//! most 2 µs.

#![allow(missing_docs, reason = "criterion's macros make undocumented functions")]
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "a bench may panic")]

use criterion::{Criterion, criterion_group, criterion_main};
use std::hint::black_box;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tidegate::config::load_text;
use tidegate::domain::{Budgets, Cost, Moment, Outcome, Told};
use tidegate::policy::affinity;
use tidegate::policy::failover::{Situation, next};
use tidegate::policy::residency::Said;
use tidegate::policy::route::{Match, find};
use tidegate::state::{Fleet, Pick, Registry, Tried, Wanted};

/// A fleet of `backends` in two tiers behind 20 routes, all measured.
fn fleet(backends: usize) -> Arc<Fleet> {
    let mut text = String::from(
        "version: 1\nlisteners:\n  - { name: public, address: \"127.0.0.1:0\" }\npools:\n  - name: chat\n    backends:\n",
    );
    for i in 0..backends {
        let priority = 1 + i / 3;
        text += &format!(
            "      - {{ name: b{i}, region: r{i}, url: \"http://192.0.2.{i}\", priority: {priority}, auth: none }}\n"
        );
    }
    text += "routes:\n";
    for i in 0..20 {
        text += &format!(
            "  - {{ name: r{i}, match: {{ host: \"h{i}.example.com\", path: \"/openai/*\", deployment: \"gpt-{i}*\" }}, pool: chat }}\n"
        );
    }
    let (snapshot, _) = load_text("bench", &text, Path::new("."), &|_| None).unwrap();
    let fleet = Registry::default().bind(Arc::new(snapshot));
    for index in 0..backends {
        let tried = (0..backends).filter(|i| *i != index).fold(Tried::NONE, Tried::with);
        if let Pick::Attempt(mut ticket) = fleet.pools[0].pick(tried, Moment::from_micros(1), 1) {
            ticket.first_byte(Moment::from_micros(100_000), true);
            let _ = ticket.finish(Outcome::Served, None, Moment::from_micros(100_001), 1);
        }
    }
    fleet
}

fn decision(c: &mut Criterion) {
    let three = fleet(3);
    let matchers: Vec<_> = three.snapshot.routes.iter().map(|route| route.matcher.clone()).collect();
    let route =
        || find(&matchers, black_box("h7.example.com"), black_box("/openai/v1/chat/completions"), Some("gpt-7o"));
    assert!(matches!(route(), Match::Route(_)));
    c.bench_function("route_of_20", |b| b.iter(route));

    let now = Moment::from_micros(200_000);
    for backends in [3, 12, 64] {
        let fleet = fleet(backends);
        let mut draw = 0_u64;
        c.bench_function(&format!("pick_of_{backends}"), |b| {
            b.iter(|| {
                draw = draw.wrapping_add(0x9E37_79B9_7F4A_7C15);
                fleet.pools[0].pick(Tried::NONE, now, draw)
            });
        });
    }

    let pool = &three.pools[0];
    let mut draw = 0_u64;
    let mut clock = 200_000;
    c.bench_function("route_pick_fail_over_pick_serve", |b| {
        b.iter(|| {
            draw = draw.wrapping_add(0x9E37_79B9_7F4A_7C15);
            clock += 1_000;
            let now = Moment::from_micros(clock);
            let _ = black_box(route());
            let Pick::Attempt(mut ticket) = pool.pick(Tried::NONE, now, draw) else {
                panic!("a backend is in service")
            };
            let tried = Tried::NONE.with(ticket.index());
            ticket.first_byte(now, false);
            let _ = ticket.finish(Outcome::ClientGone, None, now, draw);
            let situation = Situation {
                attempts: 1,
                attempts_max: 3,
                eligible_left: pool.has_eligible(&Wanted::after(tried), now),
                deadline_passed: false,
                relayed: false,
                budget: pool.budget().grants(now),
                replayable: true,
            };
            let _ = black_box(next(black_box(Outcome::ServerError), &situation));
            let Pick::Attempt(mut ticket) = pool.pick(tried, now, draw) else { panic!("another one is in service") };
            let now = now.after(Duration::from_micros(100));
            ticket.first_byte(now, true);
            let _ = ticket.accept(now, draw);
            ticket.finish(Outcome::Served, None, now, draw)
        });
    });
}

/// What headroom and affinity add to a pick; together with residency below 2 µs.
fn steered(c: &mut Criterion) {
    let now = Moment::from_micros(200_000);
    let known = fleet(3);
    let others = |index: usize| (0..3).filter(|i| *i != index).fold(Tried::NONE, Tried::with);
    let tokens = Told { limit: Some(1 << 30), remaining: Some(1 << 30), reset: Some(Duration::from_secs(60)) };
    for index in 0..3 {
        if let Pick::Attempt(ticket) = known.pools[0].pick(others(index), now, 1) {
            ticket.told(&Budgets { tokens, requests: Told::default() }, now);
        }
    }
    let mut draw = 0_u64;
    c.bench_function("pick_of_3_by_headroom", |b| {
        b.iter(|| {
            draw = draw.wrapping_add(0x9E37_79B9_7F4A_7C15);
            known.pools[0].pick_for(&black_box(Wanted { cost: Cost { tokens: 1500 }, ..Wanted::default() }), now, draw)
        });
    });

    // From the body's bytes on: the key, and the place that it has.
    let messages = vec![b'x'; 4096];
    c.bench_function("key_of_4_kib", |b| b.iter(|| affinity::hash(7, black_box(&messages))));
    for backends in [3, 64] {
        let known = if backends == 3 { Arc::clone(&known) } else { fleet(backends) };
        let mut draw = 0_u64;
        c.bench_function(&format!("pick_of_{backends}_by_headroom_and_affinity"), |b| {
            b.iter(|| {
                draw = draw.wrapping_add(0x9E37_79B9_7F4A_7C15);
                let key = Some(affinity::hash(7, black_box(&messages)));
                let wanted = Wanted { cost: Cost { tokens: 1500 }, key, ..Wanted::default() };
                known.pools[0].pick_for(&black_box(wanted), now, draw)
            });
        });
    }
}

/// Three backends in zones, of which one is outside of `eu`; not measured.
fn resident_fleet() -> Arc<Fleet> {
    let text = "version: 1
listeners: [ { name: public, address: \"127.0.0.1:0\" } ]
residency:
  mode: filter
  database: GeoLite2-City-Test.mmdb
  other_countries: unbound
  zones:
    - { name: any, data_zones: [ eu, us ], countries: [ SE ] }
    - { name: eu, data_zones: [ eu ] }
consumers: [ { name: acme, residency: eu } ]
pools:
  - name: chat
    selection: { nearest: client }
    backends:
      - { name: a, region: swedencentral, url: \"http://192.0.2.1\", kind: regional, auth: none }
      - { name: b, region: francecentral, url: \"http://192.0.2.2\", kind: data_zone_eu, auth: none }
      - { name: c, region: eastus, url: \"http://192.0.2.3\", kind: regional, auth: none }
";
    let databases = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/conf/databases");
    let (snapshot, _) = load_text("bench", text, Path::new(databases), &|_| None).unwrap();
    Registry::default().bind(Arc::new(snapshot))
}

/// What residency adds to a decision: bind and bar once, assert before each attempt. The client is looked up only where its
/// country or its nearness is asked for.
fn residency(c: &mut Criterion) {
    let fleet = resident_fleet();
    let snapshot = &fleet.snapshot;
    let rules = &snapshot.residency.as_ref().unwrap().rules;
    let client = "89.160.20.112".parse().unwrap();
    let located = snapshot.locate(Some(client));
    let said = Said { consumer: Some(1), listener: Some(0), country: located.country, ..Said::default() };
    let backend = &snapshot.pools[0].backends[1];
    c.bench_function("residency_bind_bar_assert", |b| {
        b.iter(|| {
            let zones = rules.bind(black_box(said)).unwrap();
            let barred = snapshot.pools[0].outside.of(zones);
            assert!(rules.holds(zones, &backend.region, black_box(backend.site.kind)));
            barred
        });
    });
    c.bench_function("locate_client", |b| b.iter(|| snapshot.locate(black_box(Some(client)))));

    let now = Moment::from_micros(200_000);
    let zones = rules.bind(said).unwrap();
    let barred = Tried::of(snapshot.pools[0].outside.of(zones));
    for (name, client) in [("pick_of_3_barred", None), ("pick_of_3_barred_near_client", located.spot)] {
        let wanted = Wanted { barred, client, ..Wanted::default() };
        let mut draw = 0_u64;
        c.bench_function(name, |b| {
            b.iter(|| {
                draw = draw.wrapping_add(0x9E37_79B9_7F4A_7C15);
                fleet.pools[0].pick_for(black_box(&wanted), now, draw)
            });
        });
    }
}

criterion_group!(benches, decision, steered, residency);
criterion_main!(benches);
