//! Residency: whatever happens, a request is processed where it may be, or not at all.

use crate::common::{A, B, ms, secs};
use harness::{Answer, Ask, Gateway, Issuer, Setup, Sim, eventually};
use serde_json::json;

/// Where the test databases are.
const DATABASES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/conf/databases");
/// Addresses that they know.
const SWEDEN: &str = "89.160.20.112";
const AMERICA: &str = "216.160.83.56";
const CHINA: &str = "175.16.199.1";

/// `a` and `b` in the EU before `u` in the US, which comes first in order.
async fn regions() -> (Sim, Sim, Sim) {
    (Sim::start("swedencentral").await, Sim::start("francecentral").await, Sim::start("eastus").await)
}

fn setup(a: &Sim, b: &Sim, u: &Sim, residency: &str) -> Setup {
    let zones = "zones: [ { name: eu, data_zones: [ eu ] }, { name: us, regions: [ eastus ] }, \
                 { name: sweden, regions: [ swedencentral ] } ]";
    Setup::new()
        .top(&format!("residency: {{ {zones}, mode: filter{residency} }}"))
        .pool("ejection: { failures: 2, failure_share: 0%, jitter: 0% }")
        .backend("u", u, "priority: 1, kind: regional")
        .backend("a", a, "priority: 2, kind: regional")
        .backend("b", b, "priority: 3, kind: data_zone_eu")
}

fn anonymous(zone: &str) -> String {
    format!("consumers: [ {{ name: acme, residency: {zone} }} ]")
}

const ANONYMOUS: &str = "authentication: { anonymous: acme }";

#[track_caller]
fn told(answer: &Answer, status: u16, code: &str) {
    assert_eq!((answer.status, answer.code().as_str()), (status, code), "{answer}");
}

