//! Tests of the room as a whole: text in, snapshot or problems out.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, clippy::expect_used, reason = "tests may panic")]

use super::snapshot::{AccessLog, Auth, Lists, ProbeKind, Snapshot};
use super::{Problem, Problems, load_text};
use crate::policy::route::{DeploymentMatch, HostMatch, PathMatch};
use std::path::Path;
use std::time::Duration;

const MINIMAL: &str = "version: 1
listeners: [ { name: public, address: \"127.0.0.1:0\" } ]
pools:
  - name: chat
    backends:
      - { name: fr, region: francecentral, url: \"https://fr.example\", auth: { api_key: { env: KEY } } }
";

fn environment(name: &str) -> Option<String> {
    match name {
        "KEY" => Some("hunter2".to_owned()),
        "LONG" => Some("hunter2-hunter2-hunter2-hunter2-hunter2".to_owned()),
        "NEWLINE" => Some("hunter2\n".to_owned()),
        "EMPTY" => Some(String::new()),
        "BROKEN" => Some("hunter2\u{1}x".to_owned()),
        "SPACED" => Some(" hunter2".to_owned()),
        _ => None,
    }
}

fn load(text: &str) -> Result<(Snapshot, Vec<Problem>), Problems> {
    load_text("x.yaml", text, Path::new("."), &environment)
}

fn loaded(text: &str) -> Snapshot {
    load(text).unwrap_or_else(|problems| panic!("{problems}")).0
}

/// The problems of `text`, one a line: `line path: message`.
fn problems(text: &str) -> Vec<String> {
    let problems = load(text).expect_err("is broken").0;
    assert!(problems.iter().all(|problem| !problem.to_string().contains("hunter2")));
    problems.iter().map(|problem| format!("{} {}: {}", problem.line, problem.path, problem.message)).collect()
}

#[test]
fn minimal_file_has_every_default() {
    let (snapshot, warnings) = load(MINIMAL).unwrap();
    assert!(warnings.is_empty(), "{warnings:?}");
    assert_eq!(snapshot.generation, 0);
    assert_eq!(snapshot.digest.len(), 16);
    assert_eq!(snapshot.admin, Some("127.0.0.1:9090".parse().unwrap()));
    assert_eq!(snapshot.access_log, AccessLog::Stdout);
    assert_eq!(snapshot.limits.body_size_max, 32 << 20);
    assert!(snapshot.process.threads >= 1);
    let pool = &snapshot.pools[0];
    assert!((pool.selection.explore - 0.01).abs() < 1e-12);
    assert!((pool.failover.budget - 0.2).abs() < 1e-12);
    assert_eq!((pool.failover.attempts_max, pool.failover.deadline), (3, Duration::from_secs(120)));
    assert_eq!(pool.ejection.max, Duration::from_secs(120));
    assert_eq!(pool.probe.as_ref().unwrap().kind, ProbeKind::Tcp);
    let backend = &pool.backends[0];
    assert_eq!((backend.priority, backend.weight, backend.enabled), (1, 50, true));
    assert_eq!(backend.served_by, "francecentral/fr");
    assert_eq!((backend.url.port, backend.url.host.as_str(), backend.url.path.as_str()), (443, "fr.example", ""));
    assert_eq!(snapshot.routes.len(), 1);
    assert_eq!(snapshot.routes[0].matcher.path, PathMatch::Prefix(String::new()));
}

#[test]
fn secrets_are_resolved_and_never_shown() {
    let snapshot = loaded(MINIMAL);
    let Auth::ApiKey(key) = &snapshot.pools[0].backends[0].auth else { panic!() };
    assert!(key.is_sensitive());
    assert_eq!(key, "hunter2");
    assert!(!format!("{snapshot:?}").contains("hunter2"));
    let snapshot = loaded(&MINIMAL.replace("api_key: { env: KEY }", "bearer: { env: NEWLINE }"));
    assert_eq!(snapshot.pools[0].backends[0].auth, Auth::Bearer("Bearer hunter2".parse().unwrap()));
    for (name, what) in [
        ("NONE", "the variable `NONE` is not set"),
        ("EMPTY", "the variable `EMPTY` is empty"),
        ("BROKEN", "the variable `BROKEN` holds characters that no header may carry"),
        ("SPACED", "the variable `SPACED` has spaces or line breaks around its value"),
    ] {
        let found = problems(&MINIMAL.replace("env: KEY", &format!("env: {name}")));
        assert_eq!(found, [format!("6 pools[0].backends[0].auth.api_key.env: {what}")]);
    }
    for literal in ["hunter2", "{ env: KEY, file: hunter2 }", "[ hunter2 ]"] {
        let found = problems(&MINIMAL.replace("{ env: KEY }", literal));
        assert_eq!(found.len(), 1, "{found:?}");
        assert!(found[0].starts_with("6 pools[0].backends[0].auth.api_key:"), "{found:?}");
    }
    assert_eq!(problems(&MINIMAL.replace("auth: { api_key: { env: KEY } }", "auth: hunter2")).len(), 1);
}

#[test]
fn secret_files_are_relative_to_the_configuration() {
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("key"), "hunter2\r\n").unwrap();
    let text = MINIMAL.replace("env: KEY", "file: key");
    let (snapshot, _) = load_text("x.yaml", &text, directory.path(), &environment).unwrap();
    assert_eq!(snapshot.pools[0].backends[0].auth, Auth::ApiKey("hunter2".parse().unwrap()));
    std::fs::write(directory.path().join("key"), "h".repeat(16 * 1024 + 1)).unwrap();
    assert!(load_text("x.yaml", &text, directory.path(), &environment).is_err());
    assert!(load_text("x.yaml", &MINIMAL.replace("env: KEY", "file: ."), directory.path(), &environment).is_err());
}

#[test]
fn all_problems_are_told_at_once_in_order() {
    let text = "version: 2
home: x
listeners: [ { name: public, adress: \"127.0.0.1:0\" } ]
limits: { body_size_max: 8, uri_length_max: 8MB }
pools:
  - name: chat
    failover:
      attemps_max: 4
      deadline: 60
    backends:
      - { name: fr, region: francecentral, url: \"ftp://fr.example\", auth: { api_key: hunter2 } }
      - { name: fr, region: francecentral, url: \"https://fr2.example\", weight: 1001 }
routes:
  - name: a
    match: { deployment: gpt }
    pool: chat-eu
";
    let expected = [
        "1 version: 2 is out of range, it must be 1",
        "2 home: unknown key",
        "3 listeners[0]: `address` is missing",
        "3 listeners[0].adress: unknown key",
        "4 limits.body_size_max: `8` without a unit is not a size",
        "4 limits.uri_length_max: `8MB` is not a size",
        "8 pools[0].failover.attemps_max: unknown key",
        "9 pools[0].failover.deadline: `60` without a unit is not a duration",
        "11 pools[0].backends[0].url: must begin with https:// or http://",
        "11 pools[0].backends[0].auth.api_key: a secret is never written in the configuration",
        "12 pools[0].backends[1].name: two backends are named `fr`",
        "12 pools[0].backends[1].weight: 1001 is out of range, it must be from 1 to 1000",
        "16 routes[0].pool: no pool is named `chat-eu`",
    ];
    assert_eq!(problems(text), expected);
    let shown = load(text).unwrap_err().to_string();
    assert!(shown.contains(
        "x.yaml:8:7: pools[0].failover.attemps_max: unknown key\n  help: did you mean `attempts_max`? Known keys here: \
         attempts_max, budget, "
    ), "{shown}");
    assert!(shown.contains("x.yaml:16:5: routes[0].pool: no pool is named `chat-eu`\n  help: "), "{shown}");
    assert!(shown.ends_with("13 problems; configuration not loaded"), "{shown}");
}

#[test]
fn routes_are_sorted_most_specific_first() {
    let text = format!(
        "{MINIMAL}routes:
  - {{ name: all, pool: chat }}
  - {{ name: model, match: {{ deployment: gpt-4* }}, pool: chat }}
  - {{ name: model-exact, match: {{ deployment: gpt-4o }}, pool: chat }}
  - {{ name: model-long, match: {{ deployment: gpt-4o* }}, pool: chat }}
  - {{ name: path, match: {{ path: /openai/* }}, pool: chat }}
  - {{ name: path-long, match: {{ path: /openai/v1/* }}, pool: chat }}
  - {{ name: path-exact, match: {{ path: /openai/v1/responses }}, pool: chat }}
  - {{ name: host, match: {{ host: \"*.example.com\" }}, pool: chat }}
  - {{ name: host-long, match: {{ host: \"*.ai.example.com\" }}, pool: chat }}
  - {{ name: host-exact, match: {{ host: AI.example.com }}, pool: chat }}
"
    );
    let routes = loaded(&text).routes;
    let names: Vec<&str> = routes.iter().map(|route| route.name.as_str()).collect();
    let expected = [
        "host-exact",
        "host-long",
        "host",
        "path-exact",
        "path-long",
        "path",
        "model-exact",
        "model-long",
        "model",
        "all",
    ];
    assert_eq!(names, expected);
    assert_eq!(routes[0].matcher.host, HostMatch::Exact("ai.example.com".to_owned()));
    assert_eq!(routes[1].matcher.host, HostMatch::Suffix(".ai.example.com".to_owned()));
    assert_eq!(routes[7].matcher.deployment, DeploymentMatch::Prefix("gpt-4o".to_owned()));
    let tie = format!("{text}  - {{ name: again, match: {{ host: ai.example.com }}, pool: chat }}\n");
    assert_eq!(problems(&tie), ["18 routes[10]: routes `host-exact` and `again` match the same requests"]);
}

#[test]
fn urls_are_taken_apart() {
    for (typed, tls, host, port, authority, path) in [
        ("https://a.example", true, "a.example", 443, "a.example", ""),
        ("https://A.example:443/", true, "a.example", 443, "a.example", ""),
        ("https://a.example:8443/base/", true, "a.example", 8443, "a.example:8443", "/base"),
        ("http://127.0.0.1:8080", false, "127.0.0.1", 8080, "127.0.0.1:8080", ""),
        ("http://[::1]:8080/x/y", false, "::1", 8080, "[::1]:8080", "/x/y"),
    ] {
        let snapshot = loaded(&MINIMAL.replace("https://fr.example", typed));
        let url = &snapshot.pools[0].backends[0].url;
        assert_eq!((url.tls, url.host.as_str(), url.port), (tls, host, port), "{typed}");
        assert_eq!((url.authority.to_str().unwrap(), url.path.as_str()), (authority, path), "{typed}");
    }
    for typed in [
        "fr.example",
        "https://",
        "https://u:hunter2@a",
        "https://a?x",
        "https://a#x",
        "ftp://a",
        "https://a/openai/v1",
    ] {
        let found = problems(&MINIMAL.replace("https://fr.example", typed));
        assert_eq!(found.len(), 1, "{typed}: {found:?}");
    }
}

#[test]
fn distances_need_home_and_region() {
    let distance = |text: &str| loaded(text).pools[0].backends[0].distance_km;
    assert_eq!(distance(MINIMAL), None);
    let near = distance(&format!("{MINIMAL}home_region: swedencentral\n")).unwrap();
    assert!((1800.0..2000.0).contains(&near), "{near}");
    let (snapshot, warnings) = load(&format!("{MINIMAL}home_region: swedencentrall\n")).unwrap();
    assert_eq!(snapshot.pools[0].backends[0].distance_km, None);
    assert!(warnings[0].help.as_ref().unwrap().starts_with("did you mean `swedencentral`?"), "{warnings:?}");
    let own = format!("{MINIMAL}home_region: lab\nhome_coordinates: {{ latitude: 46.3772, longitude: 2.3730 }}\n");
    assert!(distance(&own).unwrap() < 1.0);
    assert!(load(&own).unwrap().1.is_empty());
}

#[test]
fn the_spellings_of_the_architecture_are_read() {
    let text = MINIMAL.replace(
        "    backends:",
        "    selection: { latency_band: 30ms }
    failover:  { attempts_max: 3, deadline: 60s, first_byte_timeout: 20s }
    ejection:  { failures: 5, base: 10s, max: 5m, advised_max: 10m }
    probe:     { path: /openai/models, interval: 10s, timeout: 2s, healthy_after: 2, unhealthy_after: 3 }
    backends:",
    );
    let snapshot = loaded(&text);
    let Some(ProbeKind::Http { path, statuses, .. }) = snapshot.pools[0].probe.as_ref().map(|probe| &probe.kind) else {
        panic!()
    };
    assert_eq!((path.as_str(), statuses.as_slice()), ("/openai/models", [200, 401, 429].as_slice()));
    let off = MINIMAL.replace("    backends:", "    probe: off\n    backends:");
    assert!(loaded(&off).pools[0].probe.is_none());
    assert_eq!(loaded(&format!("{MINIMAL}admin: off\naccess_log: off\n")).admin, None);
}

#[test]
fn warnings_load_all_the_same() {
    for (from, to, what) in [
        ("https://fr.example", "http://10.0.0.1", "plain text"),
        (", auth: { api_key: { env: KEY } }", "", "without a credential"),
        ("version: 1\n", "version: 1\nadmin: { address: \"0.0.0.0:9090\" }\n", "other hosts"),
        (
            "pools:\n",
            "stateful: { ids: raw }\nroutes: [ { name: a, pool: chat } ]\npools:\n  - { name: idle, backends: [ { name: a, region: eastus, url: \"http://[::1]\" } ] }\n",
            "no route leads",
        ),
    ] {
        let (_, warnings) = load(&MINIMAL.replace(from, to)).unwrap_or_else(|problems| panic!("{problems}"));
        assert_eq!(warnings.len(), 1, "{warnings:?}");
        assert!(warnings[0].message.contains(what), "{warnings:?}");
    }
}

#[test]
fn ids_are_sealed_where_they_lead_somewhere_or_belong_to_somebody() {
    let other = "pools:\n  - { name: b, backends: [ { name: b, region: eastus, url: \"https://us.example\", auth: { api_key: { env: KEY } } } ] }\n";
    let two = MINIMAL.replace(
        "pools:\n",
        &format!("routes: [ {{ name: a, pool: chat }}, {{ name: b, match: {{ path: /b }}, pool: b }} ]\n{other}"),
    );
    let same = two.replace("https://us.example", "https://FR.example");
    let asked = format!("{MINIMAL}consumers: [ {{ name: one }} ]\n");
    let keyed = "stateful: { keys: [ { id: a, secret: { env: LONG } } ] }\n";
    for (text, sealed, lists, warned) in [
        (MINIMAL, false, Lists::Allow, 0),
        (&same, false, Lists::Allow, 0),
        (&two, true, Lists::Merged, 1),
        (&asked, true, Lists::Refuse, 1),
        (&format!("{two}{keyed}"), true, Lists::Merged, 0),
        (&format!("{MINIMAL}stateful: {{ ids: sealed }}\n"), true, Lists::Merged, 1),
        (&format!("{two}stateful: {{ ids: raw }}\n"), false, Lists::Allow, 0),
        (&format!("{asked}stateful: {{ ids: raw }}\n"), false, Lists::Allow, 1),
        (&format!("{asked}{}", keyed.replace("] }", "], lists: allow }")), true, Lists::Allow, 0),
        (&format!("{asked}{}", keyed.replace("] }", "], lists: merged }")), true, Lists::Merged, 0),
    ] {
        let (snapshot, warnings) = load(text).unwrap_or_else(|problems| panic!("{text}\n{problems}"));
        let told = (snapshot.stateful.sealed, snapshot.stateful.lists);
        assert_eq!((told, warnings.len()), ((sealed, lists), warned), "{text}\n{warnings:?}");
        assert!(warnings.iter().all(|warning| warning.path.starts_with("stateful")), "{warnings:?}");
    }
}

#[test]
fn the_backends_of_a_quota_group_know_what_one_of_them_says() {
    let backend = |name: &str, quota: &str| {
        format!("{{ name: {name}, region: francecentral, url: \"http://{name}.example\", quota: {quota} }}")
    };
    let text = format!(
        "version: 1\nlisteners: [ {{ name: public, address: \"127.0.0.1:0\" }} ]\npools:\n  - {{ name: chat, backends: [ {}, {} ] }}\n  \
         - {{ name: batch, backends: [ {}, {} ] }}\nroutes: [ {{ name: all, match: {{ deployment: \"*\" }}, pool: chat }} ]\n",
        backend("a", "{ group: fr }"),
        backend("b", "{ tokens_per_minute: 5 }"),
        backend("c", "{ group: fr, tokens_per_minute: 1000, requests_per_minute: 6 }"),
        backend("d", "{ group: fr, tokens_per_minute: 1000 }"),
    );
    let snapshot = loaded(&text);
    let quotas = snapshot.pools.iter().flat_map(|pool| &pool.backends).map(|backend| &backend.quota);
    let seen: Vec<_> = quotas.map(|of| (of.group.is_some(), of.quota.tokens, of.quota.requests)).collect();
    let shared = (true, Some(1000), Some(6));
    assert_eq!(seen, [shared, (false, Some(5), None), shared, shared]);
}
