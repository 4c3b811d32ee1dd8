//! What becomes of a first flight: a connection, a Retry or a refusal.

use std::time::{Duration, Instant};

use quinn_proto::Incoming;

use super::{Admit, Application, Endpoint};
use crate::{Config, Retry, connection::Sending, wire::Wire};

/// The policy, and the figures that it looks at.
#[derive(Debug)]
pub(super) struct Admission {
    max_connections: usize,
    retry: Retry,
    handshake_timeout: Duration,
    sending: Sending,
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
        self.sending = Sending::of(config);
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
    fn judge(&self, connections: usize, may_retry: bool, wanted: Admit) -> Verdict {
        let wants_retry = wanted == Admit::Prove
            || match self.retry {
                Retry::Never => false,
                Retry::Above(handshakes) => self.handshakes > handshakes,
                Retry::Always => true,
            };
        let is_unwanted = wanted == Admit::Refuse || (wanted == Admit::Prove && !may_retry);
        if self.is_refusing || is_unwanted || connections >= self.max_connections {
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
        let config = Config::default();
        let (sending, is_refusing, handshakes) = (Sending::of(&config), false, 0);
        let Config { max_connections, retry, handshake_timeout, .. } = config;
        Self { max_connections, retry, handshake_timeout, sending, is_refusing, handshakes }
    }
}

impl<A: Application> Endpoint<A> {
    /// Decides on a first flight at once: what waits undecided can be filled by anyone.
    pub(super) fn admit(&mut self, incoming: Incoming, now: Instant, wire: &mut impl Wire) {
        let is_proven = incoming.remote_address_validated();
        let may_retry = incoming.may_retry() && !is_proven;
        let client = incoming.remote_address().ip().to_canonical();
        let wanted = self.app.admit(client, is_proven, now);
        self.reply.clear();
        match self.admission.judge(self.connections.len(), may_retry, wanted) {
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
                self.open(handle, connection, self.admission.sending, deadline, now);
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
        assert_eq!(admission.judge(9, true, Admit::Accept), Verdict::Accept);
        assert_eq!(admission.judge(10, true, Admit::Accept), Verdict::Refuse);
    }

    #[test]
    // req: 9000-8.1.2-retry-once
    fn retry_begins_above_the_bound_of_handshakes_and_asks_nobody_twice() {
        assert_eq!(admission(Retry::Above(3), 3).judge(0, true, Admit::Accept), Verdict::Accept);
        assert_eq!(admission(Retry::Above(3), 4).judge(0, true, Admit::Accept), Verdict::Retry);
        assert_eq!(admission(Retry::Above(3), 4).judge(0, false, Admit::Accept), Verdict::Accept);
        assert_eq!(admission(Retry::Always, 0).judge(0, true, Admit::Accept), Verdict::Retry);
    }

    #[test]
    fn an_endpoint_that_refuses_does_so_with_places_free() {
        let mut admission = admission(Retry::Always, 0);
        admission.refuse_new();
        assert_eq!(admission.judge(0, true, Admit::Accept), Verdict::Refuse);
    }

    #[test]
    fn what_the_application_wants_comes_before_the_policy_and_not_before_a_refusal() {
        let admission = admission(Retry::Never, 0);
        assert_eq!(admission.judge(0, true, Admit::Prove), Verdict::Retry);
        assert_eq!(admission.judge(0, false, Admit::Prove), Verdict::Refuse, "it has proved it");
        assert_eq!(admission.judge(0, true, Admit::Refuse), Verdict::Refuse);
        assert_eq!(admission.judge(10, true, Admit::Prove), Verdict::Refuse, "no place is free");
    }
}
