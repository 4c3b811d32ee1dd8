use super::*;
use crate::{Decoder, DecoderConfig, DecoderStreamError, Field, Outcome};

impl Encoder {
    /// Both sides hold the same table, the peer is known to have all of it, and nothing is out.
    pub(crate) fn assert_in_step_with(&self, decoder: &Decoder) {
        let Some(dynamic) = &self.dynamic else { return assert_eq!(decoder.insert_count(), 0) };
        decoder.assert_holds(dynamic.table());
        self.sections.assert_settled(dynamic.insert_count());
    }

    fn insert_count(&self) -> u64 {
        self.dynamic.as_ref().map_or(0, |dynamic| dynamic.insert_count())
    }

    /// The section that these lines become.
    fn section(&mut self, stream: u64, lines: &[(&str, &str)]) -> Bytes {
        let mut out = BytesMut::new();
        self.encode(stream, lines.iter().map(|line| plain(line)), &mut out);
        out.freeze()
    }

    fn handle(&mut self, instruction: decoder_stream::Instruction) -> Result<(), Error> {
        let mut wire = Vec::new();
        instruction.encode(&mut wire);
        self.handle_decoder_stream(&wire)
    }

    /// Encodes, and lets the peer have everything and acknowledge it.
    fn exchange(&mut self, decoder: &mut Decoder, stream: u64, lines: &[(&str, &str)]) -> Bytes {
        let section = self.section(stream, lines);
        settle(self, decoder);
        let mut decoded = Vec::new();
        let sink = &mut |field: Field| decoded.push(field);
        let outcome = decoder.decode(stream, &section, sink).unwrap();
        assert!(matches!(outcome, Outcome::Complete { .. }));
        let decoded: Vec<FieldRef<'_>> = decoded.iter().map(FieldRef::from).collect();
        assert_eq!(decoded, lines.iter().map(plain).collect::<Vec<_>>());
        settle(self, decoder);
        section
    }
}

fn settle(encoder: &mut Encoder, decoder: &mut Decoder) {
    decoder.handle_encoder_stream(&encoder.poll_instructions().unwrap_or_default()).unwrap();
    encoder.handle_decoder_stream(&decoder.poll_instructions().unwrap_or_default()).unwrap();
}

fn plain<'a>(&(name, value): &(&'a str, &'a str)) -> FieldRef<'a> {
    FieldRef { name: name.as_bytes(), value: value.as_bytes(), sensitive: false }
}

fn pair(capacity: u64, blocked_streams: u64) -> (Encoder, Decoder) {
    let mut encoder = Encoder::new(EncoderConfig {
        max_table_capacity: u64::MAX,
        max_blocked_streams: blocked_streams,
    });
    encoder.set_peer_limits(capacity, 100);
    let decoder = Decoder::new(DecoderConfig {
        max_table_capacity: capacity,
        max_blocked_streams: 100,
        max_field_section_size: 1 << 20,
    });
    (encoder, decoder)
}

const LINE: (&str, &str) = ("x-name", "some value that repeats");

#[test]
fn without_the_limits_of_the_peer_only_the_static_table_is_used() {
    let config = EncoderConfig { max_table_capacity: 4096, max_blocked_streams: 10 };
    let mut encoder = Encoder::new(config);
    let first = encoder.section(0, &[LINE, (":method", "GET")]);
    assert_eq!(encoder.section(4, &[LINE, (":method", "GET")]), first);
    assert_eq!(encoder.poll_instructions(), None);
    assert_eq!(first[..2], [0, 0]);
}

// req: 9204-3.2.3-capacity-within-limit
#[test]
fn the_smaller_of_both_limits_is_the_capacity() {
    for (ours, peers, expected) in [(4096, 220, 220), (220, 4096, 220)] {
        let config = EncoderConfig { max_table_capacity: ours, max_blocked_streams: 0 };
        let mut encoder = Encoder::new(config);
        encoder.set_peer_limits(peers, 0);
        let mut wire = Vec::new();
        encoder_stream::set_capacity(&mut wire, expected);
        assert_eq!(encoder.poll_instructions(), Some(wire.into()));
    }
}

