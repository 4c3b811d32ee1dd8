//! A server's handshake before its ClientHello has come, where the name in it decides how it goes on.
//!
//! rustls chooses by name over TCP alone. So the message is kept until it is whole, and read once more by the part of rustls
//! that does so: two readers of one message would be one too many.

use std::sync::Arc;

use rustls::{
    quic::{self, Version},
    server::Acceptor,
};

use super::{Server, hello::is_whole, ticket::Desk};
use crate::Chosen;

/// Waits for a ClientHello.
pub(super) struct Deferred {
    server: Arc<Server>,
    version: Version,
    /// Ours, encoded.
    params: Vec<u8>,
    /// What has come so far; the engine bounds it, and so does [`LONGEST`].
    message: Vec<u8>,
}

/// A handshake that goes on, and what it has to read first.
pub(super) struct Opened {
    pub(super) tls: quic::ServerConnection,
    pub(super) desk: Option<Arc<Desk>>,
    pub(super) message: Vec<u8>,
}

impl Deferred {
    pub(super) fn new(server: Arc<Server>, version: Version, params: Vec<u8>) -> Self {
        Self { server, version, params, message: Vec::new() }
    }

    /// Takes bytes of the CRYPTO stream in order, in any split; `None` until there are enough.
    ///
    /// What is no ClientHello goes on as if it had no name: rustls has its own words for it.
    ///
    /// # Errors
    /// When TLS cannot do with what was chosen: the server's fault.
    pub(super) fn read(&mut self, bytes: &[u8]) -> Option<Result<Opened, rustls::Error>> {
        self.message.extend_from_slice(bytes);
        if !is_whole(&self.message) && self.message.len() < LONGEST {
            return None;
        }
        let message = std::mem::take(&mut self.message);
        let name = server_name(&message);
        let chosen = match &self.server.by_name {
            Some(by_name) => by_name.choose(name.as_deref(), self.server.local),
            None => self.server.chosen(),
        };
        let opened = open(chosen, self.version, std::mem::take(&mut self.params));
        Some(opened.map(|(tls, desk)| Opened { tls, desk, message }))
    }
}

/// A handshake, and where its tickets come from.
pub(super) fn open(
    chosen: Chosen,
    version: Version,
    params: Vec<u8>,
) -> Result<(quic::ServerConnection, Option<Arc<Desk>>), rustls::Error> {
    let desk = chosen.tickets.map(Desk::new);
    let tls = match &desk {
        None => chosen.tls,
        Some(desk) => Arc::new(desk.config(&chosen.tls)),
    };
    Ok((quic::ServerConnection::new(tls, version, params)?, desk))
}

/// The name that a ClientHello asks for, as rustls reads it; `None` also where it reads none.
fn server_name(message: &[u8]) -> Option<String> {
    let mut records = Vec::with_capacity(message.len() + 64);
    for part in message.chunks(RECORD) {
        // TLSPlaintext (RFC 8446 §5.1): a handshake, of the version that everybody says first.
        records.extend_from_slice(&[22, 3, 1]);
        records.extend_from_slice(&u16::try_from(part.len()).ok()?.to_be_bytes());
        records.extend_from_slice(part);
    }
    let (mut acceptor, mut rest) = (Acceptor::default(), records.as_slice());
    while !rest.is_empty() {
        // Reading from memory fails when the buffer of rustls is full, which takes what is no ClientHello.
        if acceptor.read_tls(&mut rest).ok()? == 0 {
            return None;
        }
        if let Some(accepted) = acceptor.accept().ok()? {
            return accepted.client_hello().server_name().map(str::to_owned);
        }
    }
    None
}

/// As much as a record holds (RFC 8446 §5.1).
const RECORD: usize = 1 << 14;

/// More than any ClientHello that rustls reads.
const LONGEST: usize = 1 << 16;
