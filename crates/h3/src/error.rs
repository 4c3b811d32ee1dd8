//! Who is at fault, which rule was broken, and which code goes on the wire.
//!
//! [`PeerMisbehaved`] has one variant for each rule. The table below gives each its [`Code`], its [`Scope`] and its
//! sentence in one place; there is no arm that a new variant could fall into by accident.

use std::fmt;

/// An application error code on the wire: RFC 9114 §8.1, RFC 9204 §6, RFC 9297 §5.2.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Code {
    /// H3_DATAGRAM_ERROR, 0x33.
    DatagramError,
    /// H3_NO_ERROR, 0x100.
    NoError,
    /// H3_GENERAL_PROTOCOL_ERROR, 0x101.
    GeneralProtocolError,
    /// H3_INTERNAL_ERROR, 0x102.
    InternalError,
    /// H3_STREAM_CREATION_ERROR, 0x103.
    StreamCreationError,
    /// H3_CLOSED_CRITICAL_STREAM, 0x104.
    ClosedCriticalStream,
    /// H3_FRAME_UNEXPECTED, 0x105.
    FrameUnexpected,
    /// H3_FRAME_ERROR, 0x106.
    FrameError,
    /// H3_EXCESSIVE_LOAD, 0x107.
    ExcessiveLoad,
    /// H3_ID_ERROR, 0x108.
    IdError,
    /// H3_SETTINGS_ERROR, 0x109.
    SettingsError,
    /// H3_MISSING_SETTINGS, 0x10a.
    MissingSettings,
    /// H3_REQUEST_REJECTED, 0x10b.
    RequestRejected,
    /// H3_REQUEST_CANCELLED, 0x10c.
    RequestCancelled,
    /// H3_REQUEST_INCOMPLETE, 0x10d.
    RequestIncomplete,
    /// H3_MESSAGE_ERROR, 0x10e.
    MessageError,
    /// H3_CONNECT_ERROR, 0x10f.
    ConnectError,
    /// H3_VERSION_FALLBACK, 0x110.
    VersionFallback,
    /// QPACK_DECOMPRESSION_FAILED, 0x200.
    QpackDecompressionFailed,
    /// QPACK_ENCODER_STREAM_ERROR, 0x201.
    QpackEncoderStreamError,
    /// QPACK_DECODER_STREAM_ERROR, 0x202.
    QpackDecoderStreamError,
}

impl Code {
    /// The number.
    pub const fn value(self) -> u64 {
        match self {
            Self::DatagramError => 0x33,
            Self::NoError => 0x100,
            Self::GeneralProtocolError => 0x101,
            Self::InternalError => 0x102,
            Self::StreamCreationError => 0x103,
            Self::ClosedCriticalStream => 0x104,
            Self::FrameUnexpected => 0x105,
            Self::FrameError => 0x106,
            Self::ExcessiveLoad => 0x107,
            Self::IdError => 0x108,
            Self::SettingsError => 0x109,
            Self::MissingSettings => 0x10a,
            Self::RequestRejected => 0x10b,
            Self::RequestCancelled => 0x10c,
            Self::RequestIncomplete => 0x10d,
            Self::MessageError => 0x10e,
            Self::ConnectError => 0x10f,
            Self::VersionFallback => 0x110,
            Self::QpackDecompressionFailed => 0x200,
            Self::QpackEncoderStreamError => 0x201,
            Self::QpackDecoderStreamError => 0x202,
        }
    }
}

/// What a broken rule ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Scope {
    /// The stream: it is reset, the connection lives.
    Stream,
    /// The connection.
    Connection,
}

