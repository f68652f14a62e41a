//! A 429 that one gateway was answered keeps the others away, too, over a real Redis.

use crate::common::{ms, secs};
use crate::shared_limits::connected;
use harness::{Ask, Gateway, Redis, Setup, Sim, eventually};
use std::time::Instant;

/// Backend `a` first, then `b`.
fn setup(redis: &Redis, (a, b): (&Sim, &Sim), more: &str) -> Setup {
    Setup::new()
        .top(&format!("shared_limits: {{ redis: {{ urls: [ \"{}\" ] }}, gateways: 2 {more} }}", redis.url()))
        .pool("ejection: { jitter: 0%, advised_default: 1s, advised_max: 3s }")
        .backend("a", a, "priority: 1")
        .backend("b", b, "priority: 2")
}

async fn ejections(gateway: &Gateway, reason: &str) -> u64 {
    gateway.metrics().await.count("tidegate_ejections_total", &[("backend", "a"), ("reason", reason)])
}

async fn why(gateway: &Gateway) -> serde_json::Value {
    gateway.backends().await["backends"][0]["why"].clone()
}

/// Two gateways that know of each other.
async fn pair(redis: &Redis, regions: (&Sim, &Sim)) -> (Gateway, Gateway) {
    let (first, second) = (setup(redis, regions, "").start().await, setup(redis, regions, "").start().await);
    connected(&first, 1.0).await;
    connected(&second, 1.0).await;
    (first, second)
}

async fn served(gateway: &Gateway) {
    let answer = gateway.ask(&Ask::chat("gpt")).await;
    assert_eq!(answer.status, 200, "{answer}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_429_at_one_gateway_keeps_the_other_away_within_a_second_and_until_its_time() {
    let (redis, a, b) = (Redis::start().await, Sim::start("swedencentral").await, Sim::start("francecentral").await);
    let (first, second) = pair(&redis, (&a, &b)).await;
    a.throttle(secs(3));
    served(&first).await;
    let met = Instant::now();
    assert_eq!(a.requests(), 1);
    a.clear();
    tokio::time::sleep(ms(900)).await;
    served(&second).await;
    assert_eq!((a.requests(), b.requests()), (1, 2), "the first request of the other gateway goes to b");
    assert_eq!(why(&second).await, "shared");
    assert_eq!((ejections(&second, "shared").await, ejections(&second, "rate_limited").await), (1, 0));
    assert_eq!((ejections(&first, "shared").await, ejections(&first, "rate_limited").await), (0, 1));
    eventually("a is back at the other gateway", secs(10), async || {
        served(&second).await;
        (a.requests() > 1).then_some(())
    })
    .await;
    assert!(met.elapsed() >= ms(2900), "{:?}", met.elapsed());
    tokio::time::sleep(ms(500)).await;
    assert_eq!(ejections(&second, "shared").await, 1, "one 429 is one ejection");
    assert_eq!(why(&second).await, serde_json::Value::Null);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ejections_stay_at_home_where_they_are_not_shared_or_the_server_is_away() {
    let (redis, a, b) = (Redis::start().await, Sim::start("swedencentral").await, Sim::start("francecentral").await);
    let first = setup(&redis, (&a, &b), "").start().await;
    let second = setup(&redis, (&a, &b), "").start().await;
    let private = setup(&redis, (&a, &b), ", ejections: false").start().await;
    for gateway in [&first, &second, &private] {
        connected(gateway, 1.0).await;
    }
    a.throttle(secs(3));
    served(&first).await;
    a.clear();
    tokio::time::sleep(ms(900)).await;
    served(&private).await;
    assert_eq!(a.requests(), 2, "it does not hear of others");
    // Without the server, nothing is heard and nothing is lost.
    eventually("a is back", secs(10), async || {
        served(&first).await;
        served(&second).await;
        (a.requests() >= 4).then_some(())
    })
    .await;
    redis.signal("KILL");
    connected(&first, 0.0).await;
    connected(&second, 0.0).await;
    a.reset();
    a.throttle(secs(3));
    served(&first).await;
    a.clear();
    tokio::time::sleep(ms(900)).await;
    served(&second).await;
    assert_eq!(a.requests(), 2, "each gateway knows its own 429s only");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn garbage_at_the_server_is_passed_over_and_a_far_away_time_is_cut() {
    let (redis, a, b) = (Redis::start().await, Sim::start("swedencentral").await, Sim::start("francecentral").await);
    let (first, second) = pair(&redis, (&a, &b)).await;
    a.throttle(secs(3));
    served(&first).await;
    a.clear();
    eventually("the other has heard", secs(5), async || (why(&second).await == "shared").then_some(())).await;
    // Its name, with an end in hours; and things that are no names.
    let names = redis.command("ZRANGE tidegate:rests 0 -1").await.expect("an answer");
    let name = names.split_whitespace().find(|word| word.len() == 32).expect("a name");
    let time = redis.command("TIME").await.expect("an answer");
    let now: u64 = time.split_whitespace().find(|word| word.len() == 10).expect("seconds").parse().expect("a number");
    let later = (now + 3600) * 1_000_000;
    for command in [
        format!("ZADD tidegate:rests {later} {name}"),
        format!("ZADD tidegate:rests {later} {}", "x".repeat(5000)),
        format!("ZADD tidegate:rests +inf {}", "0".repeat(32)),
        format!("ZADD tidegate:rests {later} \"\\xff\\x00\""),
    ] {
        redis.command(&command).await.expect("an answer");
    }
    eventually("garbage is gone", secs(5), async || {
        redis.command("ZCARD tidegate:rests").await.filter(|answer| answer.starts_with(":1\r")).map(drop)
    })
    .await;
    // `advised_max` is three seconds: an hour is told once and heeded no longer than that.
    eventually("a is back at the other gateway", secs(10), async || {
        served(&second).await;
        (a.requests() > 1).then_some(())
    })
    .await;
    tokio::time::sleep(ms(500)).await;
    assert_eq!(why(&second).await, serde_json::Value::Null);
    // A key of another kind spoils nothing but the sharing.
    redis.command("DEL tidegate:rests").await.expect("an answer");
    redis.command("SET tidegate:rests x").await.expect("an answer");
    tokio::time::sleep(ms(500)).await;
    connected(&first, 1.0).await;
    served(&first).await;
}
