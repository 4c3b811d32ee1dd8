//! Server-sent events: when each came, and whether one is missing.
//!
//! Of the format (WHATWG HTML §9.2) the ends of events and their ids are read; what they say is not kept.

use std::time::Instant;

use super::{
    Events, Failure, Mode,
    hub::{Hub, Ticket},
    latency::Latency,
};

/// What was seen on streams of events.
#[derive(Clone, Debug, Default)]
pub struct EventTally {
    /// Events.
    pub count: u64,
    /// Bytes of content.
    pub bytes: u64,
    /// Pauses between two events, or before the first, that were stalls.
    pub stalls: u64,
    /// Streams that the server ended.
    pub ended: u64,
    /// Streams that were open at the end of the run.
    pub open: u64,
    /// Events whose number is not that of the last one and one more.
    pub gaps: u64,
    /// From sending the request to the first event.
    pub first: Latency,
    /// Between two events of a stream.
    pub pause: Latency,
}

impl EventTally {
    pub(super) fn merge(&mut self, other: &Self) {
        for (sum, more) in [
            (&mut self.count, other.count),
            (&mut self.bytes, other.bytes),
            (&mut self.stalls, other.stalls),
            (&mut self.ended, other.ended),
            (&mut self.open, other.open),
            (&mut self.gaps, other.gaps),
        ] {
            *sum += more;
        }
        self.first.merge(&other.first);
        self.pause.merge(&other.pause);
    }
}

/// Listens to one stream of events.
#[derive(Debug, Default)]
pub(super) struct Listener {
    reader: EventReader,
    last: Option<Instant>,
    last_id: Option<u64>,
}

impl Listener {
    /// Takes content.
    pub(super) fn handle(&mut self, content: &[u8], ticket: &Ticket, hub: &Hub, now: Instant) {
        let Mode::Events(Events { stall }) = hub.plan.mode else { return };
        if !ticket.is_measured() {
            return;
        }
        let tally = &mut *hub.tally.borrow_mut();
        tally.events.bytes += content.len() as u64;
        let Self { reader, last, last_id } = self;
        reader.handle(content, &mut |id| {
            let events = &mut tally.events;
            events.count += 1;
            let pause = now - last.unwrap_or(ticket.sent);
            match last.replace(now) {
                None => events.first.record(pause),
                Some(_) => events.pause.record(pause),
            }
            events.stalls += u64::from(pause > stall);
            if let Some(id) = id {
                let is_next = last_id.is_none_or(|last| last.checked_add(1) == Some(id));
                if last_id.replace(id).is_some() && !is_next {
                    events.gaps += 1;
                    tally.note(&Failure::EventGap);
                }
            }
            tally.last_end = Some(now);
        });
        hub.heard(tally.events.count);
    }
}

/// Finds the ends of events, and their ids where those are numbers.
#[derive(Debug, Default)]
struct EventReader {
    /// The beginning of the line so far: no more than tells a field and a number.
    line: [u8; KEPT],
    filled: usize,
    /// The line is longer than what is kept.
    is_cut: bool,
    /// The last byte was a carriage return: a line feed after it is no line of its own.
    is_after_return: bool,
    /// The event has data.
    has_data: bool,
    id: Option<u64>,
}

impl EventReader {
    fn handle(&mut self, content: &[u8], sink: &mut impl FnMut(Option<u64>)) {
        for &byte in content {
            let was_after_return = std::mem::replace(&mut self.is_after_return, byte == b'\r');
            match byte {
                b'\n' if was_after_return => {}
                b'\r' | b'\n' => self.end_line(sink),
                byte => match self.line.get_mut(self.filled) {
                    Some(slot) => {
                        *slot = byte;
                        self.filled += 1;
                    }
                    None => self.is_cut = true,
                },
            }
        }
    }

    fn end_line(&mut self, sink: &mut impl FnMut(Option<u64>)) {
        let line = self.line.get(..self.filled).unwrap_or_default();
        if line.is_empty() {
            if std::mem::take(&mut self.has_data) {
                sink(self.id.take());
            }
        } else if line.starts_with(b"data:") || line == b"data" {
            self.has_data = true;
        } else if let Some(id) = line.strip_prefix(b"id:") {
            let id = std::str::from_utf8(id).ok().filter(|_| !self.is_cut);
            self.id = id.and_then(|id| id.trim_start().parse().ok());
        }
        self.filled = 0;
        self.is_cut = false;
    }
}

/// Of a line, in bytes: `id: ` and the largest number.
const KEPT: usize = 32;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read(parts: &[&[u8]]) -> Vec<Option<u64>> {
        let (mut reader, mut seen) = (EventReader::default(), Vec::new());
        parts.iter().for_each(|part| reader.handle(part, &mut |id| seen.push(id)));
        seen
    }

    #[test]
    fn events_end_at_an_empty_line_whatever_breaks_lines() {
        let text = b": hello\n\nid: 7\ndata: a\ndata: b\n\nevent: x\r\ndata\r\n\r\ndata: c\r\rretry: 3\n\nid: x\ndata: d\n\ndata: never";
        let expected = [Some(7), None, None, None];
        assert_eq!(read(&[text]), expected);
        for at in 0..text.len() {
            let (head, tail) = text.split_at(at);
            assert_eq!(read(&[head, tail]), expected, "split at {at}");
        }
    }

    #[test]
    fn a_long_line_is_not_kept_and_an_id_that_is_cut_is_none() {
        let long = format!("data: {}\nid: {}\n\n", "x".repeat(10_000), "1".repeat(40));
        assert_eq!(read(&[long.as_bytes()]), [None]);
        assert_eq!(read(&[b"id: 18446744073709551615\ndata:\n\n"]), [Some(u64::MAX)]);
    }

    proptest! {
        #[test]
        fn no_split_makes_a_difference(
            text in "((data: x|id: [0-9]{1,3}|: c|)(\r\n|\n|\r)){0,20}",
            at in 0_usize..200,
        ) {
            let text = text.as_bytes();
            let (head, tail) = text.split_at(at.min(text.len()));
            prop_assert_eq!(read(&[head, tail]), read(&[text]));
        }
    }
}
