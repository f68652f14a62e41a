//! What regions store: ids lead back to where they were made, for their consumer alone, and never anywhere else.

use crate::common::{A, ladder, ms, pair, regions, secs};
use harness::{Answer, Ask, Gateway, Proto, Setup, Sim, venv_python, workspace_file};
use serde_json::{Value, json};
use std::process::Stdio;
use tidegate::domain::{ApiKey, KeyHash, make_key};
use tokio::process::Command;

pub(crate) const NEW: &str =
    "stateful: { keys: [ { id: new, secret: { env: ID_KEY_NEW } }, { id: old, secret: { env: ID_KEY_OLD } } ] }";
const OLD: &str = "stateful: { keys: [ { id: old, secret: { env: ID_KEY_OLD } } ] }";
const NEW_ALONE: &str = "stateful: { keys: [ { id: new, secret: { env: ID_KEY_NEW } } ] }";

pub(crate) fn keyed(setup: Setup, stateful: &str) -> Setup {
    setup
        .top(stateful)
        .env("ID_KEY_NEW", "5f0c7a1e9b3d4826a7c5e1f09b8d2436")
        .env("ID_KEY_OLD", "0123456789abcdef0123456789abcdef")
}

fn key(number: u8) -> String {
    let random: Vec<u8> = (0..=255_u8).map(|byte| byte.wrapping_mul(11).wrapping_add(number)).collect();
    make_key(&random).unwrap()
}

/// Two consumers with the keys 1 and 2.
pub(crate) fn consumers(setup: Setup) -> Setup {
    let entry = |name: &str, number: u8, more: &str| {
        let key = key(number);
        let id = ApiKey::parse(&key).map(|parsed| parsed.id.to_owned()).unwrap();
        format!("{{ name: {name}, keys: [ {{ hash: \"{}\", id: \"{id}\" }} ]{more} }}", KeyHash::of(&key))
    };
    let scoped = ", allow: { deployments: [ gpt ] }";
    setup.top(&format!("consumers: [ {}, {} ]", entry("one", 1, scoped), entry("two", 2, "")))
}

pub(crate) fn by(ask: Ask, number: u8) -> Ask {
    ask.header("api-key", &key(number))
}

