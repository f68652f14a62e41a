//! Runs a property over a corpus on stable. The rooms that have fuzz targets use it in their tests.
#![allow(clippy::unwrap_used, reason = "tests may panic")]

use std::collections::BTreeSet;
use std::path::Path;

/// Every input of the corpus `name` itself, cut anywhere, and with one byte changed.
pub(crate) fn run(name: &str, property: fn(&[u8])) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(name);
    let mut count = 0;
    for entry in std::fs::read_dir(folder).unwrap() {
        let input = std::fs::read(entry.unwrap().path()).unwrap();
        property(&input);
        for at in 0..input.len() {
            property(input.get(..at).unwrap());
            let mut changed = input.clone();
            *changed.get_mut(at).unwrap() ^= 1 << (at % 8);
            property(&changed);
        }
        count += 1;
    }
    assert!(count > 0, "no corpus for {name}");
}

#[test]
fn every_fuzz_target_runs_over_its_corpus_here() {
    let names = |folder: &str| {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
        let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
        entries.map(|path| path.file_stem().unwrap().to_str().unwrap().to_owned()).collect::<BTreeSet<_>>()
    };
    let targets = names("fuzz/fuzz_targets");
    assert_eq!(targets, names("fuzz/corpus"));
    let mut tests = Vec::new();
    let mut folders = vec![Path::new(env!("CARGO_MANIFEST_DIR")).join("src")];
    while let Some(folder) = folders.pop() {
        for path in std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
            if path.is_dir() {
                folders.push(path);
            } else if path.ends_with("corpus.rs") {
                tests.push(std::fs::read_to_string(path).unwrap());
            }
        }
    }
    for target in targets {
        let call = format!("run(\"{target}\", properties::{target})");
        assert!(tests.iter().any(|text| text.contains(&call)), "no test runs the corpus of {target}");
    }
}
