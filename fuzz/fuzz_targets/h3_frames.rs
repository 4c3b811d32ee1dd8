//! `checks/h3_frames.rs` by libFuzzer.
#![no_main]

#[path = "../checks/h3_frames.rs"]
mod h3_frames;

libfuzzer_sys::fuzz_target!(|input: &[u8]| h3_frames::check(input));
