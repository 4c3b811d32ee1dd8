//! Tickets of ours in the handshake of rustls, which gives none for early data that another process could open.
//!
//! rustls takes early data only on sessions that it keeps in a store, under a name that is the ticket. Each handshake has
//! a store of its own here: [`Desk::put`] seals the session, and [`Desk::rewrite`] puts what it became in the place of
//! the name. The message with it (NewSessionTicket, RFC 8446 §4.6.1) is in no transcript, and comes to us in clear.
//! [`Desk::take`] opens what a client brings and asks about its early data.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rustls::server::StoresServerSessions;

use crate::early::{Tickets, Verdict};

/// The store of one handshake.
#[derive(Debug)]
pub(super) struct Desk {
    tickets: Arc<dyn Tickets>,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// The client sends early data.
    is_early: bool,
    /// What was said to it.
    verdict: Option<Verdict>,
    /// rustls's names of sessions, and the tickets that take their place.
    issued: Vec<(Vec<u8>, Vec<u8>)>,
}

impl Desk {
    pub(super) fn new(tickets: Arc<dyn Tickets>) -> Arc<Self> {
        Arc::new(Self { tickets, state: Mutex::default() })
    }

    /// The same configuration, with this store.
    pub(super) fn config(self: &Arc<Self>, tls: &rustls::ServerConfig) -> rustls::ServerConfig {
        let mut tls = tls.clone();
        tls.session_storage = Arc::clone(self) as _;
        tls
    }

    /// Before TLS sees a ClientHello: whether early data is offered in it.
    pub(super) fn offered(&self) {
        self.state().is_early = true;
    }

    /// What was said to early data, if anyone asked.
    pub(super) fn verdict(&self) -> Option<Verdict> {
        self.state().verdict
    }

    /// Puts tickets in the place of rustls's names, in the messages of `written` from `begin` on.
    pub(super) fn rewrite(&self, written: &mut Vec<u8>, begin: usize) {
        let issued = std::mem::take(&mut self.state().issued);
        if issued.is_empty() {
            return;
        }
        let messages = written.split_off(begin.min(written.len()));
        let mut rest = messages.as_slice();
        while let Some((message, after)) = split_message(rest) {
            match with_ticket(message, &issued, self.lifetime()) {
                Some(other) => written.extend_from_slice(&other),
                None => written.extend_from_slice(message),
            }
            rest = after;
        }
        written.extend_from_slice(rest);
    }