/// Writes [`PeerMisbehaved`] from one line for each rule: doc, name, scope, code, sentence.
macro_rules! rules {
    ($( $(#[$doc:meta])* $name:ident: $scope:ident, $code:ident, $sentence:literal; )*) => {
        /// A rule that a peer can break, one variant for each.
        ///
        /// [`PeerMisbehaved::code`] is what we send for it, [`PeerMisbehaved::scope`] what it ends.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[non_exhaustive]
        pub enum PeerMisbehaved {
            $( $(#[$doc])* $name, )*
            /// A rule of QPACK: RFC 9204 §6.
            Qpack(sterna_qpack::Error),
        }

        impl PeerMisbehaved {
            /// Every rule of HTTP/3 itself, in the order of the variants; those of QPACK are not among them.
            pub const ALL: &[Self] = &[$( Self::$name, )*];

            /// The code that we send for this.
            pub const fn code(self) -> Code {
                match self {
                    $( Self::$name => Code::$code, )*
                    Self::Qpack(error) => qpack_code(error),
                }
            }

            /// Whether the stream or the connection ends.
            pub const fn scope(self) -> Scope {
                match self {
                    $( Self::$name => Scope::$scope, )*
                    Self::Qpack(_) => Scope::Connection,
                }
            }

            /// The rule as a sentence, which also goes into CONNECTION_CLOSE for people who read traces.
            pub const fn sentence(self) -> &'static str {
                match self {
                    $( Self::$name => $sentence, )*
                    Self::Qpack(error) => qpack_sentence(error),
                }
            }
        }
    };
}

rules! {
    // Streams: RFC 9114 §6.

    /// RFC 9114 §6.2.1.
    ControlStreamTwice: Connection, StreamCreationError, "a second control stream";
    /// RFC 9204 §4.2.
    EncoderStreamTwice: Connection, StreamCreationError, "a second encoder stream";
    /// RFC 9204 §4.2.
    DecoderStreamTwice: Connection, StreamCreationError, "a second decoder stream";
    /// RFC 9114 §6.2.2.
    PushStreamFromClient: Connection, StreamCreationError, "a push stream opened by a client";
    /// RFC 9114 §4.6: we never allow pushes.
    PushStreamNotAllowed: Connection, IdError, "a push stream although no push was allowed";
    /// RFC 9114 §6.1.
    ServerOpenedBidirectional: Connection, StreamCreationError, "a bidirectional stream opened by a server";
    /// RFC 9114 §6.2.1.
    ControlStreamClosed: Connection, ClosedCriticalStream, "the control stream was closed";
    /// RFC 9204 §4.2.
    EncoderStreamClosed: Connection, ClosedCriticalStream, "the encoder stream was closed";
    /// RFC 9204 §4.2.
    DecoderStreamClosed: Connection, ClosedCriticalStream, "the decoder stream was closed";
    /// RFC 9114 §6.2.1, RFC 9204 §4.2: STOP_SENDING for one of our three streams.
    CriticalStreamStopped: Connection, ClosedCriticalStream, "reading of a critical stream was stopped";

    // Frames and where they may come: RFC 9114 §7.

    /// RFC 9114 §6.2.1.
    MissingSettings: Connection, MissingSettings, "the control stream did not begin with SETTINGS";
    /// RFC 9114 §7.2.4.
    SettingsTwice: Connection, FrameUnexpected, "a second SETTINGS frame";
    /// RFC 9114 §7.2.4.
    SettingsOnRequestStream: Connection, FrameUnexpected, "SETTINGS on a request stream";
    /// RFC 9114 §7.2.1.
    DataOnControlStream: Connection, FrameUnexpected, "DATA on the control stream";
    /// RFC 9114 §7.2.2.
    HeadersOnControlStream: Connection, FrameUnexpected, "HEADERS on the control stream";
    /// RFC 9114 §7.2.5.
    PushPromiseOnControlStream: Connection, FrameUnexpected, "PUSH_PROMISE on the control stream";
    /// RFC 9114 §7.2.5.
    PushPromiseFromClient: Connection, FrameUnexpected, "PUSH_PROMISE from a client";
    /// RFC 9114 §7.2.5: we never allow pushes.
    PushPromiseNotAllowed: Connection, IdError, "PUSH_PROMISE although no push was allowed";
    /// RFC 9114 §7.2.3.
    CancelPushOnRequestStream: Connection, FrameUnexpected, "CANCEL_PUSH on a request stream";
    /// RFC 9114 §7.2.3: we never promise, and never allow, a push.
    CancelPushUnknown: Connection, IdError, "CANCEL_PUSH for a push that does not exist";
    /// RFC 9114 §7.2.6.
    GoawayOnRequestStream: Connection, FrameUnexpected, "GOAWAY on a request stream";
    /// RFC 9114 §5.2.
    GoawayIncreased: Connection, IdError, "a GOAWAY identifier larger than the one before";
    /// RFC 9114 §5.2.
    GoawayNotRequestId: Connection, IdError, "GOAWAY with an identifier that is no request stream";
    /// RFC 9114 §7.2.7.
    MaxPushIdOnRequestStream: Connection, FrameUnexpected, "MAX_PUSH_ID on a request stream";
    /// RFC 9114 §7.2.7.
    MaxPushIdFromServer: Connection, FrameUnexpected, "MAX_PUSH_ID from a server";
    /// RFC 9114 §7.2.7.
    MaxPushIdReduced: Connection, IdError, "MAX_PUSH_ID smaller than the one before";
    /// RFC 9218 §7.2.
    PriorityUpdateOnRequestStream: Connection, FrameUnexpected, "PRIORITY_UPDATE on a request stream";
    /// RFC 9218 §7.2.
    PriorityUpdateFromServer: Connection, FrameUnexpected, "PRIORITY_UPDATE from a server";
    /// RFC 9218 §7.2.
    PriorityUpdateNotRequestId: Connection, IdError, "PRIORITY_UPDATE for what is no request stream";
    /// RFC 9218 §7.2: we never promise a push.
    PriorityUpdateUnknownPush: Connection, IdError, "PRIORITY_UPDATE for a push that does not exist";
    /// RFC 9114 §7.2.8.
    Http2Frame: Connection, FrameUnexpected, "a frame type of HTTP/2";
    /// RFC 9114 §7.1.
    FrameLength: Connection, FrameError, "a frame is longer or shorter than its fields";
    /// RFC 9114 §7.1.
    FrameTruncated: Connection, FrameError, "a stream ended within a frame";
    /// RFC 9114 §4.1.
    DataBeforeHeaders: Connection, FrameUnexpected, "DATA before HEADERS";
    /// RFC 9114 §4.1.
    DataAfterTrailers: Connection, FrameUnexpected, "DATA after the trailer section";
    /// RFC 9114 §4.1.
    HeadersAfterTrailers: Connection, FrameUnexpected, "HEADERS after the trailer section";
    /// RFC 9114 §4.4.
    HeadersInTunnel: Connection, FrameUnexpected, "HEADERS within a CONNECT tunnel";

    // Settings: RFC 9114 §7.2.4.

    /// RFC 9114 §7.2.4.1.
    Http2Setting: Connection, SettingsError, "a setting of HTTP/2";
    /// RFC 9114 §7.2.4.
    SettingTwice: Connection, SettingsError, "a setting occurs twice";
    /// RFC 8441 §3, RFC 9220 §3, RFC 9297 §2.1.1.
    SettingNotBoolean: Connection, SettingsError, "a setting is neither 0 nor 1";
    /// RFC 9114 §7.2.4.2, RFC 9204 §3.2.3: after 0-RTT.
    SettingsReduced: Connection, SettingsError, "settings are smaller than those remembered for 0-RTT";

    // Load: RFC 9114 §10.5.

    /// RFC 9114 §10.5: a control frame larger than any that makes sense.
    ControlFrameTooLarge: Connection, ExcessiveLoad, "a frame on the control stream is too large";
    /// RFC 9114 §10.5: unknown frames, empty DATA, repeated updates, against what is useful.
    Flood: Connection, ExcessiveLoad, "too many frames or bytes without use";
    /// RFC 9114 §10.5: requests given up, against those that were completed.
    RapidReset: Connection, ExcessiveLoad, "too many requests were given up";
    /// RFC 9114 §6.2: unidirectional streams whose type does not come.
    TooManyUntypedStreams: Connection, ExcessiveLoad, "too many streams without a type";
    /// RFC 9114 §10.5: stream ids with so many gaps that remembering them costs memory.
    TooManyGaps: Connection, ExcessiveLoad, "too many gaps between the streams in use";
    /// RFC 9204 §2.1.2: data behind blocked field sections.
    BlockedTooLarge: Stream, ExcessiveLoad, "too much data behind a blocked field section";
    /// RFC 9114 §4.2.2: of a response, or of trailers.
    FieldSectionTooLarge: Stream, ExcessiveLoad, "a field section is larger than we announced to accept";

    // Messages: RFC 9114 §4.1 to §4.4, RFC 9110.

    /// RFC 9114 §4.1.
    RequestIncomplete: Stream, RequestIncomplete, "the stream ended before a request";
    /// RFC 9114 §4.1.
    ResponseIncomplete: Stream, MessageError, "the stream ended before a final response";
    /// RFC 9110 §5.1.
    EmptyName: Stream, MessageError, "an empty field name";
    /// RFC 9114 §4.2.
    UppercaseName: Stream, MessageError, "an uppercase letter in a field name";
    /// RFC 9114 §10.3.
    InvalidName: Stream, MessageError, "a character that no field name has";
    /// RFC 9114 §10.3.
    InvalidValue: Stream, MessageError, "a character that no field value has";
    /// RFC 9110 §5.5.
    PaddedValue: Stream, MessageError, "a field value begins or ends with whitespace";
    /// RFC 9114 §4.2.
    ConnectionSpecificField: Stream, MessageError, "a connection-specific field";
    /// RFC 9114 §4.2.
    TeNotTrailers: Stream, MessageError, "te is not trailers";
    /// RFC 9110 §6.5.1.
    ForbiddenTrailer: Stream, MessageError, "a field that is not allowed in trailers";
    /// RFC 9114 §4.3.
    PseudoAfterField: Stream, MessageError, "a pseudo-header field after a regular field";
    /// RFC 9114 §4.3.
    PseudoInTrailers: Stream, MessageError, "a pseudo-header field in trailers";
    /// RFC 9114 §4.3.1.
    PseudoTwice: Stream, MessageError, "a pseudo-header field occurs twice";
    /// RFC 9114 §4.3.
    UnknownPseudo: Stream, MessageError, "an unknown pseudo-header field";
    /// RFC 9114 §4.3.
    StatusInRequest: Stream, MessageError, ":status in a request";
    /// RFC 9114 §4.3.
    RequestPseudoInResponse: Stream, MessageError, "a pseudo-header field of requests in a response";
    /// RFC 9114 §4.3.1.
    MissingMethod: Stream, MessageError, ":method is missing";
    /// RFC 9110 §9.1.
    InvalidMethod: Stream, MessageError, ":method is no token";
    /// RFC 9114 §4.3.1.
    MissingScheme: Stream, MessageError, ":scheme is missing";
    /// RFC 3986 §3.1.
    InvalidScheme: Stream, MessageError, ":scheme is no scheme";
    /// RFC 9114 §4.3.1.
    MissingPath: Stream, MessageError, ":path is missing";
    /// RFC 9114 §4.3.1.
    EmptyPath: Stream, MessageError, ":path is empty";
    /// RFC 9114 §4.3.1.
    RelativePath: Stream, MessageError, ":path does not begin with a slash";
    /// RFC 9110 §7.1.
    PathFragment: Stream, MessageError, ":path has a fragment";
    /// RFC 3986 §3.3.
    InvalidPath: Stream, MessageError, "a character that no :path has";
    /// RFC 9114 §4.3.1.
    MissingAuthority: Stream, MessageError, "neither :authority nor host";
    /// RFC 9114 §4.3.1.
    EmptyAuthority: Stream, MessageError, ":authority or host is empty";
    /// RFC 9114 §4.3.1.
    AuthorityUserinfo: Stream, MessageError, ":authority or host has userinfo";
    /// RFC 3986 §3.2.
    InvalidAuthority: Stream, MessageError, ":authority or host is no authority";
    /// RFC 9114 §4.3.1.
    HostMismatch: Stream, MessageError, "host differs from :authority";
    /// RFC 9110 §7.2.
    HostTwice: Stream, MessageError, "host occurs twice";
    /// RFC 9114 §4.4.
    ConnectWithScheme: Stream, MessageError, "CONNECT with :scheme";
    /// RFC 9114 §4.4.
    ConnectWithPath: Stream, MessageError, "CONNECT with :path";
    /// RFC 9114 §4.4.
    ConnectWithoutAuthority: Stream, MessageError, "CONNECT without :authority";
    /// RFC 9110 §9.3.6.
    ConnectWithoutPort: Stream, MessageError, "CONNECT without a port";
    /// RFC 8441 §4.
    ProtocolWithoutConnect: Stream, MessageError, ":protocol without CONNECT";
    /// RFC 9220 §3.
    ProtocolNotEnabled: Stream, MessageError, ":protocol although it was not enabled";
    /// RFC 8441 §4.
    InvalidProtocol: Stream, MessageError, ":protocol is no token";
    /// RFC 9114 §4.3.2.
    MissingStatus: Stream, MessageError, ":status is missing";
    /// RFC 9110 §15.
    InvalidStatus: Stream, MessageError, ":status is no status code";
    /// RFC 9114 §4.5.
    SwitchingProtocols: Stream, MessageError, "status 101";
    /// RFC 9110 §8.6.
    ContentLengthTwice: Stream, MessageError, "content-length occurs twice";
    /// RFC 9110 §8.6.
    ContentLengthInvalid: Stream, MessageError, "content-length is no number";
    /// RFC 9110 §8.6.
    ContentLengthOverflow: Stream, MessageError, "content-length is too large a number";
    /// RFC 9114 §4.1.2.
    ContentTooLong: Stream, MessageError, "more content than content-length";
    /// RFC 9114 §4.1.2.
    ContentTooShort: Stream, MessageError, "less content than content-length";
    /// RFC 9110 §6.4.1.
    ContentForbidden: Stream, MessageError, "content in a response that has none";

    // Datagrams: RFC 9297.

    /// RFC 9297 §2.1.
    DatagramTruncated: Connection, DatagramError, "a datagram ends within its stream id";
    /// RFC 9297 §2.1.
    DatagramStreamId: Connection, DatagramError, "a datagram for a stream id that cannot exist";
    /// RFC 9297 §2.
    DatagramWithoutMeaning: Stream, DatagramError, "a datagram for a request that has none";
}

const fn qpack_code(error: sterna_qpack::Error) -> Code {
    match error {
        sterna_qpack::Error::DecompressionFailed(_) => Code::QpackDecompressionFailed,
        sterna_qpack::Error::EncoderStream(_) => Code::QpackEncoderStreamError,
        sterna_qpack::Error::DecoderStream(_) => Code::QpackDecoderStreamError,
    }
}

const fn qpack_sentence(error: sterna_qpack::Error) -> &'static str {
    match error {
        sterna_qpack::Error::DecompressionFailed(_) => "a field section cannot be decoded",
        sterna_qpack::Error::EncoderStream(_) => "an instruction on the encoder stream is invalid",
        sterna_qpack::Error::DecoderStream(_) => "an instruction on the decoder stream is invalid",
    }
}

impl fmt::Display for PeerMisbehaved {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Qpack(error) => error.fmt(f),
            rule => f.write_str(rule.sentence()),
        }
    }
}

