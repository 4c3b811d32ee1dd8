//! What an endpoint needs of a socket, so that the simulated network can stand in for it.

use std::net::{IpAddr, SocketAddr};

use bytes::BytesMut;

/// One UDP datagram that arrived.
#[derive(Clone, Debug)]
pub struct Datagram {
    /// Who sent it.
    pub remote: SocketAddr,
    /// Which address of ours it was sent to, when the system tells.
    pub local_ip: Option<IpAddr>,
    /// The two ECN bits of the IP header (RFC 3168 §5).
    pub ecn: u8,
    /// UDP payload.
    pub data: BytesMut,
}

/// Datagrams to one address, of one size each (the last may be shorter).
#[derive(Clone, Copy, Debug)]
pub struct Outgoing<'a> {
    /// Where to.
    pub remote: SocketAddr,
    /// Which address of ours to send from, when several are possible.
    pub local_ip: Option<IpAddr>,
    /// The two ECN bits of the IP header.
    pub ecn: u8,
    /// UDP payloads, one after the other.
    pub data: &'a [u8],
    /// Size of each payload, in bytes; `data.len()` or more when there is one.
    pub segment: usize,
}

/// What became of an [`Outgoing`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sent {
    /// It left.
    Done,
    /// The socket is full: nothing left, the same has to be offered again when it is writable.
    Blocked,
    /// It is lost: the system refused it, for instance because there is no route.
    Failed,
}

/// A socket, or something like it: never blocks.
pub trait Wire {
    /// Appends a batch of datagrams that wait, and says whether more may be waiting.
    fn receive(&mut self, datagrams: &mut Vec<Datagram>) -> bool;

    /// Sends.
    fn send(&mut self, outgoing: &Outgoing<'_>) -> Sent;

    /// How many datagrams an [`Outgoing`] may carry; one without segmentation offload.
    fn max_segments(&self) -> usize;
}
