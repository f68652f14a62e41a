//! `tidegate explain`.

use crate::{example, file, minimal, run, text, tidegate, told};
use harness::{Ask, Setup, Sim};
use tidegate::simulator::{FaultRule, StatusFault};

fn explain(name: &str, more: &[&str]) -> (i32, String, String) {
    let path = example(name);
    run(&[&["explain", "--config", text(&path)], more].concat())
}

#[test]
fn route_pool_order_and_limits_are_told() {
    let (code, out, err) = explain("ptu-then-payg.yaml", &["--deployment", "gpt-4o", "--stream"]);
    assert_eq!((code, err.as_str()), (0, ""));
    for words in [
        "/openai/deployments/gpt-4o/chat/completions (chat_completions, deployment gpt-4o, stream)\n",
        "> gpt-4o  takes it: deployment gpt-4o\n",
        "1. sweden-ptu   swedencentral   100 %  tier 1, nearest;",
        "2. sweden-payg  swedencentral    75 %  tier 2: after every backend of a tier before it;",
        "2. france-payg  francecentral    25 %",
        "POST https://aoai-sweden.openai.azure.com/openai/deployments/gpt-4o-ptu/chat/completions\n",
        "api-key: ***",
        "first byte      30s per attempt (stream), 2m over all\n",
    ] {
        assert!(out.contains(words), "{words:?} is not in {out}");
    }
}

#[test]
fn programs_get_json() {
    let words = ["--path", "/openai/v1/responses", "--model", "gpt-4o", "--format", "json"];
    let (code, out, _) = explain("ptu-then-payg.yaml", &words);
    let json: serde_json::Value = serde_json::from_str(&out).unwrap();
    assert_eq!(code, 0);
    assert_eq!((&json["pool"], &json["live"]), (&"chat".into(), &false.into()));
    assert_eq!(json["backends"][0]["forward"]["model"], "gpt-4o-ptu");
    assert_eq!(json["request"]["operation"], "responses");
}

#[test]
fn a_request_that_would_be_refused_ends_with_code_1() {
    let (code, out, err) = explain("ptu-then-payg.yaml", &["--deployment", "gpt-5"]);
    assert_eq!((code, err.as_str()), (1, ""));
    assert!(out.contains("wants deployment gpt-4o; this is gpt-5"), "{out}");
    assert!(out.contains("refused: 404 deployment_not_found: "), "{out}");
}

/// A pool for everybody, with zones for some.
const RESIDENCY: &str = "residency:
  mode: filter
  zones:
    - { name: eu, data_zones: [ eu ], countries: [ DE ] }
    - { name: us, regions: [ eastus ], countries: [ US ] }
  other_countries: unbound
  database: DATABASE
consumers: [ { name: acme, residency: eu } ]
";

#[test]
fn residency_is_explained() {
    let database = harness::workspace_file("tests/conf/databases/GeoLite2-Country-Test.mmdb");
    let backends = "url: \"http://127.0.0.1:9\", kind: regional, auth: none },
      { name: east, region: eastus, url: \"http://127.0.0.1:8\", kind: global, auth: none },
      { name: west, region: eastus, url: \"http://127.0.0.1:7\", kind: regional, auth: none } ]";
    let more = RESIDENCY.replace("DATABASE", text(&database));
    let minimal = minimal("127.0.0.1:8080", &more)
        .replace("url: \"http://127.0.0.1:9\" }", backends)
        .replace("- { name: a", "[ { name: a");
    let minimal = minimal.replace("    backends:", "    selection: { nearest: client }\n    backends:");
    let path = file(&minimal);
    let ask = |more: &[&str]| run(&[&["explain", "-c", text(&path), "--deployment", "gpt"], more].concat());
    for (words, code, told) in [
        (
            &["--consumer", "acme", "--country", "DE"][..],
            0,
            "residency eu: its consumer says `eu`, its country is DE\n",
        ),
        (&["--consumer", "acme", "--country", "DE"], 0, "east"),
        (&["--consumer", "acme", "--country", "DE"], 0, "barred: outside zone `eu` (eastus, global)"),
        (&["--country", "US"], 0, "barred: outside zone `us` (eastus, global)"),
        (&["--country", "US"], 0, "km from the client"),
        (&["--country", "JP"], 0, "residency anywhere: its country is JP\n"),
        (&["--residency", "eu", "--country", "JP"], 0, "residency eu: its token says `eu`, its country is JP\n"),
        (&["--consumer", "acme", "--country", "US"], 1, "refused: 403 residency_conflict: "),
        (&[], 1, "refused: 403 residency_unknown: "),
    ] {
        let (status, out, err) = ask(words);
        assert!(status == code && out.contains(told), "{words:?}: {told:?} is not in {out}{err}");
    }
    for (words, told) in [
        (["--country", "Germany"], "expected two letters, such as SE"),
        (["--residency", "ue"], "the configuration has no such zone"),
        (["--listener", "edg"], "the configuration has no such listener"),
    ] {
        let (status, _, err) = ask(&words);
        assert!(status == 2 && err.contains(told), "{err}");
    }
}

#[test]
fn nobody_at_the_admin_address_is_one_sentence() {
    let free = harness::Port::free();
    let admin = format!("http://{}", free.address());
    let (code, _, err) = explain("minimal.yaml", &["--deployment", "x", "--admin", &admin]);
    assert_eq!((code, err.lines().count()), (1, 1), "{err}");
    assert!(err.starts_with(&format!("tidegate: cannot read the states from {admin}: no connection: ")), "{err}");
    let (code, _, err) = explain("minimal.yaml", &["--deployment", "x", "--admin", "https://a"]);
    assert_eq!(code, 2);
    assert!(err.contains("expected http://address:port"), "{err}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_running_gateway_is_asked_for_its_states() {
    let (a, b) = (Sim::start("swedencentral").await, Sim::start("francecentral").await);
    let gateway = Setup::new().backend("a", &a, "priority: 1").backend("b", &b, "priority: 2").start().await;
    let config = gateway.config();
    let admin = gateway.admin_address().to_string();
    let ask = || {
        let config = text(&config).to_owned();
        let words = ["explain", "--config", &config, "--deployment", "gpt", "--admin", &admin];
        told(tidegate(&words).output().unwrap()).1
    };
    assert!(ask().contains("1. a  swedencentral   100 %  tier 1, nearest"), "{}", ask());
    a.fault(FaultRule::new(tidegate::simulator::FaultKind::Status(
        StatusFault::preset("429_tokens").retry_after_ms(60_000),
    )));
    gateway.ask(&Ask::chat("gpt")).await;
    let out = ask();
    assert!(out.contains("1. b  francecentral   100 %  tier 2, nearest"), "{out}");
    assert!(
        out.contains(" - a  swedencentral") && out.contains("not used now: resting (rate_limited) for another"),
        "{out}"
    );
}