// req: 9204-3.2.3-no-table-no-instructions
#[test]
fn a_peer_without_a_table_gets_no_instructions() {
    let (mut encoder, _) = pair(0, 10);
    for stream in 0..4 {
        assert_eq!(encoder.section(stream, &[LINE])[..2], [0, 0]);
    }
    assert_eq!(encoder.poll_instructions(), None);
}

// req: 9204-4.3.1-no-reduction-below-use
#[test]
fn limits_remembered_for_early_data_may_grow() {
    let mut encoder =
        Encoder::new(EncoderConfig { max_table_capacity: 4096, max_blocked_streams: 0 });
    encoder.set_peer_limits(0, 0);
    assert_eq!(encoder.poll_instructions(), None);
    encoder.set_peer_limits(4096, 10);
    assert!(encoder.poll_instructions().is_some());
    encoder.set_peer_limits(4096, 10);
    encoder.set_peer_limits(220, 10);
    assert_eq!(encoder.poll_instructions(), None, "nothing has changed, and nothing shrinks");
}

#[test]
fn a_line_is_inserted_on_second_sight_and_referred_to_once_acknowledged() {
    let (mut encoder, mut decoder) = pair(4096, 0);
    let first = encoder.exchange(&mut decoder, 0, &[LINE]);
    assert_eq!(encoder.insert_count(), 0);
    let second = encoder.exchange(&mut decoder, 4, &[LINE]);
    assert_eq!((encoder.insert_count(), second == first), (1, true));
    let third = encoder.exchange(&mut decoder, 8, &[LINE]);
    assert_eq!(third, [2, 0, 0x80][..]);
    assert_eq!(encoder.insert_count(), 1);
}

#[test]
fn a_line_that_stays_the_same_is_inserted_at_once() {
    let (mut encoder, mut decoder) = pair(4096, 0);
    encoder.exchange(&mut decoder, 0, &[("server", "sterna")]);
    assert_eq!(encoder.exchange(&mut decoder, 4, &[("server", "sterna")]), [2, 0, 0x80][..]);
}

// req: 9204-2.1.2-required-insert-count, 9204-3.2.6-post-base-index
#[test]
fn with_blocking_allowed_an_insertion_is_referred_to_at_once() {
    let (mut encoder, mut decoder) = pair(4096, 1);
    let section = encoder.section(0, &[("server", "sterna")]);
    assert_eq!(section, [2, 0x80, 0x10][..], "post-base index 0");
    assert_eq!(decoder.decode(0, &section, &mut |_| ()), Ok(Outcome::Blocked));
    // A second stream may not block as well.
    assert_eq!(encoder.section(4, &[("server", "sterna")])[..2], [0, 0]);
    assert_eq!(encoder.section(0, &[("server", "sterna")]), [2, 0, 0x80][..]);
}

#[test]
fn a_name_with_changing_values_is_inserted_alone() {
    let (mut encoder, mut decoder) = pair(4096, 0);
    for (stream, value) in ["one", "two", "three"].into_iter().enumerate() {
        encoder.exchange(&mut decoder, stream as u64 * 4, &[("x-request-id", value)]);
    }
    assert_eq!(encoder.insert_count(), 1);
    let mut expected = BytesMut::from(&[2, 0, 0x40][..]);
    crate::literal::encode(&mut expected, 0, 7, b"four");
    assert_eq!(encoder.exchange(&mut decoder, 12, &[("x-request-id", "four")]), expected);
}

#[test]
fn a_name_of_the_static_table_is_not_inserted_again() {
    let (mut encoder, mut decoder) = pair(4096, 0);
    for (stream, path) in ["/a", "/b", "/c", "/d"].into_iter().enumerate() {
        encoder.exchange(&mut decoder, stream as u64 * 4, &[(":path", path)]);
    }
    assert_eq!(encoder.insert_count(), 0);
}

// req: 9204-7.1.3-never-indexed
#[test]
fn a_sensitive_line_is_a_literal_that_says_so_whatever_the_tables_hold() {
    let (mut encoder, mut decoder) = pair(4096, 0);
    for stream in 0..3 {
        encoder.exchange(&mut decoder, stream * 4, &[LINE]);
    }
    let inserted = encoder.insert_count();
    for (name, value) in [LINE, (":method", "GET"), ("cookie", "")] {
        for _ in 0..3 {
            let mut out = BytesMut::new();
            let field = FieldRef { sensitive: true, ..plain(&(name, value)) };
            encoder.encode(100, [field], &mut out);
            let mut decoded = Vec::new();
            decoder.decode(100, &out.freeze(), &mut |field| decoded.push(field)).unwrap();
            assert_eq!(decoded.iter().map(FieldRef::from).collect::<Vec<_>>(), [field]);
        }
    }
    assert_eq!(encoder.insert_count(), inserted);
}

