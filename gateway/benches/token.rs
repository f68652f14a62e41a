//! Signed tokens as credentials.
//!
//! Budget: a token that was verified a moment ago 5 µs; the first time a token is seen, one signature: 100 µs with RSA.

#![allow(missing_docs, reason = "criterion's macros make undocumented functions")]
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a bench may panic")]

use criterion::{Criterion, criterion_group, criterion_main};
use serde_json::Value;
use std::hint::black_box;
use std::path::Path;
use std::sync::Arc;
use tidegate::config::load_text;
use tidegate::domain::Moment;
use tidegate::policy::token::{KeySet, Token};
use tidegate::state::{Fleet, Now, Registry};

/// When the tokens of the vectors are in force.
const NOW: Now = Now { moment: Moment::from_micros(2_000_000), unix: 1_800_000_100 };

fn fleet(vectors: &Value) -> Arc<Fleet> {
    let consumers: String = (0..100).map(|index| format!("  - {{ name: c{index} }}\n")).collect();
    let map: String = (0..100).map(|index| format!("app-{index}: c{index}, ")).collect();
    let text = format!(
        "version: 1\nlisteners:\n  - {{ name: public, address: \"127.0.0.1:0\" }}\npools:\n  - name: chat\n    backends:\n\
         \x20     - {{ name: b, region: eastus, url: \"http://127.0.0.1:9\", auth: none }}\nconsumers:\n{consumers}\
         authentication:\n  issuers:\n    - name: id\n      issuers: [ \"https://id.example/\" ]\n      audiences: [ \"api://tidegate\" ]\n\
         \x20     jwks: {{ url: \"https://id.example/keys\" }}\n      require: [ {{ claim: scp, any: [ chat.read ] }} ]\n\
         \x20     consumer: {{ claim: azp, map: {{ {map} }} }}\n      claims: [ azp, tid ]\n"
    );
    let (snapshot, _) = load_text("bench", &text, Path::new("."), &|_| None).unwrap();
    let fleet = Registry::default().bind(Arc::new(snapshot));
    let keys = serde_json::json!({"keys": vectors["keys"]}).to_string();
    fleet.issuers[0].publish(&Arc::new(KeySet::read(keys.as_bytes()).unwrap()), NOW.moment);
    fleet
}

fn tokens(c: &mut Criterion) {
    let vectors: Value = serde_json::from_str(include_str!("../src/policy/token/vectors.json")).unwrap();
    let fleet = fleet(&vectors);
    for name in ["RS256", "ES256", "EdDSA"] {
        let text = vectors["tokens"][name].as_str().unwrap();
        let issuer = &fleet.snapshot.access.as_ref().unwrap().issuers[0].rules;
        let held = fleet.issuers[0].trusted(None, NOW.moment).unwrap();
        let keys = &held.as_ref().unwrap().keys;
        c.bench_function(&format!("token/first/{name}"), |b| {
            b.iter(|| issuer.admit(&Token::read(black_box(text)).unwrap(), keys, NOW.unix).unwrap());
        });
    }
    let text = vectors["tokens"]["RS256"].as_str().unwrap();
    c.bench_function("token/known", |b| b.iter(|| fleet.token(black_box(text), NOW).unwrap()));
}

criterion_group!(benches, tokens);
criterion_main!(benches);
