//! Binding: every socket of every worker, or none, on the calling thread.

use std::{fmt, io, net::SocketAddr};

use crate::TlsError;

/// Which of the two transports of an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transport {
    /// HTTP/1.1 and HTTP/2.
    Tcp,
    /// HTTP/3.
    Udp,
}

impl fmt::Display for Transport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Tcp => "TCP",
            Self::Udp => "UDP",
        })
    }
}

/// Why a server could not be bound: always the operator's to repair, nothing was started.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BindError {
    /// No address was given.
    #[error("no address to listen on: give at least one")]
    NoAddress,
    /// Another socket has the port.
    #[error("{transport} port {} of {} is in use: stop the other server or choose another port", address.port(), address.ip())]
    InUse {
        /// Address.
        address: SocketAddr,
        /// Which transport.
        transport: Transport,
    },
    /// The process may not have this port.
    #[error(
        "no permission to listen on {transport} {address}: choose a port from 1024 up, or grant CAP_NET_BIND_SERVICE"
    )]
    Permission {
        /// Address.
        address: SocketAddr,
        /// Which transport.
        transport: Transport,
    },
    /// The machine does not have this address.
    #[error("{} is not an address of this machine: choose one of its own, or 0.0.0.0 or [::] for all", address.ip())]
    NotOurs {
        /// Address.
        address: SocketAddr,
    },
    /// Any other refusal of the operating system.
    #[error("cannot listen on {transport} {address}")]
    Socket {
        /// Address.
        address: SocketAddr,
        /// Which transport.
        transport: Transport,
        /// Why.
        source: io::Error,
    },
    /// Certificates and keys could not be turned into a TLS configuration.
    #[error("TLS cannot be set up")]
    Tls(#[from] TlsError),
    /// The operating system gave no event queue to a worker.
    #[error("cannot start a runtime: raise the limit of open files")]
    Runtime(#[source] io::Error),
}
