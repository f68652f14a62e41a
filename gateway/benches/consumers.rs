//! Whom a request comes from, and whether its usage limits let it in: among 100 consumers with two keys each, each of which has three
//! limits (requests a minute, tokens a minute, concurrency and a quota) in use.
//!
//! Budgets of authenticate and admit together: 3 µs by key, 5 µs by a token that was verified a moment ago. The estimate of the
//! prompt is a bench of its own kind, and no part of this.

#![allow(missing_docs, reason = "criterion's macros make undocumented functions")]
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a bench may panic")]

use criterion::{Criterion, criterion_group, criterion_main};
use serde_json::Value;
use std::fmt::Write;
use std::hint::black_box;
use std::path::Path;
use std::sync::Arc;
use tidegate::config::load_text;
use tidegate::config::snapshot::{Access, KeyText};
use tidegate::domain::{ApiKey, KeyHash, Moment, make_key};
use tidegate::policy::limit::{self, Limit, Measure, Part};
use tidegate::policy::token::KeySet;
use tidegate::state::{Chain, ChainKey, Charge, Fleet, Now, Registry, Reserved};

/// When the tokens of the vectors are in force.
const NOW: Now = Now { moment: Moment::from_micros(2_000_000), unix: 1_800_000_100 };
const LIMITS: [&str; 3] = [
    "rate, by: [ consumer ], requests: { max: 4000000000, per: 1m }",
    "spend, by: [ consumer, deployment ], tokens: { max: 4000000000, per: 1m }",
    "width, by: [ consumer ], concurrent: { requests: 10000 }, quota: { requests: 1000000000000000, per: day }",
];

fn key(number: u8) -> String {
    let steps = std::iter::successors(Some(u64::from(number)), |state| {
        Some(state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407))
    });
    make_key(&steps.skip(1).take(256).map(|state| state.to_be_bytes()[0]).collect::<Vec<_>>()).unwrap()
}

fn fleet(vectors: &Value) -> Arc<Fleet> {
    let mut text = String::from(
        "version: 1\nlisteners:\n  - { name: public, address: \"127.0.0.1:0\" }\npools:\n  - name: chat\n    backends:\n      \
         - { name: b, region: r, url: \"http://192.0.2.1\", auth: none }\nusage_limits:\n",
    );
    for limit in LIMITS {
        let _ = writeln!(text, "  - {{ name: {limit} }}");
    }
    text += "consumers:\n";
    for number in 0..100 {
        let (own, foreign) = (key(number), format!("{number:032}"));
        let id = ApiKey::parse(&own).unwrap().id;
        let (own, foreign) = (KeyHash::of(&own), KeyHash::of(&foreign));
        let keys = format!("{{ hash: \"{own}\", id: {id} }}, {{ hash: \"{foreign}\" }}");
        let _ = writeln!(text, "  - {{ name: c{number}, keys: [ {keys} ], limits: [ rate, spend, width ] }}");
    }
    let map: String = (0..100).map(|index| format!("app-{index}: c{index}, ")).collect();
    let _ = writeln!(
        text,
        "authentication:\n  issuers:\n    - name: id\n      issuers: [ \"https://id.example/\" ]\n      audiences: [ \"api://tidegate\" ]\n\
         \x20     jwks: {{ url: \"https://id.example/keys\" }}\n      require: [ {{ claim: scp, any: [ chat.read ] }} ]\n\
         \x20     consumer: {{ claim: azp, map: {{ {map} }} }}\n      claims: [ azp, tid ]"
    );
    let (snapshot, _) = load_text("bench", &text, Path::new("."), &|_| None).unwrap();
    let fleet = Registry::default().bind(Arc::new(snapshot));
    let keys = serde_json::json!({"keys": vectors["keys"]}).to_string();
    fleet.issuers[0].publish(&Arc::new(KeySet::read(keys.as_bytes()).unwrap()), NOW.moment);
    fleet
}

/// The name of a limit's buckets, as the request path makes it.
fn chain(limit: &Limit, consumer: &str, deployment: &str) -> ChainKey {
    let mut chain = Chain::new(limit.name.as_str());
    for part in &limit.by {
        let value = if *part == Part::Deployment { deployment } else { consumer };
        chain.push(part, Some(value.as_bytes()));
    }
    chain.end()
}

/// Station 6 for this consumer: the names of its buckets, what is taken from them, and how they stand.
fn admit(fleet: &Fleet, access: &Access, consumer: usize) -> Reserved {
    let now = limit::Now { moment: NOW.moment, unix: NOW.unix };
    let (consumer, list) = (&access.consumers[consumer], &fleet.snapshot.usage_limits.list);
    let name = consumer.name.as_str();
    let holding: Vec<_> =
        consumer.limits.iter().map(|index| (*index, chain(&list[*index], name, black_box("gpt-4o")))).collect();
    let charges = holding.iter().flat_map(|(index, chain)| {
        let amount = |measure: Measure| if measure.is_tokens() { 1200 } else { 1 };
        list[*index].rules.iter().map(move |rule| Charge {
            limit: *index,
            chain: *chain,
            rule,
            amount: amount(rule.measure),
        })
    });
    let mut reserved = Reserved::new(Arc::clone(&fleet.limits));
    reserved.take(charges, &[], now).unwrap();
    black_box(reserved.told());
    reserved
}

fn consumers(c: &mut Criterion) {
    let vectors: Value = serde_json::from_str(include_str!("../src/policy/token/vectors.json")).unwrap();
    let fleet = fleet(&vectors);
    let access = fleet.snapshot.access.as_ref().unwrap();
    // All of them are at work: four buckets each.
    let held: Vec<Reserved> = (0..100).map(|consumer| admit(&fleet, access, consumer)).collect();
    assert_eq!(fleet.limits.len(), 400);
    let by_key = |shown: &str| access.by_key(KeyText::read(shown).unwrap(), black_box(NOW.unix));
    let (own, foreign, unknown) = (key(42), format!("{:032}", 42), key(200));
    for (name, shown, found) in [
        ("authenticate_by_key", &own, true),
        ("authenticate_by_foreign_key", &foreign, true),
        ("authenticate_by_unknown_key", &unknown, false),
    ] {
        assert_eq!(by_key(shown).is_ok(), found);
        c.bench_function(name, |b| b.iter(|| by_key(black_box(shown))));
    }
    c.bench_function("admit", |b| b.iter(|| admit(&fleet, access, black_box(42))));
    for (name, shown) in [("authenticate_and_admit_by_key", &own), ("authenticate_and_admit_by_foreign_key", &foreign)]
    {
        c.bench_function(name, |b| {
            b.iter(|| admit(&fleet, access, by_key(black_box(shown)).unwrap_or_else(|_| panic!("somebody's"))));
        });
    }
    let token = vectors["tokens"]["RS256"].as_str().unwrap();
    assert_eq!(fleet.token(token, NOW).unwrap().consumer, 1);
    c.bench_function("authenticate_and_admit_by_known_token", |b| {
        b.iter(|| admit(&fleet, access, fleet.token(black_box(token), NOW).unwrap().consumer));
    });
    drop(held);
}

criterion_group!(benches, consumers);
criterion_main!(benches);
