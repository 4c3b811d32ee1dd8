//! Names of error codes: whoever reads a failure can look the code up.

use sterna_net::Protocol;

/// `H3_INTERNAL_ERROR (RFC 9114 §8.1)`, if the code is a registered one.
pub(super) fn name(protocol: Option<Protocol>, code: u64) -> Option<String> {
    let find = |table: &[(u64, &'static str)]| {
        table.iter().find(|(known, _)| *known == code).map(|(_, name)| *name)
    };
    let (name, section) = match protocol? {
        Protocol::Http1 => return None,
        Protocol::Http2 => (find(HTTP2)?, "RFC 9113 §7"),
        Protocol::Http3 => match code {
            0..0x100 => (find(QUIC)?, "RFC 9000 §20.1"),
            0x200..0x300 => (find(QPACK)?, "RFC 9204 §6"),
            _ => (find(HTTP3)?, "RFC 9114 §8.1"),
        },
    };
    Some(format!("{name} ({section})"))
}

const HTTP2: &[(u64, &str)] = &[
    (0x0, "NO_ERROR"),
    (0x1, "PROTOCOL_ERROR"),
    (0x2, "INTERNAL_ERROR"),
    (0x3, "FLOW_CONTROL_ERROR"),
    (0x4, "SETTINGS_TIMEOUT"),
    (0x5, "STREAM_CLOSED"),
    (0x6, "FRAME_SIZE_ERROR"),
    (0x7, "REFUSED_STREAM"),
    (0x8, "CANCEL"),
    (0x9, "COMPRESSION_ERROR"),
    (0xa, "CONNECT_ERROR"),
    (0xb, "ENHANCE_YOUR_CALM"),
    (0xc, "INADEQUATE_SECURITY"),
    (0xd, "HTTP_1_1_REQUIRED"),
];

const HTTP3: &[(u64, &str)] = &[
    (0x100, "H3_NO_ERROR"),
    (0x101, "H3_GENERAL_PROTOCOL_ERROR"),
    (0x102, "H3_INTERNAL_ERROR"),
    (0x103, "H3_STREAM_CREATION_ERROR"),
    (0x104, "H3_CLOSED_CRITICAL_STREAM"),
    (0x105, "H3_FRAME_UNEXPECTED"),
    (0x106, "H3_FRAME_ERROR"),
    (0x107, "H3_EXCESSIVE_LOAD"),
    (0x108, "H3_ID_ERROR"),
    (0x109, "H3_SETTINGS_ERROR"),
    (0x10a, "H3_MISSING_SETTINGS"),
    (0x10b, "H3_REQUEST_REJECTED"),
    (0x10c, "H3_REQUEST_CANCELLED"),
    (0x10d, "H3_REQUEST_INCOMPLETE"),
    (0x10e, "H3_MESSAGE_ERROR"),
    (0x10f, "H3_CONNECT_ERROR"),
    (0x110, "H3_VERSION_FALLBACK"),
];

const QPACK: &[(u64, &str)] = &[
    (0x200, "QPACK_DECOMPRESSION_FAILED"),
    (0x201, "QPACK_ENCODER_STREAM_ERROR"),
    (0x202, "QPACK_DECODER_STREAM_ERROR"),
];

const QUIC: &[(u64, &str)] = &[
    (0x0, "NO_ERROR"),
    (0x1, "INTERNAL_ERROR"),
    (0x2, "CONNECTION_REFUSED"),
    (0x3, "FLOW_CONTROL_ERROR"),
    (0x4, "STREAM_LIMIT_ERROR"),
    (0x5, "STREAM_STATE_ERROR"),
    (0x6, "FINAL_SIZE_ERROR"),
    (0x7, "FRAME_ENCODING_ERROR"),
    (0x8, "TRANSPORT_PARAMETER_ERROR"),
    (0x9, "CONNECTION_ID_LIMIT_ERROR"),
    (0xa, "PROTOCOL_VIOLATION"),
    (0xb, "INVALID_TOKEN"),
    (0xc, "APPLICATION_ERROR"),
    (0xd, "CRYPTO_BUFFER_EXCEEDED"),
    (0xe, "KEY_UPDATE_ERROR"),
    (0xf, "AEAD_LIMIT_REACHED"),
    (0x10, "NO_VIABLE_PATH"),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn code_is_named_by_its_protocol() {
        let named = |protocol, code| name(Some(protocol), code);
        let h3 = named(Protocol::Http3, 0x107);
        assert_eq!(h3.as_deref(), Some("H3_EXCESSIVE_LOAD (RFC 9114 §8.1)"));
        let quic = named(Protocol::Http3, 0x7);
        assert_eq!(quic.as_deref(), Some("FRAME_ENCODING_ERROR (RFC 9000 §20.1)"));
        let h2 = named(Protocol::Http2, 0x7);
        assert_eq!(h2.as_deref(), Some("REFUSED_STREAM (RFC 9113 §7)"));
        let qpack = named(Protocol::Http3, 0x200);
        assert_eq!(qpack.as_deref(), Some("QPACK_DECOMPRESSION_FAILED (RFC 9204 §6)"));
        assert_eq!(named(Protocol::Http3, 0x1234), None);
        assert_eq!(name(None, 0x100), None);
    }
}
