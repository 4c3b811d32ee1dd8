//! `checks/ranges.rs` by libFuzzer.
//!
//! The parser is compiled in by its path: it needs nothing of its crate, which would be slow to build.
#![no_main]
#![expect(dead_code, reason = "what the parser offers to its handler")]

#[path = "../../crates/gateway/src/handler/files/range.rs"]
mod range;
#[path = "../checks/ranges.rs"]
mod ranges;

libfuzzer_sys::fuzz_target!(|input: &[u8]| ranges::check(input));
