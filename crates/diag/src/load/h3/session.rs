//! One HTTP/3 connection: requests go out as the plan allows, responses are counted as they come.

mod flight;
mod receive;

use std::time::Instant;

use bytes::Bytes;
use rustc_hash::FxHashMap;
use sterna_quic::{CloseReason, Connection, Dir, Event, StreamId};

use self::flight::{InFlight, Unsent};
use super::{uni::UniStream, verify::Verifier};
use crate::load::{
    Failure,
    hub::{Hub, Next, Ticket},
    pace::Schedule,
};

/// The state of one connection.
pub(super) struct Session {
    /// Which of the worker's connections it is.
    pub(super) slot: usize,
    began: Instant,
    state: State,
    requests: FxHashMap<StreamId, InFlight>,
    /// Requests that were sent in 0-RTT and refused: to be sent once more.
    again: Vec<Ticket>,
    /// The server's unidirectional streams; QUIC bounds how many there can be.
    uni: FxHashMap<StreamId, UniStream>,
    verifier: Option<Box<Verifier>>,
    /// Requests that were sent on it.
    sent: u64,
    /// No request was answered on it.
    is_useless: bool,
    /// It stands at the limit of streams, and that was counted.
    is_limited: bool,
    /// Since when the server allows nothing, and nothing is under way.
    starved_since: Option<Instant>,
    /// When requests are looked through for those that take too long.
    check_at: Option<Instant>,
    /// Why we closed it, if it was for a failure.
    blamed: Option<Failure>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Handshaking,
    /// Handshaking, and requests may be sent in 0-RTT.
    Early,
    Open,
    /// No new requests: the server said GOAWAY, or this connection has had its number.
    Finishing,
    Closed,
}

/// What a connection works with.
pub(super) struct Work<'a> {
    pub(super) hub: &'a Hub,
    /// A request up to its content.
    pub(super) request: &'a Bytes,
    /// When requests are due; not known before the run.
    pub(super) schedule: Option<&'a mut Schedule>,
    /// The handshake under way, if those are what is measured.
    pub(super) handshake: &'a mut Option<Ticket>,
}

/// What a connection was, when it has ended.
#[derive(Debug)]
pub(super) enum End {
    /// It was closed because it had done its work; it is replaced if the run goes on.
    Done { is_useless: bool },
    /// It failed before it stood.
    NotConnected(Failure),
    /// It failed later; requests were answered on it, or not.
    Lost { is_useless: bool },
}

impl Session {
    pub(super) fn new(slot: usize, began: Instant) -> Self {
        Self {
            slot,
            began,
            state: State::Handshaking,
            requests: FxHashMap::default(),
            again: Vec::new(),
            uni: FxHashMap::default(),
            verifier: None,
            sent: 0,
            is_useless: true,
            is_limited: false,
            starved_since: None,
            check_at: None,
            blamed: None,
        }
    }

    /// When it has to run, whatever the network does.
    pub(super) fn timeout(&self) -> Option<Instant> {
        self.check_at
    }

    /// Whether the handshake is over.
    pub(super) fn is_settled(&self) -> bool {
        !matches!(self.state, State::Handshaking | State::Early)
    }

    /// Handles what came, and sends what is due: when the next request is, if that is later.
    pub(super) fn run(
        &mut self,
        connection: &mut Connection,
        work: &mut Work<'_>,
    ) -> Option<Instant> {
        let (now, hub) = (Instant::now(), work.hub);
        self.begin_early(connection, work);
        while let Some(event) = connection.poll_event() {
            match event {
                Event::Connected => self.on_connected(connection, work, now),
                event => self.on_event(&event, connection, hub, now),
            }
        }
        if connection.is_closed() {
            if matches!(self.state, State::Open | State::Finishing) {
                hub.tally.borrow_mut().quic.add(&connection.stats());
            }
            return None;
        }
        if self.check_at.is_some_and(|at| at <= now) {
            self.expire(connection, hub, now);
        }
        let next = self.send_due(connection, work, now);
        let is_finished = self.state == State::Finishing && self.requests.is_empty();
        if is_finished || hub.is_over() {
            self.close(connection, hub);
            return None;
        }
        next
    }

