//! `--migrate`: another local port in the middle of a response (RFC 9000 §9).

use std::fmt;

use sterna_net::client::{Client, ClientCounters};

use super::GetError;

/// A response during which the connection is to move.
pub(super) struct Moving<'a> {
    client: &'a Client,
    before: ClientCounters,
    /// Bytes that had come when it moved.
    moved_at: Option<u64>,
}

/// What became of it.
#[derive(Debug)]
pub(super) struct Migration {
    /// Bytes that had come when it moved; `None` if the response had ended before.
    pub(super) moved_at: Option<u64>,
    /// Bytes that came after it.
    pub(super) after: u64,
    /// The response came to its end.
    pub(super) survived: bool,
    /// Migrations that the connection has counted.
    pub(super) counted: u64,
}

impl<'a> Moving<'a> {
    pub(super) fn new(client: &'a Client) -> Self {
        Self { client, before: client.counters(), moved_at: None }
    }

    /// Moves as soon as something has come: then the transfer has begun.
    pub(super) async fn on_bytes(&mut self, bytes: u64) -> Result<(), GetError> {
        if self.moved_at.is_none() {
            self.client.rebind().await?;
            self.moved_at = Some(bytes);
        }
        Ok(())
    }

    /// The response has ended, well or not, after so many bytes.
    pub(super) fn end(self, survived: bool, bytes: u64) -> Migration {
        let after = bytes - self.moved_at.unwrap_or(bytes);
        let counted = self.client.counters().migrations - self.before.migrations;
        Migration { moved_at: self.moved_at, after, survived, counted }
    }
}

impl Migration {
    /// Something came over the new path.
    pub(super) fn has_moved(&self) -> bool {
        self.moved_at.is_some() && self.after > 0
    }
}

impl fmt::Display for Migration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.moved_at, self.survived) {
            (Some(at), true) if self.after > 0 => {
                write!(
                    f,
                    "migrated after {at} bytes, and the transfer survived: {} more came",
                    self.after
                )
            }
            (Some(at), false) => write!(
                f,
                "migrated after {at} bytes, and the transfer did not survive: it ended after {} more",
                self.after
            ),
            _ => f.write_str("the response was over before the connection could migrate"),
        }
    }
}

/// Nothing was shown.
pub(super) const TOO_SHORT: &str =
    "the response was too short to migrate in its middle: ask for a longer one";
