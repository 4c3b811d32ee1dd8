use std::task::Wake;

use super::*;

#[derive(Default)]
struct Count(AtomicUsize);

impl Wake for Count {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

impl Count {
    fn value(&self) -> usize {
        self.0.load(Ordering::SeqCst)
    }
}

struct World {
    upload: Upload,
    connection: Arc<Count>,
    reader: Arc<Count>,
    counters: Arc<WorkerCounters>,
}

fn world(bound: usize) -> World {
    within(Budget::new(bound, usize::MAX))
}

fn within(budget: Budget) -> World {
    let (connection, reader) = (Arc::<Count>::default(), Arc::<Count>::default());
    let counters = Arc::<WorkerCounters>::default();
    let upload = Upload::new(connection.clone().into(), budget, None, counters.clone());
    World { upload, connection, reader, counters }
}

impl World {
    /// What the reader gets: data as text, `None` for nothing yet.
    fn read(&self) -> Option<String> {
        let waker = Waker::from(self.reader.clone());
        match self.upload.poll_frame(&mut Context::from_waker(&waker)) {
            Poll::Pending => None,
            Poll::Ready(None) => Some("end".into()),
            Poll::Ready(Some(Err(error))) => Some(error.to_string()),
            Poll::Ready(Some(Ok(frame))) => Some(match frame.into_data() {
                Ok(data) => String::from_utf8(data.to_vec()).expect("text"),
                Err(_) => "trailers".into(),
            }),
        }
    }

    fn push(&self, text: &'static str) {
        self.upload.push(Bytes::from_static(text.as_bytes()));
    }
}

#[test]
fn full_slot_asks_for_more_only_when_half_is_taken() {
    let world = world(8);
    world.push("abcd");
    assert!(!world.upload.is_full(), "one below the bound is not full");
    world.push("efg");
    world.push("h");
    assert!(world.upload.is_full());
    assert_eq!((world.read(), world.connection.value()), (Some("abcd".into()), 1));
    assert_eq!((world.read(), world.connection.value()), (Some("efgh".into()), 1), "once");
}

#[test]
fn reader_that_waits_is_woken_once_by_data_and_once_by_the_end() {
    let world = world(8);
    assert_eq!(world.read(), None);
    assert!(world.upload.is_starving());
    world.push("a");
    world.push("b");
    assert_eq!(world.reader.value(), 1);
    assert_eq!(
        (world.read(), world.read(), world.read()),
        (Some("a".into()), Some("b".into()), None)
    );
    world.upload.finish();
    assert_eq!((world.reader.value(), world.read()), (2, Some("end".into())));
    assert!(world.upload.is_end_stream());
}

#[test]
fn pieces_of_a_byte_are_gathered_and_stay_in_order() {
    let world = world(1 << 20);
    let content: Vec<u8> = (0..100_000_u32).map(|n| (n % 251) as u8).collect();
    for byte in content.chunks(1) {
        world.upload.push(Bytes::copy_from_slice(byte));
    }
    let large = Bytes::from(vec![7; MIN_CHUNK]);
    world.upload.push(large.clone());
    world.upload.push(Bytes::from_static(b"end"));
    world.upload.finish();
    let chunks = world.upload.slot.lock().unwrap().chunks.len();
    assert!(chunks < 10, "{chunks} chunks for 100,000 pieces");
    let mut read = Vec::new();
    let mut cx = Context::from_waker(Waker::noop());
    while let Poll::Ready(Some(Ok(frame))) = world.upload.poll_frame(&mut cx) {
        let data = frame.into_data().unwrap();
        assert!(data.len() != MIN_CHUNK || data.as_ptr() == large.as_ptr(), "copied");
        read.extend_from_slice(&data);
    }
    assert_eq!(read, [&content[..], &large, b"end"].concat());
    assert_eq!(world.counters.queued_upload_bytes.value(), 0);
}

#[test]
fn trailers_are_told_only_with_a_valid_end() {
    let world = world(8);
    world.upload.trailers(HeaderMap::new());
    assert_eq!(world.read(), None, "the message may still be found malformed");
    world.upload.finish();
    assert_eq!((world.read(), world.read()), (Some("trailers".into()), Some("end".into())));
}

#[test]
fn failure_voids_what_waits_and_is_told_once() {
    let world = world(8);
    world.push("abc");
    world.upload.trailers(HeaderMap::new());
    world.upload.fail(Error::ConnectionLost);
    let error = "the connection ended in the middle of the body";
    assert_eq!(world.read(), Some(error.into()));
    assert_eq!(world.counters.queued_upload_bytes.value(), 0);
}

#[test]
fn failure_after_the_end_changes_nothing() {
    let world = world(8);
    world.push("abc");
    world.upload.finish();
    world.upload.fail(Error::ConnectionLost);
    assert_eq!((world.read(), world.read()), (Some("abc".into()), Some("end".into())));
}

#[test]
fn abandoned_slot_keeps_nothing_and_wakes_the_connection() {
    let world = world(8);
    world.push("abc");
    world.upload.abandon();
    world.push("def");
    assert!(world.upload.is_abandoned() && !world.upload.is_full());
    assert_eq!(world.connection.value(), 1);
    assert_eq!(world.counters.queued_upload_bytes.value(), 0);
}

#[test]
fn size_is_exact_when_declared_or_complete() {
    let declared = Upload::new(Waker::noop().clone(), Budget::new(8, 8), Some(10), Arc::default());
    declared.push(Bytes::from_static(b"abc"));
    assert_eq!(declared.size_hint().exact(), Some(10));
    let world = world(8);
    world.push("abc");
    assert_eq!((world.upload.size_hint().lower(), world.upload.size_hint().exact()), (3, None));
    world.upload.finish();
    assert_eq!(world.upload.size_hint().exact(), Some(3));
}

#[test]
fn spent_connection_stops_every_slot_that_has_something() {
    let budget = Budget::new(8, 10);
    let (first, second) = (within(budget.clone()), within(budget));
    first.push("1234567");
    second.push("12");
    assert!(!second.upload.is_full(), "one below the bound of the connection");
    second.push("3");
    assert!(first.upload.is_full() && second.upload.is_full());
    assert_eq!((second.read(), second.connection.value()), (Some("12".into()), 1), "may go on");
    assert!(!second.upload.is_full());
}

#[test]
fn empty_slot_is_filled_though_the_connection_is_spent() {
    let budget = Budget::new(8, 4);
    let (first, second) = (within(budget.clone()), within(budget));
    first.push("12345678");
    assert!(!second.upload.is_full());
}
