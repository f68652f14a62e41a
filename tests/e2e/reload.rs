//! SIGHUP: everything but listeners, in one swap; a bad file changes nothing and says why.

use crate::common::{A, B, ladder, ms, pair, regions, secs, served_by};
use crate::ruin::RUINED;
use harness::{Ask, Authority, End, Event, Gateway, Load, Proto, Setup, Sim, eventually};
use std::sync::Arc;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reload_puts_the_new_file_in_force_for_new_requests() {
    let (a, b) = regions().await;
    let setup = ladder(&a, &b);
    let mut gateway = setup.clone().start().await;
    served_by(&gateway.ask(&Ask::chat("gpt")).await, A);
    assert!(gateway.apply(setup.clone().backend("a", &a, "priority: 3")).await);
    served_by(&gateway.ask(&Ask::chat("gpt")).await, B);
    assert_eq!(gateway.metrics().await.count("tidegate_config_generation", &[]), 2);
    let c = Sim::start("uksouth").await;
    assert!(gateway.apply(setup.without_backend("a").backend("c", &c, "priority: 1")).await);
    served_by(&gateway.ask(&Ask::chat("gpt")).await, "uksouth/c");
    let state = gateway.backends().await.to_string();
    assert!(!state.contains("swedencentral"), "{state}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_known_about_a_backend_survives_a_reload() {
    let (a, b) = regions().await;
    let setup = ladder(&a, &b);
    let mut gateway = setup.clone().start().await;
    a.throttle(secs(60));
    served_by(&gateway.ask(&Ask::chat("gpt")).await, B);
    assert!(gateway.apply(setup.pool("timeouts: { idle: 50s }")).await);
    for _ in 0..5 {
        served_by(&gateway.ask(&Ask::chat("gpt")).await, B);
    }
    assert_eq!(a.requests(), 1, "the rest of `a` was not forgotten");
    gateway.until_metric("tidegate_responses_total", &[("backend", "b")], |count| count > 5.5).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_lives_through_a_reload_that_takes_its_backend_away() {
    let (a, b) = regions().await;
    let setup = ladder(&a, &b);
    let mut gateway = setup.clone().start().await;
    let ask = Ask::stream("gpt").header("x-sim-tokens", "100").header("x-sim-chunk-ms", "20");
    let mut events = gateway.client(Proto::H1).open(&ask).await.events();
    events.next().await.expect("an event");
    assert!(gateway.apply(setup.without_backend("a")).await);
    served_by(&gateway.ask(&Ask::chat("gpt")).await, B);
    let (events, end) = events.rest().await;
    assert!(end == End::Whole && events.last().is_some_and(Event::is_done), "{end:?}");
    assert_eq!(gateway.record(&ask.id).await["generation"], 1, "one request, one configuration");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn load_fifty_kinds_of_bad_files_change_nothing_and_say_why() {
    let (a, b) = regions().await;
    let gateway = ladder(&a, &b).start().await;
    let good = std::fs::read_to_string(gateway.config()).unwrap();
    let load = Load::new(gateway.client(Proto::H1).keeping(), 50, secs(120), &[Ask::chat("gpt")]).start();
    let mut said = gateway.log().len();
    assert!(RUINED.len() >= 50, "{} kinds", RUINED.len());
    for (number, (what, ruin)) in (1..).zip(RUINED) {
        let bad = ruin(&good);
        assert_ne!(bad, good, "{what}: the file is as it was");
        std::fs::write(gateway.config(), bad).unwrap();
        assert!(!gateway.reload().await, "{what} came into force");
        let log = gateway.log();
        let news = &log[said..];
        assert!(news.contains("tidegate.yaml"), "{what}: the log does not name the file: {news}");
        said = log.len();
        let metrics = gateway.metrics().await;
        assert_eq!(metrics.count("tidegate_config_generation", &[]), 1, "{what}");
        assert_eq!(metrics.count("tidegate_reloads_total", &[("result", "failed")]), number, "{what}");
    }
    std::fs::write(gateway.config(), good).unwrap();
    assert!(gateway.reload().await);
    let report = load.stop().await;
    assert!(report.failed().is_empty(), "{report}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_that_is_gone_changes_nothing() {
    let (a, b) = regions().await;
    let gateway = ladder(&a, &b).start().await;
    std::fs::remove_file(gateway.config()).unwrap();
    assert!(!gateway.reload().await);
    served_by(&gateway.ask(&Ask::chat("gpt")).await, A);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn secrets_are_read_again() {
    let (a, b) = regions().await;
    let setup = ladder(&a, &b).file("key", "first").backend("a", &a, "auth: { api_key: { file: key } }");
    let mut gateway = setup.clone().start().await;
    let sent = async |gateway: &Gateway| {
        let ask = Ask::chat("gpt");
        gateway.ask(&ask).await;
        a.record(&ask.id).await.header("api-key").unwrap().to_owned()
    };
    assert_eq!(sent(&gateway).await, "first");
    assert!(gateway.apply(setup.clone().file("key", "second")).await);
    assert_eq!(sent(&gateway).await, "second");
    std::fs::remove_file(gateway.file("key")).unwrap();
    assert!(!gateway.reload().await, "a secret that is gone is a bad file");
    assert_eq!(sent(&gateway).await, "second");
    assert!(!gateway.log().contains("second"), "{}", gateway.log());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn certificates_are_read_again() {
    let (a, b) = regions().await;
    let (old, new) = (Arc::new(Authority::new()), Arc::new(Authority::new()));
    let mut gateway = ladder(&a, &b).tls(&old).start().await;
    let old_client = gateway.client(Proto::H2Tls);
    served_by(&old_client.ask(&Ask::chat("gpt")).await, A);
    assert!(gateway.apply(ladder(&a, &b).tls(&new)).await);
    served_by(&gateway.client(Proto::H2Tls).ask(&Ask::chat("gpt")).await, A);
    assert!(old_client.try_ask(&Ask::chat("gpt")).await.is_err(), "the old certificate is gone");
    // A key that does not fit leaves the new pair in force.
    std::fs::write(gateway.file("edge.key"), old.sign(&["localhost"]).1).unwrap();
    assert!(!gateway.reload().await);
    served_by(&gateway.client(Proto::H1Tls).ask(&Ask::chat("gpt")).await, A);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_access_log_is_opened_again() {
    let (a, b) = regions().await;
    let gateway = ladder(&a, &b).start().await;
    let first = Ask::chat("gpt");
    gateway.ask(&first).await;
    gateway.record(&first.id).await;
    std::fs::rename(gateway.file("access.jsonl"), gateway.file("rotated.jsonl")).unwrap();
    assert!(gateway.reload().await);
    let second = Ask::chat("gpt");
    gateway.ask(&second).await;
    gateway.record(&second.id).await;
    assert!(std::fs::read_to_string(gateway.file("rotated.jsonl")).unwrap().contains(&first.id));
}

/// Row 15 of the fault matrix, at the rate that a debug build on two cores leaves room for.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn load_100_reloads_under_load_with_200_live_streams_cost_nothing() {
    let (a, b) = regions().await;
    let setup = pair(&a, &b);
    let mut gateway = setup.clone().start().await;
    let long = Ask::stream("gpt").header("x-sim-tokens", "220").header("x-sim-chunk-ms", "100");
    let mut streams = tokio::task::JoinSet::new();
    let (h1, h2) = (Arc::new(gateway.client(Proto::H1)), Arc::new(gateway.client(Proto::H2c).keeping()));
    for number in 0..200 {
        let client = Arc::clone(if number % 2 == 0 { &h1 } else { &h2 });
        let ask = long.again();
        streams.spawn(async move { client.open(&ask).await.events().rest().await });
    }
    gateway.until_metric("tidegate_streams_open", &[], |count| count > 199.5).await;
    let mix = [Ask::chat("gpt"), Ask::stream("gpt"), Ask::embeddings("gpt")];
    let load = Load::new(gateway.client(Proto::H1).keeping(), 100, secs(60), &mix).start();
    let mut before = 0;
    for round in 0..100_u32 {
        let weights = (1 + round % 7, 1 + round % 5);
        let next = setup.clone().backend("a", &a, &format!("weight: {}", weights.0)).backend(
            "b",
            &b,
            &format!("weight: {}", weights.1),
        );
        assert!(gateway.apply(next).await, "reload {round}");
        if round == 20 {
            before = gateway.resident_kib();
        }
    }
    let after = gateway.resident_kib();
    let report = load.stop().await;
    assert!(report.failed().is_empty(), "{report}");
    for (events, end) in streams.join_all().await {
        let count = events.iter().filter(|event| event.json()["x_sim_index"].is_u64()).count();
        assert!(end == End::Whole && count == 220 && events.last().is_some_and(Event::is_done), "{count} {end:?}");
    }
    assert_eq!(gateway.metrics().await.count("tidegate_config_generation", &[]), 101);
    assert!(after < before + before / 10 + 2048, "{before} KiB after 20 reloads, {after} KiB after 100");
    assert!(report.head(0.99) < ms(250), "{report}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_changed_listener_waits_for_a_restart_and_says_so() {
    let (a, b) = regions().await;
    let mut gateway = ladder(&a, &b).start().await;
    let text = std::fs::read_to_string(gateway.config()).unwrap();
    let moved = text.replace("name: public", "name: renamed");
    let _ = gateway.apply(Setup::new().text(&moved)).await;
    served_by(&gateway.ask(&Ask::chat("gpt")).await, A);
    eventually("the log speaks of a restart", secs(5), async || gateway.log().contains("restart").then_some(())).await;
}
