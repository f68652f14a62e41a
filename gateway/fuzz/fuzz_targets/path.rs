//! Fuzzes `properties::path`.
#![no_main]

use tidegate::openai;

#[path = "../properties.rs"]
#[allow(dead_code, reason = "each target uses one property")]
mod properties;

libfuzzer_sys::fuzz_target!(|data: &[u8]| properties::path(data));
