//! Whom a request comes from, by its key, among 100 consumers with two keys each.
//!
//! Budget: together with its usage limits below 3 µs.

#![allow(missing_docs, reason = "criterion's macros make undocumented functions")]
#![allow(clippy::unwrap_used, clippy::panic, reason = "a bench may panic")]

use criterion::{Criterion, criterion_group, criterion_main};
use std::fmt::Write;
use std::hint::black_box;
use std::path::Path;
use tidegate::config::load_text;
use tidegate::config::snapshot::KeyText;
use tidegate::domain::{ApiKey, KeyHash, make_key};

fn key(number: u8) -> String {
    make_key(&(0..=255_u8).map(|byte| byte.wrapping_mul(7).wrapping_add(number)).collect::<Vec<_>>()).unwrap()
}

fn by_key(c: &mut Criterion) {
    let mut text = String::from(
        "version: 1\nlisteners:\n  - { name: public, address: \"127.0.0.1:0\" }\npools:\n  - name: chat\n    backends:\n      \
         - { name: b, region: r, url: \"http://192.0.2.1\", auth: none }\nconsumers:\n",
    );
    for number in 0..100 {
        let (own, foreign) = (key(number), format!("{number:032}"));
        let id = ApiKey::parse(&own).unwrap().id;
        let (own, foreign) = (KeyHash::of(&own), KeyHash::of(&foreign));
        let keys = format!("{{ hash: \"{own}\", id: {id} }}, {{ hash: \"{foreign}\" }}");
        let _ = writeln!(text, "  - {{ name: c{number}, keys: [ {keys} ] }}");
    }
    let (snapshot, _) = load_text("bench", &text, Path::new("."), &|_| None).unwrap();
    let access = snapshot.access.unwrap();
    for (name, shown, found) in [
        ("authenticate_by_key", key(42), true),
        ("authenticate_by_foreign_key", format!("{:032}", 42), true),
        ("authenticate_by_unknown_key", key(200), false),
    ] {
        let ask = || access.by_key(KeyText::read(black_box(&shown)).unwrap(), black_box(1_800_000_000));
        assert_eq!(ask().is_ok(), found);
        c.bench_function(name, |b| b.iter(ask));
    }
}

criterion_group!(benches, by_key);
criterion_main!(benches);
