//! The fifteen HTTP/3 cases of h3spec, byte for byte, with its two slips mended (a misspelt `:authority`, and a
//! CANCEL_PUSH without its id).

use super::*;

/// A GET of `localhost`: static fields and one literal authority.
const RECIPE: &[u8] = b"\x00\x00\xd1\xd7\x50\x09localhost\xc1";

/// What the server closed with, or reset the request stream with.
fn code_for(id: StreamId, data: &[u8], fin: bool) -> u64 {
    let mut server = server(Config::default());
    let result = server.handle_stream(id, Bytes::copy_from_slice(data), fin);
    let ended = commands(&mut server).into_iter().find_map(|command| match command {
        Command::Close { code, .. } | Command::Reset { code, .. } => Some(code.value()),
        _ => None,
    });
    let code = ended.expect("something was ended");
    assert_eq!(result.is_err(), code != 0x10e, "only a malformed message leaves the connection");
    code
}

fn request(section: &[u8]) -> u64 {
    code_for(FIRST, &[&[0x01, u8::try_from(section.len()).unwrap()], section].concat(), true)
}

fn control(data: &[u8]) -> u64 {
    code_for(CLIENT_CONTROL, data, false)
}

#[test]
fn the_recipe_itself_is_a_request() {
    let mut server = server(Config::default());
    let section = frame(frame::HEADERS, RECIPE);
    server.handle_stream(FIRST, Bytes::from(section), true).unwrap();
    assert!(matches!(server.poll_event(), Some(Event::Request { fin: true, .. })));
}

#[test]
fn h01_data_before_headers() {
    // req: 9114-4.1-frame-sequence
    assert_eq!(code_for(FIRST, &[0x00, 0x01, b'x'], false), 0x105);
}

#[test]
fn h02_duplicated_pseudo_header() {
    // req: 9114-4.3.1-exactly-one
    assert_eq!(request(&[RECIPE, &[0xd1]].concat()), 0x10e);
}

#[test]
fn h03_mandatory_pseudo_header_absent() {
    // req: 9114-4.3.1-path
    assert_eq!(request(b"\x00\x00\xd1\xd7\x50\x09localhost"), 0x10e);
}

#[test]
fn h04_prohibited_pseudo_header() {
    // req: 9114-4.3-unknown-pseudo
    assert_eq!(request(&[RECIPE, b"\x24:foo\x03bar"].concat()), 0x10e);
}

#[test]
fn h05_pseudo_header_after_a_field() {
    // req: 9114-4.3-pseudo-first
    assert_eq!(request(b"\x00\x00\xd1\xd7\x50\x09localhost\x23foo\x03bar\xc1"), 0x10e);
}

#[test]
fn h06_first_control_frame_is_not_settings() {
    // req: 9114-6.2.1-settings-first
    assert_eq!(control(&[0x00, 0x0d, 0x01, 0x00]), 0x10a);
}

#[test]
fn h07_data_on_the_control_stream() {
    // req: 9114-7.2.1-not-on-control-stream
    assert_eq!(control(&[0x00, 0x04, 0x00, 0x00, 0x01, b'x']), 0x105);
}

#[test]
fn h08_headers_on_the_control_stream() {
    // req: 9114-7.2.2-not-on-control-stream
    assert_eq!(control(&[0x00, 0x04, 0x00, 0x01, 0x02, 0x00, 0x00]), 0x105);
}

#[test]
fn h09_second_settings() {
    // req: 9114-7.2.4-once
    assert_eq!(control(&[0x00, 0x04, 0x00, 0x04, 0x00]), 0x105);
}

#[test]
fn h10_setting_of_http2() {
    // req: 9114-7.2.4.1-http2-settings
    assert_eq!(control(&[0x00, 0x04, 0x03, 0x02, 0x40, 0xc8]), 0x109);
}

#[test]
fn h11_cancel_push_on_a_request_stream() {
    // req: 9114-7.2.3-not-on-request-stream
    assert_eq!(code_for(FIRST, &[0x03, 0x01, 0x00], false), 0x105);
    // As h3spec sends it: an empty payload, too.
    assert_eq!(code_for(FIRST, &[0x03, 0x00], false), 0x105);
}

#[test]
fn h12_static_table_index_99() {
    assert_eq!(request(&[RECIPE, &[0xff, 0x24]].concat()), 0x200);
}

#[test]
fn h13_encoder_capacity_above_the_limit() {
    assert_eq!(code_for(CLIENT_ENCODER, &[0x02, 0x3f, 0xe1, 0xc7, 0xaf, 0xa0, 0x25], false), 0x201);
}

#[test]
fn h14_control_stream_closed() {
    // req: 9114-6.2.1-control-stays-open
    assert_eq!(code_for(CLIENT_CONTROL, &[0x00, 0x04, 0x00], true), 0x104);
}

#[test]
fn h15_insert_count_increment_zero() {
    assert_eq!(code_for(CLIENT_DECODER, &[0x03, 0x00], false), 0x202);
}
