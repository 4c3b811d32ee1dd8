//! The access log: one line for each request, written once its response has ended.
//!
//! A worker formats its line into a buffer of its own; one thread swaps the buffers of all workers for
//! empty ones and writes them out. A worker never waits for the output: when its buffer is full, the
//! line is dropped and counted. What a line holds is in [`entry`].

mod entry;
pub mod file;
pub(crate) mod timestamp;

use std::fmt;
use std::io::{self, Write};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, Thread};
use std::time::Duration;

pub(crate) use self::entry::Entry;
pub use self::entry::fields::Field;
use self::timestamp::Clock;

/// Writes the lines of every worker to one output.
#[derive(Debug)]
pub struct AccessLog {
    shared: Arc<Shared>,
    writer: Thread,
    /// Disconnected once the writer has ended.
    ended: mpsc::Receiver<()>,
}

impl AccessLog {
    /// Starts the thread that writes lines of this form to `output`.
    ///
    /// # Errors
    /// When the operating system gives no thread.
    pub fn start(
        layout: impl Into<Layout>,
        output: impl Write + Send + 'static,
    ) -> io::Result<Self> {
        let lanes = Mutex::new(Lanes { layout: layout.into(), ..Lanes::default() });
        let shared = Arc::new(Shared { lanes, ..Shared::default() });
        let (running, ended) = mpsc::channel();
        let writer = thread::Builder::new().name("access-log".into()).spawn({
            let shared = Arc::clone(&shared);
            move || {
                shared.write_all(Box::new(output));
                drop(running);
            }
        })?;
        Ok(Self { shared, writer: writer.thread().clone(), ended })
    }

    /// What makes the recorder of each worker, on the worker's own thread.
    pub fn recorders(&self) -> Recorders {
        Recorders { shared: Arc::clone(&self.shared), writer: self.writer.clone() }
    }

    /// Writes lines of this form to this output from now on. What was logged before goes to the output that was there, and
    /// no line is in between.
    ///
    /// Waits until that is so, but no longer than `patience`: an output that is stuck is left once it takes something.
    pub fn redirect(
        &self,
        layout: impl Into<Layout>,
        output: impl Write + Send + 'static,
        patience: Duration,
    ) {
        let (followed, follows) = mpsc::channel();
        *lock(&self.shared.next) = Some((layout.into(), Box::new(output), followed));
        self.writer.unpark();
        // Without an answer it is stuck, or has ended: both are told elsewhere.
        let _ = follows.recv_timeout(patience);
    }

    /// Whether anything is written still: a pipe that nobody reads any more ends it.
    pub fn is_running(&self) -> bool {
        self.ended.try_recv() != Err(mpsc::TryRecvError::Disconnected)
    }

    /// How many lines were dropped because the output was slower than the requests.
    pub fn dropped(&self) -> u64 {
        self.shared.dropped()
    }

    /// Writes out what there is, but waits no longer than `patience` for the output.
    pub fn finish(self, patience: Duration) {
        self.shared.stopping.store(true, Ordering::Release);
        self.writer.unpark();
        if self.ended.recv_timeout(patience) == Err(RecvTimeoutError::Timeout) {
            tracing::warn!("the access log could not be written to its end: its output is stuck");
        }
        if self.shared.dropped() > 0 {
            tracing::warn!(lines = self.shared.dropped(), "the access log is not complete");
        }
    }
}

/// What a line looks like.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Format {
    /// Words for people.
    #[default]
    Text,
    /// One object in each line, for machines.
    Json,
}

/// The form of lines, and what is in them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Layout {
    format: Format,
    fields: Option<Arc<[Field]>>,
}

impl Layout {
    /// Lines of this form with these fields, in this order.
    pub fn new(format: Format, fields: &[Field]) -> Self {
        Self { format, fields: Some(fields.into()) }
    }

    pub(crate) fn format(&self) -> Format {
        self.format
    }

    /// Those that were chosen; `None` for the usual ones.
    pub(crate) fn fields(&self) -> Option<&[Field]> {
        self.fields.as_deref()
    }
}

