//! Signed tokens as credentials: who is known by them, what is refused, and what an issuer that rotates its keys, lies down or
//! is sprayed with made-up keys costs.

use crate::common::{secs, served_by};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use harness::{Answer, Ask, Authority, Gateway, Issuer, Setup, Sim, eventually, workspace_file};
use serde_json::{Value, json};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// SHA-256 of `a-key-from-elsewhere`, of the consumer `by_key`.
const KEY: &str = "a-key-from-elsewhere";

fn setup(sim: &Sim, entry: &str) -> Setup {
    let hash = harness::sha256(KEY.as_bytes());
    Setup::new()
        .backend("a", sim, "")
        .top(&format!(
            "consumers: [ {{ name: by_key, keys: [ {{ hash: \"sha256:{hash}\" }} ] }}, {{ name: by_token }} ]"
        ))
        .top(&format!("authentication: {{ failures_max: 60000, issuers: [ {entry} ] }}"))
}

fn bearing(token: &str) -> Ask {
    Ask::chat("gpt").header("authorization", &format!("Bearer {token}"))
}

fn refused(answer: &Answer) {
    assert_eq!((answer.status, answer.code().as_str()), (401, "invalid_api_key"), "{answer}");
    assert!(answer.header("www-authenticate").starts_with("Bearer"), "{answer}");
}

async fn until(what: &str, limit: Duration, gateway: &Gateway, token: impl Fn() -> String, status: u16) {
    eventually(what, limit, async || (gateway.ask(&bearing(&token())).await.status == status).then_some(())).await;
}

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_calls_as_its_consumer_and_goes_no_further() {
    let (sim, issuer) = (Sim::start("swedencentral").await, Issuer::start().await);
    let gateway = setup(&sim, &issuer.entry(", claims: [ azp ]")).start().await;
    let token = issuer.token(&json!({}));
    for _ in 0..2 {
        let ask = bearing(&token);
        served_by(&gateway.ask(&ask).await, "swedencentral/a");
        let record = gateway.record(&ask.id).await;
        assert_eq!((&record["consumer"], &record["proof"]), (&json!("by_token"), &json!("token")), "{record}");
        assert_eq!(sim.record(&ask.id).await.header("authorization"), None);
    }
    let key = Ask::chat("gpt").header("api-key", KEY);
    served_by(&gateway.ask(&key).await, "swedencentral/a");
    assert_eq!(gateway.record(&key.id).await["consumer"], "by_key");
    // In the header for keys too, as some SDKs send it; beside another consumer's key nobody is known.
    served_by(&gateway.ask(&Ask::chat("gpt").header("api-key", &token)).await, "swedencentral/a");
    refused(&gateway.ask(&bearing(&token).header("api-key", KEY)).await);
    assert_eq!(issuer.fetches(), 1);
    let pages = [gateway.admin("/metrics").await.text(), gateway.admin("/backends").await.text(), gateway.log()];
    let log = gateway.access_log();
    let log = log.iter().map(ToString::to_string);
    let signature = token.rsplit('.').next().unwrap();
    for text in pages.into_iter().chain(log) {
        assert!(!text.contains(signature) && !text.contains(&token[..40]), "{text}");
    }
}

/// What a client is told, without what is its own request's.
fn told(answer: &Answer) -> String {
    let own = |name: &str| ["x-request-id", "date"].contains(&name);
    let headers = answer.headers.iter().filter(|(name, _)| !own(name.as_str()));
    let mut headers: Vec<String> = headers.map(|(name, value)| format!("{name}: {value:?}")).collect();
    headers.sort();
    format!("{} {headers:?} {}", answer.status, answer.text())
}

fn part(value: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(value)
}

/// Signed with the issuer's public key, in the forms in which people have it, as if it were a shared secret.
fn by_public_key(issuer: &Issuer, claims: &str) -> Vec<String> {
    let published: Value = serde_json::from_str(&issuer.published()).unwrap();
    let foreign = rsa()["keys"][0].clone();
    let keys = published["keys"].as_array().unwrap().iter().chain([&foreign]).cloned();
    let secrets = keys.clone().flat_map(|key| {
        let text = key["n"].as_str().or(key["x"].as_str()).unwrap().to_owned();
        let raw = URL_SAFE_NO_PAD.decode(&text).unwrap();
        [raw, text.into_bytes(), key.to_string().into_bytes()]
    });
    let kids: Vec<Value> = keys.map(|key| key["kid"].clone()).collect();
    let forge = |secret: Vec<u8>| {
        let key = ring::hmac::Key::new(ring::hmac::HMAC_SHA256, &secret);
        kids.clone().into_iter().map(move |kid| {
            let message = format!("{}.{}", part(json!({"alg": "HS256", "kid": kid}).to_string()), part(claims));
            let tag = part(ring::hmac::sign(&key, message.as_bytes()));
            format!("{message}.{tag}")
        })
    };
    secrets.flat_map(forge).collect()
}

