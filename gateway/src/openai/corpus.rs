//! The fuzz targets' properties over their corpora, on stable. A crash found by fuzzing becomes a file there.

use crate::openai;

#[path = "../../fuzz/properties.rs"]
mod properties;

use crate::over_corpus::run;

#[test]
fn sse_corpus_holds() {
    run("sse", properties::sse);
}

#[test]
fn facts_corpus_holds() {
    run("facts", properties::facts);
}

#[test]
fn throttle_corpus_holds() {
    run("throttle", properties::throttle);
}

#[test]
fn path_corpus_holds() {
    run("path", properties::path);
}
