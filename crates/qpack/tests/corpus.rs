//! The committed inputs of the fuzz targets hold, without a fuzzer.

#[path = "../../../fuzz/checks/qpack_decode.rs"]
mod qpack_decode;
#[path = "../../../fuzz/checks/qpack_round_trip.rs"]
mod qpack_round_trip;
#[path = "../../../fuzz/checks/replay.rs"]
mod replay;

#[test]
fn qpack_decode_holds_for_its_corpus() {
    replay::replay("qpack_decode", qpack_decode::check);
}

#[test]
fn qpack_round_trip_holds_for_its_corpus() {
    replay::replay("qpack_round_trip", qpack_round_trip::check);
}