#[test]
fn values_that_hardly_repeat_are_not_inserted() {
    let (mut encoder, mut decoder) = pair(4096, 0);
    let huge = "h".repeat(3000);
    let lines =
        [("etag", "\"abc\""), ("content-length", "1234"), ("set-cookie", "a=b"), ("x-h", &huge)];
    encoder.exchange(&mut decoder, 0, &lines);
    encoder.exchange(&mut decoder, 4, &lines[..3]);
    encoder.exchange(&mut decoder, 8, &lines[..3]);
    assert_eq!(encoder.insert_count(), 0);
    encoder.exchange(&mut decoder, 12, &lines);
    encoder.exchange(&mut decoder, 16, &lines);
    assert_eq!(encoder.insert_count(), 1, "the name of the huge one");
}

// req: 9204-2.1.1-evictable
#[test]
fn what_is_referred_to_stays_until_the_section_is_acknowledged() {
    let (mut encoder, mut decoder) = pair(80, 0);
    encoder.exchange(&mut decoder, 0, &[("x-a", "1")]);
    encoder.exchange(&mut decoder, 4, &[("x-a", "1")]);
    encoder.exchange(&mut decoder, 8, &[("x-b", "2")]);
    encoder.exchange(&mut decoder, 12, &[("x-b", "2")]);
    assert_eq!(encoder.insert_count(), 2, "the table is full");
    let out = encoder.section(16, &[("x-a", "1")]);
    assert_eq!(out, [2, 1, 0x81][..]);
    // Another line would evict `x-a: 1`, to which stream 16 refers.
    encoder.section(20, &[("x-c", "3")]);
    encoder.section(24, &[("x-c", "3")]);
    assert_eq!(encoder.insert_count(), 2);
    assert_eq!(decoder.decode(16, &out, &mut |_| ()), Ok(Outcome::Complete { size: 36 }));
    settle(&mut encoder, &mut decoder);
    encoder.section(28, &[("x-c", "3")]);
    assert_eq!(encoder.insert_count(), 3);
}

#[test]
fn a_line_in_use_is_duplicated_before_its_entry_is_evicted() {
    let (mut encoder, mut decoder) = pair(400, 0);
    let mut stream = 0;
    let mut exchange = |lines: &[(&str, &str)]| {
        stream += 4;
        encoder.exchange(&mut decoder, stream, lines)
    };
    let mut literals = 0;
    for round in 0..60 {
        let value = format!("value {}", round / 2);
        let section = exchange(&[("server", "sterna"), ("x-changing", &value)]);
        // A literal of `server: sterna` begins with the static name 92.
        let literal = section.windows(2).any(|pair| pair == [0x5f, 77]);
        literals += usize::from(literal);
    }
    assert!(encoder.insert_count() > 20, "there was pressure: {}", encoder.insert_count());
    assert!(literals <= 2, "{literals} literals of a line that is always there");
}

#[test]
fn while_a_copy_is_on_its_way_the_old_entry_serves_and_no_other_copy_is_made() {
    let (mut encoder, mut decoder) = pair(400, 0);
    for (stream, name) in ('a'..='j').flat_map(|letter| [letter; 2]).enumerate() {
        encoder.exchange(&mut decoder, stream as u64 * 4, &[(&format!("x-{name}"), "1")]);
    }
    // 360 of 400 are filled. A quarter is to be free, so the oldest two drain.
    let section = encoder.section(100, &[("x-b", "1")]);
    assert_eq!((section, encoder.insert_count()), (Bytes::from_static(&[3, 8, 0x88]), 11));
    let section = encoder.section(104, &[("x-b", "1")]);
    assert_eq!((section, encoder.insert_count()), (Bytes::from_static(&[3, 9, 0x89]), 11));
    settle(&mut encoder, &mut decoder);
    assert_eq!(encoder.section(108, &[("x-b", "1")]), [12, 0, 0x80][..]);
}

