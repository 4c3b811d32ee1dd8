//! One QUIC connection on a socket of its own: datagrams in, engine, datagrams out.
//!
//! The caller alternates [`Transport::flush`] and [`Transport::wait`] and works on [`Transport::connection`] between them.

use std::{
    cell::RefCell,
    io::{self, IoSliceMut},
    net::{Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket as StdSocket},
    rc::Rc,
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::{Bytes, BytesMut};
use quinn_proto::{
    ClientConfig, ConnectError, Connection, ConnectionHandle, DatagramEvent, Endpoint,
    EndpointConfig, IdleTimeout, TransportConfig, VarInt, crypto::rustls::QuicClientConfig,
};
use quinn_udp::{BATCH_SIZE, RecvMeta, Transmit, UdpSockRef, UdpSocketState};
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use tokio::{io::Interest, net::UdpSocket};

use crate::Group;

mod verifier;

pub(crate) struct Transport {
    pub(crate) connection: Connection,
    endpoint: Endpoint,
    handle: ConnectionHandle,
    socket: UdpSocket,
    state: UdpSocketState,
    transmit: Vec<u8>,
    buffers: Rc<RefCell<Buffers>>,
}

/// Scratch memory that all connections of the thread share.
pub(crate) struct Buffers {
    receive: Vec<u8>,
    meta: [RecvMeta; BATCH_SIZE],
}

/// Why a connection could not begin.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StartError {
    #[error("socket: {0}")]
    Socket(#[from] io::Error),
    #[error("QUIC: {0}")]
    Quic(#[from] ConnectError),
}

impl Transport {
    /// Binds a socket and prepares the first flight.
    pub(crate) fn connect(
        address: SocketAddr,
        sni: &str,
        config: ClientConfig,
        buffers: Rc<RefCell<Buffers>>,
    ) -> Result<Self, StartError> {
        let socket = socket(address)?;
        let state = UdpSocketState::new(UdpSockRef::from(&socket))?;
        let mtud = !state.may_fragment();
        let mut endpoint = Endpoint::new(Arc::new(EndpointConfig::default()), None, mtud, None);
        let (handle, connection) = endpoint.connect(Instant::now(), config, address, sni)?;
        let socket = UdpSocket::from_std(socket)?;
        Ok(Self { connection, endpoint, handle, socket, state, transmit: Vec::new(), buffers })
    }

    /// Sends all that the connection has to say.
    pub(crate) async fn flush(&mut self) -> io::Result<()> {
        while let Some(transmit) = self.poll_transmit() {
            while !self.try_send(&transmit)? {
                self.socket.writable().await?;
            }
        }
        Ok(())
    }

    /// Waits for datagrams or a timer and feeds the connection with what came.
    pub(crate) async fn wait(&mut self) -> io::Result<()> {
        let timer = self.connection.poll_timeout();
        if timer.is_some_and(|at| at <= Instant::now()) {
            self.connection.handle_timeout(Instant::now());
        } else if let Some(at) = timer {
            tokio::select! {
                ready = self.socket.readable() => ready?,
                () = tokio::time::sleep_until(at.into()) => {}
            }
        } else {
            self.socket.readable().await?;
        }
        self.receive()?;
        self.exchange_events();
        Ok(())
    }

    /// Says goodbye, once; nobody waits for an answer.
    pub(crate) fn close(&mut self) {
        self.connection.close(Instant::now(), VarInt::from_u32(0x100), Bytes::new());
        if let Some(transmit) = self.poll_transmit() {
            // A lost goodbye costs the server an idle time-out, nothing else.
            let _ = self.try_send(&transmit);
        }
    }

    fn poll_transmit(&mut self) -> Option<quinn_proto::Transmit> {
        let segments = self.state.max_gso_segments().min(MAX_SEGMENTS);
        self.transmit.clear();
        self.connection.poll_transmit(Instant::now(), segments, &mut self.transmit)
    }

    /// Sends what [`Self::poll_transmit`] has written, unless the socket is full (`false`).
    fn try_send(&self, transmit: &quinn_proto::Transmit) -> io::Result<bool> {
        let datagrams = Transmit {
            destination: transmit.destination,
            ecn: None,
            contents: &self.transmit[..transmit.size],
            segment_size: transmit.segment_size,
            src_ip: None,
        };
        let socket = UdpSockRef::from(&self.socket);
        let send = || self.state.try_send(socket, &datagrams);
        match self.socket.try_io(Interest::WRITABLE, send) {
            Ok(()) => Ok(true),
            // A probe of the path MTU.
            Err(error) if quinn_udp::is_msg_size_err(&error) => Ok(true),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(false),
            Err(error) => Err(error),
        }
    }

    fn receive(&mut self) -> io::Result<()> {
        let buffers = self.buffers.clone();
        let Buffers { receive, meta } = &mut *buffers.borrow_mut();
        let count = {
            let mut chunks = receive.chunks_exact_mut(RECEIVE_LEN);
            let mut slices = [(); BATCH_SIZE].map(|()| {
                IoSliceMut::new(chunks.next().expect("there is a chunk for each of the batch"))
            });
            let socket = UdpSockRef::from(&self.socket);
            let read = || self.state.recv(socket, &mut slices, meta);
            match self.socket.try_io(Interest::READABLE, read) {
                Ok(count) => count,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error),
            }
        };
        let now = Instant::now();
        for (meta, chunk) in meta.iter().zip(receive.chunks_exact(RECEIVE_LEN)).take(count) {
            let mut batch = BytesMut::from(&chunk[..meta.len]);
            while !batch.is_empty() {
                let datagram = batch.split_to(meta.stride.clamp(1, batch.len()));
                let event =
                    self.endpoint.handle(now, meta.addr, None, None, datagram, &mut self.transmit);
                if let Some(DatagramEvent::ConnectionEvent(_, event)) = event {
                    self.connection.handle_event(event);
                }
            }
        }
        Ok(())
    }

    fn exchange_events(&mut self) {
        while let Some(event) = self.connection.poll_endpoint_events() {
            if let Some(event) = self.endpoint.handle_event(self.handle, event) {
                self.connection.handle_event(event);
            }
        }
    }
}

impl Buffers {
    pub(crate) fn new() -> Rc<RefCell<Self>> {
        Rc::new(RefCell::new(Self {
            receive: vec![0; BATCH_SIZE * RECEIVE_LEN],
            meta: [RecvMeta::default(); BATCH_SIZE],
        }))
    }
}

/// AES-128-GCM and one key exchange are all that is offered, so that every server does the same cryptography.
pub(crate) fn provider(group: Group) -> Arc<CryptoProvider> {
    let group = match group {
        Group::X25519 => aws_lc_rs::kx_group::X25519,
        Group::X25519MlKem768 => aws_lc_rs::kx_group::X25519MLKEM768,
    };
    Arc::new(CryptoProvider {
        cipher_suites: vec![aws_lc_rs::cipher_suite::TLS13_AES_128_GCM_SHA256],
        kx_groups: vec![group],
        ..aws_lc_rs::default_provider()
    })
}

/// TLS of the client: any certificate, no resumption.
pub(crate) fn tls(group: Group) -> Result<rustls::ClientConfig, rustls::Error> {
    let provider = provider(group);
    let mut tls = rustls::ClientConfig::builder_with_provider(provider.clone())
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier::AnyCertificate(provider)))
        .with_no_client_auth();
    tls.resumption = rustls::client::Resumption::disabled();
    Ok(tls)
}

