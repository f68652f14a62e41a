//! Whatever happens to a file, loading it ends: with a snapshot or with problems, never with a panic.

use crate::{environment, examples};
use proptest::prelude::{Strategy, any, prop};
use proptest::test_runner::{Config, TestRunner};
use std::path::Path;

/// One change of a text.
#[derive(Clone, Debug)]
enum Change {
    /// Remove a range of lines.
    Cut(usize, usize),
    /// Repeat a line somewhere else.
    Copy(usize, usize),
    /// Put a fragment in front of a character.
    Insert(usize, &'static str),
    /// Put any character in place of another.
    Replace(usize, char),
    /// Put a fragment in place of what follows a colon.
    Value(usize, &'static str),
}

const FRAGMENTS: [&str; 24] = [
    " ",
    "\n",
    "  ",
    ":",
    ": ",
    "- ",
    "[",
    "]",
    "{",
    "}",
    "\"",
    "'",
    "#",
    "&a ",
    "*a",
    "<<: *a",
    "!!binary ",
    "|\n",
    "~",
    "-1",
    "1e999",
    ".nan",
    "off",
    "\u{feff}",
];

fn changes() -> impl Strategy<Value = Vec<Change>> {
    let fragment = || prop::sample::select(FRAGMENTS.to_vec());
    let change = proptest::prop_oneof![
        (any::<usize>(), 1usize..4).prop_map(|(at, count)| Change::Cut(at, count)),
        (any::<usize>(), any::<usize>()).prop_map(|(from, to)| Change::Copy(from, to)),
        (any::<usize>(), fragment()).prop_map(|(at, text)| Change::Insert(at, text)),
        (any::<usize>(), any::<char>()).prop_map(|(at, char)| Change::Replace(at, char)),
        (any::<usize>(), fragment()).prop_map(|(at, text)| Change::Value(at, text)),
    ];
    prop::collection::vec(change, 1..6)
}

fn apply(text: &str, change: &Change) -> String {
    let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
    if lines.is_empty() {
        return text.to_owned();
    }
    let count = lines.len();
    match change {
        Change::Cut(at, length) => {
            let at = at % count;
            lines.drain(at..(at + length).min(count));
        }
        Change::Copy(from, to) => {
            let line = lines[from % count].clone();
            lines.insert(to % count, line);
        }
        Change::Insert(at, fragment) => return splice(text, *at, fragment, 0),
        Change::Replace(at, char) => return splice(text, *at, &char.to_string(), 1),
        Change::Value(at, fragment) => {
            let line = &mut lines[at % count];
            if let Some(colon) = line.find(": ") {
                line.truncate(colon + 2);
                line.push_str(fragment);
            }
        }
    }
    lines.join("\n")
}

fn splice(text: &str, at: usize, fragment: &str, removed: usize) -> String {
    let at = at % (text.chars().count() + 1);
    text.chars().take(at).chain(fragment.chars()).chain(text.chars().skip(at + removed)).collect()
}

#[test]
fn mutated_examples_never_panic() {
    let examples = examples();
    let config = Config { cases: 1500, failure_persistence: None, ..Config::default() };
    TestRunner::new(config)
        .run(&(0..examples.len(), changes()), |(index, changes)| {
            let text = changes.iter().fold(examples[index].1.clone(), |text, change| apply(&text, change));
            if let Err(problems) = tidegate::config::load_text("x.yaml", &text, Path::new("."), &environment) {
                assert!(!problems.0.is_empty());
                assert!(!problems.to_string().contains("value-of-"));
            }
            Ok(())
        })
        .unwrap();
}
