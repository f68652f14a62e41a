//! Tokens against a whole configuration: remembered, forgotten, and refused when keys are missing, old or others.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests may panic")]

use super::*;
use crate::config::load_text;
use crate::domain::Proof;
use crate::policy::token::{Admitted, KeySet};
use crate::state::Registry;
use crate::state::tokens::{KNOWN_FOR, SHARDS, TOKENS_MAX, Tokens};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::signature::{Ed25519KeyPair, KeyPair};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

const UNIX: u64 = 1_800_000_000;

fn now(seconds: u64) -> Now {
    Now { moment: Moment::from_micros((1 + seconds) * 1_000_000), unix: UNIX + seconds }
}

fn signer(seed: u8) -> Ed25519KeyPair {
    Ed25519KeyPair::from_seed_unchecked(&[seed; 32]).unwrap()
}

fn keys(seeds: &[u8]) -> Arc<KeySet> {
    let keys: Vec<_> = (seeds.iter())
        .map(|seed| {
            let x = URL_SAFE_NO_PAD.encode(signer(*seed).public_key());
            serde_json::json!({"kty": "OKP", "crv": "Ed25519", "kid": format!("k{seed}"), "x": x})
        })
        .collect();
    Arc::new(KeySet::read(serde_json::json!({"keys": keys}).to_string().as_bytes()).unwrap())
}

fn token(seed: u8, azp: &str, exp: u64) -> String {
    let header = serde_json::json!({"alg": "EdDSA", "kid": format!("k{seed}")});
    let claims = serde_json::json!({"iss": "https://id.example/", "aud": "tidegate", "azp": azp, "exp": exp, "tid": 7});
    let part = |value: serde_json::Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let message = format!("{}.{}", part(header), part(claims));
    format!("{message}.{}", URL_SAFE_NO_PAD.encode(signer(seed).sign(message.as_bytes())))
}

fn bind(registry: &Registry, generation: u64) -> Arc<Fleet> {
    let text = "version: 1
listeners:
  - { name: public, address: \"127.0.0.1:0\" }
pools:
  - name: chat
    backends:
      - { name: b0, region: eastus, url: \"http://127.0.0.1:9\", auth: none }
consumers: [ { name: one }, { name: two } ]
authentication:
  issuers:
    - name: id
      issuers: [ \"https://id.example/\" ]
      audiences: [ tidegate ]
      jwks: { url: \"https://id.example/keys\" }
      consumer: { claim: azp, map: { a: one, b: two } }
      claims: [ tid ]
";
    let (mut snapshot, _) = load_text("test.yaml", text, Path::new("."), &|_| None).unwrap();
    snapshot.generation = generation;
    registry.bind(Arc::new(snapshot))
}

#[test]
fn a_token_names_its_consumer_and_is_remembered_while_it_is_in_force() {
    let registry = Registry::default();
    let fleet = bind(&registry, 1);
    fleet.issuers[0].publish(&keys(&[1]), now(0).moment);
    let text = token(1, "b", UNIX + 100);
    for _ in 0..2 {
        let caller = fleet.token(&text, now(1)).unwrap();
        assert_eq!((caller.consumer, caller.proof), (1, Proof::Token));
        assert_eq!(caller.claims.unwrap().get("tid"), Some("7"));
        assert_eq!(fleet.tokens.len(), 1);
    }
    assert!(fleet.token(&text, now(159)).is_ok(), "the leeway counts");
    assert_eq!(fleet.token(&text, now(160)), Err(Flaw::Expired));
    assert_eq!(fleet.token(&token(1, "c", UNIX + 100), now(1)), Err(Flaw::Consumer));
    assert_eq!(fleet.token("a.b.c", now(1)), Err(Flaw::Malformed));
    assert_eq!(fleet.tokens.len(), 1, "what is refused is not remembered");
}

#[test]
fn a_withdrawn_key_and_a_new_configuration_forget_what_was_verified() {
    let registry = Registry::default();
    let fleet = bind(&registry, 1);
    fleet.issuers[0].publish(&keys(&[1]), now(0).moment);
    let text = token(1, "a", UNIX + 1000);
    assert!(fleet.token(&text, now(1)).is_ok());
    let next = bind(&registry, 2);
    assert!(Arc::ptr_eq(&next.issuers[0], &fleet.issuers[0]), "keys survive a reload");
    assert!(!next.tokens.is_empty() && next.token(&text, now(1)).is_ok());
    next.issuers[0].publish(&keys(&[1]), now(2).moment);
    assert!(next.token(&text, now(2)).is_ok(), "the same keys again change nothing");
    next.issuers[0].publish(&keys(&[2]), now(3).moment);
    assert_eq!(next.token(&text, now(3)), Err(Flaw::KeyUnknown));
    assert!(next.token(&token(2, "a", UNIX + 1000), now(3)).is_ok());
}

#[test]
fn without_keys_or_with_old_ones_nobody_is_known() {
    let fleet = bind(&Registry::default(), 1);
    let (text, day) = (token(1, "a", UNIX + 200_000), 86_400);
    assert_eq!(fleet.token(&text, now(1)), Err(Flaw::KeysMissing));
    fleet.issuers[0].publish(&keys(&[1]), now(0).moment);
    assert!(fleet.token(&text, now(day)).is_ok());
    assert_eq!(fleet.token(&text, now(day + 1)), Err(Flaw::KeysMissing), "though it was verified a second ago");
}

#[test]
fn unknown_keys_cause_one_look_in_half_a_minute() {
    let fleet = bind(&Registry::default(), 1);
    fleet.issuers[0].publish(&keys(&[1]), now(0).moment);
    assert!(fleet.looks().is_empty());
    for seed in 2..50 {
        assert_eq!(fleet.token(&token(seed, "a", UNIX + 1000), now(1)), Err(Flaw::KeyUnknown));
        assert_eq!(fleet.looks().len(), 1);
    }
    fleet.issuers[0].looked();
    assert_eq!(fleet.token(&token(9, "a", UNIX + 1000), now(30)), Err(Flaw::KeyUnknown));
    assert!(fleet.looks().is_empty(), "half a minute is not over");
    assert_eq!(fleet.token(&token(9, "a", UNIX + 1000), now(31)), Err(Flaw::KeyUnknown));
    assert_eq!(fleet.looks().len(), 1);
}

#[test]
fn the_memory_of_tokens_is_bounded() {
    let (tokens, most) = (Tokens::default(), SHARDS * TOKENS_MAX);
    for index in 0..2 * u64::try_from(most).unwrap() {
        let name: Name = Sha256::digest(index.to_le_bytes()).into();
        let admitted =
            Admitted { consumer: 0, zones: crate::domain::Zones::NONE, claims: Vec::new(), expires: UNIX + 1000 };
        tokens.keep(name, (0, (1, 1)), admitted, UNIX + index / 1000);
    }
    assert!(tokens.len() <= most && tokens.len() > most / 2, "{}", tokens.len());
    let last: Name = Sha256::digest((2 * most as u64 - 1).to_le_bytes()).into();
    assert!(tokens.find(&last, |known| known.until <= UNIX + 1000 && known.until > UNIX).is_some());
    assert!(Duration::from_secs(KNOWN_FOR) <= Duration::from_secs(300));
}
