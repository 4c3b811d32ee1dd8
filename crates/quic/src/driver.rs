//! Skeleton: tokio glue (current-thread), one `Driver` for each worker.
use crate::{Application, ClientConfig, ConnectionKey, Endpoint, ServerConfig, SocketOptions, SocketReport};
use std::{io, net::SocketAddr, time::Instant};

/// The UDP sockets of one listen address, one for each worker, bound together (SO_REUSEPORT) and steered.
///
/// Bind it on the main thread (errors come before anything starts), then hand one member to each worker thread.
#[derive(Debug)]
pub struct Group {}

/// One worker's share of a [`Group`]: moved to the worker's thread, there it becomes a [`Driver`].
#[derive(Debug)]
pub struct Member {}

impl Group {
    /// Binds `workers` sockets to `address` (port 0: the kernel chooses one port for all).
    pub fn bind(_address: SocketAddr, _workers: usize, _options: &SocketOptions) -> io::Result<Self> {
        todo!()
    }
    /// A client's group: one socket, one worker.
    pub fn client(_address: SocketAddr, _options: &SocketOptions) -> io::Result<Self> {
        todo!()
    }
    /// The bound address.
    pub fn local_address(&self) -> SocketAddr {
        todo!()
    }
    /// What the kernel granted.
    pub fn report(&self) -> &SocketReport {
        todo!()
    }
    /// The members, in order of worker.
    pub fn into_members(self) -> Vec<Member> {
        todo!()
    }
}

impl Member {
    /// Starts the driver on the current thread's tokio runtime. `server`: accept connections.
    pub fn start<A: Application>(self, _server: Option<ServerConfig>, _app: A) -> io::Result<Driver<A>> {
        todo!()
    }
}

/// Runs an [`Endpoint`] on its socket. It is a future that never ends by itself: poll it in a task of the worker.
#[derive(Debug)]
pub struct Driver<A: Application> {
    endpoint: Endpoint<A>,
}

impl<A: Application> Driver<A> {
    /// Waits for the socket, a timer, a forwarded datagram or a woken task, and takes one turn.
    ///
    /// # Cancel safety
    /// Nothing is lost when the future is dropped between turns.
    pub async fn turn(&mut self) -> io::Result<()> {
        todo!()
    }
    /// The endpoint, between turns.
    pub fn endpoint(&mut self) -> &mut Endpoint<A> {
        &mut self.endpoint
    }
    /// Client: starts a connection.
    pub fn connect(&mut self, config: &ClientConfig, remote: SocketAddr, name: &str) -> io::Result<ConnectionKey> {
        self.endpoint.connect(config, remote, name, Instant::now())
    }
}
