//! What a user of the client chooses: versions, trust, limits and time-outs.

use std::{net::IpAddr, path::PathBuf, sync::Arc, time::Duration};

use super::{
    resolve::Resolver,
    tls::{ClientCertificate, Roots},
    versions::Versions,
};
use crate::{server::NEVER, tls::PeerVerifier};

/// Everything that a client can be told, with its defaults. Filled by a [`Builder`](super::Builder).
#[derive(Clone, Debug)]
pub(crate) struct Config {
    pub(crate) versions: Versions,
    pub(crate) http3: Share,
    pub(crate) timeouts: Timeouts,
    pub(crate) pool: PoolConfig,
    pub(crate) retries: u32,
    /// Also when the connection had carried no request before.
    pub(crate) retries_fresh: bool,
    pub(crate) early_data: bool,
    pub(crate) roots: Roots,
    pub(crate) certificate: Option<ClientCertificate>,
    pub(crate) accept_any_certificate: bool,
    pub(crate) verifier: Option<Arc<dyn PeerVerifier>>,
    pub(crate) key_log: bool,
    pub(crate) resolver: Option<Resolver>,
    pub(crate) state_file: Option<PathBuf>,
    pub(crate) speculate: bool,
    pub(crate) expects_h3: bool,
    pub(crate) connect_to: Option<(String, u16)>,
    pub(crate) unix: Option<PathBuf>,
    /// Responses have an `Exchange`.
    pub(crate) tells_exchange: bool,
    pub(crate) server_name: Option<String>,
    /// Of a stream, and of the connection.
    pub(crate) http2_windows: (u32, u32),
    pub(crate) local_address: Option<IpAddr>,
    pub(crate) watch_network: bool,
    pub(crate) quic: sterna_quic::Config,
    pub(crate) h3: sterna_h3::Config,
}

/// For which origins HTTP/3 is used where it is allowed, so that it can be introduced by and by.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Share {
    /// All.
    #[default]
    On,
    /// None.
    Off,
    /// So many in a hundred, always the same ones for one key: a region, a customer, a machine.
    Percent {
        /// From 0 to 100.
        percent: u8,
        /// What the choice depends on beside the origin.
        key: Arc<str>,
    },
}

impl Share {
    /// Whether the origin is among them.
    pub(crate) fn includes(&self, origin: &str) -> bool {
        match self {
            Self::On => true,
            Self::Off => false,
            Self::Percent { percent, key } => {
                let mut hash = FNV_OFFSET;
                for byte in key.bytes().chain([0]).chain(origin.bytes()) {
                    hash = (hash ^ u64::from(byte)).wrapping_mul(FNV_PRIME);
                }
                // The low bits of this hash alone are not spread well.
                (hash ^ (hash >> 32)) % 100 < u64::from(*percent)
            }
        }
    }
}

/// How long each phase of a request may take; `Duration::MAX` is never.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timeouts {
    /// Resolving the name. Default: 5 s.
    pub resolve: Duration,
    /// One attempt to connect: the TCP handshake, or that of QUIC with its TLS. Default: 10 s.
    pub connect: Duration,
    /// The TLS handshake over TCP. Default: 10 s.
    pub tls: Duration,
    /// From the moment that there is a connection, or from the last piece of the request's body, until the response's head
    /// is here. Default: 30 s.
    pub first_byte: Duration,
    /// Longest pause in the response's body while someone waits for it. Default: 30 s.
    pub idle: Duration,
    /// The whole, from `send` to the end of the response's body. Default: 30 s.
    pub total: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            resolve: Duration::from_secs(5),
            connect: Duration::from_secs(10),
            tls: Duration::from_secs(10),
            first_byte: Duration::from_secs(30),
            idle: Duration::from_secs(30),
            total: Duration::from_secs(30),
        }
    }
}

impl Timeouts {
    /// With time-outs that can be added to a moment.
    pub(crate) fn bounded(self) -> Self {
        let Self { resolve, connect, tls, first_byte, idle, total } = self;
        let [resolve, connect, tls, first_byte, idle, total] =
            [resolve, connect, tls, first_byte, idle, total].map(|span| span.min(NEVER));
        Self { resolve, connect, tls, first_byte, idle, total }
    }
}

