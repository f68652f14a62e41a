//! SIGHUP: a good file comes into force at once and whole; a bad one changes nothing and says why, file and line.

use crate::common::{A, B, is_ok, is_whole, ladder, ms, regions, secs, single, stream};
use harness::{Ask, Authority, Client, Gateway, Load, Proto, Setup, Sim, eventually, workspace_file};
use std::fs;
use std::path::PathBuf;
use std::sync::Arc;

/// A configuration with problems: its name, its text, and `LINE: MESSAGE` of each problem.
struct Broken {
    name: String,
    text: String,
    expected: Vec<String>,
}

fn broken_files() -> Vec<Broken> {
    let entries = fs::read_dir(workspace_file("tests/conf/broken")).expect("the folder");
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    let broken = |path: PathBuf| {
        let text = fs::read_to_string(&path).unwrap();
        let expected = text.lines().map_while(|line| line.strip_prefix("# expect: ")).map(str::to_owned).collect();
        Broken { name: path.file_name().unwrap().to_str().unwrap().to_owned(), text, expected }
    };
    paths.into_iter().map(broken).collect()
}

/// Puts a text in the place of the configuration file, whole or not at all.
fn put(gateway: &Gateway, text: impl AsRef<[u8]>) {
    fs::write(gateway.file("next.yaml"), text).unwrap();
    fs::rename(gateway.file("next.yaml"), gateway.config()).unwrap();
}

/// The log has a line for this problem: `…/tidegate.yaml:LINE:COLUMN: MESSAGE`, where `…` in the message is any text.
fn says(log: &str, expected: &str) -> bool {
    let (line, message) = expected.split_once(": ").expect("LINE: MESSAGE");
    let place = format!("tidegate.yaml:{line}:");
    let (start, end) = message.split_once('…').unwrap_or((message, ""));
    log.lines().any(|said| {
        said.split_once(&place).is_some_and(|(_, rest)| rest.find(start).is_some_and(|at| rest[at..].contains(end)))
    })
}

