//! Who may call: keys under every name, what wrong ones are told, scopes, rotation under load, and that no key is ever seen again.

use crate::common::{A, ladder, ms, regions, secs, served_by};
use harness::{Answer, Ask, Gateway, Load, Proto, Setup, Sim, venv_python, workspace_file};
use serde_json::{Value, json};
use std::io::Write;
use std::process::{Command, Stdio};
use tidegate::domain::{ApiKey, KeyHash, make_key};

/// A subscription key as API Management makes them.
const FOREIGN: &str = "4f1c9a7b2e8d40536a1bb0c2d3e4f596";

/// A key of ours, another one for each number.
fn key(number: u8) -> String {
    let random: Vec<u8> = (0..=255_u8).map(|byte| byte.wrapping_mul(7).wrapping_add(number)).collect();
    make_key(&random).unwrap()
}

/// An entry of `keys`.
fn entry(key: &str, rest: &str) -> String {
    let id = ApiKey::parse(key).map(|parsed| format!(", id: \"{}\"", parsed.id)).unwrap_or_default();
    format!("{{ hash: \"{}\"{id}{rest} }}", KeyHash::of(key))
}

fn consumer(name: &str, keys: &[String], rest: &str) -> String {
    format!("{{ name: {name}, keys: [ {} ]{rest} }}", keys.join(", "))
}

fn with(a: &Sim, b: &Sim, consumers: &[String]) -> Setup {
    ladder(a, b).top(&format!("consumers: [ {} ]", consumers.join(", ")))
}