/// Keys of another implementation, an RSA one first.
fn rsa() -> Value {
    let text = std::fs::read_to_string(workspace_file("gateway/src/policy/token/vectors.json")).unwrap();
    serde_json::from_str(&text).unwrap()
}

/// Bad ones of every kind, with the reason that only the log tells. `good` is signed.
fn bad(issuer: &Issuer, good: &str, roles: &dyn Fn(Value) -> Value) -> Vec<(String, &'static str)> {
    let header = |header: Value| issuer.token_with(&header, &roles(json!({})));
    let claims = |claims: Value| issuer.token(&roles(claims));
    let pieces: Vec<&str> = good.split('.').collect();
    let with = |header: &str, claims: &str| format!("{}.{}.{}", part(header), part(claims), pieces[2]);
    let nested = format!("{}1{}", "{\"a\":".repeat(300), "}".repeat(300));
    let mut all = vec![
        (format!("{}x", &good[..good.len() - 2]), "token_malformed"),
        (format!("{}{}", &good[..good.len() - 43], "A".repeat(43)), "token_signature"),
        ("..".to_owned(), "token_malformed"),
        (format!("{}.{}.", pieces[0], pieces[1]), "token_malformed"),
        (format!("{}.{}", pieces[0], pieces[1]), "unknown"),
        (format!("{good}.{}", pieces[2]), "unknown"),
        (format!("{}.{}.AAAA", "A".repeat(4000), "A".repeat(4200)), "token_malformed"),
        (format!("{}.{}!.{}", pieces[0], pieces[1], pieces[2]), "token_malformed"),
        (format!("{}.{}=.{}", pieces[0], pieces[1], pieces[2]), "token_malformed"),
        (with("{", "{}"), "token_malformed"),
        (with("[]", "{}"), "token_malformed"),
        (with("{\"alg\":\"EdDSA\",\"alg\":\"none\"}", "{}"), "token_malformed"),
        (with("{\"alg\":\"EdDSA\"}", &nested), "token_claims"),
        (with(&nested, "{}"), "token_malformed"),
        (header(json!({"alg": "none"})), "token_algorithm"),
        (format!("{}.{}.", part(r#"{"alg":"none"}"#), pieces[1]), "token_malformed"),
        (header(json!({"alg": "HS256", "kid": "key-1"})), "token_algorithm"),
        (header(json!({"alg": "RS256", "kid": "key-1"})), "token_algorithm"),
        (header(json!({"alg": "EdDSA", "kid": "rsa"})), "token_algorithm"),
        (header(json!({"alg": "RS256", "kid": "rsa"})), "token_signature"),
        (header(json!({"alg": "EdDSA", "kid": "key-1", "crit": ["exp"]})), "token_header"),
        (claims(json!({"iss": "https://other.example/"})), "token_issuer"),
        (claims(json!({"aud": "other"})), "token_audience"),
        (claims(json!({"exp": now() - 61})), "token_expired"),
        (claims(json!({"exp": null})), "token_claims"),
        (claims(json!({"exp": (now() + 600).to_string()})), "token_claims"),
        (claims(json!({"exp": u64::MAX})), "token_claims"),
        (claims(json!({"nbf": now() + 90})), "token_not_yet_valid"),
    ];
    for name in ["jku", "x5u", "jwk", "x5c"] {
        let mut brought = json!({"alg": "EdDSA", "kid": "key-1"});
        brought[name] = json!(format!("http://{}/keys", issuer.address()));
        all.push((header(brought), "token_header"));
    }
    let body = json!({"iss": "https://id.example/", "aud": "tidegate", "azp": "app-1", "exp": now() + 600, "roles": ["Chat.Use"]});
    all.extend(by_public_key(issuer, &body.to_string()).into_iter().map(|token| (token, "token_algorithm")));
    all
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bad_tokens_are_refused_alike_and_the_log_knows_why() {
    let (sim, issuer) = (Sim::start("swedencentral").await, Issuer::start().await);
    let mut published: Value = serde_json::from_str(&issuer.published()).unwrap();
    published["keys"].as_array_mut().unwrap().push(rsa()["keys"][0].clone());
    let entry = Issuer::entry_with("{ file: keys.json }", ", require: [ { claim: roles, any: [ Chat.Use ] } ]");
    let gateway = setup(&sim, &entry).file("keys.json", &published.to_string()).start().await;
    let roles = |mut claims: Value| {
        claims["roles"] = json!(["Chat.Use"]);
        claims
    };
    let good = issuer.token(&roles(json!({})));
    served_by(&gateway.ask(&bearing(&good)).await, "swedencentral/a");
    let unknown = gateway.ask(&Ask::chat("gpt").header("authorization", "Bearer a-key-that-is-nobodys-at-all")).await;
    refused(&unknown);
    let bad = bad(&issuer, &good, &roles);
    assert!(bad.len() > 40, "{}", bad.len());
    for (token, why) in bad {
        let ask = bearing(&token);
        let answer = gateway.ask(&ask).await;
        refused(&answer);
        assert_eq!(told(&answer), told(&unknown), "{why}: {token}");
        assert_eq!(gateway.record(&ask.id).await["unproven"], why, "{token}");
    }
    // What no header may hold is refused before anybody looks at it.
    let huge = gateway.ask(&bearing(&format!("{}.{}.AAAA", "A".repeat(50_000), "A".repeat(50_000)))).await;
    assert_eq!(huge.status, 431, "{huge}");
    assert_eq!((sim.requests(), issuer.fetches()), (1, 0), "nobody was asked for any of these");
    let lacking = gateway.ask(&bearing(&issuer.token(&json!({"roles": ["Other"]})))).await;
    assert_eq!((lacking.status, lacking.code().as_str()), (403, "not_allowed"), "{lacking}");
    // Clocks may differ by a minute.
    for claims in [json!({"exp": now() - 30}), json!({"nbf": now() + 30, "iat": now() + 30})] {
        served_by(&gateway.ask(&bearing(&issuer.token(&roles(claims)))).await, "swedencentral/a");
    }
}

/// Whoever has the same value of a claim shares a bucket, and nobody else.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_limit_by_a_claim_goes_by_its_value() {
    let (sim, issuer) = (Sim::start("swedencentral").await, Issuer::start().await);
    let limits =
        "usage_limits: [ { name: tenant, by: [ { claim: tid } ], everywhere: true, requests: { max: 2, per: 1h } } ]";
    let gateway = setup(&sim, &issuer.entry(", claims: [ tid ]")).top(limits).start().await;
    let status = async |tid: Value, jti: u32| {
        gateway.ask(&bearing(&issuer.token(&json!({"tid": tid, "jti": jti.to_string()})))).await.status
    };
    assert_eq!(
        [status(json!("one"), 1).await, status(json!("one"), 2).await, status(json!("one"), 3).await],
        [200, 200, 429]
    );
    assert_eq!([status(json!("two"), 4).await, status(json!("One"), 5).await], [200, 200], "others have their own");
    // Without the claim, keys and all: one bucket.
    let key = Ask::chat("gpt").header("api-key", KEY);
    assert_eq!([status(json!(null), 6).await, gateway.ask(&key).await.status], [200, 200]);
    assert_eq!([status(json!(null), 7).await, gateway.ask(&key.again()).await.status], [429, 429]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keys_rotate_under_load_without_a_failed_request() {
    let (sim, issuer) = (Sim::start("swedencentral").await, Arc::new(Issuer::start().await));
    let gateway = Arc::new(setup(&sim, &issuer.entry(", refresh_min: 1ms")).start().await);
    let stop = Arc::new(AtomicBool::new(false));
    let clients: Vec<_> = (0..4)
        .map(|client| {
            let (issuer, gateway, stop) = (Arc::clone(&issuer), Arc::clone(&gateway), Arc::clone(&stop));
            tokio::spawn(async move {
                let mut count = 0;
                while !stop.load(Ordering::Relaxed) {
                    let answer = gateway.ask(&bearing(&issuer.token(&json!({"jti": [client, count]})))).await;
                    assert_eq!(answer.status, 200, "{answer}");
                    count += 1;
                }
                count
            })
        })
        .collect();
    for _ in 0..8 {
        tokio::time::sleep(Duration::from_millis(250)).await;
        issuer.rotate();
    }
    tokio::time::sleep(Duration::from_millis(250)).await;
    stop.store(true, Ordering::Relaxed);
    for client in clients {
        assert!(client.await.unwrap() > 8);
    }
    assert!((9..=40).contains(&issuer.fetches()), "{}", issuer.fetches());
    // A withdrawn key is known no more once the keys were looked at.
    let old = issuer.token(&json!({}));
    issuer.rotate();
    issuer.withdraw();
    served_by(&gateway.ask(&bearing(&issuer.token(&json!({})))).await, "swedencentral/a");
    refused(&gateway.ask(&bearing(&old)).await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn made_up_keys_do_not_reach_the_issuer() {
    let (sim, issuer) = (Sim::start("swedencentral").await, Issuer::start().await);
    let gateway = setup(&sim, &issuer.entry("")).start().await;
    let good = issuer.token(&json!({}));
    for index in 0..200 {
        let token = issuer.token_with(&json!({"alg": "EdDSA", "kid": format!("made-up-{index}")}), &json!({}));
        refused(&gateway.ask(&bearing(&token)).await);
        if index % 20 == 0 {
            served_by(&gateway.ask(&bearing(&good)).await, "swedencentral/a");
        }
    }
    assert_eq!(issuer.fetches(), 2, "one at the start, one for all of these");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_issuer_that_is_down_costs_nothing_until_its_keys_are_too_old() {
    let (sim, issuer) = (Sim::start("swedencentral").await, Issuer::start().await);
    let entry = issuer.entry(", refresh: 300ms, refresh_min: 1ms, stale_max: 4s");
    let gateway = setup(&sim, &entry).start().await;
    let (token, failed) = (|| issuer.token(&json!({"jti": "x"})), [("issuer", "id"), ("result", "failed")]);
    issuer.down(true);
    gateway.until_metric("tidegate_jwks_fetches_total", &failed, |count| count >= 2.0).await;
    served_by(&gateway.ask(&bearing(&token())).await, "swedencentral/a");
    assert!(gateway.reload().await, "a reload does not need the issuer");
    served_by(&gateway.ask(&bearing(&token())).await, "swedencentral/a");
    until("old keys are not trusted", secs(15), &gateway, token, 401).await;
    gateway.until_log("too old to be trusted").await;
    served_by(&gateway.ask(&Ask::chat("gpt").header("api-key", KEY)).await, "swedencentral/a");
    issuer.down(false);
    until("fresh keys are", secs(15), &gateway, token, 200).await;
    gateway.until_log("can be fetched again").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_gateway_starts_without_its_issuer_and_learns_its_keys_later() {
    let (sim, issuer) = (Sim::start("swedencentral").await, Issuer::start().await);
    issuer.down(true);
    let gateway = setup(&sim, &issuer.entry(", refresh: 300ms")).start().await;
    let ask = bearing(&issuer.token(&json!({})));
    refused(&gateway.ask(&ask).await);
    assert_eq!(gateway.record(&ask.id).await["unproven"], "token_keys_missing");
    gateway.until_log("no keys, its tokens are refused").await;
    issuer.down(false);
    until("its tokens are good", secs(15), &gateway, || issuer.token(&json!({})), 200).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keys_come_from_a_file_that_changes_and_over_tls_of_a_private_ca() {
    let authority = Arc::new(Authority::new());
    let (sim, issuer) = (Sim::start("swedencentral").await, Issuer::tls(&authority).await);
    let gateway = setup(&sim, &issuer.entry("")).tls(&authority).start().await;
    served_by(&gateway.ask(&bearing(&issuer.token(&json!({})))).await, "swedencentral/a");
    drop(gateway);

    let entry = Issuer::entry_with("{ file: keys.json }", ", refresh_min: 1ms");
    let gateway = setup(&sim, &entry).file("keys.json", &issuer.published()).start().await;
    served_by(&gateway.ask(&bearing(&issuer.token(&json!({})))).await, "swedencentral/a");
    issuer.rotate();
    std::fs::write(gateway.file("keys.json"), issuer.published()).unwrap();
    served_by(&gateway.ask(&bearing(&issuer.token(&json!({})))).await, "swedencentral/a");
    std::fs::write(gateway.file("keys.json"), "{").unwrap();
    refused(&gateway.ask(&bearing(&issuer.token_with(&json!({"alg": "EdDSA", "kid": "made-up"}), &json!({})))).await);
    gateway.until_metric("tidegate_jwks_fetches_total", &[("result", "failed")], |count| count >= 1.0).await;
    served_by(&gateway.ask(&bearing(&issuer.token(&json!({})))).await, "swedencentral/a");
    assert!(!gateway.reload().await, "a reload wants a file that it can read");
}
