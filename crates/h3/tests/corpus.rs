//! The committed inputs of the fuzz targets hold, without a fuzzer.

#[path = "../../../fuzz/checks/h3_connection.rs"]
mod h3_connection;
#[path = "../../../fuzz/checks/h3_frames.rs"]
mod h3_frames;
#[path = "../../../fuzz/checks/replay.rs"]
mod replay;
#[path = "../../../fuzz/checks/request_line.rs"]
mod request_line;

#[test]
fn h3_connection_holds_for_its_corpus() {
    replay::replay("h3_connection", h3_connection::check);
}

#[test]
fn h3_frames_holds_for_its_corpus() {
    replay::replay("h3_frames", h3_frames::check);
}

#[test]
fn request_line_holds_for_its_corpus() {
    replay::replay("request_line", request_line::check);
}