/// The usual fields.
impl From<Format> for Layout {
    fn from(format: Format) -> Self {
        Self { format, fields: None }
    }
}

/// Makes recorders.
#[derive(Clone, Debug)]
pub struct Recorders {
    shared: Arc<Shared>,
    writer: Thread,
}

impl Recorders {
    /// A recorder for one worker.
    pub fn make(&self) -> Recorder {
        let mut lanes = lock(&self.shared.lanes);
        let layout = lanes.layout.clone();
        let wants_details = AtomicBool::new(layout.fields.is_some());
        let pending = Mutex::new(Pending { layout, ..Pending::default() });
        let (dropped, writer) = (AtomicU64::new(0), self.writer.clone());
        let lane = Arc::new(Lane { pending, wants_details, dropped, writer });
        lanes.open.push(Arc::clone(&lane));
        Recorder { lane }
    }
}

/// Takes the lines of one worker.
#[derive(Clone, Debug)]
pub struct Recorder {
    lane: Arc<Lane>,
}

impl Recorder {
    /// Whether lines have fields beside the usual ones.
    fn wants_details(&self) -> bool {
        self.lane.wants_details.load(Ordering::Relaxed)
    }

    /// Adds the line that `write` appends in the form that it is given, or drops it when the output does not keep up.
    fn record(&self, write: impl FnOnce(&Layout, &mut Vec<u8>, &mut Clock)) {
        let mut pending = lock(&self.lane.pending);
        if pending.lines.len() >= BACKLOG {
            self.lane.dropped.fetch_add(1, Ordering::Relaxed);
            return;
        }
        let was_empty = pending.lines.is_empty();
        let Pending { layout, lines, clock } = &mut *pending;
        write(layout, lines, clock);
        drop(pending);
        if was_empty {
            self.lane.writer.unpark();
        }
    }
}

/// The way from one worker to the writer.
#[derive(Debug)]
struct Lane {
    wants_details: AtomicBool,
    /// Shared with nobody but the writer, and by that for no longer than a swap.
    pending: Mutex<Pending>,
    dropped: AtomicU64,
    writer: Thread,
}

#[derive(Debug, Default)]
struct Pending {
    layout: Layout,
    lines: Vec<u8>,
    clock: Clock,
}

/// The lanes of all workers.
#[derive(Debug, Default)]
struct Lanes {
    /// Of those that open from now on.
    layout: Layout,
    open: Vec<Arc<Lane>>,
    /// What was dropped on lanes that are closed.
    dropped: u64,
}

/// Where lines go.
type Output = Box<dyn Write + Send>;

#[derive(Default)]
struct Shared {
    lanes: Mutex<Lanes>,
    /// Where lines go from now on, once the writer has seen it.
    next: Mutex<Option<(Layout, Output, mpsc::Sender<()>)>>,
    stopping: AtomicBool,
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared").field("lanes", &self.lanes).finish_non_exhaustive()
    }
}

impl Shared {
    /// The writer's life. Ends when told to, or when the output takes no more.
    fn write_all(&self, mut output: Output) {
        let mut lines = Vec::new();
        loop {
            let stopping = self.stopping.load(Ordering::Acquire);
            let next = lock(&self.next).take();
            let layout = next.as_ref().map(|(layout, ..)| layout);
            let written = self.write_pending(&mut output, &mut lines, layout);
            if let Some((_, next, followed)) = next {
                output = next;
                // Whoever asked may have lost patience.
                let _ = followed.send(());
                continue;
            }
            match written {
                Ok(_) if stopping => return,
                Ok(true) => thread::sleep(GATHER),
                Ok(false) => thread::park(),
                Err(error) => {
                    let error = &error as &dyn std::error::Error;
                    tracing::warn!(error, "the access log ends: its output takes no more");
                    return;
                }
            }
        }
    }

