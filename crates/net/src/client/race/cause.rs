//! Why an attempt failed, as far as a race has to know.

use std::io;

use super::Transport;

/// Why an attempt failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cause {
    /// Nobody listens there.
    Refused,
    /// A router or the host says that it cannot be reached.
    Unreachable,
    /// This machine has no way there.
    NoRoute,
    /// This machine does not allow it, or cannot.
    Local,
    TimedOut,
    /// The peer ended it.
    Closed,
    /// The handshake failed: certificate, version, ALPN.
    Tls,
    /// The peer broke a protocol.
    Protocol,
}

impl Cause {
    /// Of an error of a socket.
    pub(crate) fn of_io(error: &io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::ConnectionRefused => Self::Refused,
            io::ErrorKind::HostUnreachable => Self::Unreachable,
            io::ErrorKind::NetworkUnreachable | io::ErrorKind::NetworkDown => Self::NoRoute,
            io::ErrorKind::TimedOut => Self::TimedOut,
            io::ErrorKind::ConnectionReset
            | io::ErrorKind::ConnectionAborted
            | io::ErrorKind::BrokenPipe
            | io::ErrorKind::UnexpectedEof => Self::Closed,
            // EPERM of a firewall, EMSGSIZE, no ports, no file descriptors.
            _ => Self::Local,
        }
    }

    /// It speaks against QUIC, if TCP gets through; what this machine does to itself does not.
    pub(super) const fn counts(self) -> bool {
        match self {
            Self::NoRoute | Self::Local => false,
            Self::Refused
            | Self::Unreachable
            | Self::TimedOut
            | Self::Closed
            | Self::Tls
            | Self::Protocol => true,
        }
    }

    /// There is no such server at that address, whatever the transport.
    pub(super) const fn is_nobody(self) -> bool {
        match self {
            Self::Refused | Self::Unreachable | Self::NoRoute => true,
            Self::Local | Self::TimedOut | Self::Closed | Self::Tls | Self::Protocol => false,
        }
    }

    /// A server is there, and it is what failed.
    pub(super) const fn is_of_a_server(self) -> bool {
        match self {
            Self::Closed | Self::Tls | Self::Protocol => true,
            Self::Refused | Self::Unreachable | Self::NoRoute | Self::Local | Self::TimedOut => {
                false
            }
        }
    }

    /// How much it says about why there is no connection at all: the further an attempt came, the more. TCP, which is
    /// what people know, before QUIC.
    pub(super) const fn severity(self, transport: Transport) -> u8 {
        let reached = match self {
            Self::Local | Self::NoRoute => 0,
            Self::Unreachable => 1,
            Self::TimedOut => 2,
            Self::Refused => 3,
            Self::Closed => 4,
            Self::Protocol => 5,
            Self::Tls => 6,
        };
        reached * 2 + matches!(transport, Transport::Tcp) as u8
    }

    /// From here on, a failure is told even when others had no time to fail.
    pub(super) const CERTAIN: u8 = 8;
}