async fn violations(gateway: &Gateway) -> u64 {
    gateway.metrics().await.count("tidegate_residency_violations_total", &[])
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bound_consumer_is_served_inside_and_told_where() {
    let (a, b, u) = regions().await;
    let gateway = setup(&a, &b, &u, "").top(&anonymous("eu")).top(ANONYMOUS).start().await;
    let ask = Ask::chat("gpt");
    let answer = gateway.ask(&ask).await;
    assert_eq!((answer.status, answer.header("x-served-by")), (200, A), "{answer}");
    assert_eq!(answer.header("x-tidegate-region"), "swedencentral");
    let record = gateway.record(&ask.id).await;
    assert_eq!((&record["residency"], &record["processing"]), (&json!(["eu"]), &json!("swedencentral")), "{record}");
    a.status(500);
    let ask = Ask::stream("gpt");
    let answer = gateway.ask(&ask).await;
    assert_eq!((answer.status, answer.header("x-served-by"), answer.header("x-tidegate-region")), (200, B, "eu"));
    assert_eq!(gateway.record(&ask.id).await["processing"], "eu");
    assert_eq!((u.requests(), violations(&gateway).await), (0, 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn with_every_resident_backend_down_the_answer_is_503_and_nobody_else_is_asked() {
    let (a, b, u) = regions().await;
    let gateway = setup(&a, &b, &u, "").top(&anonymous("eu")).top(ANONYMOUS).start().await;
    a.refuse();
    b.refuse();
    for _ in 0..12 {
        let answer = gateway.ask(&Ask::chat("gpt")).await;
        assert!(matches!(answer.status, 502 | 503), "{answer}");
        assert!(!answer.header("retry-after-ms").is_empty(), "{answer}");
    }
    assert_eq!(u.requests(), 0);
    assert!(gateway.backends().await["backends"].as_array().unwrap().iter().any(|one| one["state"] != "in_service"));
    a.clear();
    eventually("service again", secs(20), async || (gateway.ask(&Ask::chat("gpt")).await.status == 200).then_some(()))
        .await;
    assert_eq!((u.requests(), violations(&gateway).await), (0, 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn with_every_resident_backend_throttled_the_answer_is_429_with_the_soonest_return() {
    let (a, b, u) = regions().await;
    let gateway = setup(&a, &b, &u, "").top(&anonymous("eu")).top(ANONYMOUS).start().await;
    a.throttle(secs(30));
    b.throttle(secs(5));
    for _ in 0..3 {
        let answer = gateway.ask(&Ask::chat("gpt")).await;
        assert_eq!(answer.status, 429, "{answer}");
        let wait: u64 = answer.header("retry-after-ms").parse().unwrap();
        assert!((1..=5_000).contains(&wait), "{answer}");
    }
    assert_eq!((a.requests(), b.requests(), u.requests()), (1, 1, 0), "who rests is not asked, who is outside never");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_need_opens_what_is_outside() {
    let (a, b, u) = regions().await;
    let gateway = setup(&a, &b, &u, "")
        .top(&anonymous("eu"))
        .top(ANONYMOUS)
        .pool("selection: { explore: 100%, panic_threshold: 100%, fail_open: true, slow_start: 0s }")
        .pool("probe: { path: /healthz, interval: 50ms, timeout: 40ms, healthy_after: 1, unhealthy_after: 1 }")
        .unready()
        .start()
        .await;
    a.refuse();
    b.status(500);
    for _ in 0..20 {
        let answer = gateway.ask(&Ask::chat("gpt")).await;
        assert!(answer.status >= 500, "{answer}");
        tokio::time::sleep(ms(10)).await;
    }
    let asked = u.records().iter().filter(|record| record.path_and_query.contains("chat")).count();
    assert_eq!((asked, violations(&gateway).await), (0, 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_country_of_the_client_behind_a_trusted_hop_binds() {
    let (a, b, u) = regions().await;
    let residency = format!(
        ", database: \"{DATABASES}/GeoLite2-City-Test.mmdb\", other_countries: unbound, unknown_country: refuse"
    );
    let setup = setup(&a, &b, &u, &residency).top("trusted_hops: { networks: [ 127.0.0.0/8 ] }");
    let zones = "residency: { zones: [ { name: eu, data_zones: [ eu ], countries: [ SE ] }, \
                 { name: us, regions: [ eastus ], countries: [ US ] } ], mode: filter";
    let gateway = setup.top(&format!("{zones}{residency} }}")).start().await;
    for (client, place, country) in
        [(SWEDEN, "swedencentral", "SE"), (AMERICA, "eastus", "US"), (CHINA, "eastus", "CN")]
    {
        let ask = Ask::chat("gpt").header("x-forwarded-for", client);
        let answer = gateway.ask(&ask).await;
        assert_eq!((answer.status, answer.header("x-tidegate-region")), (200, place), "{client}: {answer}");
        assert_eq!(gateway.record(&ask.id).await["country"], country);
    }
    let seen = u.requests();
    let ask = Ask::chat("gpt");
    told(&gateway.ask(&ask).await, 403, "residency_unknown");
    assert_eq!(gateway.record(&ask.id).await["country"], "ZZ");
    a.refuse();
    b.refuse();
    assert!(gateway.ask(&Ask::chat("gpt").header("x-forwarded-for", SWEDEN)).await.status >= 502);
    assert_eq!(u.requests(), seen, "nothing more has left");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_claim_binds_and_an_unknown_one_is_refused() {
    let (a, b, u) = regions().await;
    let issuer = Issuer::start().await;
    let claim = ", residency: { claim: xms_pdl, map: { EUR: eu, NAM: us, SWE: sweden } }";
    let gateway = setup(&a, &b, &u, "")
        .top("consumers: [ { name: by_token } ]")
        .top(&format!("authentication: {{ issuers: [ {} ] }}", issuer.entry(claim)))
        .start()
        .await;
    let with = |claims| Ask::chat("gpt").header("authorization", &format!("Bearer {}", issuer.token(&claims)));
    for (claims, place) in [
        (json!({"xms_pdl": "EUR"}), "swedencentral"),
        (json!({"xms_pdl": "NAM"}), "eastus"),
        (json!({"xms_pdl": ["EUR", "SWE"]}), "swedencentral"),
    ] {
        // The second time the token is remembered.
        for ask in [with(claims.clone()), with(claims.clone())] {
            let answer = gateway.ask(&ask).await;
            assert_eq!((answer.status, answer.header("x-tidegate-region")), (200, place), "{claims}: {answer}");
        }
    }
    let seen = u.requests();
    a.refuse();
    for (claims, status, code) in [
        (json!({"xms_pdl": "APC"}), 403, "residency_unknown"),
        (json!({}), 403, "residency_unknown"),
        (json!({"xms_pdl": ["EUR", "NAM"]}), 403, "residency_conflict"),
    ] {
        told(&gateway.ask(&with(claims)).await, status, code);
    }
    assert!(gateway.ask(&with(json!({"xms_pdl": "SWE"}))).await.status >= 502, "`b` is outside of sweden");
    assert_eq!((u.requests(), b.requests()), (seen, 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_listener_binds_and_contradicts_a_consumer() {
    let (a, b, u) = regions().await;
    let more = setup(&a, &b, &u, "").listeners("residency: eu");
    let mut gateway = more.clone().start().await;
    assert_eq!(gateway.ask(&Ask::chat("gpt")).await.header("x-tidegate-region"), "swedencentral");
    assert!(gateway.apply(more.clone().top(&anonymous("us")).top(ANONYMOUS)).await);
    told(&gateway.ask(&Ask::chat("gpt")).await, 403, "residency_conflict");
    assert!(gateway.apply(more.top(&anonymous("sweden")).top(ANONYMOUS)).await);
    a.refuse();
    assert!(gateway.ask(&Ask::chat("gpt")).await.status >= 502);
    assert_eq!((b.requests(), u.requests()), (0, 0), "both hold, not the wider one alone");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reload_that_would_open_a_way_outside_changes_nothing() {
    let (a, b, u) = regions().await;
    let strict = setup(&a, &b, &u, "").without_backend("u").top(&anonymous("eu")).top(ANONYMOUS);
    let mut gateway = strict.clone().start().await;
    assert!(!gateway.apply(strict.pool("residency: strict").backend("u", &u, "priority: 1, kind: global")).await);
    gateway.until_log("consumer `acme` (residency `eu`) → route `default` → pool `chat` → backend `u`").await;
    assert_eq!(gateway.ask(&Ask::chat("gpt")).await.header("x-served-by"), A);
    assert_eq!(u.requests(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_nearest_region_is_the_clients_while_nothing_is_measured() {
    let (a, b, u) = regions().await;
    let gateway = setup(&a, &b, &u, &format!(", database: \"{DATABASES}/GeoLite2-City-Test.mmdb\""))
        .top("trusted_hops: { networks: [ 127.0.0.0/8 ] }")
        .pool("selection: { nearest: client, explore: 0%, latency_band: 2ms, slow_start: 0s }")
        .backend("u", &u, "kind: regional")
        .backend("a", &a, "kind: regional")
        .backend("b", &b, "kind: regional")
        .start()
        .await;
    // Answers that do not stream measure nothing.
    for (client, backend) in [(SWEDEN, A), (AMERICA, "eastus/u"), ("81.2.69.142", B), ("192.0.2.1", A)] {
        let answer = gateway.ask(&Ask::chat("gpt").header("x-forwarded-for", client)).await;
        assert_eq!((answer.status, answer.header("x-served-by")), (200, backend), "{client}: {answer}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_stored_outside_is_not_asked_for_once_its_consumer_is_bound() {
    let (a, b, u) = regions().await;
    let setup = setup(&a, &b, &u, "")
        .top("consumers: [ { name: acme } ]")
        .top(ANONYMOUS)
        .top("stateful: { keys: [ { id: one, secret: { env: ID_KEY } } ] }")
        .env("ID_KEY", "5f0c7a1e9b3d4826a7c5e1f09b8d2436");
    let mut gateway = setup.clone().start().await;
    let made = gateway.ask(&Ask::json("/openai/v1/responses", r#"{"model":"gpt","input":"hi"}"#)).await;
    assert_eq!((made.status, made.header("x-served-by")), (200, "eastus/u"), "{made}");
    let stored = Ask::new("GET", &format!("/openai/v1/responses/{}", made.json()["id"].as_str().unwrap()));
    assert_eq!(gateway.ask(&stored.again()).await.status, 200);
    let before = u.requests();
    assert!(gateway.apply(setup.top(&anonymous("eu"))).await);
    told(&gateway.ask(&stored.again()).await, 403, "residency_unserved");
    assert_eq!((u.requests(), violations(&gateway).await), (before, 0));
    assert_eq!((a.requests(), b.requests()), (0, 0), "nor does anybody else know of it");
}
