//! `checks/qpack_round_trip.rs` by libFuzzer.
#![no_main]

#[path = "../checks/qpack_round_trip.rs"]
mod qpack_round_trip;

libfuzzer_sys::fuzz_target!(|input: &[u8]| qpack_round_trip::check(input));