    /// Writes what has gathered; whether there was anything. Lines behind it have the form of `next`, if there is one.
    fn write_pending(
        &self,
        output: &mut impl Write,
        lines: &mut Vec<u8>,
        next: Option<&Layout>,
    ) -> io::Result<bool> {
        let mut any = false;
        for lane in self.lanes(next) {
            lines.clear();
            {
                let mut pending = lock(&lane.pending);
                std::mem::swap(&mut pending.lines, lines);
                if let Some(next) = next {
                    pending.layout = next.clone();
                    lane.wants_details.store(next.fields.is_some(), Ordering::Relaxed);
                }
            }
            any |= !lines.is_empty();
            persist(output, |output| write_some(output, lines))?;
        }
        persist(output, |output| output.flush().map(|()| true))?;
        Ok(any)
    }

    /// The lanes, without those of workers' recorders that are gone and have nothing left.
    fn lanes(&self, next: Option<&Layout>) -> Vec<Arc<Lane>> {
        let mut lanes = lock(&self.lanes);
        let Lanes { layout, open, dropped } = &mut *lanes;
        if let Some(next) = next {
            layout.clone_from(next);
        }
        open.retain(|lane| {
            let is_open = Arc::strong_count(lane) > 1 || !lock(&lane.pending).lines.is_empty();
            if !is_open {
                *dropped += lane.dropped.load(Ordering::Relaxed);
            }
            is_open
        });
        open.clone()
    }

    fn dropped(&self) -> u64 {
        let lanes = lock(&self.lanes);
        let open = lanes.open.iter().map(|lane| lane.dropped.load(Ordering::Relaxed));
        lanes.dropped + open.sum::<u64>()
    }
}

/// Repeats `step` until it is done, also when the output cannot go on for now.
///
/// A pipe may be non-blocking, for it is whoever else holds it that says so; and a disk that is full has room again one
/// day. Meanwhile lines are dropped and counted, as for any slow output.
fn persist<W>(output: &mut W, mut step: impl FnMut(&mut W) -> io::Result<bool>) -> io::Result<()> {
    let mut is_told = false;
    loop {
        match step(output) {
            Ok(true) => return Ok(()),
            Ok(false) => {}
            Err(error) => match error.kind() {
                io::ErrorKind::Interrupted => {}
                io::ErrorKind::WouldBlock => thread::sleep(GATHER),
                io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
                    if !std::mem::replace(&mut is_told, true) {
                        let error = &error as &dyn std::error::Error;
                        tracing::warn!(error, "the access log waits for room on its disk");
                    }
                    thread::sleep(FULL);
                }
                _ => return Err(error),
            },
        }
    }
}

/// Writes what the output takes of `lines`, and leaves the rest in it; whether nothing is left.
fn write_some(output: &mut impl Write, lines: &mut Vec<u8>) -> io::Result<bool> {
    if !lines.is_empty() {
        let written = output.write(lines)?;
        if written == 0 {
            return Err(io::ErrorKind::WriteZero.into());
        }
        lines.drain(..written);
    }
    Ok(lines.is_empty())
}

/// A panic while formatting leaves at worst half a line.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// How much of a worker's log waits for the output, in bytes; some thousands of lines.
const BACKLOG: usize = 1 << 20;

/// How long lines gather before they are written together: under load it saves a wake-up and a system
/// call for each line, and nobody who reads along sees it.
const GATHER: Duration = Duration::from_millis(10);

