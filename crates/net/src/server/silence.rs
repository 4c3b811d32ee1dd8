//! How long a client may be silent while a drain waits for it: whoever has gone away would be waited for until the deadline, and so
//! would everybody who waits for the end of the process.
//!
//! A request that runs for long makes no client say anything. So clients are asked, in a way that nobody else can answer for them, nor
//! their program has to: over QUIC by PING, over TCP by what its kernel acknowledges.

use std::time::Duration;

/// How long an answer may be missing from a client this far away.
pub(crate) fn patience(rtt: Duration) -> Duration {
    // Three probes, each after twice the time of the one before, by the first estimate of that time: three round trips
    // (RFC 9002 §6.2.1, §5.3).
    PATIENCE.max(rtt * 3 * (1 + 2 + 4))
}

/// The longest hole that a network should be forgiven has five seconds: the last probe in it may be followed by the next after
/// as long once more, and that must have its time.
const PATIENCE: Duration = Duration::from_secs(12);

/// How often a client is asked.
pub(crate) const ASK_EVERY: Duration = Duration::from_secs(1);