/// Encodes with always one section under way, as on a busy connection; the sections.
fn busy<'a>(
    encoder: &mut Encoder,
    decoder: &mut Decoder,
    messages: impl IntoIterator<Item = Vec<(&'a str, &'a str)>>,
) -> Vec<Bytes> {
    let mut sections = Vec::new();
    for (number, lines) in messages.into_iter().enumerate() {
        sections.push(encoder.section(1000 + number as u64 * 4, &lines));
        if let Some(before) = number.checked_sub(1) {
            let stream = 1000 + before as u64 * 4;
            let outcome = decoder.decode(stream, &sections[before], &mut |_| ());
            assert!(matches!(outcome, Ok(Outcome::Complete { .. })));
            settle(encoder, decoder);
        }
    }
    sections
}

#[test]
fn an_old_line_in_constant_use_does_not_keep_new_ones_out() {
    let (mut encoder, mut decoder) = pair(160, 0);
    for name in ["x-hot", "x-1", "x-2", "x-3"] {
        encoder.section(0, &[(name, "")]);
        encoder.section(0, &[(name, "")]);
    }
    settle(&mut encoder, &mut decoder);
    assert_eq!(encoder.insert_count(), 4, "the table is full, and the hot line is the oldest");
    let messages = (0..12).map(|_| vec![("x-hot", ""), ("x-new", "")]);
    let sections = busy(&mut encoder, &mut decoder, messages);
    assert_eq!(sections[11].len(), 4, "two references: {:?}", sections[11]);
}

#[test]
fn lines_in_constant_use_are_not_given_up_again_and_again() {
    let (mut encoder, mut decoder) = pair(80, 0);
    let hot = [("x-a", "1"), ("x-b", "1")];
    encoder.exchange(&mut decoder, 0, &hot);
    encoder.exchange(&mut decoder, 4, &hot);
    let messages = (0..50).map(|_| vec![hot[0], hot[1], ("x-c", "1")]);
    let sections = busy(&mut encoder, &mut decoder, messages);
    // Two references and the literal of `x-c`, against one reference and two literals.
    let two = sections.iter().filter(|section| section.len() <= 4 + 6).count();
    assert!(two > 40, "{two} of 50 have two references");
}

#[test]
fn a_line_that_made_way_in_vain_comes_back() {
    let (mut encoder, mut decoder) = pair(80, 0);
    let hot = [("x-a", "1"), ("x-b", "1")];
    encoder.exchange(&mut decoder, 0, &hot);
    encoder.exchange(&mut decoder, 4, &hot);
    // Seen twice, but `x-a` is in use; then never seen again.
    encoder.exchange(&mut decoder, 8, &[("x-c", "1")]);
    encoder.exchange(&mut decoder, 12, &[hot[0], ("x-c", "1")]);
    assert_eq!(encoder.insert_count(), 2);
    encoder.exchange(&mut decoder, 16, &hot);
    encoder.exchange(&mut decoder, 20, &hot);
    let section = encoder.exchange(&mut decoder, 24, &hot);
    assert_eq!(section.len(), 4, "two references: {section:?}");
}

#[test]
fn a_name_is_taken_from_the_newest_entry_that_has_arrived() {
    let (mut encoder, mut decoder) = pair(4096, 0);
    for (stream, value) in ["1", "1", "2", "2", "9"].into_iter().enumerate() {
        encoder.exchange(&mut decoder, stream as u64 * 4, &[("x-a", value)]);
    }
    encoder.section(40, &[("x-a", "3")]);
    encoder.section(44, &[("x-a", "3")]);
    assert_eq!(encoder.insert_count(), 3);
    let section = encoder.section(48, &[("x-a", "4")]);
    assert_eq!(section[..3], [3, 1, 0x41], "required insert count 2, base 3");
}

#[test]
fn what_was_evicted_is_forgotten() {
    let (mut encoder, mut decoder) = pair(200, 0);
    for number in 0..200 {
        let (name, value) = (format!("x-{}", number / 2), format!("{}", number / 2));
        encoder.exchange(&mut decoder, number * 4, &[(&name, &value), ("server", &value)]);
    }
    assert!(encoder.insert_count() > 100);
    let dynamic = encoder.dynamic.as_ref().unwrap();
    assert!(dynamic.indexed() <= 2 * 6, "{} for at most 6 entries", dynamic.indexed());
}

