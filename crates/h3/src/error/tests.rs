use std::collections::BTreeSet;

use super::*;

#[test]
fn no_two_codes_share_a_number() {
    let codes = [
        Code::DatagramError,
        Code::NoError,
        Code::GeneralProtocolError,
        Code::InternalError,
        Code::StreamCreationError,
        Code::ClosedCriticalStream,
        Code::FrameUnexpected,
        Code::FrameError,
        Code::ExcessiveLoad,
        Code::IdError,
        Code::SettingsError,
        Code::MissingSettings,
        Code::RequestRejected,
        Code::RequestCancelled,
        Code::RequestIncomplete,
        Code::MessageError,
        Code::ConnectError,
        Code::VersionFallback,
        Code::QpackDecompressionFailed,
        Code::QpackEncoderStreamError,
        Code::QpackDecoderStreamError,
    ];
    let numbers: BTreeSet<_> = codes.iter().map(|code| code.value()).collect();
    assert_eq!(numbers.len(), codes.len());
}

#[test]
fn each_rule_has_a_sentence_of_its_own_in_lower_case_without_a_full_stop() {
    let sentences: BTreeSet<_> = PeerMisbehaved::ALL.iter().map(|rule| rule.sentence()).collect();
    assert_eq!(sentences.len(), PeerMisbehaved::ALL.len());
    for rule in PeerMisbehaved::ALL {
        let sentence = rule.to_string();
        assert_eq!(sentence, rule.sentence());
        assert!(!sentence.ends_with('.') && sentence.is_ascii(), "{sentence}");
        // RFC 9000 §19.19 leaves a reason what fits the packet.
        assert!(sentence.len() < 100, "{sentence}");
    }
}

#[test]
fn malformed_messages_end_the_stream_and_everything_else_the_connection() {
    // req: 9114-4.1.2-malformed-is-stream-error
    for rule in PeerMisbehaved::ALL {
        let ends_stream = match rule.code() {
            Code::MessageError | Code::RequestIncomplete => true,
            Code::ExcessiveLoad | Code::DatagramError => continue,
            _ => false,
        };
        assert_eq!(rule.scope() == Scope::Stream, ends_stream, "{rule:?}");
    }
}

#[test]
fn a_rule_of_qpack_keeps_its_code_and_its_words() {
    let mut decoder = sterna_qpack::Decoder::new(sterna_qpack::DecoderConfig {
        max_table_capacity: 0,
        max_blocked_streams: 0,
        max_field_section_size: 100,
    });
    let section = bytes::Bytes::from_static(&[0x00, 0x00, 0xff, 0x24]);
    let error = decoder.decode(0, &section, &mut |_| {}).unwrap_err();
    let rule = PeerMisbehaved::Qpack(error);
    assert_eq!((rule.code(), rule.scope()), (Code::QpackDecompressionFailed, Scope::Connection));
    assert_eq!(rule.to_string(), error.to_string());
    assert_eq!(rule.code().value(), error.code());
}
