//! More than the process can carry: a short bounded queue, 503 with a spread `Retry-After`, batch before interactive, and
//! memory that shrinks before it refuses.

use crate::common::{ms, secs};
use futures::future::join_all;
use harness::{Answer, Ask, Gateway, Proto, Raw, Setup, Wire, eventually};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// A backend that thinks for `pause` about each request.
async fn thinking(pause: Duration) -> Wire {
    Wire::serve(move |mut stream| async move {
        let mut buffer = vec![0; 4096];
        while stream.read(&mut buffer).await.is_ok_and(|count| count > 0) {
            tokio::time::sleep(pause).await;
            if stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}").await.is_err() {
                return;
            }
        }
    })
    .await
}

async fn gateway(backend: &Wire, overload: &str) -> Gateway {
    let routes =
        "routes:\n  - { name: nightly, match: { path: /nightly }, pool: chat }\n  - { name: rest, pool: chat }\n";
    Setup::new()
        .top(&format!("overload: {{ {overload} }}"))
        .backend_at("a", "swedencentral", &backend.url(), "")
        .more(routes)
        .start()
        .await
}

fn ask(path: &str) -> Ask {
    Ask::new("GET", path)
}

async fn many(gateway: &Gateway, count: usize, ask: &Ask) -> Vec<Answer> {
    join_all((0..count).map(|_| async { gateway.client(Proto::H1).ask(ask).await })).await
}

/// Shed, and told when to come back.
#[track_caller]
fn shed(answer: &Answer) {
    assert_eq!((answer.status, answer.code().as_str()), (503, "shed"), "{answer}");
    let millis: u64 = answer.header("retry-after-ms").parse().expect("a wait");
    assert!((1000..=3000).contains(&millis), "{answer}");
    let seconds: u64 = answer.header("retry-after").parse().expect("a wait");
    assert!((1..=3).contains(&seconds), "{answer}");
    assert_eq!(answer.header("x-should-retry"), "true");
}

async fn drained(gateway: &Gateway) {
    eventually("nothing waits and nothing is in flight", secs(10), async || {
        let metrics = gateway.metrics().await;
        let left = metrics.sum("tidegate_requests_waiting", &[]) + metrics.sum("tidegate_requests_in_flight", &[]);
        (left == 0.0).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_burst_waits_its_turn_and_what_cannot_be_carried_is_shed() {
    let backend = thinking(secs(1)).await;
    let gateway = gateway(&backend, "in_flight_max: 3, queue_max: 4").await;
    let answers = many(&gateway, 12, &ask("/a")).await;
    let (served, refused): (Vec<_>, Vec<_>) = answers.iter().partition(|answer| answer.status == 200);
    assert_eq!((served.len(), refused.len()), (3, 9));
    refused.iter().for_each(|answer| shed(answer));
    let metrics = gateway.metrics().await;
    let count = |reason| metrics.count("tidegate_shed_total", &[("class", "interactive"), ("reason", reason)]);
    assert_eq!((count("waited"), count("in_flight")), (4, 5));
    // The waits differ: clients do not come back together.
    let mut waits: Vec<_> = refused.iter().map(|answer| answer.header("retry-after-ms")).collect();
    waits.sort_unstable();
    waits.dedup();
    assert!(waits.len() > 3, "{waits:?}");
    drained(&gateway).await;
    assert_eq!(gateway.client(Proto::H2c).ask(&ask("/a")).await.status, 200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_waits_is_served_as_soon_as_one_ends() {
    let backend = thinking(ms(30)).await;
    let gateway = gateway(&backend, "in_flight_max: 2, queue_max: 8").await;
    let answers = many(&gateway, 6, &ask("/a")).await;
    let served = answers.iter().filter(|answer| answer.status == 200).count();
    assert_eq!(served, 6, "{answers:?}");
    drained(&gateway).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn batch_is_shed_before_interactive() {
    let backend = thinking(secs(2)).await;
    let keys = "in_flight_max: 8, batch_share: 50%, batch_header: { name: x-priority }, batch_routes: [nightly]";
    let gateway = gateway(&backend, keys).await;
    let batch = ask("/a").header("x-priority", "Batch");
    let quick = ask("/a");
    let (interactive, ()) = tokio::join!(many(&gateway, 5, &quick), async {
        eventually("five are in flight", secs(10), async || {
            (gateway.metrics().await.sum("tidegate_requests_in_flight", &[]) >= 5.0).then_some(())
        })
        .await;
        shed(&gateway.ask(&batch).await);
        shed(&gateway.ask(&ask("/nightly")).await);
        assert_eq!(gateway.ask(&ask("/a")).await.status, 200, "interactive has the rest");
        assert_eq!(gateway.admin("/readyz").await.status, 200);
    });
    assert!(interactive.iter().all(|answer| answer.status == 200));
    assert_eq!(gateway.metrics().await.count("tidegate_shed_total", &[("class", "batch")]), 2);
    drained(&gateway).await;
    for calm in [batch, ask("/nightly")] {
        assert_eq!(gateway.ask(&calm).await.status, 200);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn memory_shrinks_before_it_refuses_and_the_admin_listener_answers_on() {
    let backend = thinking(ms(1)).await;
    let tight =
        gateway(&backend, "memory: { max: 2GiB, shrink: 0%, refuse: 100% }, batch_header: { name: x-priority }").await;
    tight.until_metric("tidegate_memory_pressure", &[], |pressure| pressure == 1.0).await;
    let mut raw = Raw::connect(tight.address()).await;
    raw.send("GET /aaaaaaaaaaaaaaa HTTP/1.1\r\nhost: x\r\n\r\n").await;
    assert_eq!(raw.answer().await.status, 200);
    assert!(raw.ends_within(secs(2)).await, "no connection is kept");
    shed(&tight.ask(&ask("/a").header("x-priority", "batch")).await);

    let full = gateway(&backend, "memory: { max: 16MiB, shrink: 0%, refuse: 1% }").await;
    full.until_metric("tidegate_memory_pressure", &[], |pressure| pressure == 2.0).await;
    shed(&full.ask(&ask("/a")).await);
    assert_eq!(full.metrics().await.count("tidegate_shed_total", &[("reason", "memory")]), 1);
    for path in ["/livez", "/readyz", "/metrics"] {
        assert_eq!(full.admin(path).await.status, 200, "{path}");
    }
}
