//! The fuzz targets' properties over their corpora, on stable. A crash found by fuzzing becomes a file there.

use crate::policy::token;

#[path = "../../../fuzz/token_properties.rs"]
mod properties;

use crate::over_corpus::run;

#[test]
fn token_corpus_holds() {
    run("token", properties::token);
}

#[test]
fn jwks_corpus_holds() {
    run("jwks", properties::jwks);
}
