//! Runs a property over a corpus on stable. The rooms that have fuzz targets use it in their tests.
#![allow(clippy::unwrap_used, reason = "tests may panic")]

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
