//! What an endpoint has counted since it began; each only grows.

/// Counters of one endpoint.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Datagrams that arrived on the socket.
    pub datagrams_received: u64,
    /// Bytes in them.
    pub bytes_received: u64,
    /// Turns in which the socket had something.
    pub batches_received: u64,
    /// Datagrams that left.
    pub datagrams_sent: u64,
    /// Bytes in them.
    pub bytes_sent: u64,
    /// System calls that sent them.
    pub batches_sent: u64,
    /// Times that the socket was full.
    pub sends_blocked: u64,
    /// Batches that the system refused.
    pub sends_failed: u64,
    /// Batches that the kernel could not split, so that they went out datagram by datagram.
    pub segmentation_failures: u64,
    /// Datagrams that the kernel dropped because the socket's receive buffer was full.
    pub kernel_drops: u64,
    /// Datagrams handed to the worker whose connection they belong to.
    pub forwarded: u64,
    /// Datagrams lost because that worker's mailbox was full.
    pub mailbox_dropped: u64,
    /// Datagrams of connections that no living worker has.
    pub strays_dropped: u64,
    /// Connections that began.
    pub connections_opened: u64,
    /// Connections that ended.
    pub connections_closed: u64,
    /// Datagrams of first flights refused: too many connections, or no new ones wanted. A client's
    /// hello may take two.
    pub refused: u64,
    /// Datagrams of first flights answered with Retry.
    pub retried: u64,
    /// Handshakes given up because they took too long.
    pub handshakes_timed_out: u64,
    /// Peers that changed their address.
    pub migrations: u64,
}