impl std::error::Error for PeerMisbehaved {}

/// The caller broke this crate's contract; nothing was sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ApiMisuse {
    /// The stream is unknown, our side of it has ended, or either side gave it up: drop the message.
    #[error("the stream is not open for sending")]
    StreamClosed,
    /// A head was already sent; a request has one, a response one after its interim ones.
    #[error("a head was already sent")]
    HeadTwice,
    /// Content, trailers or the end before a (final) head.
    #[error("the head was not sent yet")]
    HeadMissing,
    /// A request on a server, or a response on a client.
    #[error("this is for the other role")]
    WrongRole,
    /// An interim response cannot end the stream, and 101 does not exist here (RFC 9114 §4.5).
    #[error("an interim response that ends the stream, or 101")]
    InvalidInterim,
    /// A request needs a stream that a client opened, both ways, and that was not used before.
    #[error("not a fresh request stream")]
    NotRequestStream,
    /// The request breaks RFC 9114 §4.3.1 or §4.4: scheme, path or authority do not fit the method.
    #[error("the request head is malformed")]
    MalformedHead,
    /// The peer sent GOAWAY: use another connection.
    #[error("the peer is going away")]
    GoingAway,
    /// The peer did not enable extended CONNECT (RFC 9220 §3).
    #[error("the peer did not enable extended connect")]
    ExtendedConnectNotEnabled,
    /// Both sides have to enable datagrams (RFC 9297 §2.1.1).
    #[error("datagrams were not negotiated")]
    DatagramsNotNegotiated,
    /// The field section is larger than the peer's SETTINGS_MAX_FIELD_SECTION_SIZE: send a smaller one.
    #[error("the field section is larger than the peer accepts")]
    FieldSectionTooLarge,
    /// A response to HEAD, or with status 204 or 304, has no content (RFC 9110 §6.4.1): send an end instead.
    #[error("this message has no content")]
    ContentForbidden,
    /// More content than the content-length that was sent: reset the stream.
    #[error("more content than content-length")]
    ContentTooLong,
    /// Less content than the content-length that was sent: reset the stream, lest it looks complete.
    #[error("less content than content-length")]
    ContentTooShort,
    /// A tunnel has no trailers (RFC 9114 §4.4).
    #[error("a tunnel has no trailers")]
    TrailersInTunnel,
    /// The connection has closed.
    #[error("the connection is closed")]
    ConnectionClosed,
}

/// Why an HTTP/3 connection ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The peer broke a rule; we close with [`PeerMisbehaved::code`].
    #[error("peer misbehaved: {0}")]
    PeerMisbehaved(#[from] PeerMisbehaved),
    /// The connection has closed already.
    #[error("the connection is closed")]
    Closed,
}

#[cfg(test)]
mod tests;
