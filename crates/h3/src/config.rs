//! What our side chooses: role, limits, extensions.

use crate::Settings;

/// Which side we are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// We opened the connection.
    Client,
    /// We accepted it.
    Server,
}

/// Limits and choices of our side.
#[derive(Clone, Debug)]
pub struct Config {
    /// SETTINGS_MAX_FIELD_SECTION_SIZE that we announce and enforce, in bytes (RFC 9114 §4.2.2). Default: 64 KiB.
    pub max_field_section_size: u64,
    /// Lines that a field section may have, pseudo-header fields and cookie crumbs included. Default: 256.
    ///
    /// The size alone would allow some thousand empty lines, which cost a few bytes each on the wire and a hundred in
    /// memory. More lines are treated as a section that is too large.
    pub max_field_lines: usize,
    /// Our decoder's dynamic table, in bytes. Default: 4096.
    pub qpack_max_table_capacity: u64,
    /// Streams of the peer that may block on our decoder. Default: 100.
    pub qpack_blocked_streams: u64,
    /// What our encoder uses at most of the peer's table. Default: 4096.
    pub qpack_encoder_table_capacity: u64,
    /// Streams that our encoder may block at the peer. Default: 0, so that a lost packet never holds up a message that
    /// was not in it.
    pub qpack_encoder_blocked_streams: u64,
    /// Bytes that may wait behind blocked field sections, of all streams together. Default: 1 MiB.
    ///
    /// The stream whose bytes exceed it is reset. A transport that asks
    /// [`Connection::is_blocked`](crate::Connection::is_blocked) before it reads never comes near it.
    pub max_blocked_bytes: usize,
    /// SETTINGS_ENABLE_CONNECT_PROTOCOL (RFC 9220). Default: false.
    pub enable_connect_protocol: bool,
    /// SETTINGS_H3_DATAGRAM (RFC 9297). Default: false.
    pub enable_datagrams: bool,
    /// Send a reserved setting and frame (RFC 9114 §7.2.8). Default: true.
    pub grease: bool,
    /// How much a peer may send without use before it is a flood (RFC 9114 §10.5), in bytes. Default: 256 KiB.
    ///
    /// Frames that we skip cost their length and a constant, instructions of QPACK their length; content and messages
    /// earn it back, up to this value.
    pub flood_budget: u64,
    /// Server: how many more requests a peer may give up than it lets us answer. Default: 512.
    pub reset_budget: u64,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            max_field_section_size: 64 * 1024,
            max_field_lines: 256,
            qpack_max_table_capacity: 4096,
            qpack_blocked_streams: 100,
            qpack_encoder_table_capacity: 4096,
            qpack_encoder_blocked_streams: 0,
            max_blocked_bytes: 1 << 20,
            enable_connect_protocol: false,
            enable_datagrams: false,
            grease: true,
            flood_budget: 256 * 1024,
            reset_budget: 512,
        }
    }
}

impl Config {
    /// What we announce.
    pub(crate) const fn settings(&self, role: Role) -> Settings {
        Settings {
            max_field_section_size: Some(self.max_field_section_size),
            qpack_max_table_capacity: self.qpack_max_table_capacity,
            qpack_blocked_streams: self.qpack_blocked_streams,
            // From a client it would mean nothing (RFC 8441 §3).
            enable_connect_protocol: self.enable_connect_protocol && matches!(role, Role::Server),
            h3_datagram: self.enable_datagrams,
        }
    }
}
