//! SIGQUIT: a new process takes the listening sockets over; no request fails, no stream is cut.

use crate::common::{index, is_ok, ladder, ms, regions, secs, stream};
use harness::{Ask, End, Event, Load, Proto, eventually};
use std::time::{Duration, Instant};
use tokio::task::JoinSet;

/// Row 17 of the fault matrix, within what a debug build on two cores can do.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn load_an_upgrade_fails_none_of_two_thousand_requests() {
    const TOKENS: u64 = 600;
    let (a, b) = regions().await;
    let mut old = ladder(&a, &b).start().await;
    let mut streams: JoinSet<(Vec<Event>, End)> = JoinSet::new();
    for number in 0..50 {
        let opened = old.client(Proto::PLAIN[number % 2]).open(&stream(TOKENS, ms(25))).await;
        streams.spawn(opened.events().rest());
    }
    let mix = [Ask::chat("gpt"), Ask::v1("gpt").sized(3000), stream(10, ms(5))];
    let loads = Proto::PLAIN.map(|proto| Load::new(old.client(proto), 80, secs(120), &mix).start());
    let since = Instant::now();
    tokio::time::sleep(secs(1)).await;
    let mut new = old.upgrade().await;
    let exit = old.ended(secs(60)).await;
    assert_eq!(exit.status.code(), Some(0), "{}", exit.log);
    assert!(!exit.log.contains("panicked"), "{}", exit.log);
    tokio::time::sleep((since + secs(14)).saturating_duration_since(Instant::now())).await;
    let mut requests = 50;
    for load in loads {
        let report = load.stop().await;
        assert!(report.failed().is_empty(), "{report}");
        requests += report.shots.len();
    }
    assert!(requests >= 2050, "{requests} requests");
    while let Some(done) = streams.join_next().await {
        let (events, end) = done.expect("no panic");
        assert_eq!((events.iter().filter_map(index).next_back(), end), (Some(TOKENS), End::Whole));
    }
    // The new one serves by itself, with its own admin listener, and ends as well as the old one.
    let ask = Ask::chat("gpt");
    is_ok(&new.ask(&ask).await);
    new.record(&ask.id).await;
    eventually("the new process answers on the admin listener", secs(10), async || {
        (new.metrics().await.count("tidegate_draining", &[]) == 0).then_some(())
    })
    .await;
    assert_eq!(new.access_log().len(), requests + 1, "every request is in the access log, once");
    new.signal("TERM");
    assert_eq!(new.ended(secs(10)).await.status.code(), Some(0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_upgrade_brings_the_new_configuration_file() {
    let (a, b) = regions().await;
    let mut old = ladder(&a, &b).start().await;
    assert_eq!(old.ask(&Ask::chat("gpt")).await.header("x-served-by"), "swedencentral/a");
    let text = std::fs::read_to_string(old.config()).unwrap();
    std::fs::write(old.config(), text.replace("priority: 1", "priority: 8")).unwrap();
    let new = old.upgrade().await;
    old.ended(secs(30)).await;
    assert_eq!(new.ask(&Ask::chat("gpt")).await.header("x-served-by"), "francecentral/b");
    // And once more: the new one can be upgraded in its turn.
    let mut new = new;
    let newest = new.upgrade().await;
    assert_eq!(new.ended(secs(30)).await.status.code(), Some(0));
    is_ok(&newest.ask(&Ask::chat("gpt")).await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_old_process_whose_streams_never_end_goes_at_its_deadline() {
    let (a, b) = regions().await;
    let socket = "upgrade_socket: {dir}/upgrade/upgrade.sock";
    let process = format!("process: {{ threads: 2, pre_drain: 0s, drain: 2s, {socket} }}");
    let mut old = ladder(&a, &b).top(&process).start().await;
    let opened = old.client(Proto::H1).open(&stream(10_000, ms(20))).await;
    let new = old.upgrade().await;
    let since = Instant::now();
    assert_eq!(old.ended(secs(30)).await.status.code(), Some(0));
    assert!(since.elapsed() > Duration::from_secs(2), "{:?}", since.elapsed());
    let (events, end) = opened.events().rest().await;
    assert!(matches!(end, End::Cut(_)) && !events.iter().any(Event::is_done));
    is_ok(&new.ask(&Ask::chat("gpt")).await);
}
