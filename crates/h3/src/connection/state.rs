//! The two halves of a request stream (RFC 9114 §4.1): what each may do next.
//!
//! ```text
//!            interim            content
//!             ┌──┐               ┌──┐
//!             │  ▼   final head  │  ▼   trailers          end
//!            Head ───────────► Content ──────────► Tail ─────► Ended
//!             │                  │ end                           ▲
//!             │ head of CONNECT  └───────────────────────────────┤
//!             └────────────────► Tunnel ─────────────────────────┘
//!
//!            any of them ── given up by either side ──► Abandoned
//! ```
//! The same figure holds for what we read and what we send (where trailers are the end); a fault of the peer is a
//! [`PeerMisbehaved`], one of the application an [`ApiMisuse`].

use crate::message::Length;
use crate::{ApiMisuse, PeerMisbehaved, Role};

/// What we read of the peer's message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Receiving {
    /// The (final) head has not come.
    Head,
    /// The head came; content may, and trailers.
    Content(Length),
    /// Trailers came; only the end may.
    Tail,
    /// A tunnel: content and the end.
    Tunnel,
    /// The head was too large: what comes is dropped, but the peer was not asked to stop.
    Oversized,
    /// The message is whole, or an oversized one at its end.
    Ended,
    /// Given up by either side.
    Abandoned,
}

impl Receiving {
    /// Whether the peer's side is still to be ended.
    pub(super) const fn is_open(self) -> bool {
        !matches!(self, Self::Ended | Self::Abandoned)
    }

    /// Whether what comes is looked at.
    pub(super) const fn is_read(self) -> bool {
        !matches!(self, Self::Oversized | Self::Ended | Self::Abandoned)
    }

    /// A HEADERS frame begins.
    pub(super) const fn allow_headers(self) -> Result<(), PeerMisbehaved> {
        // req: 9114-4.1-frame-sequence
        match self {
            Self::Head | Self::Content(_) | Self::Oversized | Self::Ended | Self::Abandoned => {
                Ok(())
            }
            Self::Tail => Err(PeerMisbehaved::HeadersAfterTrailers),
            // req: 9114-4.4-only-data
            Self::Tunnel => Err(PeerMisbehaved::HeadersInTunnel),
        }
    }

    /// A DATA frame begins.
    pub(super) const fn allow_data(self) -> Result<(), PeerMisbehaved> {
        // req: 9114-4.1-frame-sequence
        match self {
            Self::Content(_) | Self::Tunnel | Self::Oversized | Self::Ended | Self::Abandoned => {
                Ok(())
            }
            Self::Head => Err(PeerMisbehaved::DataBeforeHeaders),
            Self::Tail => Err(PeerMisbehaved::DataAfterTrailers),
        }
    }

    /// Content came: `count` bytes of it.
    pub(super) fn on_content(self, count: u64) -> Result<Self, PeerMisbehaved> {
        match self {
            Self::Content(length) => Ok(Self::Content(length.take(count)?)),
            other => other.allow_data().map(|()| other),
        }
    }

    /// A trailer section came.
    pub(super) fn on_trailers(self) -> Result<Self, PeerMisbehaved> {
        if let Self::Content(length) = self {
            length.end()?;
        }
        self.allow_headers().map(|()| Self::Tail)
    }

    /// The stream ended; `role` is ours.
    pub(super) fn on_end(self, role: Role) -> Result<Self, PeerMisbehaved> {
        match (self, role) {
            // req: 9114-4.1-incomplete-request
            (Self::Head, Role::Server) => Err(PeerMisbehaved::RequestIncomplete),
            (Self::Head, Role::Client) => Err(PeerMisbehaved::ResponseIncomplete),
            (Self::Content(length), _) => {
                length.end()?;
                Ok(Self::Ended)
            }
            (Self::Tail | Self::Tunnel | Self::Oversized | Self::Ended, _) => Ok(Self::Ended),
            (Self::Abandoned, _) => Ok(Self::Abandoned),
        }
    }
}

/// What we send of our message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sending {
    /// The (final) head was not sent.
    Head,
    /// The head was sent; content may follow, and trailers.
    Content(Length),
    /// A tunnel: content and the end.
    Tunnel,
    /// The end was sent.
    Ended,
    /// Given up by either side.
    Abandoned,
}

impl Sending {
    /// Whether our side of the stream is still to be ended.
    pub(super) const fn is_open(self) -> bool {
        !matches!(self, Self::Ended | Self::Abandoned)
    }

    /// Whether a head may be sent.
    pub(super) const fn allow_head(self) -> Result<(), ApiMisuse> {
        match self {
            Self::Head => Ok(()),
            Self::Content(_) | Self::Tunnel => Err(ApiMisuse::HeadTwice),
            Self::Ended | Self::Abandoned => Err(ApiMisuse::StreamClosed),
        }
    }

    /// `count` bytes of content.
    pub(super) fn on_content(self, count: u64) -> Result<Self, ApiMisuse> {
        match self {
            Self::Head => Err(ApiMisuse::HeadMissing),
            Self::Content(length) => Ok(Self::Content(length.take(count)?)),
            Self::Tunnel => Ok(Self::Tunnel),
            Self::Ended | Self::Abandoned => Err(ApiMisuse::StreamClosed),
        }
    }

    /// Trailers, which end the message.
    pub(super) fn on_trailers(self) -> Result<Self, ApiMisuse> {
        match self {
            Self::Tunnel => Err(ApiMisuse::TrailersInTunnel),
            other => other.on_end(),
        }
    }

    /// The end.
    pub(super) fn on_end(self) -> Result<Self, ApiMisuse> {
        match self {
            Self::Head => Err(ApiMisuse::HeadMissing),
            Self::Content(length) => {
                // req: 9114-4.1.2-send-whole
                length.end()?;
                Ok(Self::Ended)
            }
            Self::Tunnel => Ok(Self::Ended),
            Self::Ended | Self::Abandoned => Err(ApiMisuse::StreamClosed),
        }
    }
}

#[cfg(test)]
mod tests;
