//! From the transport to HTTP/3: events first, then the data of every stream that has some.

use std::{
    ops::ControlFlow,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::Instant,
};

use bytes::Bytes;
use sterna_h3::{Code, Error, Role, StreamId};
use sterna_quic::{Dir, Event, ReadEnd};

use super::{super::stream::Receiving, Connection, Phase};
use crate::{
    ClientIdentity, Protocol, TlsFacts,
    client::Transport,
    context::{ConnectionContext, Rtt, early, lock},
    h3::{READ_CHUNK, h3_id, outgoing::Outgoing},
    service::HttpService,
};

impl<S: HttpService> Connection<S> {
    /// What the transport has: events first, then data.
    pub(super) fn receive(&mut self, quic: &mut sterna_quic::Connection, now: Instant) {
        while let Some(event) = quic.poll_event() {
            match event {
                Event::Connected => self.connected(quic, now),
                Event::Opened(id) => {
                    self.open_early(quic);
                    self.opened(quic, id, now);
                }
                Event::Readable(id) if self.is_waiting(id) => {}
                Event::Readable(id) => self.readable.push(id),
                Event::Writable(id) => self.writable(h3_id(id)),
                Event::Finished(id) => {
                    self.unacknowledged.remove(&h3_id(id));
                }
                Event::Stopped(id, code) => {
                    self.withdraw(id, now);
                    self.unacknowledged.remove(&h3_id(id));
                    if let Phase::Open(http) = &mut self.phase {
                        // Its error is in the commands, as a close.
                        let _ = http.handle_stop_sending(h3_id(id), code);
                        self.take_events(now);
                    }
                }
                Event::Datagram(data) => {
                    if let Phase::Open(http) = &mut self.phase {
                        let _ = http.handle_datagram(data);
                        self.take_events(now);
                    }
                }
                // Not when it moves: until it has answered there, an address is a claim.
                Event::PathValidated { .. } => self.moved(quic),
                _ => {}
            }
        }
        if let Some(context) = &self.context
            && let Rtt::Quic(micros) = &context.rtt
        {
            let rtt = u64::try_from(quic.rtt().as_micros()).unwrap_or(u64::MAX);
            micros.store(rtt, Ordering::Relaxed);
        }
        if matches!(self.phase, Phase::Open(_)) {
            // Reading the encoder stream may unblock others: they join the end of the list.
            let mut next = 0;
            while let Some(&id) = self.readable.get(next) {
                next += 1;
                self.read(quic, id, now);
            }
            self.readable.clear();
        }
    }

    /// The client has shown that its new address is its own: from now on it is held to account by that.
    fn moved(&mut self, quic: &mut sterna_quic::Connection) {
        if matches!(self.phase, Phase::Closed) || self.is_hidden(quic) {
            return;
        }
        let address = quic.validated_address();
        let before = std::mem::replace(&mut self.client, address.ip());
        if let Some(limits) = &self.dispatch.limits
            && before != self.client
            && let Some(place) = limits.connection(self.client)
        {
            // Where the new address has none free it keeps that of the old one: nobody is cut off for moving, and there are
            // no more connections than places.
            self.place = Some(place);
        }
        if let Some(context) = &self.context {
            *lock(&context.peer) = address;
        }
    }

    /// Whether the client's address is of those that have to say whose connection it is; then it is closed.
    fn is_hidden(&mut self, quic: &mut sterna_quic::Connection) -> bool {
        let is_hidden = self.config.speaks_for_others(quic.validated_address());
        if is_hidden {
            // The PROXY protocol would be in front of every datagram, and answers had to go back through whoever wrote it.
            self.dispatch.counters.proxy_protocol_errors.increment();
            quic.close(
                Code::GeneralProtocolError.value(),
                b"over UDP nobody says whose connection it is",
            );
            self.lost();
        }
        is_hidden
    }

    /// Early data came: HTTP/3 is spoken with a client that is not known to be there.
    fn open_early(&mut self, quic: &mut sterna_quic::Connection) {
        if let Phase::Opening(since) = self.phase
            && quic.takes_early_data()
        {
            self.early_since = Some(since);
            self.open(quic);
        }
    }

    /// The handshake is complete: what came before it is nobody's replay.
    fn connected(&mut self, quic: &mut sterna_quic::Connection, now: Instant) {
        let since = match self.phase {
            Phase::Opening(since) => Some(since),
            Phase::Open(_) | Phase::Closed => self.early_since.take(),
        };
        if let Some(since) = since {
            let took = now.saturating_duration_since(since);
            self.dispatch.counters.handshakes.succeeded(Transport::Quic, took);
        }
        if let Phase::Opening(_) = self.phase {
            self.open(quic);
        }
        if let Some(gate) = self.context.as_ref().and_then(|context| context.early.as_ref()) {
            gate.complete();
        }
    }

