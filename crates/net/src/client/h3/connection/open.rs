//! From the handshake to HTTP/3: before it is complete where early data is possible, and again when that was refused.

use std::{sync::Arc, time::Instant};

use sterna_h3::{Code, Role};
use sterna_quic::Dir;

use super::{
    super::{
        super::{
            connection::{Carrier, Established, Info, Life, LifeGuard},
            exchange::EarlyData,
        },
        handle::{Handle, Submission},
        stream::Reply,
    },
    Connection, Phase,
};
use crate::{
    Protocol, TlsFacts,
    h3::{h3_id, outgoing::Outgoing, quic_id},
};

impl Connection {
    /// The connection was begun: with a ticket and the server's SETTINGS of last time, requests can go at once.
    pub(crate) fn begin(&mut self, quic: &mut sterna_quic::Connection, now: Instant) {
        if !quic.has_early_data() {
            return;
        }
        let Some(settings) = self.common.sessions.settings(&self.server_name) else { return };
        if let Some(mut http) = self.open_http(quic) {
            http.remember_settings(settings);
            self.phase = Phase::Early(http);
            self.announce(quic, now);
        }
    }

    /// The handshake is complete.
    pub(super) fn connected(&mut self, quic: &mut sterna_quic::Connection, now: Instant) {
        match std::mem::replace(&mut self.phase, Phase::Closed) {
            Phase::Early(http) if quic.is_early_data_accepted() == Some(true) => {
                self.phase = Phase::Open(http);
                for (_, stream) in self.streams.iter_mut() {
                    if stream.early_data == EarlyData::Accepted {
                        self.common.counts.early_data_accepted.increment();
                    }
                }
            }
            Phase::Early(_) => self.begin_again(quic),
            Phase::Opening | Phase::Open(_) => match self.open_http(quic) {
                Some(http) => self.phase = Phase::Open(http),
                None => self.too_few_streams(quic),
            },
            Phase::Closed => {}
        }
        self.announce(quic, now);
    }

    /// Early data was refused: the streams are gone, and what was sent on them is to be sent again.
    fn begin_again(&mut self, quic: &mut sterna_quic::Connection) {
        // req: 8470-4-client-retries-after-rejection
        self.own.clear();
        self.readable.clear();
        self.line.clear();
        let slots: Vec<_> =
            self.streams.iter_mut().map(|(slot, stream)| (stream.id, slot)).collect();
        let mut again: Vec<_> = slots;
        again.sort();
        for (_, slot) in again.into_iter().rev() {
            let Some(mut stream) = self.streams.remove(slot) else { continue };
            self.common.counts.early_data_rejected.increment();
            stream.outgoing.discard();
            if let Reply::Waiting(reply) = std::mem::replace(&mut stream.reply, Reply::Over) {
                self.waiting.push_front(Submission {
                    head: stream.head.clone(),
                    // Only requests without a body go early.
                    body: super::super::super::request::RequestBody::Empty,
                    expects_continue: false,
                    told: stream.told.take(),
                    may_be_early: false,
                    was_rejected: true,
                    reply,
                });
            }
        }
        match self.open_http(quic) {
            Some(http) => self.phase = Phase::Open(http),
            None => self.too_few_streams(quic),
        }
    }

    /// Our unidirectional streams, SETTINGS. `None` when the server allows too few.
    fn open_http(
        &mut self,
        quic: &mut sterna_quic::Connection,
    ) -> Option<Box<sterna_h3::Connection>> {
        let mut open = || quic.open(Dir::Uni).map(h3_id);
        let (control, encoder, decoder) = (open()?, open()?, open()?);
        let pool = &self.common.config.pool;
        let mut config = self.common.config.h3.clone();
        config.max_field_section_size = pool.max_header_size as u64;
        config.max_field_lines = pool.max_header_fields;
        self.own = [control, encoder, decoder]
            .map(|id| (id, Outgoing::new(self.common.queued.clone())))
            .into();
        Some(Box::new(sterna_h3::Connection::new(Role::Client, config, control, encoder, decoder)))
    }

    fn too_few_streams(&mut self, quic: &mut sterna_quic::Connection) {
        // RFC 9114 §6.2: a peer must allow at least three.
        let code = Code::GeneralProtocolError.value();
        let reason = "three unidirectional streams are needed";
        quic.close(code, reason.as_bytes());
        let error = super::Error::new(super::At::Connect, super::Kind::Protocol { code });
        self.end(&error.over(Protocol::Http3).because(reason));
    }

    /// Tells whoever asked for the connection that it can be used.
    fn announce(&mut self, quic: &sterna_quic::Connection, now: Instant) {
        if matches!(self.phase, Phase::Closed) {
            return;
        }
        let Some(setup) = self.setup.take() else { return };
        let mut info = Info::new(Protocol::Http3, quic.remote_address());
        info.local = setup.local;
        info.connect = now - setup.began;
        if !quic.is_handshaking() {
            info.tls = Some(Arc::new(facts(quic)));
            info.rtt = Some(quic.rtt());
        }
        let life = Arc::new(Life::default());
        self._life = Some(LifeGuard::new(life.clone()));
        let carrier = Carrier::Http3(Handle::new(self.shared.clone()));
        // If nobody waits any more the handle is dropped with it, and the connection ends.
        let _ = setup.reply.send(Ok(Established { carrier, info, life }));
    }

    /// Gives one stream up, both ways.
    pub(super) fn give_up(
        &mut self,
        quic: &mut sterna_quic::Connection,
        slot: usize,
        code: Code,
        error: Option<super::Error>,
    ) {
        let Some(mut stream) = self.streams.remove(slot) else { return };
        if let Some(error) = error {
            stream.fail(error);
        }
        if let Some(http) = self.phase.http() {
            http.reset(stream.id, code);
        }
        stream.outgoing.discard();
        // Not left to the commands alone: HTTP/3 may have forgotten the stream already.
        quic.reset(quic_id(stream.id), code.value());
        quic.stop_sending(quic_id(stream.id), code.value());
    }
}

fn facts(quic: &sterna_quic::Connection) -> TlsFacts {
    TlsFacts {
        version: Some("TLSv1.3"),
        cipher_suite: quic.cipher_suite().and_then(|suite| suite.as_str()),
        key_exchange: quic.key_exchange().and_then(|group| group.as_str()),
        alpn: quic.alpn().map(|alpn| String::from_utf8_lossy(alpn).into_owned()),
        server_name: None,
        client_certificates: Vec::new(),
        client: None,
    }
}