    /// It has ended.
    pub(super) fn closed(mut self, reason: &CloseReason, hub: &Hub) -> End {
        let now = Instant::now();
        let is_useless = self.is_useless && !hub.is_over();
        if self.state == State::Closed {
            return End::Done { is_useless };
        }
        let under_way = self.requests.drain().map(|(_, request)| request.ticket);
        let under_way = under_way.chain(self.again.drain(..));
        if *reason == CloseReason::Local && hub.is_over() {
            under_way.for_each(|ticket| hub.abandon(ticket));
            return End::Done { is_useless };
        }
        let was_connected = matches!(self.state, State::Open | State::Finishing);
        let failure = self.blamed.take().unwrap_or_else(|| Failure::of_quic(reason, was_connected));
        let under_way: Vec<_> = under_way.collect();
        let is_idle = under_way.is_empty();
        under_way.into_iter().for_each(|ticket| hub.failed(ticket, &failure, now));
        match self.state {
            State::Handshaking | State::Early => End::NotConnected(failure),
            State::Finishing | State::Closed => End::Done { is_useless },
            State::Open => {
                hub.lost(&failure, is_idle);
                End::Lost { is_useless }
            }
        }
    }

    /// Where an earlier connection allows it, requests need not wait for the handshake.
    fn begin_early(&mut self, connection: &mut Connection, work: &Work<'_>) {
        let may = self.state == State::Handshaking
            && work.handshake.is_none()
            && work.hub.plan.early_data
            && connection.has_early_data()
            && !connection.is_closed();
        if may {
            self.state = State::Early;
            self.open(connection, work.hub);
        }
    }

    fn on_connected(&mut self, connection: &mut Connection, work: &mut Work<'_>, now: Instant) {
        let was_early = self.state == State::Early;
        self.state = State::Open;
        if let Some(ticket) = work.handshake.take() {
            work.hub.shaken(ticket, None, now);
            self.is_useless = false;
            return self.close(connection, work.hub);
        }
        work.hub.connected(self.began, now);
        if was_early && connection.is_early_data_accepted() == Some(true) {
            let tally = &mut *work.hub.tally.borrow_mut();
            tally.early_accepted += 1;
            tally.early += self.sent;
        } else if was_early {
            self.on_early_rejected(connection, work.hub);
        } else {
            self.open(connection, work.hub);
        }
    }

    /// All streams are gone, as if they had never been; their requests are sent once more.
    fn on_early_rejected(&mut self, connection: &mut Connection, hub: &Hub) {
        {
            let tally = &mut *hub.tally.borrow_mut();
            tally.early_rejected += 1;
            tally.early += self.sent;
            tally.note(&Failure::EarlyDataRejected);
        }
        self.sent = 0;
        self.again.extend(self.requests.drain().map(|(_, request)| request.ticket));
        self.uni.clear();
        self.open(connection, hub);
    }

    /// Opens what HTTP/3 needs beside requests.
    fn open(&mut self, connection: &mut Connection, hub: &Hub) {
        self.verifier = None;
        if hub.plan.verify {
            self.verifier = Verifier::new(connection, &hub.plan).map(Box::new);
            if self.verifier.is_none() {
                self.blame("no room for the streams of HTTP/3", connection);
            }
            return;
        }
        // A server without room for it breaks RFC 9114 §6.2; its requests will fail, and say so.
        if let Some(id) = connection.open(Dir::Uni) {
            let _ = connection.write(id, &mut [Bytes::from_static(CONTROL)]);
        }
    }

    fn on_event(&mut self, event: &Event, connection: &mut Connection, hub: &Hub, now: Instant) {
        match *event {
            Event::Readable(id) if self.verifier.is_some() => {
                self.verify(id, connection, hub, now);
            }
            Event::Readable(id) if id.dir() == Dir::Uni => self.read_uni(id, connection, hub, now),
            Event::Readable(id) => self.read(id, connection, hub, now),
            Event::Writable(id) => match self.requests.get_mut(&id) {
                Some(request) => request.unsent.send(connection, hub, id, &mut self.verifier),
                None => {
                    if let Some(verifier) = &mut self.verifier {
                        verifier.on_writable(id, connection);
                    }
                }
            },
            // The response may come nevertheless; if it does not, the server resets it.
            Event::Stopped(id, _) => {
                if let Some(request) = self.requests.get_mut(&id) {
                    request.unsent = Unsent::default();
                }
            }
            _ => {}
        }
    }

    /// Sends requests as long as any are due and the peer allows streams.
    fn send_due(
        &mut self,
        connection: &mut Connection,
        work: &mut Work<'_>,
        now: Instant,
    ) -> Option<Instant> {
        if !matches!(self.state, State::Open | State::Early) {
            return None;
        }
        let next = self.send_all_due(connection, work, now);
        let at_once = self.requests.len() as u64;
        let tally = &mut *work.hub.tally.borrow_mut();
        tally.streams_at_once = tally.streams_at_once.max(at_once);
        let is_waiting = at_once > 0 || self.starved_since.is_some();
        if self.check_at.is_none() && is_waiting {
            self.check_at = Some(now + work.hub.check_every());
        }
        next
    }