/// How long to wait for room on a full disk.
const FULL: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use super::*;

    /// An output that can be read, and that stands still while `held` is locked.
    #[derive(Clone, Default)]
    struct Output {
        written: Arc<Mutex<Vec<u8>>>,
        held: Arc<Mutex<()>>,
    }

    impl Write for Output {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let _held = lock(&self.held);
            lock(&self.written).extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    const PATIENCE: Duration = Duration::from_secs(20);

    #[test]
    fn finishing_writes_every_line_of_every_worker() {
        let output = Output::default();
        let log = AccessLog::start(Format::Text, output.clone()).expect("started");
        let recorders = [log.recorders().make(), log.recorders().make()];
        for (worker, recorder) in recorders.iter().enumerate() {
            for line in 0..100 {
                recorder.record(|_, to, _| to.extend(format!("{worker} {line}\n").into_bytes()));
            }
        }
        log.finish(PATIENCE);
        let written = String::from_utf8(lock(&output.written).clone()).expect("text");
        for worker in 0..2 {
            let lines = written.lines().filter(|line| line.starts_with(&format!("{worker} ")));
            let expected = (0..100).map(|line| format!("{worker} {line}"));
            assert!(lines.map(str::to_owned).eq(expected), "in order and complete: {written}");
        }
    }

    #[test]
    fn an_output_that_stands_still_costs_lines_and_never_the_worker() {
        let output = Output::default();
        let log = AccessLog::start(Format::Text, output.clone()).expect("started");
        let recorder = log.recorders().make();
        let held = lock(&output.held);
        let line = [b'x'; 1 << 16];
        // One backlog may be with the writer, one fills up, and more finds no room.
        let lines = 3 * BACKLOG / line.len();
        for _ in 0..lines {
            recorder.record(|_, to, _| to.extend_from_slice(&line));
        }
        let dropped = log.dropped();
        assert!(dropped >= (BACKLOG / line.len()) as u64, "{dropped} of {lines} dropped");
        drop(held);
        log.finish(PATIENCE);
        let written = lock(&output.written).len();
        assert_eq!(
            written,
            (lines - dropped as usize) * line.len(),
            "what was not dropped is there"
        );
    }

    /// An output that takes three bytes at a time, and nothing every second time.
    struct Reluctant(Output, bool);

    impl Reluctant {
        fn refuse(&mut self) -> io::Result<()> {
            self.1 = !self.1;
            if self.1 { Err(io::ErrorKind::WouldBlock.into()) } else { Ok(()) }
        }
    }

    impl Write for Reluctant {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.refuse()?;
            self.0.write(&bytes[..bytes.len().min(3)])
        }

        fn flush(&mut self) -> io::Result<()> {
            self.refuse()
        }
    }

    #[test]
    fn an_output_that_does_not_block_gets_every_line_in_time() {
        let output = Output::default();
        let log =
            AccessLog::start(Format::Text, Reluctant(output.clone(), false)).expect("started");
        for line in 0..10 {
            log.recorders().make().record(|_, to, _| to.extend(format!("{line}\n").into_bytes()));
        }
        log.finish(PATIENCE);
        let expected: String = (0..10).map(|line| format!("{line}\n")).collect();
        assert_eq!(*lock(&output.written), expected.into_bytes());
    }

    #[test]
    fn after_a_redirection_old_lines_are_in_the_old_output_and_new_ones_in_the_new() {
        let (old, new) = (Output::default(), Output::default());
        let log = AccessLog::start(Format::Text, old.clone()).expect("started");
        let recorder = log.recorders().make();
        let record = || {
            recorder.record(|layout, to, _| {
                to.extend(format!("{:?}\n", layout.format).into_bytes());
            });
        };
        record();
        log.redirect(Format::Json, new.clone(), PATIENCE);
        record();
        log.finish(PATIENCE);
        assert_eq!(*lock(&old.written), b"Text\n");
        assert_eq!(*lock(&new.written), b"Json\n");
    }

    #[test]
    fn lanes_of_recorders_that_are_gone_are_forgotten_and_what_they_dropped_is_not() {
        let log = AccessLog::start(Format::Text, Output::default()).expect("started");
        for _ in 0..10 {
            log.recorders().make().lane.dropped.store(1, Ordering::Relaxed);
        }
        let kept = log.recorders().make();
        assert_eq!(log.shared.lanes(None).len(), 1);
        assert_eq!(log.dropped(), 10);
        drop(kept);
    }

    #[test]
    fn finishing_does_not_wait_for_an_output_that_is_stuck() {
        let output = Output::default();
        let log = AccessLog::start(Format::Text, output.clone()).expect("started");
        let _held = lock(&output.held);
        log.recorders().make().record(|_, to, _| to.push(b'x'));
        log.finish(Duration::from_millis(20));
        assert!(lock(&output.written).is_empty());
    }
}
