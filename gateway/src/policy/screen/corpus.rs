//! The fuzz targets' properties over their corpora, on stable. A crash found by fuzzing becomes a file there.

use crate::policy::screen;

#[path = "../../../fuzz/screen_properties.rs"]
mod properties;

use crate::over_corpus::run;
use proptest::prelude::{ProptestConfig, any, prop, proptest};

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

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]
    #[test]
    fn requests_of_any_bytes_are_judged(
        bytes in prop::collection::vec(any::<u8>(), 0..300),
        target in r"[/?&=%;.+'<>(){}\\a-f0-9-]{0,80}",
        fields in prop::collection::vec(r"(cookie|user-agent|referer|x-a): [ -~]{0,60}", 0..6),
    ) {
        properties::screen(&bytes);
        properties::header(&bytes);
        properties::json(&bytes);
        properties::screen(format!("{target}\n{}", fields.join("\n")).as_bytes());
    }
}