#[test]
fn a_table_that_holds_all_that_repeats_stays_as_it_is() {
    let (mut encoder, mut decoder) = pair(200, 0);
    let lines = [("x-a", "value of a"), ("x-b", "value of b"), ("x-c", "value of c")];
    for stream in 0..50 {
        encoder.exchange(&mut decoder, stream * 4, &lines);
    }
    assert_eq!(encoder.insert_count(), 3);
}

#[test]
fn a_peer_that_never_acknowledges_costs_compression_and_no_memory() {
    let (mut encoder, mut decoder) = pair(4096, 0);
    for stream in 0..3 {
        encoder.exchange(&mut decoder, stream * 4, &[LINE]);
    }
    let mut with_references = 0;
    for stream in 3..3000 {
        with_references += usize::from(encoder.section(stream * 4, &[LINE])[0] != 0);
    }
    assert_eq!(with_references, 1024);
    assert!(encoder.sections.is_full());
}

// req: 9204-4.4.1-nothing-to-acknowledge
#[test]
fn acknowledging_what_was_not_sent_is_an_error_of_the_decoder_stream() {
    use decoder_stream::Instruction;
    let refused =
        |stream| Err(Error::DecoderStream(DecoderStreamError::NothingToAcknowledge(stream)));
    let (mut encoder, mut decoder) = pair(4096, 0);
    assert_eq!(encoder.handle(Instruction::Acknowledge(0)), refused(0));
    for stream in 0..2 {
        encoder.exchange(&mut decoder, stream * 4, &[LINE]);
    }
    encoder.section(8, &[LINE]);
    encoder.section(12, &[(":method", "GET")]);
    assert_eq!(encoder.handle(Instruction::Acknowledge(12)), refused(12), "needs none");
    assert_eq!(encoder.handle(Instruction::Acknowledge(8)), Ok(()));
    assert_eq!(encoder.handle(Instruction::Acknowledge(8)), refused(8), "had one section");
}

// req: 9204-4.4.3-increment
#[test]
fn increments_are_above_zero_and_within_what_was_inserted() {
    use decoder_stream::Instruction;
    let (mut encoder, _) = pair(4096, 0);
    assert_eq!(
        encoder.handle(Instruction::Increment(0)),
        Err(DecoderStreamError::ZeroIncrement.into())
    );
    encoder.section(0, &[("server", "sterna")]);
    let beyond = DecoderStreamError::IncrementBeyondInsertCount { received: 2, inserted: 1 };
    assert_eq!(encoder.handle(Instruction::Increment(2)), Err(beyond.into()));
    assert_eq!(encoder.handle(Instruction::Increment(1)), Ok(()));
    assert_eq!(encoder.handle(Instruction::Increment(1)), Err(beyond.into()));
}

// req: 9204-4.1.1-integers-of-62-bits
#[test]
fn an_integer_above_62_bits_on_the_decoder_stream_overflows() {
    let (mut encoder, _) = pair(4096, 0);
    let overflow = Err(DecoderStreamError::IntegerOverflow.into());
    assert_eq!(encoder.handle(decoder_stream::Instruction::Cancel(1 << 62)), overflow);
}

#[test]
fn cancelling_a_stream_that_sent_nothing_is_no_error() {
    let (mut encoder, _) = pair(0, 0);
    assert_eq!(encoder.handle(decoder_stream::Instruction::Cancel(4)), Ok(()));
}

#[test]
fn a_long_prefix_pushes_the_lines_back() {
    let (mut encoder, mut decoder) = pair(1 << 20, 0);
    // Three hundred entries make the Required Insert Count and the relative index longer than a byte.
    for number in 0..300 {
        let value = format!("value {number}");
        encoder.exchange(&mut decoder, number * 8, &[("x-name", &value)]);
        encoder.exchange(&mut decoder, number * 8 + 4, &[("x-name", &value)]);
    }
    let lines = [("x-name", "value 299"), ("x-name", "value 7"), (":method", "GET")];
    let section = encoder.exchange(&mut decoder, 4000, &lines);
    assert_eq!(section[0], 0xff);
}
