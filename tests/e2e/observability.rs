//! What an operator sees: metrics, readiness, backends, and one line per request.

use crate::common::{A, B, ladder, pair, regions, secs, served_by};
use harness::{Ask, Client, Proto, Setup, Sim};
use std::collections::BTreeSet;
use tidegate::telemetry::table::TABLE;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_request_is_counted_by_route_pool_backend_region_outcome_and_ending() {
    let (a, b) = regions().await;
    let gateway = ladder(&a, &b).start().await;
    gateway.ask(&Ask::chat("gpt")).await;
    a.status(503);
    gateway.ask(&Ask::stream("gpt").sized(10_000)).await;
    gateway.ask(&Ask::json("/openai/v1/chat/completions", "{")).await;
    let last = Ask::chat("gpt");
    gateway.ask(&last).await;
    gateway.record(&last.id).await;
    let metrics = gateway.metrics().await;
    for (name, labels, count) in [
        ("tidegate_requests_total", &[("pool", "chat"), ("ending", "served")][..], 3),
        ("tidegate_requests_total", &[("ending", "denied")], 1),
        ("tidegate_denials_total", &[("code", "bad_json")], 1),
        ("tidegate_responses_total", &[("backend", "a"), ("region", "swedencentral"), ("ending", "served")], 1),
        ("tidegate_responses_total", &[("backend", "b"), ("region", "francecentral"), ("ending", "served")], 2),
        ("tidegate_attempts_total", &[("backend", "a"), ("outcome", "server_error")], 2),
        ("tidegate_attempts_total", &[("outcome", "served")], 3),
        ("tidegate_failovers_total", &[("pool", "chat"), ("reason", "server_error")], 2),
        ("tidegate_request_duration_seconds_count", &[("pool", "chat")], 3),
        ("tidegate_first_byte_duration_seconds_count", &[("backend", "b")], 2),
        ("tidegate_requests_in_flight", &[], 0),
        ("tidegate_backend_attempts_in_flight", &[], 0),
        ("tidegate_streams_open", &[], 0),
        ("tidegate_config_generation", &[], 1),
        ("tidegate_backend_eligible", &[], 2),
        ("tidegate_pool_backends_eligible", &[("pool", "chat")], 2),
        ("tidegate_access_log_dropped_total", &[], 0),
        ("tidegate_draining", &[], 0),
        ("tidegate_build_info", &[], 1),
    ] {
        assert_eq!(metrics.count(name, labels), count, "{name} {labels:?}");
    }
    assert!(metrics.count("tidegate_request_bytes_total", &[]) > 10_000);
    assert!(metrics.count("tidegate_response_bytes_total", &[]) > 100);
    assert!(metrics.sum("tidegate_process_resident_memory_bytes", &[]) > 1e6);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_page_holds_the_table_and_nothing_else() {
    let (a, b) = regions().await;
    let gateway = ladder(&a, &b).start().await;
    gateway.ask(&Ask::chat("gpt")).await;
    let page = gateway.admin("/metrics").await;
    assert!(page.header("content-type").starts_with("text/plain; version=0.0.4"), "{}", page.header("content-type"));
    let types: BTreeSet<String> = page
        .text()
        .lines()
        .filter_map(|line| line.strip_prefix("# TYPE ")?.split(' ').next().map(str::to_owned))
        .collect();
    let table: BTreeSet<String> = TABLE.iter().map(|row| row.name.to_owned()).collect();
    assert!(types.is_subset(&table), "not in the table: {:?}", types.difference(&table).collect::<Vec<_>>());
    assert!(types.len() > 25, "{types:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn probes_are_counted_and_timed() {
    let (a, b) = regions().await;
    let gateway = pair(&a, &b).pool("probe: { path: /openai/v1/models, interval: 200ms, timeout: 1s }").start().await;
    gateway.until_metric("tidegate_probes_total", &[("backend", "a")], |count| count > 2.0).await;
    b.refuse();
    gateway.until_eligible("b", false).await;
    let metrics = gateway.metrics().await;
    assert!(metrics.count("tidegate_probe_duration_seconds_count", &[("backend", "a")]) > 0);
    assert_eq!(metrics.count("tidegate_health_changes_total", &[("backend", "b"), ("to", "unhealthy")]), 1);
    assert!(a.stats().probes > 0 && a.requests() == 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn readiness_asks_for_an_eligible_backend_in_each_required_pool() {
    let (a, b) = regions().await;
    let other = format!(
        "  - name: spare\n    required: false\n    probe: off\n    backends:\n      - {{ name: x, region: uksouth, url: \"{}\" }}\n\
         routes:\n  - {{ name: chat, pool: chat }}\n",
        b.url()
    );
    let gateway = Setup::new()
        .pool("required: true")
        .pool("selection: { fail_open: false }")
        .pool("probe: { tcp: {}, interval: 200ms, timeout: 200ms, unhealthy_after: 1, healthy_after: 1 }")
        .backend("a", &a, "")
        .more(&other)
        .start()
        .await;
    assert_eq!(gateway.admin("/readyz").await.status, 200);
    a.refuse();
    gateway.until_eligible("a", false).await;
    let answer = gateway.admin("/readyz").await;
    assert!(answer.status == 503 && answer.text().contains("chat"), "{answer}");
    assert_eq!(gateway.admin("/livez").await.status, 200, "alive all the same");
    a.clear();
    gateway.until_eligible("a", true).await;
    assert_eq!(gateway.admin("/readyz").await.status, 200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn backends_tells_state_reason_and_until_when() {
    let (a, b) = regions().await;
    let gateway = ladder(&a, &b).start().await;
    a.throttle(secs(30));
    served_by(&gateway.ask(&Ask::chat("gpt")).await, B);
    let state = gateway.backends().await;
    let text = state.to_string();
    for word in ["\"a\"", "\"b\"", "swedencentral", "francecentral", "rate_limited", "resting"] {
        assert!(text.contains(word), "{word} is not in {state:#}");
    }
    assert_eq!(gateway.admin("/nothing").await.status, 404);
    let resting = gateway.metrics().await.sum("tidegate_backend_resting_seconds", &[("backend", "a")]);
    assert!((20.0..40.0).contains(&resting), "{resting}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_access_log_tells_the_whole_story_of_a_request() {
    let (a, b) = regions().await;
    let gateway = ladder(&a, &b).start().await;
    a.status(503);
    let ask = Ask::v1_stream("gpt").header("user-agent", "story/1").header("x-stainless-retry-count", "0");
    let answer = gateway.client(Proto::H2c).ask(&ask).await;
    served_by(&answer, B);
    let record = gateway.record(&ask.id).await;
    for (key, value) in [
        ("listener", "public"),
        ("protocol", "HTTP/2"),
        ("method", "POST"),
        ("path", "/openai/v1/chat/completions"),
        ("pool", "chat"),
        ("operation", "chat_completions"),
        ("deployment", "gpt"),
        ("ending", "served"),
        ("served_by", B),
        ("user_agent", "story/1"),
    ] {
        assert_eq!(record[key], value, "{key} in {record:#}");
    }
    assert_eq!((record["status"].as_u64(), record["stream"].as_bool()), (Some(200), Some(true)), "{record:#}");
    assert_eq!(record["generation"], 1);
    assert_eq!(record["bytes_in"].as_u64(), Some(ask.bytes().len() as u64));
    assert_eq!(record["bytes_out"].as_u64(), Some(answer.body.len() as u64));
    let attempts = record["attempts"].as_array().unwrap();
    assert_eq!(attempts.len(), 2, "{record:#}");
    assert_eq!((&attempts[0]["outcome"], &attempts[0]["status"]), (&"server_error".into(), &503.into()));
    assert_eq!((&attempts[1]["backend"], &attempts[1]["region"]), (&"b".into(), &"francecentral".into()));
    let (first, total) = (record["first_byte_ms"].as_f64().unwrap(), record["total_ms"].as_f64().unwrap());
    assert!(first > 0.0 && total >= first, "{record:#}");
    let text = std::fs::read_to_string(gateway.file("access.jsonl")).unwrap();
    assert!(!text.contains("content") && !text.contains("token1"), "no prompt and no answer: {text}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_line_per_request_whatever_became_of_it() {
    let (a, b) = regions().await;
    let gateway = ladder(&a, &b).start().await;
    let mut ids = BTreeSet::new();
    for number in 0..60 {
        let ask = match number % 4 {
            0 => Ask::chat("gpt"),
            1 => Ask::stream("gpt"),
            2 => Ask::json("/openai/v1/chat/completions", "nonsense"),
            _ => Ask::new("GET", "/openai/v1/responses/resp_none"),
        };
        gateway.ask(&ask).await;
        ids.insert(ask.id);
    }
    for id in &ids {
        gateway.record(id).await;
    }
    let logged: Vec<String> =
        gateway.access_log().iter().map(|record| record["request_id"].as_str().unwrap().to_owned()).collect();
    assert_eq!(logged.len(), 60);
    assert_eq!(logged.iter().cloned().collect::<BTreeSet<_>>(), ids);
    let lines = gateway.metrics().await.count("tidegate_access_log_lines_total", &[]);
    assert_eq!(lines, 60);
    assert!(gateway.log().lines().count() < 20, "nothing per request in the process log:\n{}", gateway.log());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_admin_listener_is_its_own() {
    let a = Sim::start("swedencentral").await;
    let gateway = Setup::new().backend("a", &a, "").start().await;
    let public = Client::new(gateway.address(), Proto::H1);
    for path in ["/metrics", "/readyz", "/livez", "/backends"] {
        let answer = public.ask(&Ask::new("GET", path)).await;
        assert!(answer.status == 404 && !answer.text().contains("tidegate_"), "{path} {answer}");
    }
    assert_eq!(gateway.admin("/openai/v1/models").await.status, 404);
    assert!(a.records().iter().all(|record| record.path_and_query != "/metrics") || a.requests() == 4);
    served_by(&gateway.ask(&Ask::chat("gpt")).await, A);
}