/// Row 14 of the fault matrix.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broken_file_of_any_kind_changes_nothing_and_says_where() {
    let (a, b) = regions().await;
    let gateway = ladder(&a, &b)
        .env("KEY", "not-a-real-key")
        .env("LONG_KEY", "not-a-real-key-not-a-real-key-not-a-real-key")
        .start()
        .await;
    let good = fs::read(gateway.config()).unwrap();
    let load = Load::new(gateway.client(Proto::H1), 40, secs(600), &[Ask::chat("gpt"), stream(5, ms(4))]).start();
    let files = broken_files();
    assert!(files.len() >= 50, "{} kinds", files.len());
    for Broken { name, text, expected } in &files {
        // Some name themselves as a certificate, some a database beside the corpus.
        let text = &text.replace("../databases/", &workspace_file("tests/conf/databases/").display().to_string());
        fs::write(gateway.file(name), text).unwrap();
        put(&gateway, text);
        let from = gateway.log().len();
        assert!(!gateway.reload().await, "{name} came into force");
        eventually(format!("the log tells what is wrong with {name}: {expected:#?}"), secs(5), async || {
            let log = gateway.log();
            expected.iter().all(|problem| says(&log[from..], problem)).then_some(())
        })
        .await;
        assert!(gateway.log()[from..].contains("generation 1"), "the log says what stays in force");
    }
    let metrics = gateway.metrics().await;
    let failed = metrics.count("tidegate_reloads_total", &[("result", "failed")]);
    assert_eq!((failed, metrics.count("tidegate_reloads_total", &[("result", "ok")])), (files.len() as u64, 0));
    assert_eq!(metrics.count("tidegate_config_generation", &[]), 1);
    put(&gateway, good);
    assert!(gateway.reload().await);
    assert_eq!(gateway.metrics().await.count("tidegate_config_generation", &[]), 2);
    let report = load.stop().await;
    assert!(report.failed().is_empty() && report.shots.len() > 100, "{report}");
    assert!(!gateway.log().contains("not-a-real-key"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_that_cannot_be_read_changes_nothing() {
    let a = Sim::start("swedencentral").await;
    let gateway = single(&a).start().await;
    let good = fs::read(gateway.config()).unwrap();
    let too_large = [good.clone(), vec![b'#'; 2 << 20]].concat();
    let garbage = [good.clone(), vec![0xff, 0xfe, 0x00]].concat();
    for (what, text) in [("too large", Some(too_large)), ("no UTF-8", Some(garbage)), ("gone", None)] {
        match text {
            Some(text) => put(&gateway, text),
            None => fs::remove_file(gateway.config()).unwrap(),
        }
        let from = gateway.log().len();
        assert!(!gateway.reload().await, "{what}");
        gateway.until_log("generation 1").await;
        assert!(gateway.log()[from..].contains("tidegate.yaml"), "{what}: {}", &gateway.log()[from..]);
        is_ok(&gateway.ask(&Ask::chat("gpt")).await);
    }
    put(&gateway, good);
    assert!(gateway.reload().await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_good_file_comes_into_force_whole() {
    let (a, b) = regions().await;
    let mut gateway = ladder(&a, &b).start().await;
    assert_eq!(gateway.ask(&Ask::chat("gpt")).await.header("x-served-by"), A);
    let turned = ladder(&a, &b).backend("a", &a, "priority: 9").top("headers: { attempts: false }");
    let turned = turned.more("routes:\n  - { name: only, match: { deployment: gpt }, pool: chat }\n");
    assert!(gateway.apply(turned).await);
    let answer = gateway.ask(&Ask::chat("gpt")).await;
    assert_eq!((answer.header("x-served-by"), answer.header("x-tidegate-attempts")), (B, ""));
    assert_eq!(gateway.ask(&Ask::chat("other")).await.code(), "deployment_not_found");
    let ask = Ask::chat("gpt");
    is_ok(&gateway.ask(&ask).await);
    let record = gateway.record(&ask.id).await;
    assert_eq!((record["generation"].as_u64(), record["route"].as_str()), (Some(2), Some("only")));
    assert_eq!(gateway.metrics().await.count("tidegate_config_generation", &[]), 2);
    // The same file again is a reload like any other.
    assert!(gateway.reload().await);
    assert_eq!(gateway.metrics().await.count("tidegate_config_generation", &[]), 3);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_keeps_the_configuration_it_began_with() {
    let (a, b) = regions().await;
    let mut gateway = ladder(&a, &b).start().await;
    for proto in Proto::PLAIN {
        assert!(gateway.apply(ladder(&a, &b)).await);
        let generation = gateway.metrics().await.count("tidegate_config_generation", &[]);
        let ask = stream(60, ms(20));
        let opened = gateway.client(proto).open(&ask).await;
        assert_eq!(opened.header("x-served-by"), A);
        // Its backend leaves the configuration under it.
        assert!(gateway.apply(ladder(&a, &b).without_backend("a")).await);
        assert_eq!(gateway.ask(&Ask::chat("gpt")).await.header("x-served-by"), B);
        let (events, _) = opened.events().rest().await;
        is_whole(&events, 60);
        let record = gateway.record(&ask.id).await;
        assert_eq!((record["generation"].as_u64(), record["served_by"].as_str()), (Some(generation), Some(A)));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_learnt_and_counted_survives() {
    let (a, b) = regions().await;
    let mut gateway = ladder(&a, &b).start().await;
    a.throttle(secs(60));
    for _ in 0..3 {
        assert_eq!(gateway.ask(&Ask::chat("gpt")).await.header("x-served-by"), B);
    }
    let stays = stream(5000, ms(10));
    let opened = crate::common::begun(gateway.client(Proto::H1).open(&stays).await).await;
    assert_eq!(gateway.metrics().await.count("tidegate_backend_eligible", &[("backend", "a")]), 0);
    for setup in [ladder(&a, &b).backend("b", &b, "priority: 3"), ladder(&a, &b)] {
        assert!(gateway.apply(setup).await);
        assert_eq!(gateway.ask(&Ask::chat("gpt")).await.header("x-served-by"), B);
    }
    assert_eq!(a.requests(), 1, "it rests until its time, reload or not");
    let metrics = gateway.metrics().await;
    assert_eq!(metrics.count("tidegate_backend_eligible", &[("backend", "a")]), 0);
    assert!(metrics.sum("tidegate_backend_resting_seconds", &[("backend", "a")]) > 45.0);
    assert_eq!(metrics.count("tidegate_ejections_total", &[("backend", "a"), ("reason", "rate_limited")]), 1);
    gateway.until_metric("tidegate_requests_total", &[("ending", "served")], |count| count > 4.5).await;
    let metrics = gateway.metrics().await;
    assert_eq!(metrics.count("tidegate_backend_attempts_in_flight", &[("backend", "b")]), 1);
    drop(opened);
    crate::common::until_idle(&gateway).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn series_of_what_left_the_configuration_vanish() {
    let (a, b) = regions().await;
    let spare = |setup: Setup| {
        setup.more(&format!(
            "  - name: spare\n    probe: off\n    backends:\n      - {{ name: c, region: uksouth, url: \"{}\" }}\n\
             routes:\n  - {{ name: main, pool: chat }}\n  - {{ name: side, match: {{ deployment: side }}, pool: spare }}\n",
            b.url()
        ))
    };
    let mut gateway = spare(ladder(&a, &b)).start().await;
    for ask in [Ask::chat("gpt"), Ask::chat("side")] {
        is_ok(&gateway.ask(&ask).await);
    }
    a.status(503);
    is_ok(&gateway.ask(&Ask::chat("gpt")).await);
    let live = crate::common::begun(gateway.client(Proto::H1).open(&paced_side()).await).await;
    let page = gateway.admin("/metrics").await.text();
    for label in ["backend=\"b\"", "pool=\"spare\"", "route=\"side\"", "backend=\"c\"", "region=\"uksouth\""] {
        assert!(page.contains(label), "{label}");
    }
    assert!(gateway.apply(ladder(&a, &b).without_backend("b")).await);
    for _ in 0..2 {
        let page = gateway.admin("/metrics").await.text();
        for label in ["backend=\"b\"", "\"spare\"", "\"side\"", "backend=\"c\"", "uksouth", "francecentral", "\"main\""]
        {
            assert!(!page.contains(label), "{label} is still there");
        }
        // A request of the old days that ends later does not bring them back.
        a.clear();
        is_ok(&gateway.ask(&Ask::chat("gpt")).await);
    }
    drop(live);
    eventually("the stream has ended at the region", secs(5), async || (b.stats().in_flight == 0).then_some(())).await;
    let state = gateway.backends().await.to_string();
    assert!(state.contains("\"a\"") && !state.contains("\"c\"") && !state.contains("uksouth"), "{state}");
    assert!(!gateway.admin("/metrics").await.text().contains("\"spare\""));
}

fn paced_side() -> Ask {
    crate::common::paced(Ask::stream("side"), 5000, ms(10))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_changed_listener_is_told_to_need_a_restart() {
    let a = Sim::start("swedencentral").await;
    let mut gateway = single(&a).start().await;
    let authority = Arc::new(Authority::new());
    assert!(gateway.apply(single(&a).tls(&authority)).await, "the rest of the file comes into force");
    gateway.until_log("listeners").await;
    let log = gateway.log();
    let warning = log.lines().find(|line| line.contains("WARN") && line.contains("listeners")).expect("a warning");
    assert!(warning.contains("restart") || warning.contains("upgrade"), "{warning}");
    is_ok(&gateway.ask(&Ask::chat("gpt")).await);
    let secure = Client::new(gateway.secure(), Proto::H1Tls).trusting(&authority);
    assert!(secure.try_ask(&Ask::chat("gpt")).await.is_err());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keys_are_read_from_their_files_again() {
    let a = Sim::start("swedencentral").await;
    let setup = single(&a).backend("a", &a, "auth: { api_key: { file: key.txt } }").file("key.txt", "first-key\n");
    let gateway = setup.start().await;
    let sent = async |gateway: &Gateway| {
        let ask = Ask::chat("gpt");
        is_ok(&gateway.ask(&ask).await);
        a.record(&ask.id).await.header("api-key").map(str::to_owned)
    };
    assert_eq!(sent(&gateway).await.as_deref(), Some("first-key"));
    fs::write(gateway.file("key.txt"), "second-key").unwrap();
    assert_eq!(sent(&gateway).await.as_deref(), Some("first-key"), "not before SIGHUP");
    assert!(gateway.reload().await);
    assert_eq!(sent(&gateway).await.as_deref(), Some("second-key"));
    fs::remove_file(gateway.file("key.txt")).unwrap();
    assert!(!gateway.reload().await);
    gateway.until_log("key.txt").await;
    assert_eq!(sent(&gateway).await.as_deref(), Some("second-key"));
    assert!(!gateway.log().contains("second-key"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn certificates_are_read_again_without_a_restart() {
    let a = Sim::start("swedencentral").await;
    let old = Arc::new(Authority::new());
    let gateway = single(&a).tls(&old).start().await;
    let new = Authority::new();
    let client = |proto, authority: &Authority| Client::new(gateway.secure(), proto).trusting(authority);
    let lasting = client(Proto::H2Tls, &old).keeping();
    let running = crate::common::begun(lasting.open(&stream(80, ms(20))).await).await;
    let (certificate, key) = new.sign(&["localhost"]);
    fs::write(gateway.file("edge.pem"), &certificate).unwrap();
    assert!(!gateway.reload().await, "a certificate without its key is a broken configuration");
    is_ok(&client(Proto::H1Tls, &old).ask(&Ask::chat("gpt")).await);
    fs::write(gateway.file("edge.key"), &key).unwrap();
    assert!(gateway.reload().await);
    for proto in [Proto::H1Tls, Proto::H2Tls] {
        is_ok(&client(proto, &new).ask(&Ask::chat("gpt")).await);
        assert!(client(proto, &old).try_ask(&Ask::chat("gpt")).await.is_err(), "the old certificate is gone");
    }
    is_ok(&lasting.ask(&Ask::chat("gpt")).await);
    let (events, _) = running.rest().await;
    assert_eq!(events.iter().filter_map(crate::common::index).next_back(), Some(80));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_log_file_that_was_moved_away_is_opened_anew() {
    let a = Sim::start("swedencentral").await;
    let gateway = single(&a).start().await;
    let (first, second) = (Ask::chat("gpt"), Ask::chat("gpt"));
    is_ok(&gateway.ask(&first).await);
    gateway.record(&first.id).await;
    fs::rename(gateway.file("access.jsonl"), gateway.file("access.jsonl.1")).unwrap();
    assert!(gateway.reload().await);
    is_ok(&gateway.ask(&second).await);
    gateway.record(&second.id).await;
    assert_eq!(gateway.access_log().len(), 1);
    assert_eq!(fs::read_to_string(gateway.file("access.jsonl.1")).unwrap().lines().count(), 1);
}
