//! The committed inputs of the fuzz target `ranges` hold, without a fuzzer.

#[path = "../../../../../../fuzz/checks/ranges.rs"]
mod check;
#[path = "../../../../../../fuzz/checks/replay.rs"]
mod replay;

use super::super::range;

#[test]
fn ranges_hold_for_their_corpus() {
    replay::replay("ranges", check::check);
}
