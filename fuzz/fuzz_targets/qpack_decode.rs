//! `checks/qpack_decode.rs` by libFuzzer.
#![no_main]

#[path = "../checks/qpack_decode.rs"]
mod qpack_decode;

libfuzzer_sys::fuzz_target!(|input: &[u8]| qpack_decode::check(input));