    /// The handshake is complete, or early data came: our unidirectional streams, SETTINGS.
    fn open(&mut self, quic: &mut sterna_quic::Connection) {
        if self.is_hidden(quic) {
            return;
        }
        self.client = quic.validated_address().ip();
        if let Some(limits) = &self.dispatch.limits {
            // Now the address is proved to be the client's.
            self.place = limits.connection(self.client);
            if self.place.is_none() {
                self.dispatch.counters.refused_connections.increment();
                quic.close(Code::ExcessiveLoad.value(), b"too many connections of this address");
                self.lost();
                return;
            }
        }
        let mut open = || quic.open(Dir::Uni).map(h3_id);
        let (Some(control), Some(encoder), Some(decoder)) = (open(), open(), open()) else {
            // RFC 9114 §6.2: a peer must allow at least three.
            quic.close(
                Code::GeneralProtocolError.value(),
                b"three unidirectional streams are needed",
            );
            self.lost();
            return;
        };
        let mut config = self.config.h3.clone();
        config.max_field_section_size = self.config.max_header_size as u64;
        let http = sterna_h3::Connection::new(Role::Server, config, control, encoder, decoder);
        self.phase = Phase::Open(Box::new(http));
        self.own = [control, encoder, decoder]
            .map(|id| (id, Outgoing::new(self.dispatch.counters.clone())))
            .into();
        let early = quic.takes_early_data();
        let early = early.then(|| early::Gate::new(self.dispatch.counters.clone()));
        self.context = Some(Arc::new(ConnectionContext {
            protocol: Protocol::Http3,
            peer: Mutex::new(quic.validated_address()),
            local: self.local,
            reached: quic.local_ip(),
            worker: self.dispatch.worker,
            tls: Some(facts(quic)),
            rtt: Rtt::Quic(AtomicU64::new(0)),
            early,
        }));
    }

    /// The client's address has too many requests, or begins them too fast.
    pub(super) fn overloads(&mut self, quic: &mut sterna_quic::Connection) {
        if matches!(self.phase, Phase::Closed) {
            return;
        }
        self.dispatch.overloaded(quic.validated_address());
        quic.close(Code::ExcessiveLoad.value(), b"too many requests of this address");
        self.lost();
    }

    /// Reads a stream until it has no more, or the application has enough of it.
    ///
    /// One chunk is held back, so that a FIN that follows at once is told with it: a request without content is then
    /// known to be one.
    pub(super) fn read(
        &mut self,
        quic: &mut sterna_quic::Connection,
        id: sterna_quic::StreamId,
        now: Instant,
    ) {
        if !self.is_full(h3_id(id)) {
            self.read_on(quic, id, now);
        }
    }

    /// The same, for a stream that nobody can have enough of yet.
    pub(super) fn read_on(
        &mut self,
        quic: &mut sterna_quic::Connection,
        id: sterna_quic::StreamId,
        now: Instant,
    ) {
        let mut held = None;
        let end = quic.read_all(id, READ_CHUNK, |data| {
            if let Some(before) = held.replace(data) {
                self.deliver(id, Some(before), false, now);
                if self.is_full(h3_id(id)) {
                    return ControlFlow::Break(());
                }
            }
            ControlFlow::Continue(())
        });
        self.deliver(id, held, end == Some(ReadEnd::Finished), now);
        match end {
            None | Some(ReadEnd::Blocked) => return,
            Some(ReadEnd::Finished | ReadEnd::Closed) => {}
            Some(ReadEnd::Reset(code)) => {
                if let Phase::Open(http) = &mut self.phase {
                    let _ = http.handle_reset(h3_id(id), code);
                    self.take_events(now);
                }
            }
        }
        if let Some(slot) = self.streams.slot(h3_id(id)) {
            self.received_all(slot);
        }
    }

    fn deliver(&mut self, id: sterna_quic::StreamId, data: Option<Bytes>, fin: bool, now: Instant) {
        // A stream that ends where it was read to before ends with nothing.
        let data = data.or_else(|| fin.then(Bytes::new));
        let (Some(data), Phase::Open(http)) = (data, &mut self.phase) else { return };
        match http.handle_stream(h3_id(id), data, fin) {
            // Closed: it was told before, and the command that closes waits.
            Ok(()) | Err(Error::Closed) => {}
            Err(error) => {
                self.dispatch.counters.protocol_errors.increment();
                tracing::debug!(%error, "HTTP/3 connection is closed");
            }
        }
        self.take_events(now);
    }

    /// True when this stream is to be left alone for now: it waits for QPACK and `Unblocked` follows, or the
    /// application has enough of it and its slot is woken when there is room.
    fn is_full(&mut self, id: StreamId) -> bool {
        if let Phase::Open(http) = &self.phase
            && http.is_blocked(id)
        {
            return true;
        }
        let Some(slot) = self.streams.slot(id) else { return false };
        let Some(stream) = self.streams.get_mut(slot) else { return false };
        let full = stream.upload.as_ref().is_some_and(|upload| upload.is_full());
        if full && stream.receiving == Receiving::Open {
            stream.receiving = Receiving::Paused;
            // The client waits for us, not we for it.
            stream.rest();
        }
        full
    }

    fn received_all(&mut self, slot: usize) {
        if let Some(stream) = self.streams.get_mut(slot) {
            stream.stop_receiving();
            self.retire(slot);
        }
    }
}

fn facts(quic: &sterna_quic::Connection) -> TlsFacts {
    let client_certificates: Vec<Vec<u8>> = quic
        .peer_certificates()
        .unwrap_or_default()
        .iter()
        .map(|certificate| certificate.to_vec())
        .collect();
    TlsFacts {
        version: Some("TLSv1.3"),
        cipher_suite: quic.cipher_suite().and_then(|suite| suite.as_str()),
        key_exchange: quic.key_exchange().and_then(|group| group.as_str()),
        alpn: quic.alpn().map(|alpn| String::from_utf8_lossy(alpn).into_owned()),
        server_name: quic.server_name().map(str::to_owned),
        client: ClientIdentity::of(&client_certificates),
        client_certificates,
    }
}
