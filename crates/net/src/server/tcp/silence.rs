//! Whether the client of a TCP connection is still there, which a drain wants to know.
//!
//! The kernel asks it: what is sent is sent again until it is acknowledged, and where nothing is, a keep-alive probe goes out each
//! second. That the client's program does not read is no silence: its kernel says so.

use std::{
    sync::Weak,
    time::{Duration, Instant},
};

use socket2::{SockRef, TcpKeepalive};
use tokio::net::TcpStream;

use crate::{
    context::{TcpInfoHead, tcp_info},
    server::silence::{ASK_EVERY, patience},
};

/// What has been heard of a client since the drain began.
pub(super) struct Silence {
    stream: Weak<TcpStream>,
    began: Instant,
}

impl Silence {
    /// Has the client asked from now on.
    pub(super) fn begin(stream: Weak<TcpStream>, now: Instant) -> Self {
        if let Some(stream) = stream.upgrade() {
            // How many are unanswered is ours to judge: the kernel is told to go on for as long as it can.
            let probes =
                TcpKeepalive::new().with_time(ASK_EVERY).with_interval(ASK_EVERY).with_retries(127);
            if let Err(error) = SockRef::from(&*stream).set_tcp_keepalive(&probes) {
                tracing::debug!(%error, "a client cannot be asked whether it is there");
            }
        }
        Self { stream, began: now }
    }

    /// Whether it has not said a word for longer than it may, though it was asked.
    pub(super) fn is_too_long(&self, now: Instant) -> bool {
        tcp_info(&self.stream).is_some_and(|info| is_gone(&info, now - self.began))
    }
}

/// A reader who has stopped is asked ever more rarely by TCP itself (RFC 9293 §3.8.6.1), and is not gone for that: so many questions
/// have to be without an answer.
fn is_gone(info: &TcpInfoHead, draining: Duration) -> bool {
    info.unanswered() >= LEAST_UNANSWERED && info.since_ack().min(draining) >= patience(info.rtt())
}

const LEAST_UNANSWERED: u8 = 3;

#[cfg(test)]
mod tests {
    use super::*;

    fn info(unanswered: u8, silent: Duration, rtt: Duration) -> TcpInfoHead {
        TcpInfoHead::for_tests(unanswered, silent, rtt)
    }

    #[test]
    fn a_client_is_gone_when_it_has_answered_nothing_for_the_patience_of_its_round_trip() {
        let (milli, second) = (Duration::from_millis(1), Duration::from_secs(1));
        assert!(!is_gone(&info(9, second * 11, milli), second * 60));
        assert!(is_gone(&info(9, second * 12, milli), second * 60));
        assert!(!is_gone(&info(9, second * 41, second * 2), second * 60), "it is far away");
        assert!(is_gone(&info(9, second * 42, second * 2), second * 60));
    }

    #[test]
    fn what_was_before_the_drain_and_what_nobody_was_asked_is_no_silence() {
        let (milli, hour) = (Duration::from_millis(1), Duration::from_secs(3600));
        assert!(!is_gone(&info(9, hour, milli), Duration::from_secs(11)));
        assert!(!is_gone(&info(2, hour, milli), hour));
    }
}
