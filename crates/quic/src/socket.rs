//! UDP sockets: bound as a group, with large buffers, segmentation offload and steering.
//!
//! The one file with `unsafe`. Sending and receiving are `quinn-udp`'s system calls; what is here
//! is which sockets, which buffers, and what happens when the kernel says no.

#![expect(unsafe_code, reason = "one socket option and one buffer have no safe interface")]

mod slots;

use std::{
    io,
    net::SocketAddr,
    os::fd::{AsFd, AsRawFd},
};

use bytes::BytesMut;
use nix::sys::socket::{setsockopt, sockopt};
use quinn_udp::{EcnCodepoint, Transmit, UdpSockRef, UdpSocketState};
use socket2::{Domain, Protocol, Socket, Type};
use tokio::{io::Interest, net::UdpSocket};

use self::slots::{SLOT, Slots};
use crate::{
    Secret,
    steer::Instruction,
    wire::{Datagram, Outgoing, Sent, Wire},
};

/// Socket choices of a UDP listener.
#[derive(Clone, Debug)]
pub struct SocketOptions {
    /// Wanted SO_RCVBUF and SO_SNDBUF, in bytes. Default: 4 MiB, which is 30 ms at 1 Gbit/s.
    pub buffer_size: usize,
    /// The kernel hands each datagram to its worker (classic BPF). Default: on; without it a
    /// datagram that lands wrong is forwarded in user space.
    pub steering: bool,
    /// Many datagrams in one system call (UDP GSO). Default: on, where the kernel has it.
    pub segmentation: bool,
    /// What connection IDs, reset tokens and Retry tokens are made with. Default: random, so that those of another process are
    /// worth nothing.
    pub secret: Option<Secret>,
}

/// What the kernel granted: for the one actionable warning.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SocketReport {
    /// Receive buffer got, in bytes.
    pub receive_buffer: usize,
    /// Send buffer got, in bytes.
    pub send_buffer: usize,
    /// The kernel steers by connection ID.
    pub steering: bool,
    /// One line for the operator when less was granted than asked for.
    pub warning: Option<String>,
}

impl Default for SocketOptions {
    fn default() -> Self {
        Self { buffer_size: 4 << 20, steering: true, segmentation: true, secret: None }
    }
}

/// Binds `count` sockets to one address, all or none; port 0 becomes one port for all.
///
/// A wildcard IPv6 address takes IPv4 as well.
pub(crate) fn bind(
    address: SocketAddr,
    count: usize,
    options: &SocketOptions,
) -> io::Result<(Vec<std::net::UdpSocket>, SocketReport)> {
    let mut sockets = vec![bind_one(address, false)?];
    if count > 1 {
        // It is ours alone, then, and the port of it is nobody's: a shared socket would have joined
        // any other group on the port, for half of its datagrams.
        let address = local_address(&sockets[0])?;
        sockets.clear();
        for _ in 0..count {
            sockets.push(bind_one(address, true)?);
        }
    }
    let granted: Vec<_> = sockets
        .iter()
        .map(|socket| enlarge(socket, options.buffer_size))
        .collect::<Result<_, _>>()?;
    let (receive_buffer, send_buffer) = granted.into_iter().min().expect("one socket at least");
    let warning = buffer_warning(options.buffer_size, receive_buffer, send_buffer);
    let report = SocketReport { receive_buffer, send_buffer, steering: false, warning };
    Ok((sockets.into_iter().map(std::net::UdpSocket::from).collect(), report))
}

/// Lets the kernel choose the socket of a group by this program. The order of binding is the index.
pub(crate) fn steer(group: &std::net::UdpSocket, program: &[Instruction]) -> io::Result<()> {
    let mut filters: Vec<libc::sock_filter> = program
        .iter()
        .map(|instruction| libc::sock_filter {
            code: instruction.code,
            jt: instruction.jump_true,
            jf: instruction.jump_false,
            k: instruction.operand,
        })
        .collect();
    let len = u16::try_from(filters.len()).map_err(|_| io::ErrorKind::InvalidInput)?;
    let program = libc::sock_fprog { len, filter: filters.as_mut_ptr() };
    Ok(setsockopt(group, sockopt::AttachReusePortCbpf, &program)?)
}

fn bind_one(address: SocketAddr, is_shared: bool) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), Type::DGRAM, Some(Protocol::UDP))?;
    if address.is_ipv6() {
        socket.set_only_v6(!address.ip().is_unspecified())?;
    }
    socket.set_reuse_port(is_shared)?;
    socket.bind(&address.into())?;
    Ok(socket)
}

fn local_address(socket: &Socket) -> io::Result<SocketAddr> {
    socket.local_addr()?.as_socket().ok_or_else(|| io::ErrorKind::AddrNotAvailable.into())
}

/// Asks for larger buffers, beyond the system's limit where we are privileged, and says what the
/// kernel gave: receive, send. It books twice the value, for its own structures.
fn enlarge(socket: &Socket, wanted: usize) -> io::Result<(usize, usize)> {
    if setsockopt(socket, sockopt::RcvBufForce, &wanted).is_err() {
        socket.set_recv_buffer_size(wanted)?;
    }
    if setsockopt(socket, sockopt::SndBufForce, &wanted).is_err() {
        socket.set_send_buffer_size(wanted)?;
    }
    Ok((socket.recv_buffer_size()? / 2, socket.send_buffer_size()? / 2))
}

fn buffer_warning(wanted: usize, receive: usize, send: usize) -> Option<String> {
    (receive < wanted || send < wanted).then(|| {
        format!(
            "UDP buffers are {receive} bytes for receiving and {send} for sending, {wanted} were \
             wanted: bursts will be lost; `sysctl -w net.core.rmem_max={wanted} \
             net.core.wmem_max={wanted}` lets the kernel grant them"
        )
    })
}

