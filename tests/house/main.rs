//! The house rules, kept by tests: layers, purity, sizes, statics, words, metrics, stations, site plan.
//!
//! Each rule reads the sources as text or syntax; none of them runs the gateway. An exception is an entry in a table with
//! a reason, and an entry that excepts nothing any more is a violation itself.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests may panic; a source that does not parse must stop them"
)]

mod imports;
mod layers;
mod metrics;
mod purity;
mod site;
mod sizes;
mod source;
mod statics;
mod stations;
mod words;

/// Fails with every violation at once, one a line.
fn assert_none(rule: &str, mut violations: Vec<String>) {
    violations.sort();
    violations.dedup();
    assert!(violations.is_empty(), "{rule}\n  {}\n{} violation(s)", violations.join("\n  "), violations.len());
}

/// One permitted departure from a rule: where, what, and why.
struct Exception {
    /// File, relative to the repository.
    file: &'static str,
    /// What is excepted there: a name, a crate, a size.
    what: &'static str,
    /// Why; read by people.
    why: &'static str,
}

/// Removes excepted findings from `found` and adds a violation for every entry of `table` that excepts nothing.
fn without_excepted(table: &[Exception], found: Vec<Finding>) -> Vec<String> {
    let stale = table
        .iter()
        .filter(|entry| !found.iter().any(|finding| finding.is(entry)))
        .map(|entry| format!("{}: exception `{}` ({}) excepts nothing: remove it", entry.file, entry.what, entry.why));
    let standing = found
        .iter()
        .filter(|finding| !table.iter().any(|entry| finding.is(entry)))
        .map(|finding| format!("{}:{}: {}", finding.file, finding.line, finding.message));
    stale.chain(standing).collect()
}

/// One departure from a rule.
struct Finding {
    /// File, relative to the repository.
    file: String,
    /// Line, from 1.
    line: usize,
    /// What an exception would name.
    what: String,
    /// The sentence for the reader.
    message: String,
}

impl Finding {
    fn is(&self, entry: &Exception) -> bool {
        self.file == entry.file && self.what == entry.what
    }
}
