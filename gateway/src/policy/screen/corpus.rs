//! The fuzz targets' properties over their corpora, on stable. A crash found by fuzzing becomes a file there.
#![allow(clippy::unwrap_used, reason = "tests may panic")]

use std::path::Path;

use crate::policy::screen;

#[path = "../../../fuzz/screen_properties.rs"]
mod properties;

fn run(name: &str, property: fn(&[u8])) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(name);
    let mut count = 0;
    for entry in std::fs::read_dir(folder).unwrap() {
        let input = std::fs::read(entry.unwrap().path()).unwrap();
        // The inputs themselves, cut anywhere, and with one byte changed.
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
fn screen_corpus_holds() {
    run("screen", properties::screen);
}

#[test]
fn header_corpus_holds() {
    run("header", properties::header);
}

#[test]
fn json_corpus_holds() {
    run("json", properties::json);
}