#[track_caller]
fn refused(answer: &Answer, status: u16, code: &str) {
    assert_eq!((answer.status, answer.code().as_str()), (status, code), "{answer}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_good_key_gets_in_under_every_name_and_reaches_no_backend() {
    let (a, b) = regions().await;
    let consumers = [consumer("search", &[entry(&key(1), ""), entry(FOREIGN, "")], ", plan: gold")];
    let setup = with(&a, &b, &consumers)
        .top("plans: [ { name: gold } ]")
        .top("authentication: { key_headers: [ api-key, authorization, ocp-apim-subscription-key, x-team-key ], key_queries: [ subscription-key, team-key ] }");
    let gateway = setup.start().await;
    for proto in Proto::PLAIN {
        for key in [key(1).as_str(), FOREIGN] {
            let bare = Ask::chat("gpt");
            let bearer = format!("Bearer {key}");
            for ask in [
                Ask::chat("gpt").header("api-key", key),
                Ask::chat("gpt").header("authorization", &bearer),
                Ask::v1("gpt").header("ocp-apim-subscription-key", key),
                Ask::chat("gpt").header("X-Team-Key", key),
                Ask { path: format!("{}&subscription-key={key}", bare.path), ..Ask::chat("gpt") },
                Ask { path: format!("{}&team%2Dkey={key}", bare.path), ..Ask::chat("gpt") },
                Ask::chat("gpt").header("api-key", key).header("authorization", &bearer),
            ] {
                served_by(&gateway.client(proto).ask(&ask).await, A);
                let record = gateway.record(&ask.id).await;
                let whom = [&record["consumer"], &record["plan"], &record["proof"]];
                assert_eq!(whom, [&json!("search"), &json!("gold"), &json!("key")], "{record}");
                assert!(!record.to_string().contains(key), "{record}");
                let seen = a.record(&ask.id).await;
                assert!(!format!("{seen:?}").contains(key), "{seen:?}");
            }
        }
    }
    let served = [("consumer", "search"), ("ending", "served")];
    assert_eq!(gateway.metrics().await.count("tidegate_consumer_requests_total", &served), 28);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_wrong_key_is_told_the_same() {
    let (a, b) = regions().await;
    let consumers = [
        consumer("search", &[entry(&key(1), ""), entry(&key(2), ", expires: 2020-01-01")], ""),
        consumer("later", &[entry(&key(3), ", not_before: 2100-01-01")], ""),
        consumer("former", &[entry(&key(4), "")], ", enabled: false"),
    ];
    let gateway = with(&a, &b, &consumers).top("authentication: { failures_max: 1000 }").start().await;
    let (good, slip) = (key(1), key(1).replace("tgk_", "tgk_x"));
    let mut told = Vec::new();
    for (shown, why, whose) in [
        (key(9).as_str(), "unknown", None),
        ("nobody's key of long ago", "unknown", None),
        (&slip, "malformed", None),
        ("short", "malformed", None),
        (&key(2), "expired", Some("search")),
        (&key(3), "not_yet", Some("later")),
        (&key(4), "disabled", Some("former")),
        ("", "missing", None),
    ] {
        let ask = Ask::chat("gpt").header("api-key", shown);
        let answer = gateway.ask(&ask).await;
        refused(&answer, 401, "invalid_api_key");
        assert_eq!(answer.header("www-authenticate"), "Bearer realm=\"tidegate\"", "{answer}");
        assert_eq!(answer.header("x-should-retry"), "false", "{answer}");
        let mut headers = answer.headers.clone();
        let own = ["x-request-id", "date"].map(|name| headers.remove(name).is_some());
        assert_eq!(own, [true, true], "{answer}");
        told.push(format!("{headers:?} {}", answer.text()));
        let record = gateway.record(&ask.id).await;
        assert_eq!(record["unproven"], why, "{record}");
        assert_eq!(record.get("consumer").and_then(Value::as_str), whose, "{record}");
        assert!(record.get("proof").is_none(), "{record}");
        let counted = gateway.metrics().await.count("tidegate_authentication_failures_total", &[("reason", why)]);
        assert!(counted >= 1, "{why}");
    }
    told.dedup();
    assert_eq!(told.len(), 1, "{told:#?}");
    let bare = Ask::chat("gpt");
    let path = format!("{}&subscription-key={good}&api-key={good}", bare.path);
    let unasked = Ask { path, ..bare };
    refused(&gateway.ask(&unasked).await, 401, "invalid_api_key");
    let record = gateway.record(&unasked.id).await;
    assert!(
        record["unproven"] == "missing" && !record.to_string().contains(&good),
        "no name of the query is on: {record}"
    );
    let both = Ask::chat("gpt").header("api-key", &good).header("authorization", "Bearer a wrong one beside it");
    refused(&gateway.ask(&both).await, 401, "invalid_api_key");
    assert_eq!(a.requests() + b.requests(), 0, "no backend has seen any of it");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_guesses_is_slowed_down_and_nobody_else() {
    let (a, b) = regions().await;
    let consumers = [consumer("search", &[entry(&key(1), ""), entry(FOREIGN, "")], "")];
    let setup = with(&a, &b, &consumers).top("authentication: { failures_max: 5 }");
    let gateway = setup.top("trusted_hops: { networks: [ 127.0.0.0/8 ] }").start().await;
    let ask = async |address: &str, key: &str| {
        let ask = Ask::chat("gpt").header("api-key", key).header("x-forwarded-for", address);
        gateway.ask(&ask).await
    };
    // A minute may begin in between: then it takes a few more.
    let mut answer = ask("192.0.2.7", "a guess of somebody's key").await;
    for _ in 0..12 {
        if answer.status == 429 {
            break;
        }
        refused(&answer, 401, "invalid_api_key");
        answer = ask("192.0.2.7", "a guess of somebody's key").await;
    }
    refused(&answer, 429, "too_many_failures");
    let wait: u64 = answer.header("retry-after").parse().unwrap();
    assert!((1..=60).contains(&wait), "{answer}");
    if wait > 2 {
        refused(&ask("192.0.2.7", FOREIGN).await, 429, "too_many_failures");
        served_by(&ask("192.0.2.7", &key(1)).await, A);
        refused(&ask("192.0.2.7", &key(9)).await, 429, "too_many_failures");
    }
    served_by(&ask("192.0.2.8", FOREIGN).await, A);
    refused(&ask("192.0.2.8", "a guess of somebody's key").await, 401, "invalid_api_key");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn scopes_of_consumer_and_plan_both_hold() {
    let (a, b) = regions().await;
    let consumers = [
        consumer("search", &[entry(&key(1), "")], ", plan: gold, allow: { deployments: [ gpt-4* ] }"),
        consumer("inside", &[entry(&key(2), "")], ", allow: { networks: [ 10.0.0.0/8 ] }"),
        consumer("visitors", &[], ", allow: { operations: [ embeddings ], routes: [ all ] }"),
    ];
    let gateway = with(&a, &b, &consumers)
        .top("plans: [ { name: gold, allow: { operations: [ chat_completions ] } } ]")
        .top("authentication: { anonymous: visitors }")
        .more("routes: [ { name: all, pool: chat }, { name: v1, match: { path: /openai/v1/* }, pool: chat } ]\n")
        .start()
        .await;
    for (ask, status) in [
        (Ask::chat("gpt-4o").header("api-key", &key(1)), 200),
        (Ask::v1("gpt-4o").header("api-key", &key(1)), 200),
        (Ask::v1("gpt-3").header("api-key", &key(1)), 403),
        (Ask::embeddings("gpt-4o").header("api-key", &key(1)), 403),
        (Ask::chat("gpt-4o").header("api-key", &key(2)), 403),
        (Ask::embeddings("any"), 200),
        (Ask::chat("any"), 403),
        (Ask::json("/openai/v1/embeddings", r#"{"model":"any","input":"x"}"#), 403),
        (Ask::embeddings("any").header("api-key", "shown, so not anonymous"), 401),
    ] {
        let answer = gateway.ask(&ask).await;
        assert_eq!(answer.status, status, "{} {answer}", ask.path);
        if status == 403 {
            refused(&answer, 403, "not_allowed");
            let record = gateway.record(&ask.id).await;
            assert!(record["consumer"].is_string() && record["proof"].is_string(), "{record}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_is_rotated_under_load_without_a_failed_request() {
    let (a, b) = regions().await;
    let consumers = |keys: &[String]| [consumer("search", keys, "")];
    let mut gateway = with(&a, &b, &consumers(&[entry(&key(1), "")])).start().await;
    let load = |number: u8| {
        let ask = Ask::chat("gpt").header("api-key", &key(number));
        Load::new(gateway.client(Proto::H1), 40, secs(60), &[ask]).start()
    };
    let old = load(1);
    tokio::time::sleep(ms(400)).await;
    assert!(gateway.apply(with(&a, &b, &consumers(&[entry(&key(1), ""), entry(&key(2), "")]))).await);
    let ask = Ask::chat("gpt").header("api-key", &key(2));
    let new = Load::new(gateway.client(Proto::H1), 40, secs(60), &[ask]).start();
    tokio::time::sleep(ms(400)).await;
    let old = old.stop().await;
    assert!(old.failed().is_empty(), "{:#?}", old.failed());
    assert!(gateway.apply(with(&a, &b, &consumers(&[entry(&key(2), "")]))).await);
    tokio::time::sleep(ms(400)).await;
    let new = new.stop().await;
    assert!(new.failed().is_empty(), "{:#?}", new.failed());
    refused(&gateway.ask(&Ask::chat("gpt").header("api-key", &key(1))).await, 401, "invalid_api_key");
    assert!(gateway.apply(ladder(&a, &b)).await, "nobody is asked any more");
    served_by(&gateway.ask(&Ask::chat("gpt")).await, A);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_that_expires_soon_is_told_of() {
    let (a, b) = regions().await;
    let second = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
    let in_ten_days = tidegate::telemetry::Timestamp((second + 10 * 86_400) * 1000).to_string();
    let end = format!(", expires: \"{}Z\"", in_ten_days.split('.').next().unwrap());
    let consumers = [
        consumer("search", &[entry(&key(1), &end), entry(&key(2), ", expires: 2100-01-01")], ""),
        consumer("chat", &[entry(&key(3), "")], ""),
    ];
    let gateway = with(&a, &b, &consumers).start().await;
    gateway.until_metric("tidegate_keys_expiring", &[("consumer", "search")], |count| count > 0.5).await;
    assert!(!gateway.metrics().await.has("tidegate_keys_expiring", &[("consumer", "chat")]));
    gateway.until_log("consumer search: a key expires in ").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_noisy_consumer_starves_nobody() {
    let (a, b) = regions().await;
    a.first_token(ms(150));
    let consumers = [consumer("noisy", &[entry(&key(1), "")], ""), consumer("quiet", &[entry(&key(2), "")], "")];
    let gateway = with(&a, &b, &consumers).top("overload: { in_flight_max: 8, queue_max: 16 }").start().await;
    let load = |number: u8, rate: u32| {
        let ask = Ask::chat("gpt").header("api-key", &key(number));
        Load::new(gateway.client(Proto::H1), rate, secs(60), &[ask]).start()
    };
    // Eight places, each taken for some 150 ms: about 50 requests a second.
    let noisy = load(1, 150);
    tokio::time::sleep(ms(600)).await;
    let quiet = load(2, 8);
    tokio::time::sleep(secs(3)).await;
    let (quiet, noisy) = (quiet.stop().await, noisy.stop().await);
    assert!(quiet.shots.len() >= 16 && quiet.failed().is_empty(), "{:#?}", quiet.failed());
    assert!(!noisy.failed().is_empty() && noisy.served_by(A) > 30, "{}", noisy.shots.len());
    assert!(gateway.metrics().await.count("tidegate_shed_total", &[("reason", "share")]) > 0);
}

/// Keys, good and wrong, wherever a client can put them; then every place is searched where people look.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_key_is_seen_again() {
    let (a, b) = regions().await;
    let wrong = "a-canary-key-that-is-nobodys-27ab";
    let consumers = [consumer("search", &[entry(&key(1), ""), entry(FOREIGN, "")], "")];
    let setup = with(&a, &b, &consumers)
        .env("RUST_LOG", "debug")
        .top("authentication: { key_headers: [ api-key, authorization, x-team-key ], key_queries: [ team-key ], failures_max: 1000 }")
        .top("waf: { policy: edge, policies: [ { name: edge, mode: detect, body: off, rules: [ { name: all, priority: 1, conditions: [ { variable: QueryString, operator: Contains, values: [ key ] } ], action: log } ] } ] }");
    let gateway = setup.start().await;
    let mut seen = String::new();
    for shown in [key(1).as_str(), FOREIGN, wrong, &key(5)] {
        for proto in Proto::PLAIN {
            let bare = Ask::chat("gpt");
            for ask in [
                Ask::chat("gpt").header("api-key", shown),
                Ask::chat("gpt").header("authorization", &format!("Bearer {shown}")),
                Ask::chat("gpt").header("authorization", &format!("Basic {shown}")),
                Ask::chat("bad/../name").header("x-team-key", shown),
                Ask { path: format!("{}&team-key={shown}", bare.path), ..Ask::chat("gpt") },
                Ask { path: format!("/nowhere/..%2f?team-key={shown}"), ..Ask::chat("gpt") },
                Ask::chat("gpt").header("sec-websocket-protocol", &format!("openai-insecure-api-key.{shown}")),
            ] {
                let answer = gateway.client(proto).ask(&ask).await;
                gateway.record(&ask.id).await;
                seen.push_str(&format!("{answer}\n{}\n", answer.text()));
            }
        }
    }
    for path in ["/metrics", "/backends", "/readyz", "/version", "/livez"] {
        seen.push_str(&gateway.admin(path).await.text());
    }
    seen.push_str(&std::fs::read_to_string(gateway.file("access.jsonl")).unwrap());
    seen.push_str(&gateway.log());
    seen.push_str(&format!("{:?} {:?}", a.records(), b.records()));
    for shown in [key(1).as_str(), FOREIGN, wrong, &key(5)] {
        let secret = shown.get(15..shown.len().min(58)).unwrap();
        let found = seen.find(secret).map(|at| seen[..at].rsplit('\n').next().unwrap_or_default().to_owned());
        assert_eq!(found, None, "{secret} is seen");
    }
    for hash in [KeyHash::of(&key(1)), KeyHash::of(FOREIGN)].map(|hash| hash.to_string()) {
        assert!(!seen.contains(&hash["sha256:".len()..]), "{hash} is seen");
    }
}

/// One call of the official package.
fn sdk(class: &str, gateway: &Gateway, key: &str) -> Value {
    let mut child = Command::new(venv_python())
        .arg(workspace_file("tests/sdk/calls.py"))
        .args([class, &format!("http://{}", gateway.address())])
        .env("NO_PROXY", "*")
        .env("CLIENT_KEY", key)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("Python starts");
    let mut input = child.stdin.take().expect("piped");
    writeln!(input, "{}", json!({"call": "chat_stream", "model": "gpt"})).expect("the script reads");
    drop(input);
    let output = child.wait_with_output().expect("the script ends");
    serde_json::from_slice(&output.stdout).expect("one line of JSON")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_official_sdk_gets_in_with_a_good_key_and_says_what_is_wrong_with_another() {
    let (a, b) = regions().await;
    let gateway = with(&a, &b, &[consumer("search", &[entry(&key(1), "")], "")]).start().await;
    for class in ["azure", "openai"] {
        let answer = tokio::task::block_in_place(|| sdk(class, &gateway, &key(1)));
        assert!(answer["text"].as_str().is_some_and(|text| text.contains("swedencentral")), "{answer}");
        let before = gateway.metrics().await.count("tidegate_denials_total", &[("code", "invalid_api_key")]);
        let wrong = tokio::task::block_in_place(|| sdk(class, &gateway, &key(2)));
        assert_eq!(wrong["error"], "AuthenticationError", "{wrong}");
        assert_eq!((&wrong["status"], &wrong["code"]), (&json!(401), &json!("invalid_api_key")), "{wrong}");
        let after = gateway.metrics().await.count("tidegate_denials_total", &[("code", "invalid_api_key")]);
        assert_eq!(after - before, 1, "it does not try again");
    }
}
