//! `tidegate check`.

use crate::{example, file, minimal, run, text, tidegate, told};
use harness::workspace_file;

#[test]
fn a_good_file_is_counted() {
    for (name, counts) in [
        ("minimal.yaml", "1 pool, 1 backend, 1 route, 1 listener"),
        ("ptu-then-payg.yaml", "1 pool, 3 backends, 1 route, 1 listener"),
        ("full.yaml", "2 pools, 3 backends, 3 routes, 1 listener"),
    ] {
        let path = example(name);
        let (code, out, _) = run(&["check", "--config", text(&path)]);
        assert_eq!((code, out.lines().next()), (0, Some(format!("{}: ok: {counts}", path.display()).as_str())));
    }
}

#[test]
fn ways_of_residency_are_proved_or_printed() {
    let path = example("full.yaml");
    let (_, out, _) = run(&["check", "--config", text(&path)]);
    let proved = "residency: 18 ways to a backend proved: 18 end inside their zones, 0 are barred\n";
    assert_eq!(out.lines().last(), Some(format!("{}: {}", path.display(), proved.trim_end()).as_str()));
    let path = workspace_file("tests/conf/broken/residency-outside.yaml");
    let (code, _, err) = told(tidegate(&["check", "-c", text(&path)]).env("KEY", "hunter2").output().unwrap());
    let chain = "consumer `acme` (residency `eu`) → route `default` → pool `chat` → backend `east` (eastus, global): outside zone `eu`";
    assert!(code == 2 && err.contains(chain), "{err}");
}

#[test]
fn the_file_may_come_from_the_environment() {
    let path = example("minimal.yaml");
    let (code, out, _) = told(tidegate(&["check"]).env("TIDEGATE_CONFIG", &path).output().unwrap());
    assert_eq!(code, 0);
    assert!(out.contains("minimal.yaml: ok: "), "{out}");
}

#[test]
fn every_problem_is_told_at_once() {
    let path = file(&minimal("127.0.0.1", "routes: [ { name: r, pool: chta } ]\nlimit: {}\n"));
    let (code, out, err) = run(&["check", "-c", text(&path)]);
    assert_eq!((code, out.as_str()), (2, ""));
    for words in
        ["`127.0.0.1` is not an address", "no pool is named `chta`", "limits", "3 problems; configuration not loaded"]
    {
        assert!(err.contains(words), "{words} is not in {err}");
    }
    assert!(err.contains(&format!("{}:3:", path.display())), "{err}");
}

#[test]
fn warnings_do_not_fail() {
    let path = file(&minimal("127.0.0.1:8080", "admin: { address: \"0.0.0.0:9090\" }\n"));
    let (code, out, err) = run(&["check", "-c", text(&path)]);
    assert_eq!(code, 0);
    assert!(out.ends_with(": ok: 1 pool, 1 backend, 1 route, 1 listener\n"), "{out}");
    assert!(err.starts_with("warning: ") && err.contains("0.0.0.0:9090 can be reached from other hosts"), "{err}");
}

#[test]
fn a_combination_of_residencies_that_nobody_may_serve_is_a_warning_with_its_lines() {
    let zones =
        "residency: { mode: filter, zones: [ { name: eu, data_zones: [ eu ] }, { name: us, regions: [ eastus ] } ] }";
    let path = file(&format!(
        "version: 1\nlisteners: [ {{ name: us-edge, address: \"127.0.0.1:8080\", residency: us }} ]\n\
         consumers: [ {{ name: acme, residency: eu }} ]\nauthentication: {{ anonymous: acme }}\n{zones}\npools:\n  - name: chat\n    backends:\n\
         \x20     - {{ name: a, region: swedencentral, kind: regional, url: \"http://127.0.0.1:1\" }}\n\
         \x20     - {{ name: b, region: eastus, kind: regional, url: \"http://127.0.0.1:2\" }}\n"
    ));
    let (code, out, err) = run(&["check", "-c", text(&path)]);
    assert_eq!(code, 0, "{out}{err}");
    let told = "consumer `acme` (residency `eu`, line 3) with listener `us-edge` (residency `us`, line 2): \
                no backend of pool `chat` may serve it";
    assert!(
        err.contains("warning: ") && err.contains(&format!("{}:3:", path.display())) && err.contains(told),
        "{err}"
    );
}

#[test]
fn the_effective_configuration_can_be_used_again() {
    let (code, out, err) = run(&["check", "--print", "-c", text(&example("two-regions.yaml"))]);
    assert_eq!(code, 0);
    assert!(err.contains(": ok: 1 pool, 2 backends"), "{err}");
    assert!(out.contains("attempts_max: 3") && out.contains("env: SWEDEN_KEY"), "{out}");
    let path = file(&out);
    assert_eq!(run(&["check", "--print", "-c", text(&path)]).1, out);
}

#[test]
fn what_cannot_be_read_is_told_in_one_sentence() {
    let (code, _, err) = run(&["check", "-c", "/nowhere/tidegate.yaml"]);
    assert_eq!(code, 2);
    assert!(err.starts_with("/nowhere/tidegate.yaml: cannot be read: No such file or directory"), "{err}");
    let secret = minimal("127.0.0.1:8080", "").replace(
        "url: \"http://127.0.0.1:9\"",
        "url: \"https://a.example\", auth: { api_key: { file: /nowhere/key } }",
    );
    let (code, _, err) = run(&["check", "-c", text(&file(&secret))]);
    assert_eq!(code, 2);
    assert!(err.contains("pools[0].backends[0].auth.api_key") && err.contains("/nowhere/key"), "{err}");
}
