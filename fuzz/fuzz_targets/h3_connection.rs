//! `checks/h3_connection.rs` by libFuzzer.
#![no_main]

#[path = "../checks/h3_connection.rs"]
mod h3_connection;

libfuzzer_sys::fuzz_target!(|input: &[u8]| h3_connection::check(input));