    /// In seconds, no more than TLS allows (RFC 8446 §4.6.1).
    fn lifetime(&self) -> u32 {
        let seconds = self.tickets.lifetime().as_secs().min(7 * 24 * 3600);
        u32::try_from(seconds).unwrap_or(0)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl StoresServerSessions for Desk {
    fn put(&self, name: Vec<u8>, session: Vec<u8>) -> bool {
        let Some(ticket) = self.tickets.seal(&session) else { return false };
        let mut state = self.state();
        if state.issued.len() >= MOST_TICKETS {
            return false;
        }
        state.issued.push((name, ticket));
        true
    }

    /// TLS 1.2 asks this, which QUIC never speaks.
    fn get(&self, _: &[u8]) -> Option<Vec<u8>> {
        None
    }

    fn take(&self, ticket: &[u8]) -> Option<Vec<u8>> {
        let is_early = self.state().is_early;
        let mut opened = self.tickets.open(ticket, is_early)?;
        if !is_early {
            return Some(opened.session);
        }
        self.state().verdict = Some(opened.verdict);
        match opened.verdict {
            Verdict::Fresh => Some(opened.session),
            // The handshake of a replay proves nothing: it gets a whole one.
            Verdict::Replayed => None,
            Verdict::Young | Verdict::Full => {
                grow_stale(&mut opened.session);
                Some(opened.session)
            }
        }
    }

    fn can_cache(&self) -> bool {
        true
    }
}

/// Makes the age of a ticket wrong by 25 days, so that TLS resumes the session and refuses its early data.
///
/// A session ends with the number that its age is hidden by. Should that change, early data is refused all the same: by
/// the keys that the engine is not given.
fn grow_stale(session: &mut [u8]) {
    if let [.., first, _, _, _] = session {
        *first ^= 0x80;
    }
}

/// The first handshake message, and what follows it.
fn split_message(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let [_, a, b, c, ..] = *bytes else { return None };
    let length = usize::from(a) << 16 | usize::from(b) << 8 | usize::from(c);
    bytes.split_at_checked(HEADER + length)
}

/// A NewSessionTicket for one of `issued`, with the ticket that belongs there.
fn with_ticket(message: &[u8], issued: &[(Vec<u8>, Vec<u8>)], lifetime: u32) -> Option<Vec<u8>> {
    let (header, body) = message.split_at_checked(HEADER)?;
    if header.first() != Some(&NEW_SESSION_TICKET) {
        return None;
    }
    // ticket_lifetime, ticket_age_add, ticket_nonce, ticket, extensions.
    let (_, after) = body.split_at_checked(4)?;
    let (age_add, after) = after.split_at_checked(4)?;
    let (nonce, after) = split_vector(after, 1)?;
    let (name, extensions) = split_vector(after, 2)?;
    let (_, ticket) = issued.iter().find(|(known, _)| name.get(2..) == Some(known))?;
    let length = u16::try_from(ticket.len()).ok()?.to_be_bytes();
    let parts = [&lifetime.to_be_bytes(), age_add, nonce, &length, ticket, extensions];
    let body = parts.concat();
    let [0, length @ ..] = u32::try_from(body.len()).ok()?.to_be_bytes() else { return None };
    Some([&[NEW_SESSION_TICKET][..], &length, &body].concat())
}

/// A vector with its length of `width` bytes before it, and what follows.
fn split_vector(bytes: &[u8], width: usize) -> Option<(&[u8], &[u8])> {
    let length = bytes.get(..width)?.iter().fold(0, |sum, &byte| sum << 8 | usize::from(byte));
    bytes.split_at_checked(width + length)
}

/// RFC 8446 §4.
const NEW_SESSION_TICKET: u8 = 4;
/// Type and length of a handshake message.
const HEADER: usize = 4;
/// Tickets of one handshake: rustls gives as many as its configuration says.
const MOST_TICKETS: usize = 16;

#[cfg(test)]
mod tests {
    use super::*;

    fn message(ticket: &[u8]) -> Vec<u8> {
        let body = [&[0, 0, 0, 9, 1, 2, 3, 4, 2, 8, 8, 0, ticket.len() as u8], ticket, &[0, 1, 7]];
        let body = body.concat();
        [&[4, 0, 0, body.len() as u8], &body[..]].concat()
    }

    #[test]
    fn a_ticket_takes_the_place_of_its_name_and_of_no_other() {
        let issued = [(b"name".to_vec(), b"a sealed session".to_vec())];
        let mut expected = message(b"a sealed session");
        expected[4..8].copy_from_slice(&3600u32.to_be_bytes());
        assert_eq!(with_ticket(&message(b"name"), &issued, 3600), Some(expected));
        assert_eq!(with_ticket(&message(b"eman"), &issued, 3600), None);
        let mut other = message(b"name");
        other[0] = 20;
        assert_eq!(with_ticket(&other, &issued, 3600), None);
    }

    #[test]
    fn what_ends_too_early_is_left_as_it_is() {
        let issued = [(b"name".to_vec(), b"a sealed session".to_vec())];
        let whole = message(b"name");
        for end in 0..whole.len() {
            assert_eq!(split_message(&whole[..end]), None);
            assert!(with_ticket(&whole[..end], &issued, 1).is_none_or(|_| end >= whole.len() - 3));
        }
        assert_eq!(split_message(&[&whole[..], b"x"].concat()), Some((&whole[..], &b"x"[..])));
    }
}
