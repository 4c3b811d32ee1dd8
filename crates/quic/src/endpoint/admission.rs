//! What becomes of a first flight: a connection, a Retry or a refusal.

use std::time::{Duration, Instant};

use quinn_proto::Incoming;

use super::{Application, Endpoint};
use crate::{Config, Retry, wire::Wire};

/// The policy, and the figures that it looks at.
#[derive(Debug)]
pub(super) struct Admission {
    max_connections: usize,
    retry: Retry,
    handshake_timeout: Duration,
    is_refusing: bool,
    handshakes: usize,
}

#[derive(Debug, PartialEq, Eq)]
enum Verdict {
    Accept,
    Retry,
    Refuse,
}

impl Admission {
    pub(super) fn set_policy(&mut self, config: &Config) {
        self.max_connections = config.max_connections;
        self.retry = config.retry;
        self.handshake_timeout = config.handshake_timeout;
    }

    pub(super) fn refuse_new(&mut self) {
        self.is_refusing = true;
    }

    pub(super) fn handshake_begun(&mut self) {
        self.handshakes += 1;
    }

    pub(super) fn handshake_over(&mut self) {
        self.handshakes -= 1;
    }

    /// `may_retry`: the client has not proved its address yet, and can.
    fn judge(&self, connections: usize, may_retry: bool) -> Verdict {
        let wants_retry = match self.retry {
            Retry::Never => false,
            Retry::Above(handshakes) => self.handshakes > handshakes,
            Retry::Always => true,
        };
        if self.is_refusing || connections >= self.max_connections {
            Verdict::Refuse
        // req: 9000-8.1.2-retry-once
        } else if wants_retry && may_retry {
            Verdict::Retry
        } else {
            Verdict::Accept
        }
    }
}

impl Default for Admission {
    fn default() -> Self {
        let Config { max_connections, retry, handshake_timeout, .. } = Config::default();
        Self { max_connections, retry, handshake_timeout, is_refusing: false, handshakes: 0 }
    }
}

impl<A: Application> Endpoint<A> {
    /// Decides on a first flight at once: what waits undecided can be filled by anyone.
    pub(super) fn admit(&mut self, incoming: Incoming, now: Instant, wire: &mut impl Wire) {
        let may_retry = incoming.may_retry() && !incoming.remote_address_validated();
        self.reply.clear();
        match self.admission.judge(self.connections.len(), may_retry) {
            Verdict::Accept => self.accept(incoming, now, wire),
            Verdict::Refuse => {
                self.counters.refused += 1;
                let refusal = self.engine.refuse(incoming, &mut self.reply);
                self.reply(&refusal, wire);
            }
            Verdict::Retry => match self.engine.retry(incoming, &mut self.reply) {
                Ok(retry) => {
                    self.counters.retried += 1;
                    self.reply(&retry, wire);
                }
                Err(error) => self.engine.ignore(error.into_incoming()),
            },
        }
    }

    fn accept(&mut self, incoming: Incoming, now: Instant, wire: &mut impl Wire) {
        let deadline = now + self.admission.handshake_timeout;
        match self.engine.accept(incoming, now, &mut self.reply, None) {
            Ok((handle, connection)) => {
                self.open(handle, connection, deadline, now);
            }
            Err(error) => {
                if let Some(response) = error.response {
                    self.reply(&response, wire);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn admission(retry: Retry, handshakes: usize) -> Admission {
        Admission { max_connections: 10, retry, handshakes, ..Admission::default() }
    }

    #[test]
    fn the_last_free_place_is_given_and_one_past_it_is_refused() {
        let admission = admission(Retry::Never, 0);
        assert_eq!(admission.judge(9, true), Verdict::Accept);
        assert_eq!(admission.judge(10, true), Verdict::Refuse);
    }

    #[test]
    // req: 9000-8.1.2-retry-once
    fn retry_begins_above_the_bound_of_handshakes_and_asks_nobody_twice() {
        assert_eq!(admission(Retry::Above(3), 3).judge(0, true), Verdict::Accept);
        assert_eq!(admission(Retry::Above(3), 4).judge(0, true), Verdict::Retry);
        assert_eq!(admission(Retry::Above(3), 4).judge(0, false), Verdict::Accept);
        assert_eq!(admission(Retry::Always, 0).judge(0, true), Verdict::Retry);
    }

    #[test]
    fn an_endpoint_that_refuses_does_so_with_places_free() {
        let mut admission = admission(Retry::Always, 0);
        admission.refuse_new();
        assert_eq!(admission.judge(0, true), Verdict::Refuse);
    }
}
