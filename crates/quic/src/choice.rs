//! A server whose TLS depends on the name that a client asks for (SNI, RFC 6066 §3), or on where it came when it asks for none: sites
//! that let in other clients.

use std::{fmt, net::IpAddr, sync::Arc};

use crate::Tickets;

/// Chooses the TLS of a handshake when its ClientHello has come.
pub trait ByName: fmt::Debug + Send + Sync {
    /// For a client that asks for this name, in lower case, or for none, at this address of ours, as far as the socket tells. All have
    /// to agree to the same cipher suites and to the same
    /// early data as [`ServerConfig::tls`](crate::ServerConfig::tls).
    fn choose(&self, name: Option<&str>, local: Option<IpAddr>) -> Chosen;
}

/// What a handshake goes on with.
#[derive(Clone, Debug)]
pub struct Chosen {
    /// TLS.
    pub tls: Arc<rustls::ServerConfig>,
    /// What seals its tickets, which must not open for another choice.
    pub tickets: Option<Arc<dyn Tickets>>,
}
