//! When there is no backend left the client is told the truth: which, how long, and whether to come back.

use crate::common::{A, ladder, ms, pair, regions, secs, served_by};
use harness::{Answer, Ask, BlackHole, Gateway, Load, Proto, Raw, Setup, Sim, Wire};
use tidegate::simulator::{FaultKind, FaultRule, StatusFault};

/// Waits of the answer, in milliseconds, which agree with each other.
fn waits(answer: &Answer) -> u64 {
    let millis: u64 = answer.header("retry-after-ms").parse().unwrap_or_else(|_| panic!("no retry-after-ms: {answer}"));
    let seconds: u64 = answer.header("retry-after").parse().unwrap_or_else(|_| panic!("no retry-after: {answer}"));
    assert_eq!(seconds, millis.div_ceil(1000).max(1), "{answer}");
    millis
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn when_all_are_throttled_the_soonest_return_is_told_and_nobody_is_asked() {
    let sims = [Sim::start("swedencentral").await, Sim::start("francecentral").await, Sim::start("uksouth").await];
    let gateway = Setup::new()
        .pool("ejection: { jitter: 0% }")
        .backend("a", &sims[0], "")
        .backend("b", &sims[1], "")
        .backend("c", &sims[2], "")
        .start()
        .await;
    for (sim, wait) in sims.iter().zip([9, 3, 7]) {
        sim.throttle(secs(wait));
    }
    let first = gateway.ask(&Ask::chat("gpt")).await;
    assert_eq!(first.status, 429, "{first}");
    assert!((2000..=3000).contains(&waits(&first)), "{first}");
    for proto in Proto::PLAIN {
        for ask in [Ask::chat("gpt"), Ask::stream("gpt")] {
            let answer = gateway.client(proto).ask(&ask).await;
            assert_eq!((answer.status, answer.code().as_str()), (429, "all_backends_throttled"), "{answer}");
            assert_eq!(answer.json()["error"]["type"], "rate_limit_error");
            assert!((1000..=3000).contains(&waits(&answer)), "{answer}");
            assert_eq!(answer.header("x-should-retry"), "true", "one is soon back");
            assert_eq!(gateway.record(&ask.id).await["ending"], "all_throttled");
        }
    }
    assert!(sims.iter().all(|sim| sim.requests() == 1), "no upstream call while all rest");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn when_none_is_soon_back_the_sdk_is_told_not_to_retry() {
    let (a, b) = regions().await;
    let gateway = pair(&a, &b).start().await;
    a.throttle(secs(60));
    b.throttle(secs(40));
    for _ in 0..2 {
        let answer = gateway.ask(&Ask::chat("gpt")).await;
        assert_eq!((answer.status, answer.header("x-should-retry")), (429, "false"), "{answer}");
        assert!((39_000..=44_000).contains(&waits(&answer)), "{answer}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_client_that_waits_as_told_is_served() {
    let (a, b) = regions().await;
    let gateway = pair(&a, &b).start().await;
    a.throttle(ms(700));
    b.throttle(secs(60));
    let answer = gateway.ask(&Ask::chat("gpt")).await;
    assert_eq!(answer.status, 429);
    a.clear();
    tokio::time::sleep(ms(waits(&answer))).await;
    served_by(&gateway.ask(&Ask::chat("gpt")).await, A);
}

/// Asks over one connection until it ends, at most `most` times; every answer must be `status`, and the connection ends
/// only where the answer said so.
async fn one_connection(gateway: &Gateway, size: usize, status: u16, most: usize) -> usize {
    let mut raw = Raw::connect(gateway.address()).await;
    for count in 0..most {
        let body = Ask::chat("gpt").sized(size).bytes();
        let length = body.len();
        raw.send(format!("POST /openai/v1/chat/completions HTTP/1.1\r\nhost: x\r\ncontent-length: {length}\r\n\r\n"))
            .await;
        raw.send(body).await;
        let answer = raw.answer().await;
        assert_eq!(answer.status, status, "request {count} of {size} bytes: {answer:?}");
        if answer.header("connection").eq_ignore_ascii_case("close") {
            assert!(raw.ends_within(secs(3)).await, "the answer said so");
            return count + 1;
        }
    }
    most
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_is_kept_or_said_to_be_closed() {
    let (a, b) = regions().await;
    let gateway = ladder(&a, &b).start().await;
    a.refuse();
    b.refuse();
    for size in [200, 20_000, 200_000] {
        one_connection(&gateway, size, 502, 3).await;
    }
    a.clear();
    b.clear();
    a.throttle(secs(60));
    b.throttle(secs(60));
    gateway.ask(&Ask::chat("gpt")).await;
    for size in [200, 20_000, 200_000] {
        assert_eq!(one_connection(&gateway, size, 429, 20).await, 20, "our own 429 keeps the connection");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn while_every_backend_is_on_trial_after_a_429_the_others_are_told_429() {
    let (a, b) = regions().await;
    let gateway = pair(&a, &b).start().await;
    for sim in [&a, &b] {
        let slow = StatusFault { delay_ms: Some(400), ..StatusFault::preset("429_tokens").retry_after_ms(300) };
        sim.fault(FaultRule::new(FaultKind::Status(slow)));
    }
    assert_eq!(gateway.ask(&Ask::chat("gpt")).await.status, 429);
    let report = Load::new(gateway.client(Proto::H1).keeping(), 50, secs(3), &[Ask::chat("gpt")]).run().await;
    let other: Vec<_> = report.shots.iter().filter(|s| s.status != 429 || s.retry_after_ms.is_none()).collect();
    assert!(other.is_empty(), "{other:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_throttled_and_one_broken_backend_is_a_429() {
    let (a, b) = regions().await;
    let gateway = ladder(&a, &b).start().await;
    a.throttle(secs(5));
    b.refuse();
    let answer = gateway.ask(&Ask::chat("gpt")).await;
    assert_eq!(answer.status, 429, "{answer}");
    assert!((4000..=5500).contains(&waits(&answer)), "{answer}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn when_nothing_can_be_reached_the_client_gets_502_with_retry_after() {
    let (a, b) = regions().await;
    let gateway = ladder(&a, &b).start().await;
    a.refuse();
    b.refuse();
    for proto in Proto::PLAIN {
        for ask in [Ask::chat("gpt"), Ask::stream("gpt")] {
            let answer = gateway.client(proto).ask(&ask).await;
            assert_eq!((answer.status, answer.code().as_str()), (502, "backend_unreachable"), "{answer}");
            assert!(waits(&answer) > 0);
            assert_eq!(gateway.record(&ask.id).await["ending"], "unreachable");
        }
    }
    for fault in [FaultKind::ResetBeforeHeaders {}, FaultKind::CloseBeforeHeaders {}] {
        for sim in [&a, &b] {
            sim.clear();
            sim.fault(FaultRule::new(fault.clone()));
        }
        let answer = gateway.ask(&Ask::chat("gpt")).await;
        assert_eq!((answer.status, answer.code().as_str()), (502, "backend_unreachable"), "{answer}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn when_no_backend_is_eligible_the_client_gets_503_with_retry_after() {
    let (a, b) = regions().await;
    a.refuse();
    b.refuse();
    let gateway = pair(&a, &b)
        .pool("selection: { fail_open: false }")
        .pool("probe: { tcp: {}, interval: 200ms, timeout: 100ms, unhealthy_after: 1, healthy_after: 1 }")
        .unready()
        .start()
        .await;
    gateway.until_metric("tidegate_pool_backends_eligible", &[], |count| count < 0.5).await;
    let ask = Ask::chat("gpt");
    let answer = gateway.ask(&ask).await;
    assert_eq!((answer.status, answer.code().as_str()), (503, "no_backend_available"), "{answer}");
    assert!(waits(&answer) > 0);
    assert_eq!(gateway.record(&ask.id).await["ending"], "unreachable");
    // They come back by their probes.
    a.clear();
    b.clear();
    gateway.until_metric("tidegate_pool_backends_eligible", &[], |count| count > 1.5).await;
    assert_eq!(gateway.ask(&Ask::chat("gpt")).await.status, 200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn when_every_probe_fails_the_pool_is_used_all_the_same() {
    let (a, b) = regions().await;
    for sim in [&a, &b] {
        sim.fault(FaultRule::preset("500").operation("models"));
    }
    let gateway = pair(&a, &b)
        .pool("probe: { path: /openai/v1/models, interval: 200ms, timeout: 1s, unhealthy_after: 1 }")
        .unready()
        .start()
        .await;
    gateway.until_metric("tidegate_health_changes_total", &[("to", "unhealthy")], |count| count > 1.5).await;
    for _ in 0..10 {
        assert_eq!(gateway.ask(&Ask::chat("gpt")).await.status, 200, "the probe is the likelier suspect");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_probe_that_fails_takes_its_backend_out() {
    let (a, b) = regions().await;
    let gateway = ladder(&a, &b)
        .pool("probe: { path: /openai/v1/models, interval: 200ms, timeout: 1s, unhealthy_after: 2, healthy_after: 2 }")
        .start()
        .await;
    served_by(&gateway.ask(&Ask::chat("gpt")).await, A);
    a.fault(FaultRule::preset("503").operation("models"));
    gateway.until_eligible("a", false).await;
    let before = a.requests();
    for _ in 0..10 {
        served_by(&gateway.ask(&Ask::chat("gpt")).await, "francecentral/b");
    }
    assert_eq!(a.requests(), before);
    // 401 and 429 prove it alive.
    a.clear();
    a.fault(FaultRule::preset("401_key").operation("models"));
    gateway.until_eligible("a", true).await;
    served_by(&gateway.ask(&Ask::chat("gpt")).await, A);
}

/// A pool in which everything is dead sees at most 1.2 times what its clients send, and the minimum.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn load_a_dead_pool_sees_at_most_1_2_times_the_requests() {
    let sims = [Sim::start("swedencentral").await, Sim::start("francecentral").await, Sim::start("uksouth").await];
    let gateway = Setup::new()
        .pool("failover: { attempts_max: 3, budget: 20%, budget_min: 3 }")
        .pool("ejection: { failures: 0, failure_share: 0% }")
        .backend("a", &sims[0], "")
        .backend("b", &sims[1], "")
        .backend("c", &sims[2], "")
        .start()
        .await;
    sims.iter().for_each(|sim| sim.status(503));
    let (rate, seconds) = (100, 8);
    let report = Load::new(gateway.client(Proto::H1).keeping(), rate, secs(seconds), &[Ask::chat("gpt")]).run().await;
    let sent = report.shots.len() as u64;
    let attempts: u64 = sims.iter().map(Sim::requests).sum();
    let allowed = sent + sent / 5 + 3 * (seconds + 1);
    assert!(attempts >= sent && attempts <= allowed, "{attempts} attempts for {sent} requests\n{report}");
    assert!(report.shots.iter().all(|shot| shot.status == 503), "{report}");
    assert!(gateway.metrics().await.count("tidegate_failover_budget_refusals_total", &[]) > 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn failovers_that_are_served_cost_no_budget() {
    let (a, b) = regions().await;
    let gateway = ladder(&a, &b).pool("failover: { budget: 20%, budget_min: 3 }").start().await;
    a.status(503);
    for _ in 0..100 {
        served_by(&gateway.ask(&Ask::chat("gpt")).await, "francecentral/b");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_relayed_last_answer_tells_the_sdk_not_to_repeat_what_was_repeated() {
    let (a, b) = regions().await;
    let gateway = ladder(&a, &b).start().await;
    a.status(500);
    b.status(500);
    let answer = gateway.ask(&Ask::chat("gpt")).await;
    assert_eq!((answer.status, answer.header("x-should-retry")), (500, "false"), "{answer}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn dead_ends_of_every_kind_are_answered_in_openai_shape() {
    let hole = BlackHole::open().await;
    let closed = Wire::serve(|stream| async move { drop(stream) }).await;
    for url in [hole.url(), closed.url(), "http://127.0.0.1:1".to_owned()] {
        let gateway = Setup::new()
            .pool("timeouts: { connect: 300ms, handshake: 500ms }")
            .backend_at("a", "swedencentral", &url, "")
            .start()
            .await;
        let answer = gateway.ask(&Ask::chat("gpt")).await;
        assert_eq!((answer.status, answer.code().as_str()), (502, "backend_unreachable"), "{url} {answer}");
        assert!(!answer.text().contains("127.0.0.1"), "no address in the message: {answer}");
    }
}
