//! The site plan: what lies at the top, that links lead somewhere, that decisions are complete, and that nothing private
//! of somebody's machine is written down.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::Command;

use crate::assert_none;
use crate::source::{files, relative, root};

/// What is visible at the top of the repository; dot-files hold the settings of tools.
const TOP: [&str; 7] = ["Cargo.toml", "Cargo.lock", "README.md", "conf", "deploy", "gateway", "tests"];

/// What no text of ours says: paths of one machine, addresses of registries. Split so that this table does not find itself.
const PRIVATE: [&[&str]; 7] = [
    &["/wo", "rk/"],
    &["/ro", "ot/"],
    &["/tmp/", "wt"],
    &["/opt/", "wheels"],
    &["index.", "crates.io"],
    &["pypi", ".org"],
    &["registry.", "npmjs"],
];

/// Headings of a decision record.
const DECISION: [&str; 3] = ["## Context", "## Choice", "## Consequences"];

/// Files that are kept, relative to the repository: what git tracks, or, without git, what lies there.
fn kept() -> Vec<String> {
    let mut list = Command::new("git");
    list.args(["ls-files", "--cached", "--others", "--exclude-standard"]).current_dir(root());
    let output = list.output().ok().filter(|output| output.status.success());
    let tracked = output.map(|output| String::from_utf8_lossy(&output.stdout).lines().map(str::to_owned).collect());
    tracked.unwrap_or_else(|| files(root(), &|_| true).iter().map(|path| relative(path)).collect())
}

#[test]
fn the_top_level_is_the_site_plan() {
    let top: BTreeSet<String> = kept().iter().filter_map(|path| path.split('/').next().map(str::to_owned)).collect();
    let strays = top.iter().filter(|name| !name.starts_with('.') && !TOP.contains(&name.as_str()));
    assert_none(
        "nothing visible is added at the top",
        strays.map(|name| format!("{name}: not in the site plan")).collect(),
    );
}

#[test]
fn nothing_private_is_written_down() {
    let mut violations = Vec::new();
    for path in kept().iter().filter(|path| *path != "Cargo.lock") {
        let Ok(text) = fs::read_to_string(root().join(path)) else { continue };
        for (at, line) in text.lines().enumerate() {
            if let Some(found) = PRIVATE.iter().map(|parts| parts.concat()).find(|private| line.contains(private)) {
                violations.push(format!("{path}:{}: {found}", at + 1));
            }
        }
    }
    assert_none("no machine paths, no registry hosts", violations);
}

#[test]
fn links_lead_somewhere() {
    let mut violations = Vec::new();
    for document in files(root(), &|path| path.extension().is_some_and(|e| e == "md")) {
        let text = fs::read_to_string(&document).unwrap_or_default();
        for link in links(&text) {
            let (path, anchor) = link.split_once('#').unwrap_or((&link, ""));
            let target =
                if path.is_empty() { document.clone() } else { document.parent().unwrap_or(root()).join(path) };
            if !target.exists() {
                violations.push(format!("{}: {link} does not exist", relative(&document)));
            } else if !anchor.is_empty()
                && target.extension().is_some_and(|e| e == "md")
                && !has_anchor(&target, anchor)
            {
                violations.push(format!("{}: {link}: no such heading", relative(&document)));
            }
        }
    }
    assert_none("links in documents lead somewhere", violations);
}

/// Targets of `[text](target)` outside code blocks, but for those on the web.
fn links(text: &str) -> Vec<String> {
    let prose = text.split("```").step_by(2).collect::<String>();
    let targets =
        prose.split("](").skip(1).filter_map(|rest| rest.split_once(')')).map(|(target, _)| target.to_owned());
    targets.filter(|target| !target.contains("://") && !target.starts_with("mailto:")).collect()
}

fn has_anchor(document: &Path, anchor: &str) -> bool {
    let text = fs::read_to_string(document).unwrap_or_default();
    let headings = text.lines().filter(|line| line.starts_with('#'));
    headings.map(|line| slug(line.trim_start_matches('#'))).any(|slug| slug == anchor)
        || text.contains(&format!("<a id=\"{anchor}\""))
}

fn slug(heading: &str) -> String {
    let kept = heading.trim().to_lowercase();
    kept.chars().filter(|c| c.is_alphanumeric() || " -_".contains(*c)).map(|c| if c == ' ' { '-' } else { c }).collect()
}

#[test]
fn decisions_are_complete() {
    let mut violations = Vec::new();
    let records = files(&root().join("gateway/decisions"), &|path| path.extension().is_some_and(|e| e == "md"));
    let names: Vec<String> = records.iter().map(|path| relative(path)).collect();
    for (path, name) in records.iter().zip(&names) {
        let text = fs::read_to_string(path).unwrap_or_default();
        for heading in DECISION {
            if !text.lines().any(|line| line.starts_with(heading)) {
                violations.push(format!("{name}: no `{heading}`"));
            }
        }
        if !text.lines().any(|line| line.strip_prefix("Date: ").is_some_and(is_date)) {
            violations.push(format!("{name}: no line `Date: YYYY-MM-DD`"));
        }
        if text.lines().count() > 80 {
            violations.push(format!("{name}: longer than a page"));
        }
    }
    for path in kept().iter().filter(|path| path.ends_with(".rs") || path.ends_with(".md") || path.ends_with(".toml")) {
        let text = fs::read_to_string(root().join(path)).unwrap_or_default();
        for (at, prefix) in text.match_indices("gateway/decisions/") {
            let number: String = text[at + prefix.len()..].chars().take_while(char::is_ascii_digit).collect();
            if !number.is_empty() && !names.iter().any(|name| name.contains(&format!("decisions/{number}-"))) {
                violations.push(format!("{path}: decision {number} does not exist"));
            }
        }
    }
    assert_none("decision records are complete", violations);
}

fn is_date(text: &str) -> bool {
    let date: Vec<&str> = text.split([' ', '.']).next().unwrap_or_default().split('-').collect();
    let is_number = |(digits, part): (&usize, &&str)| part.len() == *digits && part.bytes().all(|b| b.is_ascii_digit());
    date.len() == 3 && [4, 2, 2].iter().zip(&date).all(is_number)
}
