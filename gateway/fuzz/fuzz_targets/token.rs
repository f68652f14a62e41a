//! Fuzzes `token_properties::token`.
#![no_main]

use tidegate::policy::token;

#[path = "../token_properties.rs"]
#[allow(dead_code, reason = "each target uses one property")]
mod properties;

libfuzzer_sys::fuzz_target!(|data: &[u8]| properties::token(data));
