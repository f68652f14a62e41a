//! Who is left alone, for how long, and how it comes back.

use crate::common::{A, B, ladder, ms, pair, regions, secs, served_by};
use harness::{Ask, Gateway, Load, Proto, Setup, Sim, eventually};
use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};
use tidegate::simulator::{FaultKind, FaultRule, StatusFault};

/// A 429 with exactly these headers and no other advice.
fn throttle_by(headers: &[(&str, &str)]) -> FaultRule {
    let mut set: BTreeMap<String, String> = BTreeMap::new();
    for name in ["retry-after", "retry-after-ms", "x-ratelimit-reset-requests", "x-ratelimit-reset-tokens"] {
        set.insert(name.to_owned(), String::new());
    }
    set.extend(headers.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())));
    // A body that tells nothing: the headers alone do.
    let body = Some("{\"error\":{\"code\":\"429\"}}".to_owned());
    FaultRule::new(FaultKind::Status(StatusFault { headers: set, body, ..StatusFault::preset("429_requests") }))
}

/// Puts 30 requests a second on until `a` was hit twice; gives the time between the two hits.
async fn rest_of_a(gateway: &Gateway, a: &Sim, limit: Duration) -> Duration {
    let load = Load::new(gateway.client(Proto::H1).keeping(), 30, limit, &[Ask::chat("gpt"), Ask::stream("gpt")]);
    let run = load.start();
    eventually("the second hit of a", limit, async || (a.requests() >= 2).then_some(())).await;
    let report = run.stop().await;
    assert!(report.failed().is_empty(), "no client sees a 429 while b has room\n{report}");
    let calls = a.stats().calls_ms;
    ms(calls[1] - calls[0])
}

/// The rest after a 429 with these headers, in milliseconds, lies in this range.
async fn rests(headers: &[(&str, &str)], ejection: &str, low: u64, high: u64) {
    let (a, b) = regions().await;
    let gateway = ladder(&a, &b).pool(ejection).start().await;
    a.fault(throttle_by(headers));
    let rest = rest_of_a(&gateway, &a, secs(8)).await;
    assert!(rest >= ms(low) && rest <= ms(high), "{headers:?}: {rest:?}");
    let metrics = gateway.metrics().await;
    assert!(metrics.count("tidegate_ejections_total", &[("backend", "a"), ("reason", "rate_limited")]) >= 1);
}

