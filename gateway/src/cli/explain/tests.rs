//! Golden texts: what an operator reads.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests may panic")]

use super::*;
use crate::config;
use std::path::Path;

const CONFIG: &str = "\
version: 1
home_region: swedencentral
listeners: [ { name: public, address: \"127.0.0.1:8080\" } ]
pools:
  - name: chat
    backends:
      - name: ptu
        region: swedencentral
        url: https://ptu.example
        deployment: gpt-prod
        api_version: \"2024-10-21\"
        auth: { api_key: { env: KEY } }
        headers: { x-team: search, x-secret: { env: KEY } }
      - { name: payg-a, region: francecentral, priority: 2, weight: 3, url: \"https://a.example/base\", auth: { bearer: { env: KEY } } }
      - { name: payg-b, region: germanywestcentral, priority: 2, weight: 1, url: \"https://b.example\", auth: none }
      - { name: far, region: eastus2, priority: 2, url: \"https://far.example\", auth: none }
      - { name: old, region: swedencentral, enabled: false, url: \"https://old.example\", auth: none }
  - name: rest
    backends: [ { name: only, region: swedencentral, url: \"https://only.example\", auth: none } ]
routes:
  - { name: hosted, match: { host: \"*.example.com\", deployment: gpt* }, pool: rest }
  - { name: gpt, match: { deployment: gpt-4o }, pool: chat }
  - { name: others, match: { deployment: gpt* }, pool: rest }
  - { name: images, match: { path: /openai/v1/images/* }, pool: rest }
";

fn snapshot() -> Snapshot {
    let environment = |_: &str| Some("hunter2".to_owned());
    config::load_text("golden.yaml", CONFIG, Path::new("."), &environment).unwrap().0
}

fn asking(path: &str, model: Option<&str>) -> Ask {
    let (path, query) = path.split_once('?').map_or((path, None), |(path, query)| (path, Some(query.to_owned())));
    Ask { path: path.to_owned(), query, model: model.map(str::to_owned), ..Ask::default() }
}

fn states(json: &str) -> Vec<LiveState> {
    serde_json::from_str(json).unwrap()
}

#[test]
fn a_classic_request_reads_as_documented() {
    let ask = asking("/openai/deployments/gpt-4o/chat/completions?api-version=2023-05-15", None);
    let text = text::render(&build(&snapshot(), &ask, None));
    let expected = "\
/openai/deployments/gpt-4o/chat/completions (chat_completions, deployment gpt-4o)

routes, most specific first
  hosted  wants host *.example.com; none was given (--host)
  images  wants path /openai/v1/images/*
> gpt     takes it: deployment gpt-4o
  others  would take it, but `gpt` is more specific

pool chat: every backend healthy, nothing measured
1. ptu     swedencentral        100 %  tier 1, nearest; 0 km from home, about 0 ms
   POST https://ptu.example/openai/deployments/gpt-prod/chat/completions?api-version=2024-10-21
   host: ptu.example, api-key: ***, x-secret: ***, x-team: search
2. payg-a  francecentral         75 %  tier 2: after every backend of a tier before it; 1856 km from home, about 19 ms
   POST https://a.example/base/openai/deployments/gpt-4o/chat/completions?api-version=2023-05-15
   host: a.example, authorization: Bearer ***
2. payg-b  germanywestcentral    25 %  tier 2: after every backend of a tier before it; 1288 km from home, about 13 ms
   POST https://b.example/openai/deployments/gpt-4o/chat/completions?api-version=2023-05-15
   host: b.example
3. far     eastus2                     tier 2, outside the latency band (30ms); 6798 km from home, about 68 ms
   POST https://far.example/openai/deployments/gpt-4o/chat/completions?api-version=2023-05-15
   host: far.example
 - old     swedencentral               not used: `enabled: false`
   each also gets x-request-id and x-forwarded-*, and none the client's credential

limits
  request target  8 KiB
  headers         64 KiB in 100 fields
  body            32 MiB, 1 GiB for all requests together
  body arrives    within 5m, no pause over 30s
  attempts        3 backends, each at most once
  failovers       20 % of the pool's requests, or 3 per second; a failover that is served costs nothing
  first byte      2m per attempt, 2m over all
  connect         1s, 3s with TLS
  answer          no pause over 5m, 15m in all
";
    assert_eq!(text, expected);
    assert!(!text.contains("hunter2"));
}

#[test]
fn a_model_in_the_body_is_replaced_where_the_name_differs() {
    let mut ask = asking("/openai/v1/chat/completions", Some("gpt-4o"));
    ask.stream = true;
    let explanation = build(&snapshot(), &ask, None);
    let models: Vec<_> = explanation.backends.iter().map(|line| line.forward.model.as_deref()).collect();
    assert_eq!(models, [Some("gpt-prod"), None, None, None, None]);
    let text = text::render(&explanation);
    assert!(text.starts_with("/openai/v1/chat/completions (chat_completions, deployment gpt-4o, stream)\n"), "{text}");
    assert!(text.contains("30s per attempt (stream)"), "{text}");
}

#[test]
fn what_would_be_refused_is_told_as_the_client_would_hear_it() {
    for (path, model, status, code) in [
        ("/openai/deployments/o3/chat/completions", None, 404, "deployment_not_found"),
        ("/elsewhere", None, 404, "route_not_found"),
        ("/openai/v1/chat/completions", None, 400, "invalid_value"),
        ("/openai/../x", None, 400, "bad_path"),
    ] {
        let refused = build(&snapshot(), &asking(path, model), None).refusal.unwrap();
        assert_eq!((refused.status, refused.code), (status, code), "{path}");
    }
}

#[test]
fn a_host_decides_before_everything_else() {
    let mut ask = asking("/openai/deployments/gpt-4o/chat/completions", None);
    ask.host = "API.example.com:8443".to_owned();
    let explanation = build(&snapshot(), &ask, None);
    assert_eq!(explanation.pool.as_deref(), Some("rest"));
    assert!(explanation.routes[0].chosen && explanation.routes[0].why.contains("host *.example.com"));
}

#[test]
fn live_states_move_backends_and_say_why() {
    let live = states(
        r#"[{"pool":"chat","backend":"ptu","state":"resting","why":"rate_limited","until_ms":12300},
            {"pool":"chat","backend":"payg-a","state":"silent","ttfb_ms":90.0},
            {"pool":"chat","backend":"payg-b","state":"in_service","ttfb_ms":250.0,"share":0.5},
            {"pool":"chat","backend":"far","state":"in_service","ttfb_ms":120.4},
            {"pool":"chat","backend":"old","state":"disabled"}]"#,
    );
    let explanation = build(&snapshot(), &asking("/openai/deployments/gpt-4o/chat/completions", None), Some(&live));
    let order: Vec<_> = explanation.backends.iter().map(|line| (line.backend.as_str(), line.rank)).collect();
    assert_eq!(order, [("far", Some(1)), ("payg-b", Some(2)), ("payg-a", Some(3)), ("ptu", None), ("old", None)]);
    let whys: Vec<_> = explanation.backends.iter().map(|line| line.why.as_str()).collect();
    assert_eq!(
        whys,
        [
            "tier 2, nearest; first byte 120 ms",
            "tier 2, outside the latency band (30ms); first byte 250 ms",
            "tier 2, silent: only when no other is left; first byte 90 ms",
            "not used now: resting (rate_limited) for another 12.3s",
            "not used: `enabled: false`",
        ]
    );
}

#[test]
fn nothing_eligible_is_a_refusal_with_its_status() {
    let all = |state: &str| {
        let one = |name: &str| format!("{{\"pool\":\"rest\",\"backend\":\"{name}\",{state}}}");
        states(&format!("[{}]", one("only")))
    };
    let ask = asking("/openai/deployments/gpt-5/chat/completions", None);
    for (state, status) in [
        (r#""state":"resting","why":"rate_limited","until_ms":500"#, 429),
        (r#""state":"unhealthy","why":null,"until_ms":null"#, 503),
    ] {
        let refused = build(&snapshot(), &ask, Some(&all(state))).refusal.unwrap();
        assert_eq!(refused.status, status, "{state}");
    }
    let refused = build(&snapshot(), &ask, Some(&[])).refusal.unwrap();
    assert_eq!(refused.status, 503);
}

#[test]
fn rules_are_told_and_followed() {
    let rules = "rules:
  - { name: short, when: [ { variable: path, operator: begins_with, values: [/ai] } ], then: [ { rewrite: { from: /ai, to: /openai/v1 } } ] }
  - { name: canary, when: [ { variable: request_header, name: x-canary, operator: any } ], then: [ { pool: rest } ], stop: true }
  - { name: moved, when: [ { variable: method, operator: equal, values: [GET] } ], then: [ { redirect: { status: 308, host: docs.example.com } } ] }
";
    let environment = |_: &str| Some("hunter2".to_owned());
    let snapshot = config::load_text("x.yaml", &format!("{CONFIG}{rules}"), Path::new("."), &environment).unwrap().0;
    let ask = asking("/ai/chat/completions", Some("gpt-4o"));
    let text = text::render(&build(&snapshot, &ask, None));
    let expected = "\
/ai/chat/completions (chat_completions, deployment gpt-4o)

rules, in order
> short   rewrites /ai to /openai/v1
  canary  its condition 1 does not hold
  moved   its condition 1 does not hold
";
    assert!(text.starts_with(expected) && text.contains("pool chat:"), "{text}");
    let mut canary = ask.clone();
    canary.headers = headers(&["X-Canary: 1".to_owned()]).unwrap_or_default();
    assert_eq!(build(&snapshot, &canary, None).pool.as_deref(), Some("rest"));
    assert!(headers(&["no colon".to_owned()]).is_err());
    let get = Ask { method: Some("GET".to_owned()), ..ask };
    let text = text::render(&build(&snapshot, &get, None));
    assert!(text.contains("\nredirected: 308 http://docs.example.com/ai/chat/completions\n"), "{text}");
    assert!(!text.contains("routes, most specific first"), "{text}");
}

#[test]
fn what_is_left_of_a_quota_is_told() {
    let state = |backend: &str, quota: &str| {
        format!(
            r#"{{"pool":"chat","backend":"{backend}","state":"in_service","why":null,"until_ms":null,"quota":{quota}}}"#
        )
    };
    let live = states(&format!(
        "[{},{},{}]",
        state("ptu", r#"{"tokens_left":null,"tokens_limit":null,"requests_left":null}"#),
        state("payg-a", r#"{"tokens_left":1200,"tokens_limit":450000,"requests_left":7}"#),
        state("payg-b", r#"{"tokens_left":1200,"tokens_limit":450000,"requests_left":0}"#),
    ));
    let ask = asking("/openai/deployments/gpt-4o/chat/completions", None);
    let text = text::render(&build(&snapshot(), &ask, Some(&live)));
    assert!(text.contains("room for 1200 of 450000 tokens"), "{text}");
    assert!(text.contains("no room now: its quota of requests is used up"), "{text}");
    assert_eq!(text.matches("room").count(), 2, "{text}");
}

#[test]
fn an_id_of_something_stored_shows_the_only_backends_that_can_answer() {
    use crate::domain::Secret;
    use crate::policy::seal::{Key, Owner, Sealer, digest_of};
    let text = format!(
        "{CONFIG}consumers: [ {{ name: one }}, {{ name: two }} ]\nstateful: {{ keys: [ {{ id: k, secret: {{ env: LONG }} }} ], \
         unknown_operations: refuse }}\n"
    );
    let secret = "hunter2-hunter2-hunter2-hunter2-hunter2";
    let environment = |_: &str| Some(secret.to_owned());
    let snapshot = config::load_text("golden.yaml", &text, Path::new("."), &environment).unwrap().0;
    let resource = snapshot.pools[0].backends[0].resource();
    let consumer = digest_of("consumer", "one");
    let sealer = Sealer::new(Key::new("k", &Secret::new(secret)));
    let id = sealer.seal(Owner { resource, consumer }, "resp_", b"1").unwrap();
    let ask = |path: &str, method: &str, consumer: &str| Ask {
        method: Some(method.to_owned()),
        consumer: Some(consumer.to_owned()),
        ..asking(path, None)
    };
    let one = format!("/openai/v1/responses/{id}");
    let explanation = build(&snapshot, &ask(&one, "GET", "one"), None);
    let names: Vec<_> = explanation.backends.iter().map(|line| line.backend.as_str()).collect();
    assert_eq!((explanation.pool.as_deref(), names), (Some("chat"), vec!["ptu"]), "{:?}", explanation.refusal);
    assert!(text::render(&explanation).contains("pool chat: only where its ids lead, every backend healthy"));
    for (path, method, consumer, code) in [
        (one.as_str(), "GET", "two", "not_found"),
        ("/openai/v1/responses/resp_1", "GET", "one", "not_found"),
        ("/openai/v1/files", "GET", "one", "list_refused"),
        ("/openai/v1/tides", "POST", "one", "unknown_operation"),
        ("/openai/v1/files", "POST", "one", "route_not_found"),
    ] {
        let refusal = build(&snapshot, &ask(path, method, consumer), None).refusal;
        assert_eq!(refusal.map(|refused| refused.code), Some(code), "{path} {consumer}");
    }
}
