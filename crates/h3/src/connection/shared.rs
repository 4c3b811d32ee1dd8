//! What all streams of a connection use: both sides of QPACK, the queues out, budgets and counts.

use std::collections::VecDeque;

use rustc_hash::FxHashMap;
use sterna_qpack::{Decoder, DecoderConfig, Encoder, EncoderConfig, FieldRef};

use super::budget::{self, Budget};
use super::output::Output;
use crate::message::fields;
use crate::message::request::LastAuthority;
use crate::{
    ApiMisuse, Code, Config, Counters, Event, PeerMisbehaved, Priority, Role, Settings, StreamId,
    frame,
};

/// See the module's documentation.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) role: Role,
    pub(super) config: Config,
    pub(super) output: Output,
    pub(super) events: VecDeque<Event>,
    pub(super) decoder: Decoder,
    pub(super) encoder: Encoder,
    pub(super) budget: Budget,
    pub(super) counters: Counters,
    /// The peer's SETTINGS, once they came.
    pub(super) peer: Option<Settings>,
    /// SETTINGS_MAX_FIELD_SECTION_SIZE of the peer, or as remembered for 0-RTT.
    pub(super) max_section_at_peer: Option<u64>,
    /// What waits behind blocked sections, in bytes.
    pub(super) blocked_bytes: usize,
    /// Priorities of requests that have not come.
    pub(super) early_priorities: EarlyPriorities,
    /// Of the last request.
    pub(super) last_authority: LastAuthority,
    /// Fields of the last head: the next has about as many.
    pub(super) usual_fields: usize,
    encoder_stream: StreamId,
    decoder_stream: StreamId,
}

impl Shared {
    pub(super) fn new(
        role: Role,
        config: Config,
        encoder_stream: StreamId,
        decoder_stream: StreamId,
    ) -> Self {
        Self {
            role,
            output: Output::default(),
            events: VecDeque::new(),
            decoder: Decoder::new(DecoderConfig {
                max_table_capacity: config.qpack_max_table_capacity,
                max_blocked_streams: config.qpack_blocked_streams,
                max_field_section_size: config.max_field_section_size,
            }),
            encoder: Encoder::new(EncoderConfig {
                max_table_capacity: config.qpack_encoder_table_capacity,
                max_blocked_streams: config.qpack_encoder_blocked_streams,
            }),
            budget: Budget::new(&config),
            config,
            counters: Counters::default(),
            peer: None,
            max_section_at_peer: None,
            blocked_bytes: 0,
            early_priorities: EarlyPriorities::default(),
            last_authority: LastAuthority::default(),
            usual_fields: FIRST_FIELDS,
            encoder_stream,
            decoder_stream,
        }
    }

    /// Queues a HEADERS frame, behind the instructions that it needs.
    ///
    /// # Errors
    /// [`ApiMisuse::FieldSectionTooLarge`], with nothing queued.
    pub(super) fn send_section<'a, I: Iterator<Item = FieldRef<'a>>>(
        &mut self,
        id: StreamId,
        lines: impl Fn() -> I,
    ) -> Result<(), ApiMisuse> {
        // req: 9114-4.2.2-peer-limit
        if let Some(limit) = self.max_section_at_peer
            && fields::size(lines()) > limit
        {
            return Err(ApiMisuse::FieldSectionTooLarge);
        }
        let encoder = &mut self.encoder;
        frame::write_headers(self.output.buffer(id), |out| encoder.encode(id.0, lines(), out));
        while let Some(instructions) = self.encoder.poll_instructions() {
            self.output.write_before(self.encoder_stream, instructions);
        }
        Ok(())
    }

    /// Queues what our decoder has to tell the peer's encoder.
    pub(super) fn send_decoder_instructions(&mut self) {
        while let Some(instructions) = self.decoder.poll_instructions() {
            self.output.write_before(self.decoder_stream, instructions);
        }
    }

    /// Nobody will decode what is left of this stream.
    pub(super) fn cancel_sections(&mut self, id: StreamId) {
        // req: 9204-2.2.2.2-cancellation
        self.decoder.cancel(id.0);
        self.send_decoder_instructions();
    }

    /// A head was read.
    pub(super) fn count_message(&mut self) {
        self.counters.messages += 1;
        self.budget.use_bytes(budget::MESSAGE);
    }

    /// A frame that we do not know begins.
    pub(super) fn count_unknown_frame(&mut self) -> Result<(), PeerMisbehaved> {
        self.counters.unknown_frames += 1;
        self.budget.waste(budget::FRAME)
    }

    /// Payload that we drop.
    pub(super) fn count_skipped(&mut self, bytes: u64) -> Result<(), PeerMisbehaved> {
        self.counters.skipped_bytes += bytes;
        self.budget.waste(bytes)
    }

    /// Resets our side with a code and stops the peer's, as far as each is open.
    pub(super) fn abort(&mut self, id: StreamId, sends: bool, receives: bool, code: Code) {
        if sends {
            self.output.reset(id, code);
        }
        if receives {
            self.output.stop_sending(id, code);
            self.cancel_sections(id);
        }
    }
}

/// PRIORITY_UPDATE frames that overtook their requests: the newest for each (RFC 9218 §7).
#[derive(Debug, Default)]
pub(super) struct EarlyPriorities(FxHashMap<StreamId, Priority>);

impl EarlyPriorities {
    /// Keeps a value, unless there are too many: then its request has to do with its own field.
    pub(super) fn put(&mut self, id: StreamId, priority: Priority) {
        // req: 9218-7.2-buffer-bounded
        // req: 9218-7-newest-wins
        if self.0.len() < MAX_EARLY_PRIORITIES || self.0.contains_key(&id) {
            self.0.insert(id, priority);
        }
    }

    #[cfg(test)]
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The value for a request that has come, or is gone.
    pub(super) fn take(&mut self, id: StreamId) -> Option<Priority> {
        if self.0.is_empty() { None } else { self.0.remove(&id) }
    }
}

/// Fields that the first head of a connection has, more or less.
const FIRST_FIELDS: usize = 16;

/// As many as a usual stream limit.
const MAX_EARLY_PRIORITIES: usize = 128;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn early_priorities_have_a_bound_and_the_newest_counts() {
        // req: 9218-7.2-buffer-bounded
        // req: 9218-7-newest-wins
        let urgency = |urgency| Priority { urgency, incremental: false };
        let mut early = EarlyPriorities::default();
        let ids: Vec<_> = (0..=MAX_EARLY_PRIORITIES as u64).map(|n| StreamId(n * 4)).collect();
        for id in &ids {
            early.put(*id, urgency(1));
        }
        early.put(ids[0], urgency(2));
        assert_eq!(early.take(ids[0]), Some(urgency(2)));
        assert_eq!(early.take(ids[0]), None);
        assert_eq!(early.take(ids[MAX_EARLY_PRIORITIES - 1]), Some(urgency(1)));
        assert_eq!(early.take(ids[MAX_EARLY_PRIORITIES]), None, "one too many");
    }
}
