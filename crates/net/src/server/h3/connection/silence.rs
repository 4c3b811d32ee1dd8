//! Whether the client is still there, which a drain wants to know: who is there acknowledges a PING within a round trip
//! (RFC 9000 §13.2.1), whatever its request does, and nobody else can do that for it.

use std::time::{Duration, Instant};

use crate::server::silence::{ASK_EVERY, patience};

/// What has been heard of a client since the drain began.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Silence {
    /// ACK frames up to now.
    acks: u64,
    since: Instant,
    asked: Instant,
    /// How long it may last.
    patience: Duration,
}

/// What to do about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    Wait,
    /// To send a PING.
    Ask,
    /// To wait no more.
    Gone,
}

impl Silence {
    pub(super) fn new(acks: u64, now: Instant) -> Self {
        Self { acks, since: now, asked: now, patience: patience(Duration::ZERO) }
    }

    /// With so many ACK frames now; an acknowledgement takes `rtt`.
    pub(super) fn look(&mut self, acks: u64, rtt: Duration, now: Instant) -> Verdict {
        if acks != self.acks {
            *self = Self::new(acks, now);
        }
        self.patience = patience(rtt);
        if now >= self.since + self.patience {
            return Verdict::Gone;
        }
        if now >= self.asked + ASK_EVERY {
            self.asked = now;
            return Verdict::Ask;
        }
        Verdict::Wait
    }

    /// When to look again at the latest.
    pub(super) fn next(&self) -> Instant {
        (self.asked + ASK_EVERY).min(self.since + self.patience)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MILLI: Duration = Duration::from_millis(1);

    #[test]
    fn who_acknowledges_is_asked_each_second_and_waited_for_without_end() {
        let begun = Instant::now();
        let mut silence = Silence::new(0, begun);
        for second in 1..100 {
            let now = begun + Duration::from_secs(second);
            // The answer comes a little later.
            assert_eq!(silence.look(second - 1, MILLI, now), Verdict::Ask, "{second}");
            assert_eq!(silence.look(second, MILLI, now), Verdict::Wait, "{second}");
        }
    }

    #[test]
    fn who_does_not_is_gone_after_the_patience_for_its_round_trip() {
        for (rtt, seconds) in [(MILLI, 12), (Duration::from_secs(2), 42)] {
            let begun = Instant::now();
            let (mut silence, mut now, mut asked) = (Silence::new(7, begun), begun, 0);
            while silence.look(7, rtt, now) != Verdict::Gone {
                asked += u64::from(silence.asked == now && now > begun);
                now = silence.next();
            }
            assert_eq!((now - begun, asked), (Duration::from_secs(seconds), seconds - 1));
        }
    }
}