fn response(more: &str) -> Ask {
    Ask::json("/openai/v1/responses", format!(r#"{{"model":"gpt","input":"hi"{more}}}"#))
}

pub(crate) fn get(path: &str) -> Ask {
    Ask::new("GET", &format!("/openai/v1/{path}"))
}

/// The id of a 200.
#[track_caller]
pub(crate) fn id(answer: &Answer) -> String {
    assert_eq!(answer.status, 200, "{answer}");
    answer.json()["id"].as_str().expect("an id").to_owned()
}

#[track_caller]
pub(crate) fn refused(answer: &Answer, status: u16, code: &str) {
    assert_eq!((answer.status, answer.code().as_str()), (status, code), "{answer}");
}

async fn walk(class: &str, gateway: &Gateway, mode: &str) {
    let script = Command::new(venv_python())
        .arg(workspace_file("tests/sdk/stateful.py"))
        .args([class, &format!("http://{}", gateway.address()), mode])
        .env("NO_PROXY", "*")
        .stdin(Stdio::null())
        .output();
    let output = script.await.expect("Python starts");
    let told = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && told.trim() == "ok", "{told}{}", String::from_utf8_lossy(&output.stderr));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_sdk_finds_everything_again_where_it_was_made() {
    let (a, b) = regions().await;
    let gateway = keyed(pair(&a, &b), NEW).start().await;
    for class in ["azure", "openai"] {
        walk(class, &gateway, "sealed").await;
    }
    let log = gateway.access_log();
    assert!(
        log.iter().any(|record| record["pinned"] == true) && log.iter().all(|record| record["ending"] != "faulted")
    );
    let torn = log.iter().filter(|record| record["status"] == 400);
    assert!(torn.into_iter().all(|record| record["id_flaw"] == "torn" && record["attempts"] == json!([])));
    for sim in [&a, &b] {
        let records = sim.records();
        let of_those = |path: &str| path.contains("/responses/") || path.contains("/chat/completions/");
        let deleted = records.iter().filter(|r| r.method == "DELETE" && of_those(&r.path_and_query)).count();
        // Each of these is asked for once more.
        let wrong: Vec<_> = records.iter().filter(|record| record.status == 404).collect();
        assert_eq!(wrong.len(), deleted, "{} was asked for what is another's: {wrong:#?}", sim.name());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn raw_ids_are_azures_own() {
    let a = Sim::start("swedencentral").await;
    let gateway = Setup::new().backend("a", &a, "").top("stateful: { ids: raw }").start().await;
    walk("openai", &gateway, "raw").await;
    let by_default = Setup::new().backend("a", &a, "").start().await;
    let made = id(&by_default.ask(&response("")).await);
    assert!(made.starts_with("resp_") && !made.contains("tg1"), "one resource, and nobody is asked: {made}");
    assert_eq!(id(&gateway.ask(&get(&format!("responses/{made}"))).await), made);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_consumers_id_is_not_found_and_told_like_any_other() {
    let (a, b) = regions().await;
    let gateway = consumers(keyed(ladder(&a, &b), NEW)).start().await;
    let made = id(&gateway.ask(&by(response(""), 1)).await);
    assert!(made.starts_with("resp_tg1"), "{made}");
    assert_eq!(
        id(&gateway.ask(&by(get(&format!("responses/{made}")), 1)).await),
        made,
        "no deployment is needed for it"
    );
    let calls = a.requests() + b.requests();
    let before = &made[..made.len() - 4];
    let mut told = Vec::new();
    for (number, id, flaw) in [
        (2, made.as_str(), "foreign"),
        (1, before, "forged"),
        (1, &made.replace("resp_tg1", "resp_tg0"), "version"),
        (1, "resp_68af1c0ffee0000000000000", "unsealed"),
        (1, &format!("resp_tg1{}", "A".repeat(90)), "key"),
    ] {
        for ask in [
            get(&format!("responses/{id}")),
            get(&format!("responses/{id}/input_items")),
            Ask::new("DELETE", &format!("/openai/responses/{id}?api-version=2025-03-01-preview")),
            response(&format!(r#","previous_response_id":"{id}""#)),
            response(&format!(r#","previous\u005fresponse_id":"{}""#, id.replacen('_', "\\u005f", 1))),
            response(&format!(r#","tools":[{{"vector_store_ids":["{id}"]}}]"#)),
            Ask::json(
                "/openai/v1/responses",
                format!(r#"{{"model":"gpt","input":[{{"type":"item_reference","id":"{id}"}}]}}"#),
            ),
            get(&format!("files?after={id}")),
        ] {
            let ask = by(ask, number);
            let answer = gateway.ask(&ask).await;
            refused(&answer, 404, "not_found");
            told.push(answer.text().replace("No item with", "No response with"));
            assert_eq!(gateway.record(&ask.id).await["id_flaw"], flaw, "{} {}", ask.path, id);
        }
        let counted = gateway.metrics().await.count("tidegate_stored_ids_total", &[("result", flaw)]);
        assert_eq!(counted, 8, "{flaw}");
    }
    told.dedup();
    assert_eq!(told.len(), 1, "whatever the reason: {told:#?}");
    assert_eq!(a.requests() + b.requests(), calls, "no region was asked");
    refused(&gateway.ask(&by(get("files"), 1)).await, 403, "list_refused");
    refused(&gateway.ask(&by(Ask::json("/openai/v1/threads", "{}"), 1)).await, 403, "not_allowed");
    refused(&gateway.ask(&by(get("files"), 2)).await, 403, "list_refused");
    refused(&gateway.ask(&by(get("chat/completions"), 2)).await, 403, "list_refused");
    refused(&gateway.ask(&by(get("chat/completions/chatcmpl-1"), 2)).await, 404, "not_found");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pinned_backend_at_its_limit_says_when_it_is_back_while_another_is_idle() {
    let (a, b) = regions().await;
    let gateway = keyed(ladder(&a, &b), NEW).start().await;
    let made = id(&gateway.ask(&response("")).await);
    a.throttle(secs(7));
    let follow = format!(r#","previous_response_id":"{made}""#);
    for (attempt, ask) in [
        response(&follow),
        response(&follow),
        response(&format!("{follow},\"stream\":true")),
        get(&format!("responses/{made}")),
    ]
    .iter()
    .enumerate()
    {
        let answer = gateway.ask(ask).await;
        assert_eq!(answer.status, 429, "{answer}");
        let wait: u64 = answer.header("retry-after-ms").parse().expect("a number");
        assert!((1..=7000).contains(&wait), "{answer}");
        assert_eq!(answer.header("x-should-retry"), "true", "{answer}");
        let record = gateway.record(&ask.id).await;
        assert_eq!(record["pinned"], true, "{record}");
        assert_eq!(record["attempts"].as_array().map(Vec::len), Some(usize::from(attempt == 0)), "{record}");
    }
    assert_eq!(b.requests(), 0, "never a wrong region");
    // What is bound to nothing goes on elsewhere.
    assert_eq!(gateway.ask(&response("")).await.header("x-served-by"), "francecentral/b");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pinned_backend_that_is_down_is_a_503_with_the_time_to_come_back() {
    let (a, b) = regions().await;
    let setup = ladder(&a, &b).pool("ejection: { failures: 1, base: 5s, max: 5s, failure_share: 0%, jitter: 0% }");
    let gateway = keyed(setup, NEW).start().await;
    let made = id(&gateway.ask(&response("")).await);
    a.refuse();
    a.end_connections();
    for _ in 0..3 {
        let answer = gateway.ask(&response(&format!(r#","previous_response_id":"{made}""#))).await;
        refused(&answer, 503, "no_backend_available");
        let wait: u64 = answer.header("retry-after-ms").parse().expect("a number");
        assert!((1000..=5000).contains(&wait), "{answer}");
    }
    assert_eq!(b.requests(), 0, "never a wrong region");
    a.clear();
    harness::eventually("the region is back", secs(20), async || {
        let answer = gateway.ask(&get(&format!("responses/{made}"))).await;
        (answer.status == 200).then_some(())
    })
    .await;
    assert_eq!(b.requests(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_created_fails_over_until_somebody_has_it() {
    let (a, b) = regions().await;
    let gateway = keyed(ladder(&a, &b), NEW).start().await;
    a.status(503);
    let made = id(&gateway.ask(&response("")).await);
    let thread = id(&gateway.ask(&Ask::json("/openai/v1/threads", "{}")).await);
    a.clear();
    let (calls, wanted) = (a.requests(), [format!("responses/{made}"), format!("threads/{thread}")]);
    for path in wanted {
        assert_eq!(gateway.ask(&get(&path)).await.header("x-served-by"), "francecentral/b");
    }
    assert_eq!(a.requests(), calls, "the first of the ladder does not have it");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ids_of_two_regions_in_one_request_are_refused() {
    let (a, b) = regions().await;
    let gateway = keyed(ladder(&a, &b), NEW).start().await;
    let here = id(&gateway.ask(&response("")).await);
    a.throttle(ms(1));
    let there = id(&gateway.ask(&response("")).await);
    let calls = a.requests() + b.requests();
    let both = format!(r#","previous_response_id":"{here}","tools":[{{"vector_store_ids":["{there}"]}}]"#);
    refused(&gateway.ask(&response(&both)).await, 400, "ids_of_two_backends");
    assert_eq!(a.requests() + b.requests(), calls);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keys_rotate_by_reload_and_ids_outlive_a_restart() {
    let (a, b) = regions().await;
    let mut gateway = keyed(ladder(&a, &b), OLD).start().await;
    let old = id(&gateway.ask(&response("")).await);
    let find = async |gateway: &Gateway, id: &str| gateway.ask(&get(&format!("responses/{id}"))).await.status;
    assert!(gateway.apply(keyed(ladder(&a, &b), NEW)).await);
    let new = id(&gateway.ask(&response("")).await);
    assert_eq!((find(&gateway, &old).await, find(&gateway, &new).await), (200, 200));
    let other = keyed(ladder(&a, &b), NEW).start().await;
    assert_eq!((find(&other, &old).await, find(&other, &new).await), (200, 200), "another gateway with these keys");
    assert!(gateway.apply(keyed(ladder(&a, &b), NEW_ALONE)).await);
    assert_eq!((find(&gateway, &old).await, find(&gateway, &new).await), (404, 200));
    assert_eq!(gateway.metrics().await.count("tidegate_stored_ids_total", &[("result", "key")]), 1);
    // Under other names, as long as the resource is there; and gone with it.
    let renamed = keyed(Setup::new().backend("b", &b, "").backend("renamed", &a, ""), NEW_ALONE);
    assert!(gateway.apply(renamed).await);
    assert_eq!(find(&gateway, &new).await, 200);
    assert!(
        gateway
            .apply(
                keyed(Setup::new().backend("b", &b, ""), NEW_ALONE)
                    .top("stateful: { ids: sealed, keys: [ { id: new, secret: { env: ID_KEY_NEW } } ] }")
            )
            .await
    );
    assert_eq!(find(&gateway, &new).await, 404);
    assert_eq!(gateway.metrics().await.count("tidegate_stored_ids_total", &[("result", "gone")]), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_keys_ids_live_as_long_as_the_process_and_the_operator_is_warned() {
    let (a, b) = regions().await;
    let gateway = ladder(&a, &b).start().await;
    gateway.until_log("ids are sealed with a random key").await;
    let made = id(&gateway.ask(&response("")).await);
    assert!(gateway.reload().await);
    assert_eq!(gateway.ask(&get(&format!("responses/{made}"))).await.status, 200, "a reload keeps it");
    let other = ladder(&a, &b).start().await;
    refused(&other.ask(&get(&format!("responses/{made}"))).await, 404, "not_found");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn calls_that_name_no_deployment_find_their_route() {
    let (a, b) = regions().await;
    let pool = format!(
        "  - name: other\n    backends: [ {{ name: c, region: francecentral, url: \"{}\", auth: none }} ]\nroutes:\n",
        b.url()
    );
    let route = |name: &str, pool: &str, more: &str| {
        format!("  - {{ name: {name}, match: {{ deployment: {name} }}, pool: {pool}{more} }}\n")
    };
    let one = Setup::new().backend("a", &a, "");
    let file = || Ask::json("/openai/v1/vector_stores", "{}");
    let two = [pool.clone(), route("gpt", "chat", ""), route("big", "other", "")].concat();
    let mut gateway = keyed(one.clone().more(&two), NEW).start().await;
    refused(&gateway.ask(&file()).await, 404, "route_not_found");
    let made = id(&gateway.ask(&response("")).await);
    assert_eq!(gateway.ask(&get(&format!("responses/{made}"))).await.header("x-served-by"), A, "an id is enough");
    let big = format!(r#"{{"model":"big","input":"x","previous_response_id":"{made}"}}"#);
    refused(&gateway.ask(&Ask::json("/openai/v1/responses", big)).await, 404, "not_found");
    let said = [pool, route("gpt", "chat", ""), route("big", "other", ", stateful: true")].concat();
    assert!(gateway.apply(keyed(one.clone().more(&said), NEW)).await);
    let store = gateway.ask(&file()).await;
    assert_eq!((store.status, store.header("x-served-by")), (200, "francecentral/c"), "{store}");
    let same = ["routes:\n".to_owned(), route("gpt", "chat", ""), route("big", "chat", "")].concat();
    assert!(gateway.apply(keyed(one.more(&same), NEW_ALONE)).await);
    assert_eq!(gateway.ask(&file()).await.header("x-served-by"), A, "all of them lead to one pool");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn backends_of_one_resource_stand_in_for_each_other() {
    let (a, b) = regions().await;
    let setup = ladder(&a, &b).backend("ptu", &a, "priority: 1, weight: 1000, deployment: ptu");
    let gateway = keyed(setup, NEW).start().await;
    let made = id(&gateway.ask(&response("")).await);
    a.fault(tidegate::simulator::FaultRule::preset("503").times(1));
    let ask = response(&format!(r#","previous_response_id":"{made}""#));
    let answer = gateway.ask(&ask).await;
    assert_eq!(answer.status, 200, "{answer}");
    let record = gateway.record(&ask.id).await;
    assert_eq!(record["attempts"].as_array().map(Vec::len), Some(2), "{record}");
    assert_eq!(b.requests(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn unknown_calls_follow_their_ids_or_are_refused() {
    let (a, b) = regions().await;
    let mut gateway = keyed(ladder(&a, &b), NEW).start().await;
    let made = id(&gateway.ask(&response("")).await);
    a.status(503);
    let unknown = |id: &str| Ask::new("GET", &format!("/openai/v1/tides/{id}?of={id}"));
    let answer = gateway.ask(&unknown(&made)).await;
    assert_eq!((answer.status, b.requests()), (503, 0), "{answer}");
    let seen = a.records().pop().expect("a record");
    assert!(!seen.path_and_query.contains("tg1") && seen.path_and_query.contains("/tides/resp_"), "{seen:?}");
    let refuse = NEW.replace("stateful: {", "stateful: { unknown_operations: refuse,");
    assert!(gateway.apply(keyed(ladder(&a, &b), &refuse)).await);
    refused(&gateway.ask(&unknown(&made)).await, 404, "unknown_operation");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sealing_holds_no_stream_back_and_touches_nothing_else() {
    let (a, b) = regions().await;
    let gateway = keyed(ladder(&a, &b), NEW).start().await;
    for proto in Proto::PLAIN {
        let client = gateway.client(proto);
        let ask = response(r#","stream":true"#).header("x-sim-tokens", "5").header("x-sim-chunk-ms", "300");
        let mut opened = client.open(&ask).await;
        let mut pieces = Vec::new();
        let begun = std::time::Instant::now();
        while let Some(piece) = opened.piece().await {
            pieces.push((begun.elapsed(), piece));
        }
        let text: Vec<u8> = pieces.iter().flat_map(|(_, piece)| piece.to_vec()).collect();
        let text = String::from_utf8(text).unwrap();
        assert!(text.contains("\"id\":\"resp_tg1") && !text.contains("\"id\":\"resp_0"), "{text}");
        assert!(pieces.len() >= 5 && pieces.last().is_some_and(|(at, _)| *at >= ms(900)), "{pieces:?}");
        let plain = client.ask(&Ask::chat("gpt")).await;
        assert!(
            !plain.text().contains("tg1") && !plain.header("content-length").is_empty() || proto != Proto::H1,
            "{plain}"
        );
    }
    let whole: Value = gateway.ask(&response("")).await.json();
    assert!(whole["output"][0]["id"].as_str().is_some_and(|id| id.starts_with("msg_tg1")), "{whole}");
}