const PLAIN: &str = "ejection: { failures: 2, jitter: 0%, advised_default: 1s, advised_max: 3s }";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn load_rate_limited_backend_rests_until_retry_after_in_milliseconds() {
    rests(&[("retry-after-ms", "1200"), ("retry-after", "2")], PLAIN, 1200, 1600).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn load_rate_limited_backend_that_contradicts_itself_rests_as_long_as_it_says() {
    rests(&[("retry-after-ms", "100"), ("retry-after", "2")], PLAIN, 2000, 2400).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn load_rate_limited_backend_rests_until_retry_after_in_seconds() {
    rests(&[("retry-after", "2"), ("x-ratelimit-reset-requests", "1")], PLAIN, 2000, 2400).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn load_rate_limited_backend_rests_until_retry_after_as_a_float() {
    rests(&[("retry-after", "1.5")], PLAIN, 1500, 1900).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn load_rate_limited_backend_rests_until_retry_after_as_a_date() {
    let date = http_date(SystemTime::now() + secs(4));
    let ejection = "ejection: { failures: 2, jitter: 0%, advised_max: 20s }";
    rests(&[("retry-after", &date)], ejection, 1000, 5000).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn load_rate_limited_backend_rests_until_its_request_window_resets() {
    rests(&[("x-ratelimit-reset-requests", "2")], PLAIN, 2000, 2400).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn load_rate_limited_backend_rests_until_its_token_window_resets_in_either_spelling() {
    rests(&[("x-ratelimit-reset-tokens", "1s")], PLAIN, 1000, 1400).await;
    rests(&[("x-rate-limit-reset-tokens", "1")], PLAIN, 1000, 1400).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn load_rate_limited_backend_without_readable_advice_rests_the_default() {
    rests(&[], PLAIN, 1000, 1400).await;
    rests(&[("retry-after", "soon"), ("retry-after-ms", "-5")], PLAIN, 1000, 1400).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn load_absurd_advice_is_capped() {
    rests(&[("retry-after", "86400")], PLAIN, 3000, 3500).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rest_is_shared_by_all_threads_and_ends_with_one_trial() {
    let (a, b) = regions().await;
    let threads = "process: { threads: 4, pre_drain: 0s, drain: 5s, upgrade_socket: {dir}/upgrade/upgrade.sock }";
    let gateway = ladder(&a, &b).top(threads).start().await;
    a.throttle(ms(1500));
    served_by(&gateway.ask(&Ask::chat("gpt")).await, B);
    burst(&gateway, 40).await;
    assert_eq!(a.requests(), 1, "no thread asks a resting backend");
    // Back after its time, on trial: one request tries it, whoever else comes meanwhile goes to `b`.
    a.clear();
    a.first_token(ms(800));
    gateway.until_eligible("a", true).await;
    burst(&gateway, 40).await;
    assert_eq!(a.requests(), 2, "one trial");
    // The trial was good: `a` serves again.
    a.first_token(Duration::ZERO);
    served_by(&gateway.ask(&Ask::chat("gpt")).await, A);
}

async fn burst(gateway: &Gateway, count: usize) {
    let mut asked = tokio::task::JoinSet::new();
    for _ in 0..count {
        let client = gateway.client(Proto::H1);
        asked.spawn(async move { client.ask(&Ask::chat("gpt")).await });
    }
    for answer in asked.join_all().await {
        assert_eq!(answer.status, 200, "{answer}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_trial_that_is_throttled_again_goes_back_to_rest() {
    let (a, b) = regions().await;
    let gateway = ladder(&a, &b).start().await;
    a.throttle(ms(400));
    served_by(&gateway.ask(&Ask::chat("gpt")).await, B);
    for round in 2..=5 {
        gateway.until_eligible("a", true).await;
        burst(&gateway, 10).await;
        assert_eq!(a.requests(), round, "one request per window");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn throttling_is_no_failure() {
    let (a, b) = regions().await;
    let gateway = ladder(&a, &b).pool("ejection: { failures: 2, base: 30s, jitter: 0% }").start().await;
    a.throttle(ms(100));
    for _ in 0..5 {
        gateway.until_eligible("a", true).await;
        served_by(&gateway.ask(&Ask::chat("gpt")).await, B);
    }
    a.clear();
    gateway.until_eligible("a", true).await;
    served_by(&gateway.ask(&Ask::chat("gpt")).await, A);
    let metrics = gateway.metrics().await;
    assert_eq!(metrics.count("tidegate_ejections_total", &[("reason", "consecutive_failures")]), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn failures_in_a_row_eject_and_the_time_grows() {
    let (a, b) = regions().await;
    let gateway = ladder(&a, &b)
        .pool("ejection: { failures: 3, failure_share: 0%, base: 500ms, max: 60s, jitter: 0% }")
        .start()
        .await;
    a.status(503);
    for _ in 0..10 {
        served_by(&gateway.ask(&Ask::chat("gpt")).await, B);
    }
    assert_eq!(a.requests(), 3, "ejected after the third failure");
    let mut rests = Vec::new();
    for trial in 4..=6 {
        eventually("the next trial", secs(10), async || {
            served_by(&gateway.ask(&Ask::chat("gpt")).await, B);
            (a.requests() == trial).then_some(())
        })
        .await;
        let calls = a.stats().calls_ms;
        rests.push(calls[calls.len() - 1] - calls[calls.len() - 2]);
    }
    assert!((500..900).contains(&rests[0]), "{rests:?}");
    assert!((1000..1400).contains(&rests[1]) && (2000..2500).contains(&rests[2]), "{rests:?}");
    // It comes back by a trial that succeeds.
    a.clear();
    eventually("a serves again", secs(10), async || {
        (gateway.ask(&Ask::chat("gpt")).await.header("x-served-by") == A).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_share_of_failures_ejects() {
    let (a, b) = regions().await;
    let gateway = ladder(&a, &b)
        .pool("ejection: { failures: 0, failure_share: 40%, attempts_min: 10, window: 10s, base: 30s }")
        .start()
        .await;
    a.fault(FaultRule::new(FaultKind::Status(StatusFault::status(500))).share(0.7));
    for _ in 0..60 {
        assert_eq!(gateway.ask(&Ask::chat("gpt")).await.status, 200);
    }
    let metrics = gateway.metrics().await;
    assert_eq!(metrics.count("tidegate_ejections_total", &[("backend", "a"), ("reason", "failure_share")]), 1);
    assert!((10..30).contains(&a.requests()), "{}", a.requests());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn failures_never_eject_more_than_the_share_of_the_pool() {
    let (a, b) = regions().await;
    let gateway = pair(&a, &b).pool("ejection: { failures: 2, base: 30s, share_max: 50% }").start().await;
    a.status(503);
    b.status(503);
    for _ in 0..30 {
        assert_eq!(gateway.ask(&Ask::chat("gpt")).await.status, 503);
    }
    let eligible = gateway.metrics().await.count("tidegate_pool_backends_eligible", &[("pool", "chat")]);
    assert_eq!(eligible, 1, "one of two stays in use whatever fails");
    a.clear();
    b.clear();
    assert_eq!(gateway.ask(&Ask::chat("gpt")).await.status, 200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_provisioned_backend_spills_over_and_takes_back() {
    let (a, b) = regions().await;
    let gateway = Setup::new().backend("a", &a, "priority: 1").backend("b", &b, "priority: 2").start().await;
    let ptu = StatusFault::preset("429_ptu").retry_after_ms(800);
    a.fault(FaultRule::new(FaultKind::Status(ptu)).times(1));
    let spilled = gateway.ask(&Ask::chat("gpt")).await;
    served_by(&spilled, B);
    assert!(spilled.head < ms(1000), "{:?}", spilled.head);
    gateway.until_eligible("a", true).await;
    served_by(&gateway.ask(&Ask::chat("gpt")).await, A);
}

/// IMF-fixdate, as in `Retry-After`.
fn http_date(at: SystemTime) -> String {
    let seconds = at.duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs();
    let output = std::process::Command::new("date")
        .args(["-u", "-d", &format!("@{seconds}"), "+%a, %d %b %Y %H:%M:%S GMT"])
        .env("LC_ALL", "C")
        .output()
        .expect("date(1)");
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}
