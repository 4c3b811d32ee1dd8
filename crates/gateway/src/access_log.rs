//! The access log: one line for each request, written once its response has ended.
//!
//! A worker formats its line into a buffer of its own; one thread swaps the buffers of all workers for
//! empty ones and writes them out. A worker never waits for the output: when its buffer is full, the
//! line is dropped and counted. What a line holds is in [`entry`].

mod entry;
pub mod file;
pub(crate) mod timestamp;

use std::io::{self, Write};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, Thread};
use std::time::Duration;

pub(crate) use self::entry::Entry;
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
    pub fn start(format: Format, output: impl Write + Send + 'static) -> io::Result<Self> {
        let shared = Arc::new(Shared { format, ..Shared::default() });
        let (running, ended) = mpsc::channel();
        let writer = thread::Builder::new().name("access-log".into()).spawn({
            let shared = Arc::clone(&shared);
            move || {
                shared.write_all(output);
                drop(running);
            }
        })?;
        Ok(Self { shared, writer: writer.thread().clone(), ended })
    }

    /// What makes the recorder of each worker, on the worker's own thread.
    pub fn recorders(&self) -> Recorders {
        Recorders { shared: Arc::clone(&self.shared), writer: self.writer.clone() }
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

/// Makes recorders.
#[derive(Clone, Debug)]
pub struct Recorders {
    shared: Arc<Shared>,
    writer: Thread,
}

impl Recorders {
    /// A recorder for one worker.
    pub fn make(&self) -> Recorder {
        let (pending, dropped) = Default::default();
        let (format, writer) = (self.shared.format, self.writer.clone());
        let lane = Arc::new(Lane { format, pending, dropped, writer });
        lock(&self.shared.lanes).push(Arc::clone(&lane));
        Recorder { lane }
    }
}

/// Takes the lines of one worker.
#[derive(Clone, Debug)]
pub struct Recorder {
    lane: Arc<Lane>,
}

impl Recorder {
    /// Adds the line that `write` appends in the form that it is given, or drops it when the output does not keep up.
    fn record(&self, write: impl FnOnce(Format, &mut Vec<u8>, &mut Clock)) {
        let mut pending = lock(&self.lane.pending);
        if pending.lines.len() >= BACKLOG {
            self.lane.dropped.fetch_add(1, Ordering::Relaxed);
            return;
        }
        let was_empty = pending.lines.is_empty();
        let Pending { lines, clock } = &mut *pending;
        write(self.lane.format, lines, clock);
        drop(pending);
        if was_empty {
            self.lane.writer.unpark();
        }
    }
}

/// The way from one worker to the writer.
#[derive(Debug)]
struct Lane {
    format: Format,
    /// Shared with nobody but the writer, and by that for no longer than a swap.
    pending: Mutex<Pending>,
    dropped: AtomicU64,
    writer: Thread,
}

#[derive(Debug, Default)]
struct Pending {
    lines: Vec<u8>,
    clock: Clock,
}

#[derive(Debug, Default)]
struct Shared {
    format: Format,
    lanes: Mutex<Vec<Arc<Lane>>>,
    stopping: AtomicBool,
}

impl Shared {
    /// The writer's life. Ends when told to, or when the output takes no more.
    fn write_all(&self, mut output: impl Write) {
        let mut lines = Vec::new();
        loop {
            let stopping = self.stopping.load(Ordering::Acquire);
            match self.write_pending(&mut output, &mut lines) {
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

    /// Writes what has gathered; whether there was anything.
    fn write_pending(&self, output: &mut impl Write, lines: &mut Vec<u8>) -> io::Result<bool> {
        let mut any = false;
        let lanes = lock(&self.lanes).clone();
        for lane in lanes {
            lines.clear();
            std::mem::swap(&mut lock(&lane.pending).lines, lines);
            any |= !lines.is_empty();
            persist(output, |output| write_some(output, lines))?;
        }
        persist(output, |output| output.flush().map(|()| true))?;
        Ok(any)
    }

    fn dropped(&self) -> u64 {
        lock(&self.lanes).iter().map(|lane| lane.dropped.load(Ordering::Relaxed)).sum()
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
    fn finishing_does_not_wait_for_an_output_that_is_stuck() {
        let output = Output::default();
        let log = AccessLog::start(Format::Text, output.clone()).expect("started");
        let _held = lock(&output.held);
        log.recorders().make().record(|_, to, _| to.push(b'x'));
        log.finish(Duration::from_millis(20));
        assert!(lock(&output.written).is_empty());
    }
}
