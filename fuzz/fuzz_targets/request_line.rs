//! `checks/request_line.rs` by libFuzzer.
#![no_main]

#[path = "../checks/request_line.rs"]
mod request_line;

libfuzzer_sys::fuzz_target!(|input: &[u8]| request_line::check(input));
