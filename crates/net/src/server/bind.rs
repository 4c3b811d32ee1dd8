//! Binding: every socket of every worker, or none, on the calling thread.

use std::{
    fmt, io,
    net::{SocketAddr, TcpListener, UdpSocket},
};

use socket2::{Domain, Socket, Type};
use sterna_quic::{Group, SocketOptions};

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

/// The sockets of one listen address, for all workers.
pub(super) struct Bundle {
    pub(super) address: SocketAddr,
    pub(super) tcp: Vec<TcpListener>,
    pub(super) udp: Option<Group>,
}

impl Bundle {
    /// Binds TCP, and UDP on the same port when `udp` has options for it.
    ///
    /// Port 0: TCP chooses, and when UDP cannot follow (someone has that port) TCP chooses again.
    pub(super) fn bind(
        address: SocketAddr,
        workers: usize,
        udp: Option<&SocketOptions>,
    ) -> Result<Self, BindError> {
        let mut attempts = if address.port() == 0 { PORT_ATTEMPTS } else { 1 };
        loop {
            let tcp = bind_tcp(address, workers)?;
            let bound = tcp.first().map_or(Ok(address), TcpListener::local_addr);
            let bound = bound.map_err(|error| refused(error, address, Transport::Tcp))?;
            attempts -= 1;
            match udp.map(|options| bind_udp(bound, workers, options)).transpose() {
                Ok(udp) => return Ok(Self { address: bound, tcp, udp }),
                Err(BindError::InUse { .. }) if attempts > 0 => {}
                Err(error) => return Err(error),
            }
        }
    }
}

fn bind_tcp(address: SocketAddr, workers: usize) -> Result<Vec<TcpListener>, BindError> {
    let refused = |error| refused(error, address, Transport::Tcp);
    // With SO_REUSEPORT a second server of the same user would get the port too, and half of the connections: a socket
    // without it asks first whether the port is free.
    let probe = tcp_socket(address, false).map_err(refused)?;
    let address = match probe.local_addr().map_err(refused)?.as_socket() {
        Some(bound) if address.port() == 0 => SocketAddr::new(address.ip(), bound.port()),
        _ => address,
    };
    drop(probe);
    (0..workers)
        .map(|_| {
            let socket = tcp_socket(address, true).map_err(refused)?;
            socket.listen(BACKLOG).map_err(refused)?;
            socket.set_nonblocking(true).map_err(refused)?;
            Ok(socket.into())
        })
        .collect()
}

fn tcp_socket(address: SocketAddr, share: bool) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
    if address.is_ipv6() {
        // [::] takes IPv4 too.
        socket.set_only_v6(!address.ip().is_unspecified())?;
    }
    // Or a restart has to wait for the connections in TIME-WAIT.
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(share)?;
    socket.bind(&address.into())?;
    if !share {
        // Two sockets with SO_REUSEADDR may be bound to one port, but only one may listen.
        socket.listen(1)?;
    }
    Ok(socket)
}

fn bind_udp(
    address: SocketAddr,
    workers: usize,
    options: &SocketOptions,
) -> Result<Group, BindError> {
    let refused = |error| refused(error, address, Transport::Udp);
    // As for TCP: ask first.
    drop(UdpSocket::bind(address).map_err(refused)?);
    Group::bind(address, workers, options).map_err(refused)
}

fn refused(source: io::Error, address: SocketAddr, transport: Transport) -> BindError {
    match source.kind() {
        io::ErrorKind::AddrInUse => BindError::InUse { address, transport },
        io::ErrorKind::PermissionDenied => BindError::Permission { address, transport },
        io::ErrorKind::AddrNotAvailable => BindError::NotOurs { address },
        _ => BindError::Socket { address, transport, source },
    }
}

/// Ports to try when the kernel chooses: each try meets another one, and few are taken on UDP alone.
const PORT_ATTEMPTS: u32 = 16;

/// Connections that wait to be accepted; the kernel's own bound (`somaxconn`) is lower on most machines.
const BACKLOG: i32 = 4096;
