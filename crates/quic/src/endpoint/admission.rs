//! What becomes of a first flight: a connection, a Retry or a refusal.

use std::{
    net::IpAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use quinn_proto::{Incoming, ServerConfig};

use super::{
    Admit, Application, Endpoint,
    load::{Change, Load},
};
use crate::{Config, Retry, connection::Profile, wire::Wire};

/// The policy, and the figures that it looks at.
#[derive(Debug)]
pub(super) struct Admission {
    max_connections: usize,
    max_handshakes: usize,
    retry: Retry,
    handshake_timeout: Duration,
    profile: Profile,
    is_refusing: bool,
    handshakes: usize,
    load: Load,
}

#[derive(Debug, PartialEq, Eq)]
enum Verdict {
    Accept,
    Retry,
    Refuse,
    /// A refusal because too many handshakes are under way.
    Crowded,
}

impl Admission {
    pub(super) fn set_policy(&mut self, config: &Config) {
        self.max_connections = config.max_connections;
        self.max_handshakes = config.max_handshakes;
        self.retry = config.retry;
        self.handshake_timeout = config.handshake_timeout;
        self.profile = Profile::of(config);
    }

    pub(super) fn refuse_new(&mut self) {
        self.is_refusing = true;
    }

    pub(super) fn press(&mut self, is_pressed: bool) {
        self.load.press(is_pressed);
    }

    pub(super) fn handshake_begun(&mut self) {
        self.handshakes += 1;
    }

    pub(super) fn handshake_over(&mut self) {
        self.handshakes -= 1;
    }

    /// A first flight came. What it did to the switch of Retry.
    fn note(&mut self, is_proven: bool, now: Instant) -> Option<Change> {
        match self.retry {
            Retry::Above(above) if !is_proven => self.load.arrives(above, self.handshakes, now),
            _ => None,
        }
    }

    fn look(&mut self, now: Instant) -> Option<Change> {
        match self.retry {
            Retry::Above(above) => self.load.look(above, self.handshakes, now),
            // It was another policy that switched it on.
            Retry::Never | Retry::Always => self.load.end(),
        }
    }

    /// When the switch of Retry is to be looked at, if it is on.
    pub(super) fn looks_at(&self) -> Option<Instant> {
        self.load.until()
    }

    /// `may_retry`: the client has not proved its address yet, and can.
    fn judge(&self, connections: usize, may_retry: bool, wanted: Admit) -> Verdict {
        let is_crowded = self.handshakes >= self.max_handshakes;
        let wants_retry = wanted == Admit::Prove
            || match self.retry {
                Retry::Never => false,
                Retry::Above(_) => self.load.is_on() || is_crowded,
                Retry::Always => true,
            };
        let is_unwanted = wanted == Admit::Refuse || (wanted == Admit::Prove && !may_retry);
        if self.is_refusing || is_unwanted || connections >= self.max_connections {
            Verdict::Refuse
        // req: 9000-8.1.2-retry-once
        } else if wants_retry && may_retry {
            Verdict::Retry
        } else if is_crowded {
            Verdict::Crowded
        } else {
            Verdict::Accept
        }
    }
}

impl Default for Admission {
    fn default() -> Self {
        let config = Config::default();
        Self {
            max_connections: config.max_connections,
            max_handshakes: config.max_handshakes,
            retry: config.retry,
            handshake_timeout: config.handshake_timeout,
            profile: Profile::of(&config),
            is_refusing: false,
            handshakes: 0,
            load: Load::default(),
        }
    }
}

impl<A: Application> Endpoint<A> {
    /// Decides on a first flight at once: what waits undecided can be filled by anyone. `bytes`: of its datagram.
    pub(super) fn admit(
        &mut self,
        incoming: Incoming,
        bytes: usize,
        now: Instant,
        wire: &mut impl Wire,
    ) {
        let is_proven = incoming.remote_address_validated();
        let may_retry = incoming.may_retry() && !is_proven;
        let client = incoming.remote_address().ip().to_canonical();
        self.counters.tokens_accepted += u64::from(is_proven);
        let change = self.admission.note(is_proven, now);
        self.note_switch(change);
        let wanted = self.app.admit(client, is_proven, now);
        self.reply.clear();
        let verdict = self.admission.judge(self.connections.len(), may_retry, wanted);
        match verdict {
            Verdict::Accept => self.accept(incoming, bytes, now, wire),
            Verdict::Refuse | Verdict::Crowded => {
                self.counters.refused += 1;
                self.counters.handshakes_refused += u64::from(verdict == Verdict::Crowded);
                let refusal = self.engine.refuse(incoming, &mut self.reply);
                self.reply(&refusal, wire);
            }
            // req: 9000-17.2.5.1-one-for-a-datagram
            Verdict::Retry => match self.engine.retry(incoming, &mut self.reply) {
                Ok(retry) => {
                    self.counters.retried += 1;
                    self.reply(&retry, wire);
                }
                Err(error) => self.engine.ignore(error.into_incoming()),
            },
        }
    }

    /// Switches Retry off when it has been calm for long enough.
    pub(super) fn look(&mut self, now: Instant) {
        if self.admission.looks_at().is_some_and(|at| at <= now) {
            let change = self.admission.look(now);
            self.note_switch(change);
        }
    }

    fn note_switch(&mut self, change: Option<Change>) {
        match change {
            Some(Change::On) => self.counters.retry_switched_on += 1,
            Some(Change::Off) => self.counters.retry_switched_off += 1,
            None => {}
        }
    }

    /// What a client gets that came to this address of ours, where that is something else than what all get.
    fn server_at(&self, local: Option<IpAddr>) -> Option<Arc<ServerConfig>> {
        let (config, session) = self.server.as_ref()?;
        let session = session.at(local.map(|ip| ip.to_canonical()))?;
        let mut config = ServerConfig::clone(config);
        config.crypto = Arc::new(session);
        Some(Arc::new(config))
    }

    fn accept(&mut self, incoming: Incoming, bytes: usize, now: Instant, wire: &mut impl Wire) {
        let is_proven = incoming.remote_address_validated();
        let deadline = now + self.admission.handshake_timeout;
        let server = self.server_at(incoming.local_ip());
        match self.engine.accept(incoming, now, &mut self.reply, server) {
            Ok((handle, connection)) => {
                let key = self.open(handle, connection, self.admission.profile, deadline, now);
                if !is_proven && let Some(slot) = self.connections.get_mut(key) {
                    slot.connection.limit_unproven(bytes);
                }
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
        Admission {
            max_connections: 10,
            max_handshakes: 100,
            retry,
            handshakes,
            ..Admission::default()
        }
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
        let noted = |retry, handshakes| {
            let mut admission = admission(retry, handshakes);
            admission.note(false, Instant::now());
            admission
        };
        assert_eq!(noted(Retry::Above(3), 3).judge(0, true, Admit::Accept), Verdict::Accept);
        assert_eq!(noted(Retry::Above(3), 4).judge(0, true, Admit::Accept), Verdict::Retry);
        assert_eq!(noted(Retry::Above(3), 4).judge(0, false, Admit::Accept), Verdict::Accept);
        assert_eq!(noted(Retry::Always, 0).judge(0, true, Admit::Accept), Verdict::Retry);
    }

    #[test]
    fn as_many_handshakes_as_may_be_under_way_leave_no_place_whatever_was_proven() {
        for (retry, unproven) in [
            (Retry::Never, Verdict::Crowded),
            (Retry::Above(1000), Verdict::Retry),
            (Retry::Always, Verdict::Retry),
        ] {
            let full = admission(retry, 100);
            assert_eq!(full.judge(0, true, Admit::Accept), unproven, "{retry:?}");
            assert_eq!(full.judge(0, false, Admit::Accept), Verdict::Crowded, "{retry:?}");
            assert_eq!(admission(retry, 99).judge(0, false, Admit::Accept), Verdict::Accept);
        }
    }

    #[test]
    fn memory_that_is_short_asks_for_proof_unless_that_is_switched_off() {
        for (retry, verdict) in
            [(Retry::Above(1000), Verdict::Retry), (Retry::Never, Verdict::Accept)]
        {
            let mut admission = admission(retry, 0);
            admission.press(true);
            assert_eq!(admission.judge(0, true, Admit::Accept), verdict);
        }
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
