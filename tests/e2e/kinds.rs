//! What a 429, a 5xx or a refused prompt is about, where only its body tells, and what follows from it.

use crate::common::{A, B, ladder, regions, secs, served_by};
use harness::{Ask, Gateway, Proto, Setup, Sim, Wire};
use tidegate::simulator::{FaultKind, FaultRule, StatusFault};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// The preset's answer, without the headers that would tell.
fn bare(preset: &str) -> FaultRule {
    let headers = ["retry-after", "retry-after-ms"].map(|name| (name.to_owned(), String::new())).into();
    FaultRule::new(FaultKind::Status(StatusFault { headers, ..StatusFault::preset(preset) }))
}

/// Seconds until the backend may come back.
async fn rests(gateway: &Gateway, name: &str) -> f64 {
    let report = gateway.backends().await;
    let all = report["backends"].as_array().unwrap();
    let own = all.iter().find(|one| one["backend"] == name).unwrap();
    own["until_ms"].as_f64().map_or(0.0, |millis| millis / 1000.0)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_429_whose_body_alone_tells_rests_by_its_kind() {
    let (a, b) = regions().await;
    let times = "ejection: { jitter: 0%, advised_default: 30s, day_quota: 5m }";
    for (preset, kind, rest) in [
        ("429_tokens", "token_rate", 60.0),
        ("429_new", "token_rate", 45.0),
        ("429_requests", "call_rate", 9.0),
        ("429_day", "day_quota", 300.0),
        ("429_insufficient_quota", "day_quota", 300.0),
        ("429_capacity", "capacity", 30.0),
        ("429_ptu", "provisioned", 1.0),
    ] {
        let gateway = ladder(&a, &b).pool(times).start().await;
        a.clear();
        a.fault(bare(preset));
        let proto = if rest > 50.0 { Proto::H2c } else { Proto::H1 };
        let ask = Ask::chat("gpt");
        served_by(&gateway.client(proto).ask(&ask).await, B);
        let left = rests(&gateway, "a").await;
        assert!(left <= rest && left > rest - 1.0 - rest / 100.0, "{preset}: {left}");
        let record = gateway.record(&ask.id).await;
        let attempt = &record["attempts"][0];
        assert_eq!((&attempt["throttle"], &attempt["outcome"]), (&kind.into(), &"rate_limited".into()), "{preset}");
        let metrics = gateway.metrics().await;
        assert_eq!(metrics.count("tidegate_throttles_total", &[("backend", "a"), ("kind", kind)]), 1, "{preset}");
        assert_eq!(metrics.count("tidegate_throttles_total", &[]), 1, "{preset}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_429_that_nobody_makes_up_for_is_relayed_as_received_and_rests_by_its_kind() {
    let a = Sim::start("swedencentral").await;
    let times = "ejection: { jitter: 0%, advised_default: 30s, day_quota: 5m }";
    for (preset, kind, rest) in [
        ("429_tokens", "token_rate", 60.0),
        ("429_requests", "call_rate", 9.0),
        ("429_day", "day_quota", 300.0),
        ("429_capacity", "capacity", 30.0),
        ("429_ptu", "provisioned", 1.0),
    ] {
        let gateway = Setup::new().pool(times).backend("a", &a, "").start().await;
        a.clear();
        a.fault(bare(preset));
        let ask = Ask::chat("gpt");
        let proto = if rest > 50.0 { Proto::H2c } else { Proto::H1 };
        let answer = gateway.client(proto).ask(&ask).await;
        assert_eq!((answer.status, answer.header("x-served-by")), (429, A), "{answer}");
        assert!(answer.json()["error"]["message"].is_string(), "{answer}");
        let left = rests(&gateway, "a").await;
        assert!(left <= rest && left > rest - 1.0 - rest / 100.0, "{preset}: {left}");
        let record = gateway.record(&ask.id).await;
        let attempt = &record["attempts"][0];
        assert_eq!((&attempt["throttle"], &attempt["outcome"]), (&kind.into(), &"rate_limited".into()), "{record}");
        let metrics = gateway.metrics().await;
        assert_eq!(metrics.count("tidegate_throttles_total", &[("backend", "a"), ("kind", kind)]), 1, "{preset}");
        assert_eq!(metrics.count("tidegate_throttles_total", &[]), 1, "{preset}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_500_that_is_relayed_is_counted_by_what_its_body_says() {
    let a = Sim::start("swedencentral").await;
    let overloaded = StatusFault { status: Some(500), ..StatusFault::preset("overload") };
    for (fault, kind) in [(StatusFault::preset("500"), "internal"), (overloaded, "overloaded")] {
        let gateway = Setup::new().backend("a", &a, "").start().await;
        a.clear();
        a.fault(FaultRule::new(FaultKind::Status(fault)));
        let ask = Ask::chat("gpt");
        assert_eq!(gateway.ask(&ask).await.status, 500);
        assert_eq!(gateway.record(&ask.id).await["attempts"][0]["failure"], kind);
        let metrics = gateway.metrics().await;
        assert_eq!(metrics.count("tidegate_server_errors_total", &[("backend", "a"), ("kind", kind)]), 1, "{kind}");
        assert_eq!(metrics.count("tidegate_server_errors_total", &[]), 1, "{kind}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_relayed_429_waits_for_no_body_and_rests_before_it_is_known() {
    let body =
        r#"{"error":{"code":"429","message":"You have exceeded token rate limit. Please retry after 60 seconds."}}"#;
    let wire = Wire::serve(move |mut connection| async move {
        let mut request = Vec::new();
        while !request.ends_with(b"}") {
            if !connection.read_buf(&mut request).await.is_ok_and(|length| length > 0) {
                return;
            }
        }
        let (half, rest) = body.split_at(20);
        let length = body.len();
        let head = "HTTP/1.1 429 Too Many Requests\r\ncontent-type: application/json\r\ncontent-length: ";
        let _ = connection.write_all(format!("{head}{length}\r\n\r\n{half}").as_bytes()).await;
        tokio::time::sleep(secs(1)).await;
        let _ = connection.write_all(rest.as_bytes()).await;
        tokio::time::sleep(secs(5)).await;
    })
    .await;
    for leaves in [true, false] {
        let setup = Setup::new().pool("ejection: { jitter: 0%, advised_default: 20s }");
        let gateway = setup.backend_at("a", "swedencentral", &wire.url(), "").start().await;
        let ask = Ask::chat("gpt");
        let opened = gateway.client(Proto::H2c).open(&ask).await;
        assert!(opened.head < secs(1) - secs(1) / 4, "{:?}", opened.head);
        if leaves {
            let left = rests(&gateway, "a").await;
            assert!((18.0..=20.0).contains(&left), "{left}");
            drop(opened);
        } else {
            assert_eq!(opened.read().await.text(), body);
            let left = rests(&gateway, "a").await;
            assert!((56.0..=60.0).contains(&left), "{left}");
        }
        let kind = if leaves { "capacity" } else { "token_rate" };
        assert_eq!(gateway.record(&ask.id).await["attempts"][0]["throttle"], kind);
        let metrics = gateway.metrics().await;
        assert_eq!(metrics.count("tidegate_throttles_total", &[("kind", kind)]), 1, "{kind}");
        assert_eq!(metrics.count("tidegate_throttles_total", &[]), 1, "{kind}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_region_that_is_short_is_taken_last_for_a_while() {
    let (a, b) = regions().await;
    let beside = Sim::start("swedencentral").await;
    for streams in [false, true] {
        let gateway = Setup::new()
            .pool("selection: { explore: 0%, slow_start: 0s, latency_band: 10s }")
            .pool(
                "ejection: { jitter: 0%, advised_default: 30s, capacity_region: 30s, failures: 0, failure_share: 0% }",
            )
            .backend("a", &a, "priority: 1")
            .backend("beside", &beside, "priority: 2")
            .backend("b", &b, "priority: 3")
            .start()
            .await;
        a.clear();
        beside.reset();
        let preset = "no_capacity".to_owned();
        a.fault(if streams {
            FaultRule::new(FaultKind::ErrorInStream { after_chunks: 1, preset })
        } else {
            bare("429_capacity")
        });
        let ask = || if streams { Ask::stream("gpt") } else { Ask::chat("gpt") };
        for _ in 0..10 {
            served_by(&gateway.ask(&ask()).await, B);
        }
        assert_eq!(beside.requests(), 0, "its region is short");
        // Nobody is refused for it.
        b.refuse();
        served_by(&gateway.ask(&ask()).await, "swedencentral/beside");
        b.clear();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn failures_are_told_apart() {
    let (a, b) = regions().await;
    let overloaded = StatusFault { status: Some(500), ..StatusFault::preset("overload") };
    for (fault, kind) in [
        (StatusFault::preset("500"), "internal"),
        (overloaded, "overloaded"),
        (StatusFault::preset("503"), "overloaded"),
        (StatusFault::preset("502_html"), "gateway"),
        (StatusFault::preset("408"), "timeout"),
    ] {
        let gateway = ladder(&a, &b).start().await;
        a.clear();
        a.fault(FaultRule::new(FaultKind::Status(fault)));
        let ask = Ask::chat("gpt");
        served_by(&gateway.ask(&ask).await, B);
        let record = gateway.record(&ask.id).await;
        let attempt = &record["attempts"][0];
        assert_eq!((&attempt["outcome"], &attempt["failure"]), (&"server_error".into(), &kind.into()), "{record}");
        assert!(attempt.get("throttle").is_none() && record["attempts"][1].get("failure").is_none(), "{record}");
        let metrics = gateway.metrics().await;
        assert_eq!(metrics.count("tidegate_server_errors_total", &[("backend", "a"), ("kind", kind)]), 1, "{kind}");
        assert_eq!(metrics.count("tidegate_server_errors_total", &[]), 1, "{kind}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_prompt_that_the_content_filter_refuses_is_the_clients() {
    let (a, b) = regions().await;
    let gateway = ladder(&a, &b).pool("ejection: { failures: 1, jitter: 0% }").start().await;
    a.fault(FaultRule::preset("400_filter"));
    let ask = Ask::chat("gpt");
    let answer = gateway.ask(&ask).await;
    assert_eq!((answer.status, answer.code().as_str(), answer.header("x-served-by")), (400, "content_filter", A));
    let record = gateway.record(&ask.id).await;
    let filtered = "content_filtered";
    assert_eq!(
        (&record["ending"], &record["attempts"][0]["outcome"]),
        (&filtered.into(), &filtered.into()),
        "{record}"
    );
    // Another mistake is another ending.
    a.clear();
    a.status(400);
    let other = Ask::chat("gpt");
    assert_eq!(gateway.ask(&other).await.status, 400);
    assert_eq!(gateway.record(&other.id).await["ending"], "client_error");
    let metrics = gateway.metrics().await;
    assert_eq!(metrics.count("tidegate_requests_total", &[("ending", filtered)]), 1);
    assert_eq!(metrics.count("tidegate_ejections_total", &[]), 0);
    assert_eq!(b.requests(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_body_that_does_not_come_is_not_waited_for() {
    let wire = Wire::serve(async |mut connection| {
        let mut request = Vec::new();
        while !request.ends_with(b"}") {
            if !connection.read_buf(&mut request).await.is_ok_and(|length| length > 0) {
                return;
            }
        }
        let head = b"HTTP/1.1 429 Too Many Requests\r\ncontent-type: application/json\r\ncontent-length: 99\r\n\r\n{";
        if connection.write_all(head).await.is_ok() {
            tokio::time::sleep(secs(20)).await;
        }
    })
    .await;
    let b = Sim::start("francecentral").await;
    let setup = Setup::new().backend_at("a", "swedencentral", &wire.url(), "priority: 1");
    let gateway = setup.backend("b", &b, "priority: 2").start().await;
    let ask = Ask::chat("gpt");
    let begin = std::time::Instant::now();
    served_by(&gateway.ask(&ask).await, B);
    assert!(begin.elapsed() < secs(2), "{:?}", begin.elapsed());
}
