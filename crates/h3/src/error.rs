//! Skeleton.

/// A code on the wire: RFC 9114 §8.1, RFC 9204 §6, RFC 9297 §5.2.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Code {
    /// 0x100
    NoError,
    /// 0x101
    GeneralProtocolError,
    /// 0x102
    InternalError,
    /// 0x107
    ExcessiveLoad,
    /// 0x10b
    RequestRejected,
    /// 0x10c
    RequestCancelled,
    /// 0x10d
    RequestIncomplete,
    /// 0x10e
    MessageError,
    /// 0x10f
    ConnectError,
    /// 0x110
    VersionFallback,
}

impl Code {
    /// The number.
    pub const fn value(self) -> u64 {
        todo!()
    }
}

/// One variant for each rule that a peer can break.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PeerMisbehaved {
    /// Placeholder.
    #[error("placeholder")]
    Placeholder,
}

impl PeerMisbehaved {
    /// The code that we send for this. No `_` arm.
    pub const fn code(self) -> Code {
        match self {
            Self::Placeholder => Code::GeneralProtocolError,
        }
    }
}

/// The caller broke this crate's contract; nothing was sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ApiMisuse {
    /// The stream is unknown, finished or reset.
    #[error("the stream is not open for sending")]
    StreamClosed,
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
