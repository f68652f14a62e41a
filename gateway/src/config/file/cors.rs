//! The part of the file about cross-origin use by browsers.

use super::values::Period;
use crate::config::defaults;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Which pages elsewhere may use the answers, and how.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::config) struct Cors {
    /// Origins of pages that may, 1 to 100: `https://app.example.com`, `https://*.example.com`, or `*` alone for every page.
    #[schemars(length(min = 1, max = 100))]
    pub(in crate::config) origins: Vec<String>,
    /// Methods that they may use; default `GET`, `HEAD` and `POST`.
    #[serde(default = "methods")]
    #[schemars(length(max = 16))]
    pub(in crate::config) methods: Vec<String>,
    /// Headers that they may send, or `*` alone for any; default: what the OpenAI SDKs send.
    #[serde(default = "headers")]
    #[schemars(length(max = 64))]
    pub(in crate::config) headers: Vec<String>,
    /// Headers of answers that they may read; default: what the OpenAI SDKs read.
    #[serde(default = "exposed_headers")]
    #[schemars(length(max = 64))]
    pub(in crate::config) exposed_headers: Vec<String>,
    /// Browsers may send cookies and client certificates along, never with `*`; default `false`.
    #[serde(default = "credentials")]
    pub(in crate::config) credentials: bool,
    /// How long browsers may remember the answer to a preflight, up to 24 hours; default `10m`.
    #[serde(default = "max_age")]
    pub(in crate::config) max_age: Period,
}

fn methods() -> Vec<String> {
    defaults::CORS_METHODS.map(str::to_owned).to_vec()
}

fn headers() -> Vec<String> {
    defaults::CORS_HEADERS.map(str::to_owned).to_vec()
}

fn exposed_headers() -> Vec<String> {
    defaults::CORS_EXPOSED_HEADERS.map(str::to_owned).to_vec()
}

const fn credentials() -> bool {
    defaults::CORS_CREDENTIALS
}

const fn max_age() -> Period {
    Period(defaults::CORS_MAX_AGE)
}