/// Limits of what is kept open, and of what is held for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PoolConfig {
    /// Idle connections, of all origins. Default: 100.
    pub idle_total: usize,
    /// Idle connections of one origin. Default: 10.
    pub idle_per_origin: usize,
    /// How long an idle connection is kept. Default: 90 s.
    pub idle_timeout: Duration,
    /// Connections of one origin, idle or not. Default: 32.
    pub max_connections_per_origin: usize,
    /// Requests that may wait for a connection to one origin; above it they fail at once. Default: 1000.
    pub max_waiting_per_origin: usize,
    /// Largest head of a response, in bytes as RFC 9114 §4.2.2 counts. Default: 10 MiB.
    pub max_header_size: usize,
    /// Fields that a head may have. Default: 1000.
    pub max_header_fields: usize,
    /// Bytes of one response that wait for their reader on HTTP/3 before reading stops. Default: 256 KiB.
    pub body_buffer: usize,
    /// Bytes of all responses of one HTTP/3 connection that wait before reading stops; a response of which nothing
    /// waits is always read. Default: 4 MiB.
    pub body_buffer_total: usize,
}

impl Default for PoolConfig {
    fn default() -> Self {
        Self {
            idle_total: 100,
            idle_per_origin: 10,
            idle_timeout: Duration::from_secs(90),
            max_connections_per_origin: 32,
            max_waiting_per_origin: 1000,
            max_header_size: 10 << 20,
            max_header_fields: 1000,
            body_buffer: 256 * 1024,
            body_buffer_total: 4 << 20,
        }
    }
}

impl Default for Config {
    fn default() -> Self {
        Self {
            versions: Versions::ALL,
            http3: Share::On,
            timeouts: Timeouts::default(),
            pool: PoolConfig::default(),
            retries: 2,
            retries_fresh: true,
            early_data: false,
            roots: Roots::System,
            certificate: None,
            accept_any_certificate: false,
            verifier: None,
            key_log: true,
            resolver: None,
            state_file: None,
            speculate: true,
            expects_h3: false,
            connect_to: None,
            unix: None,
            tells_exchange: true,
            server_name: None,
            // Those of QUIC.
            http2_windows: (6 << 20, 15 << 20),
            local_address: None,
            watch_network: true,
            quic: sterna_quic::Config {
                // Many a NAT forgets a UDP flow after 30 s.
                keep_alive: Some(Duration::from_secs(10)),
                // A server opens no such stream (RFC 9114 §6.1).
                max_bidi_streams: 0,
                ..sterna_quic::Config::default()
            },
            h3: sterna_h3::Config::default(),
        }
    }
}

/// FNV-1a, 64 bits: the same choice in every version of the program, which no hasher of the standard library promises.
const FNV_OFFSET: u64 = 0xcbf2_9ce4_8422_2325;
const FNV_PRIME: u64 = 0x0100_0000_01b3;

#[cfg(test)]
mod tests {
    use super::*;

    fn share(percent: u8, key: &str) -> Share {
        Share::Percent { percent, key: key.into() }
    }

    fn included(share: &Share) -> Vec<usize> {
        (0..1000).filter(|host| share.includes(&format!("https://host-{host}.example"))).collect()
    }

    #[test]
    fn share_of_a_hundred_takes_about_that_many_origins_and_always_the_same() {
        assert!(included(&share(0, "eu")).is_empty());
        assert_eq!(included(&share(100, "eu")).len(), 1000);
        let some = included(&share(20, "eu"));
        assert!((150..250).contains(&some.len()), "{} of 1000", some.len());
        assert_eq!(some, included(&share(20, "eu")));
        assert_ne!(some, included(&share(20, "us")), "another key chooses others");
    }

    #[test]
    fn larger_share_keeps_those_that_the_smaller_one_has() {
        let (few, more) = (included(&share(10, "eu")), included(&share(30, "eu")));
        assert!(few.iter().all(|origin| more.contains(origin)));
    }
}