    fn send_all_due(
        &mut self,
        connection: &mut Connection,
        work: &mut Work<'_>,
        now: Instant,
    ) -> Option<Instant> {
        let (hub, schedule) = (work.hub, work.schedule.as_deref_mut()?);
        while self.requests.len() < hub.plan.streams {
            let due = match (self.again.is_empty(), hub.next(schedule, now)) {
                (false, _) => None,
                (true, Next::Now(due)) => Some(due),
                (true, Next::At(at)) => return Some(at),
                (true, Next::Nothing) => return None,
            };
            let Some(id) = connection.open(Dir::Bi) else {
                if !self.is_limited {
                    self.is_limited = true;
                    hub.tally.borrow_mut().limit_waits += 1;
                }
                if self.requests.is_empty() {
                    self.starved_since.get_or_insert(now);
                }
                return None;
            };
            self.is_limited = false;
            self.starved_since = None;
            let ticket = match (due, self.again.pop()) {
                (None, Some(ticket)) => ticket,
                (due, _) => hub.sent(schedule, due.unwrap_or(now), now),
            };
            let mut request = InFlight::new(ticket, work.request.clone(), hub);
            if let Some(verifier) = &mut self.verifier {
                let has_body = !hub.plan.request.body.is_empty();
                match verifier.request(id, has_body, connection) {
                    Ok(head) => request.unsent.head = head,
                    Err(failure) => {
                        hub.failed(ticket, &failure, now);
                        continue;
                    }
                }
            }
            request.unsent.send(connection, hub, id, &mut self.verifier);
            self.requests.insert(id, request);
            self.sent += 1;
            if hub.plan.reconnect.is_some_and(|most| self.sent >= most) && self.state == State::Open
            {
                self.state = State::Finishing;
                return None;
            }
        }
        None
    }

    /// Gives up the requests that take too long.
    fn expire(&mut self, connection: &mut Connection, hub: &Hub, now: Instant) {
        let is_late = |_, request: &InFlight| hub.is_late(&request.ticket, now);
        self.give_up(is_late, &Failure::Timeout, connection, hub, now);
        if self.starved_since.is_some_and(|since| hub.is_starved(since, now)) {
            self.blamed = Some(Failure::Starved);
            connection.close(H3_NO_ERROR, b"");
        }
        let is_waiting = !self.requests.is_empty() || self.starved_since.is_some();
        self.check_at = is_waiting.then(|| now + hub.check_every());
    }

    fn give_up(
        &mut self,
        which: impl Fn(StreamId, &InFlight) -> bool,
        failure: &Failure,
        connection: &mut Connection,
        hub: &Hub,
        now: Instant,
    ) {
        for (id, request) in self.requests.extract_if(|id, request| which(*id, request)) {
            match &mut self.verifier {
                Some(verifier) => verifier.cancel(id, connection),
                None => {
                    connection.reset(id, H3_REQUEST_CANCELLED);
                    connection.stop_sending(id, H3_REQUEST_CANCELLED);
                }
            }
            hub.failed(request.ticket, failure, now);
        }
    }

    fn blame(&mut self, what: &str, connection: &mut Connection) {
        self.blamed = Some(Failure::Protocol(what.to_owned()));
        connection.close(H3_GENERAL_PROTOCOL_ERROR, b"");
    }

    /// Ends it in good order.
    fn close(&mut self, connection: &mut Connection, hub: &Hub) {
        let under_way = self.requests.drain().map(|(_, request)| request.ticket);
        under_way.chain(self.again.drain(..)).for_each(|ticket| hub.abandon(ticket));
        hub.tally.borrow_mut().quic.add(&connection.stats());
        self.state = State::Closed;
        self.check_at = None;
        connection.close(H3_NO_ERROR, b"");
    }
}

/// The type of a control stream, then SETTINGS that allow no dynamic table and no blocked streams (RFC 9204 §5).
const CONTROL: &[u8] = &[0x00, 0x04, 0x04, 0x01, 0x00, 0x07, 0x00];

/// RFC 9114 §8.1.
const H3_NO_ERROR: u64 = 0x100;
const H3_GENERAL_PROTOCOL_ERROR: u64 = 0x101;
const H3_REQUEST_CANCELLED: u64 = 0x10c;
