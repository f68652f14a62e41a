//! Metrics: one table in `telemetry`, named by the convention, documented in the runbook, and nothing else counts.

use std::collections::BTreeSet;
use std::fs;

use crate::assert_none;
use crate::source::{gateway, root};

/// Units that a name may carry; Prometheus wants base units.
const FOREIGN_UNITS: [&str; 9] =
    ["ms", "milliseconds", "us", "microseconds", "minutes", "kb", "mb", "kilobytes", "percent"];

/// Endings that a series of a histogram adds to its name.
const SERIES: [&str; 3] = ["_bucket", "_sum", "_count"];

#[test]
fn metrics_are_named_by_the_convention() {
    let mut violations = Vec::new();
    let table = table();
    assert!(table.is_empty() || table.len() > 10, "the metrics table was not understood: {table:?}");
    for name in &table {
        for word in name.split('_') {
            if FOREIGN_UNITS.contains(&word) {
                violations.push(format!("{name}: `{word}` is no base unit"));
            }
        }
        if name.ends_with("_count") || name.ends_with("_sum") || name.ends_with("_bucket") {
            violations.push(format!("{name}: its ending belongs to the series of a histogram"));
        }
        if name.contains("__") || name.ends_with('_') || name.bytes().any(|b| b.is_ascii_uppercase()) {
            violations.push(format!("{name}: tidegate_<noun>[_<unit>][_total]"));
        }
    }
    assert_none("tidegate_<noun>[_<unit>][_total]", violations);
}

#[test]
fn metrics_live_in_telemetry() {
    let strays = gateway().iter().filter(|source| source.room() != "telemetry" && !READERS.contains(&source.room()));
    let strays = strays.filter(|source| !source.is_test);
    let violations = strays.flat_map(|source| {
        let code = source.text.split("#[cfg(test)]").next().unwrap_or_default();
        quoted_metrics(code).into_iter().map(|name| format!("{}: names the metric {name}", source.path))
    });
    assert_none("metric names are written in telemetry's table only", violations.collect());
}

/// Rooms that read the metrics of a running gateway: the demo's view.
const READERS: [&str; 1] = ["demo"];

#[test]
fn the_runbook_documents_every_metric() {
    let table = table();
    let runbook = read("deploy/README.md");
    let documented: BTreeSet<String> = metric_words(&runbook).into_iter().map(|name| base(&name, &table)).collect();
    let missing = table.difference(&documented).map(|name| format!("{name}: in the table, not in deploy/README.md"));
    let invented = documented.difference(&table).map(|name| format!("{name}: in deploy/README.md, not in the table"));
    assert_none("deploy/README.md documents the metrics", missing.chain(invented).collect());
}

#[test]
fn alerts_name_metrics_that_exist() {
    let table = table();
    let mut violations = Vec::new();
    for path in
        ["deploy/alerts.yaml", "deploy/alerts.test.yaml", "conf/README.md", "README.md", "gateway/ARCHITECTURE.md"]
    {
        let Ok(text) = fs::read_to_string(root().join(path)) else { continue };
        for name in metric_words(&text) {
            if !table.contains(&base(&name, &table)) {
                violations.push(format!("{path}: no metric is called {name}"));
            }
        }
    }
    assert_none("documents and alerts name metrics of the table", violations);
}

#[test]
fn every_alert_is_explained_and_tested() {
    let (alerts, tests, runbook) =
        (read("deploy/alerts.yaml"), read("deploy/alerts.test.yaml"), read("deploy/README.md"));
    let mut violations = Vec::new();
    let names = alerts.lines().filter_map(|line| line.trim().strip_prefix("- alert: "));
    for name in names {
        if !tests.contains(&format!("alertname: {name}")) {
            violations.push(format!("{name}: not tested in deploy/alerts.test.yaml"));
        }
        if !runbook.lines().any(|line| line.starts_with('#') && line.trim_start_matches('#').trim() == name) {
            violations.push(format!("{name}: no heading in deploy/README.md"));
        }
        if !alerts.contains(&format!("runbook: deploy/README.md#{}", name.to_lowercase())) {
            violations.push(format!("{name}: no annotation `runbook`"));
        }
    }
    assert_none("every alert has a test and a page in the runbook", violations);
}

/// Every metric that telemetry names.
fn table() -> BTreeSet<String> {
    let telemetry = gateway().iter().filter(|source| source.room() == "telemetry" && !source.is_test);
    telemetry.flat_map(|source| quoted_metrics(source.text.split("#[cfg(test)]").next().unwrap_or_default())).collect()
}

/// String literals of `code` that are metric names as a whole.
fn quoted_metrics(code: &str) -> BTreeSet<String> {
    let names = code.split('"').filter(|text| {
        text.strip_prefix("tidegate_").is_some_and(|rest| !rest.is_empty() && rest.bytes().all(is_name))
    });
    names.map(str::to_owned).collect()
}

/// Words of `text` that look like metric names; recording rules (`tidegate:…`) and file names are none.
fn metric_words(text: &str) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    for (at, _) in text.match_indices("tidegate_") {
        let before = text[..at].bytes().next_back();
        let name: String = text[at..].chars().take_while(|c| c.is_ascii() && is_name(*c as u8)).collect();
        if before.is_none_or(|b| !is_name(b)) && name.len() > "tidegate_".len() && !name.ends_with('_') {
            names.insert(name);
        }
    }
    names
}

fn base(name: &str, table: &BTreeSet<String>) -> String {
    let base = SERIES.iter().find_map(|ending| name.strip_suffix(ending)).filter(|base| table.contains(*base));
    base.unwrap_or(name).to_owned()
}

const fn is_name(byte: u8) -> bool {
    byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_'
}

fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}