/// TLS and transport of the client: windows as browsers have them, no resumption, no keep-alive.
pub(crate) fn config(
    group: Group,
    stream_window: u32,
) -> Result<ClientConfig, Box<dyn std::error::Error>> {
    let mut tls = tls(group)?;
    tls.alpn_protocols = vec![b"h3".to_vec()];

    let mut transport = TransportConfig::default();
    transport
        .stream_receive_window(VarInt::from_u32(stream_window))
        .receive_window(VarInt::from_u32(15 << 20))
        .max_idle_timeout(Some(IdleTimeout::try_from(IDLE_TIMEOUT)?));
    let mut config = ClientConfig::new(Arc::new(QuicClientConfig::try_from(tls)?));
    config.transport_config(Arc::new(transport));
    Ok(config)
}

fn socket(address: SocketAddr) -> io::Result<StdSocket> {
    let local = match address {
        SocketAddr::V4(_) => SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0)),
        SocketAddr::V6(_) => SocketAddr::from((Ipv6Addr::UNSPECIFIED, 0)),
    };
    let socket = StdSocket::bind(local)?;
    let sized = socket2::SockRef::from(&socket);
    sized.set_recv_buffer_size(SOCKET_BUFFER)?;
    sized.set_send_buffer_size(SOCKET_BUFFER)?;
    Ok(socket)
}

/// Of one stream, as browsers have it.
pub(crate) const STREAM_WINDOW: u32 = 6 << 20;

/// Longer than any idle measurement, so that the server's own time-out rules.
const IDLE_TIMEOUT: Duration = Duration::from_secs(300);

const SOCKET_BUFFER: usize = 4 << 20;

/// The largest datagram, or batch of them, that the kernel hands over at once.
const RECEIVE_LEN: usize = 64 * 1024;

/// As many full datagrams as fit the 65,507 bytes of one UDP payload.
pub(crate) const MAX_SEGMENTS: usize = 44;
