//! The fuzz targets' properties over their corpora, on stable. A crash found by fuzzing becomes a file there.

use crate::policy::screen;

#[path = "../../../fuzz/screen_properties.rs"]
mod properties;

use crate::over_corpus::run;

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
