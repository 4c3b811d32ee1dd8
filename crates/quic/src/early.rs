//! What a server needs for early data (0-RTT, RFC 9001 §4.6): tickets that any of its workers can open, and a guard that
//! knows which of them brought early data before.
//!
//! [`Tickets`] is both, as the handshake asks for them; [`ReplayGuard`] is the second half of it.

use std::{fmt, time::Duration};

pub use self::guard::{ReplayGuard, Window};

mod guard;

/// Seals what TLS has to find again into tickets, and opens them.
pub trait Tickets: fmt::Debug + Send + Sync {
    /// A ticket for this session, or `None` to give none.
    fn seal(&self, session: &[u8]) -> Option<Vec<u8>>;

    /// What was sealed, or `None` for a ticket that is not ours, or too old. With `is_early` early data comes with it: the
    /// answer decides about that as well, and is given once for each ticket.
    fn open(&self, ticket: &[u8], is_early: bool) -> Option<Opened>;

    /// How long clients may keep a ticket, in whole seconds.
    fn lifetime(&self) -> Duration;
}

/// A ticket's session, and what becomes of the early data that came with it.
#[derive(Clone, PartialEq, Eq)]
pub struct Opened {
    /// As it was given to [`Tickets::seal`].
    pub session: Vec<u8>,
    /// Whether early data may be taken.
    pub verdict: Verdict,
}

/// What a guard says to early data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Nobody has brought early data with this ticket.
    Fresh,
    /// Somebody has: it is a replay, or a client that uses a ticket twice (RFC 8446 §C.4 asks it not to).
    Replayed,
    /// The guard is too young to know what came before it, or another one takes early data.
    Young,
    /// The guard has no room to remember one more.
    Full,
}

/// What became of the early data of a handshake.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Outcome {
    #[default]
    NotOffered,
    Accepted,
    /// By TLS where there is no verdict against it: the ticket is old or unknown, its age does not fit, ALPN is another.
    Refused(Option<Verdict>),
}

impl fmt::Debug for Opened {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The session is a secret.
        f.debug_struct("Opened").field("verdict", &self.verdict).finish_non_exhaustive()
    }
}
