use proptest::prelude::*;

use super::*;

const MICROSECOND: Duration = Duration::from_micros(1);
const FULL: u64 = 1500;

/// 25 ms, and 120 µs for a packet of 1500 bytes; room for ten of them.
fn shape() -> Shape {
    let rate = Rate::bits_per_second(100_000_000).unwrap();
    Shape::new(Duration::from_millis(25), rate, 10 * FULL)
}

/// Everything that arrives, each at its own time.
fn drain<T>(queue: &mut Queue<T>, start: Instant) -> Vec<(Duration, T)> {
    let mut arrived = Vec::new();
    while let Some(at) = queue.next_arrival() {
        assert!(queue.pop(at - Duration::from_nanos(1)).is_none(), "a packet came too early");
        arrived.push((at - start, queue.pop(at).expect("it was announced for this time")));
    }
    arrived
}

#[test]
fn a_lone_packet_takes_its_length_and_the_delay() {
    let start = Instant::now();
    let mut queue = Queue::new(shape());
    assert_eq!(queue.push(start, FULL, 'a'), Ok(()));
    assert_eq!(drain(&mut queue, start), [(Duration::from_micros(25_120), 'a')]);
}

#[test]
fn packets_offered_at_once_follow_each_other_at_the_rate() {
    let start = Instant::now();
    let mut queue = Queue::new(shape());
    for name in ['a', 'b', 'c'] {
        assert_eq!(queue.push(start, FULL, name), Ok(()));
    }
    let arrived = [(25_120, 'a'), (25_240, 'b'), (25_360, 'c')];
    assert_eq!(drain(&mut queue, start), arrived.map(|(at, name)| (MICROSECOND * at, name)));
}

#[test]
fn a_wire_that_rested_starts_at_once() {
    let start = Instant::now();
    let mut queue = Queue::new(shape());
    assert_eq!(queue.push(start, FULL, 'a'), Ok(()));
    assert_eq!(queue.push(start + MICROSECOND * 500, FULL, 'b'), Ok(()));
    let arrived = [(25_120, 'a'), (25_620, 'b')];
    assert_eq!(drain(&mut queue, start), arrived.map(|(at, name)| (MICROSECOND * at, name)));
}

#[test]
fn a_rate_that_no_nanosecond_divides_does_not_drift() {
    let start = Instant::now();
    let rate = Rate::bits_per_second(7_000_001).unwrap();
    let mut queue = Queue::new(Shape::new(Duration::ZERO, rate, u64::MAX));
    for _ in 0..10_000 {
        assert_eq!(queue.push(start, 1, ()), Ok(()));
    }
    let last = drain(&mut queue, start).pop().map(|(at, ())| at.as_nanos());
    assert_eq!(last, Some(80_000 * 1_000_000_000 / 7_000_001));
}

#[test]
fn the_queue_holds_its_bytes_and_not_one_more() {
    let start = Instant::now();
    let mut queue = Queue::new(shape());
    assert_eq!(queue.push(start, FULL, 0), Ok(()), "this one is on the wire");
    for number in 1..=10 {
        assert_eq!(queue.push(start, FULL, number), Ok(()));
    }
    assert_eq!(queue.push(start, 1, 11), Err(11));
    assert_eq!(queue.counters(), Counters { accepted: 11, dropped: 1, lost: 0 });
}

#[test]
fn a_packet_that_starts_makes_room_for_the_next() {
    let start = Instant::now();
    let mut queue = Queue::new(shape());
    for number in 0..=10 {
        assert_eq!(queue.push(start, FULL, number), Ok(()));
    }
    let just_before = start + MICROSECOND * 120 - Duration::from_nanos(1);
    assert_eq!(queue.push(just_before, FULL, 11), Err(11));
    assert_eq!(queue.push(start + MICROSECOND * 120, FULL, 12), Ok(()));
}

#[test]
fn an_idle_wire_takes_a_packet_without_any_queue() {
    let start = Instant::now();
    let mut queue = Queue::new(Shape { queue: 0, ..shape() });
    assert_eq!(queue.push(start, FULL, 'a'), Ok(()));
    assert_eq!(queue.push(start, 1, 'b'), Err('b'));
}

#[test]
fn what_chance_takes_uses_no_rate_and_no_room_and_is_counted() {
    let start = Instant::now();
    let loss = Loss::random("50%".parse().unwrap());
    let mut queue = Queue::new(Shape { loss, seed: 7, queue: u64::MAX, ..shape() });
    let kept: Vec<u32> =
        (0..100).filter(|number| queue.push(start, FULL, *number).is_ok()).collect();
    assert!((30..70).contains(&kept.len()), "{kept:?}");
    let lost = 100 - kept.len() as u64;
    let accepted = kept.len() as u64;
    assert_eq!(queue.counters(), Counters { accepted, dropped: 0, lost });
    let expected: Vec<_> = (1..)
        .zip(kept)
        .map(|(count, number)| (MICROSECOND * (25_000 + 120 * count), number))
        .collect();
    assert_eq!(drain(&mut queue, start), expected);
}

#[test]
fn jitter_delays_up_to_its_bound_and_lets_packets_overtake() {
    let start = Instant::now();
    let jitter = MICROSECOND * 1000;
    let mut queue = Queue::new(Shape { jitter, seed: 7, queue: u64::MAX, ..shape() });
    for number in 0..100_u32 {
        assert_eq!(queue.push(start, FULL, number), Ok(()));
    }
    let arrived = drain(&mut queue, start);
    assert!(arrived.is_sorted_by_key(|(at, _)| *at));
    assert!(!arrived.is_sorted_by_key(|(_, number)| *number), "none has overtaken another");
    for (at, number) in arrived {
        let earliest = MICROSECOND * (25_120 + 120 * number);
        assert!(at >= earliest && at <= earliest + jitter, "{number}: {at:?}");
    }
}

proptest! {
    /// Against the definition, computed packet by packet: order, delay, rate and bound at once.
    #[test]
    fn every_packet_arrives_when_the_definition_says(
        packets in proptest::collection::vec((0_u64..400, 1_u64..=FULL), 1..200),
        room in 0_u64..20_000,
    ) {
        let start = Instant::now();
        let shape = Shape { queue: room, ..shape() };
        let mut queue = Queue::new(shape);
        let mut now = start;
        let mut expected: Vec<(Duration, usize)> = Vec::new();
        let mut sent: Vec<(Instant, u64)> = Vec::new(); // start of transmission, length
        let mut free = start;
        for (number, (pause, bytes)) in packets.into_iter().enumerate() {
            now += MICROSECOND * u32::try_from(pause).unwrap();
            let waiting: u64 = sent.iter().filter(|(starts, _)| *starts > now).map(|(_, bytes)| bytes).sum();
            let fits = free <= now || waiting + bytes <= room;
            prop_assert_eq!(queue.push(now, bytes, number).is_ok(), fits);
            if fits {
                let starts = free.max(now);
                sent.push((starts, bytes));
                free = starts + Duration::from_nanos(bytes * 80); // 100 Mbit/s divides evenly
                expected.push((free + shape.delay - start, number));
            }
        }
        prop_assert_eq!(drain(&mut queue, start), expected);
    }
}