/// One worker's socket.
#[derive(Debug)]
pub(crate) struct Udp {
    io: UdpSocket,
    state: UdpSocketState,
    slots: Slots,
    segmentation: bool,
    segmentation_failures: u64,
}

impl Udp {
    /// Registers the socket with the runtime of this thread.
    pub(crate) fn new(socket: std::net::UdpSocket, segmentation: bool) -> io::Result<Self> {
        let state = UdpSocketState::new(UdpSockRef::from(&socket))?;
        // It asks for a time stamp of each datagram, which nobody reads.
        setsockopt(&socket, sockopt::ReceiveTimestampns, &false)?;
        let io = UdpSocket::from_std(socket)?;
        Ok(Self { io, state, slots: Slots::default(), segmentation, segmentation_failures: 0 })
    }

    /// The socket, to wait on.
    pub(crate) fn io(&self) -> &UdpSocket {
        &self.io
    }

    /// Times that the kernel refused a batch and it went out datagram by datagram.
    pub(crate) fn segmentation_failures(&self) -> u64 {
        self.segmentation_failures
    }

    /// Datagrams that the kernel dropped because the receive buffer was full.
    pub(crate) fn kernel_drops(&self) -> u64 {
        let mut figures = [0_u32; MEMINFO_FIGURES];
        let mut length = size_of_val(&figures) as libc::socklen_t;
        // SAFETY: the kernel writes at most `length` bytes to `figures`, which is that large, and
        // any bits are a valid `u32`; the descriptor is open as long as `self.io` lives.
        let outcome = unsafe {
            libc::getsockopt(
                self.io.as_fd().as_raw_fd(),
                libc::SOL_SOCKET,
                libc::SO_MEMINFO,
                figures.as_mut_ptr().cast(),
                &raw mut length,
            )
        };
        if outcome == 0 { figures[MEMINFO_DROPS].into() } else { 0 }
    }

    fn send_batch(&self, outgoing: &Outgoing<'_>, data: &[u8]) -> io::Result<()> {
        let transmit = Transmit {
            destination: outgoing.remote,
            ecn: EcnCodepoint::from_bits(outgoing.ecn),
            contents: data,
            segment_size: (outgoing.segment < data.len()).then_some(outgoing.segment),
            src_ip: outgoing.local_ip,
        };
        let socket = UdpSockRef::from(&self.io);
        self.io.try_io(Interest::WRITABLE, || self.state.try_send(socket, &transmit))
    }

    /// Sends a batch one by one: some network cards cannot split it and say so only when asked.
    fn send_singly(&self, outgoing: &Outgoing<'_>) -> Sent {
        let mut singles = outgoing.data.chunks(outgoing.segment);
        match singles.all(|single| self.send_batch(outgoing, single).is_ok()) {
            true => Sent::Done,
            false => Sent::Failed,
        }
    }
}

impl Wire for Udp {
    fn receive(&mut self, datagrams: &mut Vec<Datagram>) -> bool {
        let Self { io, state, slots, .. } = self;
        let mut is_full = false;
        let outcome = io.try_io(Interest::READABLE, || {
            let received =
                slots.receive(|buffers, metas| state.recv(UdpSockRef::from(&*io), buffers, metas));
            slots.take(received?, datagrams);
            is_full = slots.is_full();
            // A batch with room left emptied the socket: saying so here spares the system call that
            // would find it empty. What arrives from now on makes it readable again.
            if is_full { Ok(()) } else { Err(io::ErrorKind::WouldBlock.into()) }
        });
        if let Err(error) = outcome
            && error.kind() != io::ErrorKind::WouldBlock
        {
            // ICMP errors of earlier sends surface here; the next call is free of them.
            tracing::debug!(%error, "receiving failed");
            return true;
        }
        is_full
    }

    fn send(&mut self, outgoing: &Outgoing<'_>) -> Sent {
        let Err(error) = self.send_batch(outgoing, outgoing.data) else { return Sent::Done };
        if error.kind() == io::ErrorKind::WouldBlock {
            return Sent::Blocked;
        }
        match error.raw_os_error() {
            // A probe for a larger path MTU was too large: that is its answer.
            Some(libc::EMSGSIZE) => Sent::Done,
            Some(libc::EIO | libc::EINVAL) if outgoing.segment < outgoing.data.len() => {
                tracing::warn!(%error, "segmentation offload does not work here and is off now");
                self.segmentation = false;
                self.segmentation_failures += 1;
                self.send_singly(outgoing)
            }
            _ => Sent::Failed,
        }
    }

    fn max_segments(&self) -> usize {
        if self.segmentation { self.state.max_gso_segments() } else { 1 }
    }
}

/// Makes a buffer of [`Slots`] whole again after its front was handed over: the same memory when
/// the front has been dropped, new memory until then.
fn restore(buffer: &mut BytesMut) {
    if buffer.len() == SLOT {
        return;
    }
    buffer.clear();
    if buffer.try_reclaim(SLOT) {
        // SAFETY: the memory came from `BytesMut::zeroed(SLOT)`, which wrote all of it, it is the same
        // still (`try_reclaim` never allocates), and it has room for `SLOT` bytes by that call's answer.
        unsafe { buffer.set_len(SLOT) };
    } else {
        *buffer = BytesMut::zeroed(SLOT);
    }
}

/// SO_MEMINFO: how many figures there are, and which is the count of drops.
const MEMINFO_FIGURES: usize = 9;
const MEMINFO_DROPS: usize = 8;

#[cfg(test)]
mod tests;
