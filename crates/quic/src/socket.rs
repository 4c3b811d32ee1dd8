//! Skeleton.

/// Socket choices of a UDP listener.
#[derive(Clone, Debug)]
pub struct SocketOptions {
    /// Wanted SO_RCVBUF and SO_SNDBUF, in bytes. Default: 4 MiB.
    pub buffer_size: usize,
}

/// What the kernel granted: for the one actionable warning.
#[derive(Clone, Debug)]
pub struct SocketReport {
    /// Receive buffer got, in bytes.
    pub receive_buffer: usize,
    /// Send buffer got, in bytes.
    pub send_buffer: usize,
    /// One line for the operator when less was granted than asked for.
    pub warning: Option<String>,
}
