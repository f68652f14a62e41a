//! What operators see: admin pages, metrics with closed labels, one access log line per request, a quiet process log.

use crate::common::{A, answer_of, begun, is_ok, ladder, ms, paced, regions, secs, single, stream};
use harness::{Ask, Authority, Gateway, Metrics, Proto, Raw, Setup, Sim, eventually, workspace_file};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use tidegate::simulator::{FaultKind, FaultRule};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_admin_listener_tells_life_readiness_and_version() {
    let (a, b) = regions().await;
    let gateway = ladder(&a, &b).start().await;
    for path in ["/livez", "/readyz", "/version", "/backends", "/metrics"] {
        assert_eq!(gateway.admin(path).await.status, 200, "{path}");
    }
    assert!(gateway.admin("/version").await.text().contains(env!("CARGO_PKG_VERSION")));
    assert_eq!(gateway.admin("/backends").await.header("content-type"), "application/json");
    assert!(gateway.admin("/metrics").await.header("content-type").starts_with("text/plain"));
    assert_eq!(gateway.admin("/no-such-page").await.status, 404);
    // It is no way to the backends.
    assert_eq!(gateway.admin("/openai/v1/models").await.status, 404);
    assert_eq!((a.requests(), b.requests()), (0, 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn readiness_follows_the_required_pools() {
    let (a, b) = regions().await;
    let more = format!(
        "  - name: spare\n    probe: off\n    backends: [ {{ name: c, region: uksouth, url: \"{}\" }} ]\nroutes:\n  \
         - {{ name: main, pool: chat }}\n  - {{ name: side, match: {{ deployment: side }}, pool: spare }}\n",
        b.url()
    );
    let rests = "ejection: { misconfigured: 1500ms }";
    let gateway = single(&a).pool("required: true").pool(rests).more(&more).start().await;
    assert_eq!(gateway.admin("/readyz").await.status, 200);
    b.fault(FaultRule::preset("401_key"));
    assert_eq!(gateway.ask(&Ask::chat("side")).await.status, 502);
    gateway.until_eligible("c", false).await;
    assert_eq!(gateway.admin("/readyz").await.status, 200, "that pool is not required");
    a.throttle(ms(300));
    assert_eq!(gateway.ask(&Ask::chat("gpt")).await.status, 429);
    assert_eq!(gateway.admin("/readyz").await.status, 200, "a 429 with a time is a better answer than no gateway");
    a.clear();
    a.fault(FaultRule::preset("401_key"));
    gateway.until_eligible("a", true).await;
    assert_eq!(gateway.ask(&Ask::chat("gpt")).await.status, 502);
    let answer = gateway.admin("/readyz").await;
    assert_eq!(answer.status, 503, "{answer}");
    assert!(answer.text().contains("chat"), "it names the pool: {answer}");
    assert_eq!(gateway.admin("/livez").await.status, 200);
    eventually("/readyz says 200 again", secs(10), async || {
        (gateway.admin("/readyz").await.status == 200).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn backends_tells_who_is_out_why_and_until_when() {
    let (a, b) = regions().await;
    let gateway = ladder(&a, &b).start().await;
    a.throttle(secs(30));
    // Only times that compare are measured: those of streams.
    is_ok(&gateway.ask(&stream(2, ms(0))).await);
    crate::common::until_idle(&gateway).await;
    let page = gateway.backends().await;
    let text = page.to_string();
    let list = backends(&page);
    let (first, second) = (&list["a"], &list["b"]);
    assert_eq!((first["state"].as_str(), first["why"].as_str()), (Some("resting"), Some("rate_limited")), "{text}");
    let until = first["until_ms"].as_u64().expect("until when");
    assert!((20_000..=33_000).contains(&until), "{until}");
    assert_eq!((second["state"].as_str(), second["region"].as_str()), (Some("in_service"), Some("francecentral")));
    assert!(second["ttfb_ms"].as_f64().expect("a measured latency") > 0.0, "{text}");
    assert_eq!((second["in_flight"].as_u64(), second["priority"].as_u64()), (Some(0), Some(2)));
}

/// All backends of the page by name, wherever on it they stand.
fn backends(page: &serde_json::Value) -> BTreeMap<String, serde_json::Value> {
    let mut found = BTreeMap::new();
    let mut rest = vec![page];
    while let Some(value) = rest.pop() {
        if let Some(name) = value["backend"].as_str() {
            found.insert(name.to_owned(), value.clone());
        }
        rest.extend(value.as_array().into_iter().flatten());
        rest.extend(value.as_object().into_iter().flat_map(|map| map.values()));
    }
    found
}

/// Labels whose values the runbook tells one by one.
const CLOSED: [&str; 4] = ["ending", "outcome", "reason", "result"];

/// Name and labels of every metric in the runbook's table.
fn runbook() -> BTreeMap<String, BTreeSet<String>> {
    let text = std::fs::read_to_string(workspace_file("deploy/README.md")).expect("the runbook");
    let rows = text.lines().filter_map(|line| line.strip_prefix("| `tidegate_"));
    let row = |row: &str| {
        let mut cells = row.split('|').map(str::trim);
        let name = format!("tidegate_{}", cells.next().unwrap().trim_end_matches('`'));
        let labels = cells.nth(1).unwrap().split(',').map(|label| label.trim().trim_matches('`').to_owned());
        (name, labels.filter(|label| label != "–").collect())
    };
    rows.map(row).collect()
}

/// Some of everything: served, failed over, denied, throttled, unreachable, broken, left.
async fn a_bit_of_everything(gateway: &Gateway, a: &Sim, b: &Sim) -> Vec<(Ask, &'static str)> {
    let mut sent = Vec::new();
    let mut ask = async |ask: Ask, ending: &'static str| {
        let _ = gateway.client(Proto::H1).try_ask(&ask).await;
        sent.push((ask, ending));
    };
    ask(Ask::chat("gpt"), "served").await;
    ask(stream(3, ms(1)), "served").await;
    ask(Ask::json("/openai/v1/chat/completions", "{\"model\":"), "denied").await;
    a.fault(FaultRule::preset("400_filter"));
    ask(Ask::chat("gpt"), "content_filtered").await;
    a.clear();
    a.status(400);
    ask(Ask::chat("gpt"), "client_error").await;
    a.clear();
    a.fault(FaultRule::new(FaultKind::ResetAfter { chunks: 4 }));
    ask(stream(9, ms(1)), "broken_late").await;
    ask(answer_of(1 << 20), "broken_late").await;
    a.clear();
    a.status(503);
    ask(Ask::chat("gpt"), "served").await;
    b.status(500);
    ask(Ask::chat("gpt"), "server_error").await;
    a.clear();
    b.clear();
    a.refuse();
    b.refuse();
    ask(Ask::chat("gpt"), "unreachable").await;
    a.clear();
    b.clear();
    for sim in [a, b] {
        sim.fault(FaultRule::new(FaultKind::HangBeforeHeaders { for_ms: None }));
    }
    ask(Ask::chat("gpt"), "timed_out").await;
    a.clear();
    b.clear();
    let left = stream(5000, ms(5));
    drop(begun(gateway.client(Proto::H2c).open(&left).await).await);
    sent.push((left, "client_gone"));
    for sim in [a, b] {
        sim.throttle(secs(30));
    }
    for ending in ["rate_limited", "all_throttled"] {
        let ask = Ask::chat("gpt");
        let _ = gateway.client(Proto::H2c).try_ask(&ask).await;
        sent.push((ask, ending));
    }
    sent
}

fn watched(a: &Sim, b: &Sim) -> Setup {
    ladder(a, b)
        .pool("ejection: { failures: 0, failure_share: 0% }")
        .pool("failover: { deadline: 800ms, first_byte_timeout: 300ms, stream_first_byte_timeout: 300ms }")
}

/// Series that only a listener's certificate or its order, a rule, a policy of the firewall, an odd request, a ceiling, a
/// limit, a price or an issuer of tokens bring about; the tests of each look at them.
const AT_TIMES: [&str; 20] = [
    "tidegate_cost_billionths_total",
    "tidegate_limit_requests_total",
    "tidegate_limit_tokens_total",
    "tidegate_limit_strict_total",
    "tidegate_jwks_fetches_total",
    "tidegate_jwks_last_success_timestamp_seconds",
    "tidegate_jwks_keys",
    "tidegate_identity_tokens_total",
    "tidegate_identity_token_expiry_timestamp_seconds",
    "tidegate_vault_looks_total",
    "tidegate_vault_last_success_timestamp_seconds",
    "tidegate_consumer_requests_total",
    "tidegate_keys_expiring",
    "tidegate_certificate_expiry_timestamp_seconds",
    "tidegate_acme_failures",
    "tidegate_rule_matches_total",
    "tidegate_waf_findings_total",
    "tidegate_framing_flaws_total",
    "tidegate_shed_total",
    "tidegate_connections_cut_off_total",
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_metric_of_the_runbook_is_there_and_no_other() {
    let (a, b) = regions().await;
    let closed = harness::Port::free();
    let setup = watched(&a, &b).pool("probe: { interval: 200ms, timeout: 1s, unhealthy_after: 1 }").backend_at(
        "c",
        "uksouth",
        &format!("http://{}", closed.address()),
        "priority: 3",
    );
    let gateway = setup.start().await;
    a_bit_of_everything(&gateway, &a, &b).await;
    gateway.until_metric("tidegate_health_changes_total", &[("backend", "c")], |count| count > 0.5).await;
    let page = gateway.metrics().await;
    let table = runbook();
    assert!(table.len() > 35, "{} rows", table.len());
    for (name, labels) in &table {
        let histogram = format!("{name}_bucket");
        let (series, hidden) = if page.has(&histogram, &[]) { (&histogram, "le") } else { (name, "") };
        let there = page.has(series, &[]);
        assert!(there || AT_TIMES.contains(&name.as_str()), "{name} is in the runbook and not on the page");
        for (own, _) in page.matching(series, &[]) {
            let own: BTreeSet<String> = own.keys().filter(|label| *label != hidden).cloned().collect();
            assert_eq!(&own, labels, "{name}");
        }
    }
    let text = std::fs::read_to_string(workspace_file("deploy/README.md")).expect("the runbook");
    for name in page.names() {
        for (labels, _) in page.matching(name, &[]) {
            for (label, value) in labels.iter().filter(|(label, _)| CLOSED.contains(&label.as_str())) {
                assert!(text.contains(&format!("`{value}`")), "{name}: {label}={value} is not in the runbook");
            }
        }
        let base = ["_bucket", "_sum", "_count"].iter().find_map(|end| name.strip_suffix(end)).unwrap_or(name);
        assert!(table.contains_key(name) || table.contains_key(base), "{name} is not in the runbook");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn labels_are_closed_sets_whatever_clients_send() {
    let (a, b) = regions().await;
    let gateway = ladder(&a, &b).start().await;
    let asks = |name: &str| {
        [
            Ask::chat(name).header("host", &format!("{name}.example")).header("user-agent", name),
            Ask::v1(name).header("x-ms-client-request-id", name),
            Ask::new("GET", &format!("/{name}/x?{name}=1")),
            Ask::json(&format!("/openai/v1/{name}"), "{}"),
            Ask::json("/openai/v1/chat/completions", format!("{{\"model\":\"{name}\",\"{name}\":")),
            Ask::new(&name.to_uppercase().replace('-', ""), "/openai/v1/models"),
            Ask::json(&format!("/openai/deployments/{name}/{name}?api-version={name}"), "{}"),
        ]
    };
    for ask in asks("zqx-0") {
        gateway.ask(&ask).await;
    }
    let before = series(&gateway.metrics().await);
    for number in 1..20 {
        for ask in asks(&format!("zqx-{number}")) {
            gateway.ask(&ask).await;
        }
    }
    let page = gateway.admin("/metrics").await.text();
    assert!(!page.to_lowercase().contains("zqx"), "{page}");
    assert_eq!(series(&Metrics::parse(&page)), before, "no series was made by what clients sent");
}

fn series(metrics: &Metrics) -> usize {
    metrics.names().count()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_request_has_one_line_with_its_ending() {
    let (a, b) = regions().await;
    let gateway = watched(&a, &b).start().await;
    let sent = a_bit_of_everything(&gateway, &a, &b).await;
    let mut counted = BTreeMap::<&str, u64>::new();
    for (ask, ending) in &sent {
        let record = gateway.record(&ask.id).await;
        assert_eq!(record["ending"], *ending, "{record}");
        *counted.entry(ending).or_default() += 1;
    }
    let lines = gateway.access_log();
    assert_eq!(lines.len(), sent.len(), "one line per request: {lines:#?}");
    let metrics = gateway.metrics().await;
    for (ending, count) in counted {
        assert_eq!(metrics.count("tidegate_requests_total", &[("ending", ending)]), count, "{ending}");
    }
    assert_eq!(metrics.count("tidegate_requests_total", &[]), sent.len() as u64);
    assert_eq!(metrics.count("tidegate_access_log_lines_total", &[]), sent.len() as u64);
    assert_eq!(metrics.count("tidegate_access_log_dropped_total", &[]), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_line_has_every_field_of_the_runbook() {
    let (a, b) = regions().await;
    let gateway = ladder(&a, &b).start().await;
    a.fault(FaultRule::preset("503").times(1));
    let ask = paced(Ask::stream("gpt"), 4, ms(5))
        .header("traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")
        .header("user-agent", "curl/8.1")
        .header("x-stainless-retry-count", "1");
    let answer = gateway.ask(&ask).await;
    is_ok(&answer);
    let record = gateway.record(&ask.id).await;
    let text = std::fs::read_to_string(workspace_file("deploy/README.md")).expect("the runbook");
    let table = text.split("### Access log").nth(1).and_then(|text| text.split("###").next()).expect("its table");
    let rows = table.lines().filter(|line| line.starts_with("| `"));
    let fields: Vec<&str> = rows.flat_map(|row| row.split('|').nth(1).unwrap().split('`').skip(1).step_by(2)).collect();
    assert!(fields.len() > 22, "{fields:?}");
    // These are there only with an answer of ours, a price, a client's certificate, a trusted hop, a rule, a finding, a zone, an
    // alias or a sealed id.
    let at_times = [
        "alias",
        "code",
        "country",
        "processing",
        "residency",
        "pinned",
        "id_flaw",
        "hedge",
        "client_subject",
        "client_fingerprint",
        "consumer",
        "cost",
        "limit",
        "plan",
        "proof",
        "unproven",
        "peer",
        "rules",
        "waf",
    ];
    for field in fields.iter().filter(|field| !at_times.contains(field)) {
        assert!(record.get(*field).is_some_and(|value| !value.is_null()), "{field} in {record}");
    }
    let known: BTreeSet<&str> = fields.iter().copied().collect();
    for field in record.as_object().expect("an object").keys() {
        assert!(known.contains(field.as_str()), "{field} is not in the runbook");
    }
    assert_eq!(
        (&record["trace_id"], &record["user_agent"]),
        (&"0af7651916cd43dd8448eb211c80319c".into(), &"curl/8.1".into())
    );
    assert_eq!((record["listener"].as_str(), record["method"].as_str()), (Some("public"), Some("POST")));
    assert_eq!((record["sdk_retry_count"].as_u64(), record["stream"].as_bool()), (Some(1), Some(true)));
    assert_eq!((&record["operation"], &record["deployment"]), (&"chat_completions".into(), &"gpt".into()));
    assert_eq!(record["bytes_in"].as_u64(), Some(ask.bytes().len() as u64));
    assert_eq!(record["bytes_out"].as_u64(), Some(answer.body.len() as u64));
    let attempts = record["attempts"].as_array().expect("attempts");
    let outcomes: Vec<_> = attempts.iter().map(|attempt| (&attempt["backend"], &attempt["outcome"])).collect();
    assert_eq!(outcomes, [(&"a".into(), &"server_error".into()), (&"b".into(), &"served".into())]);
    assert_eq!((attempts[0]["status"].as_u64(), attempts[0]["region"].as_str()), (Some(503), Some("swedencentral")));
    let (first, total) = (record["first_byte_ms"].as_f64().unwrap(), record["total_ms"].as_f64().unwrap());
    assert!(first > 0.0 && first < total && attempts.iter().all(|attempt| attempt["ms"].is_f64()), "{record}");
    assert_eq!(record["served_by"].as_str(), Some("francecentral/b"));
    assert_ne!(record["served_by"].as_str(), Some(A));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_per_request_is_in_the_process_log() {
    let (a, b) = regions().await;
    let gateway = watched(&a, &b).tls(&Arc::new(Authority::new())).start().await;
    for _ in 0..5 {
        gateway.ask(&Ask::chat("gpt")).await;
    }
    let before = gateway.log().len();
    for number in 0..200 {
        let ask = [Ask::chat("gpt"), stream(3, ms(0)), Ask::json("/openai/v1/chat/completions", "no json")];
        gateway.ask(&ask[number % 3]).await;
    }
    for _ in 0..20 {
        drop(begun(gateway.client(Proto::H1).open(&stream(5000, ms(5))).await).await);
    }
    for _ in 0..20 {
        // No TLS, no HTTP, half a request, and connections to the backend that it closed meanwhile.
        for (address, bytes) in [
            (gateway.secure(), "GET / HTTP/1.1\r\n\r\n"),
            (gateway.secure(), ""),
            (gateway.address(), "\x16\x03\x01 this is no HTTP\r\n\r\n"),
            (gateway.address(), "POST /openai/v1/chat/completions HTTP/1.1\r\nhost: x\r\ncontent-length: 9\r\n\r\n{"),
            (gateway.address(), "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n no frames"),
        ] {
            Raw::connect(address).await.send(bytes).await;
        }
        gateway.ask(&Ask::chat("gpt")).await;
        a.end_connections();
        a.fault(FaultRule::new(FaultKind::ResetBeforeHeaders {}).times(1));
        gateway.ask(&Ask::chat("gpt")).await;
    }
    a.refuse();
    gateway.ask(&Ask::chat("gpt")).await;
    crate::common::until_idle(&gateway).await;
    let log = gateway.log();
    assert_eq!(&log[before..], "", "requests have the access log");
}
