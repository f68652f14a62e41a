//! Fuzzes `screen_properties::header`.
#![no_main]

use tidegate::policy::screen;

#[path = "../screen_properties.rs"]
#[allow(dead_code, reason = "each target uses one property")]
mod properties;

libfuzzer_sys::fuzz_target!(|data: &[u8]| properties::header(data));
