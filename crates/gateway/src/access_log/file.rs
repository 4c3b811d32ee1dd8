//! A file for the access log, which begins anew when it is large or old.
//!
//! ```text
//! access.log    what is written now
//! access.log.1  what was written before, up to as many as are kept
//! ```
//! A log that cannot be written costs lines, which are counted, and never the server: a full disk is found
//! free again with the next lines.

use std::ffi::OsString;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

/// Configuration of a log file.
#[derive(Clone, Debug)]
pub struct Config {
    /// The file.
    pub path: PathBuf,
    /// It begins anew before it would grow beyond this many bytes. Default: 100 MiB.
    pub max_size: u64,
    /// It begins anew when it is this old. Default: one day.
    pub max_age: Duration,
    /// How many older ones are kept; the oldest is removed. Default: 7.
    pub keep: usize,
}

impl Config {
    /// A log at `path` with the defaults.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        let (max_size, max_age) = (100 << 20, Duration::from_secs(86_400));
        Self { path: path.into(), max_size, max_age, keep: 7 }
    }
}

/// The file. Each write is taken as whole lines, and always as written: what is lost is counted.
#[derive(Debug)]
pub struct LogFile {
    config: Config,
    /// None after a failure, until it can be opened again.
    file: Option<File>,
    size: u64,
    /// When the first line was written.
    begun: SystemTime,
    lost: Arc<AtomicU64>,
    /// Set by whoever has moved the file away.
    reopen: Arc<AtomicBool>,
    is_failing: bool,
}

impl LogFile {
    /// Opens the file, to write behind what is in it.
    ///
    /// # Errors
    /// When it cannot be opened or made.
    pub fn open(config: Config) -> io::Result<Self> {
        let (file, lost, reopen) = Default::default();
        let begun = SystemTime::now();
        let mut log = Self { config, file, size: 0, begun, lost, reopen, is_failing: false };
        log.reopen()?;
        Ok(log)
    }

    /// Counts the lines that could not be written.
    pub fn lost(&self) -> Arc<AtomicU64> {
        Arc::clone(&self.lost)
    }

    /// Asks for the file to be opened anew with the next lines: it has been moved away by somebody else.
    pub fn reopener(&self) -> Reopener {
        Reopener(Arc::clone(&self.reopen))
    }

    fn reopen(&mut self) -> io::Result<()> {
        let mut options = OpenOptions::new();
        let file = options.append(true).create(true).mode(0o640).open(&self.config.path)?;
        let known = file.metadata()?;
        self.size = known.len();
        self.begun = match known.created() {
            Ok(created) if self.size > 0 => created,
            _ => SystemTime::now(),
        };
        self.file = Some(file);
        Ok(())
    }

    /// Whether `more` bytes belong into the next file.
    fn is_due(&self, more: u64, now: SystemTime) -> bool {
        let age = now.duration_since(self.begun).unwrap_or_default();
        self.size > 0 && (self.size + more > self.config.max_size || age >= self.config.max_age)
    }

    fn rotate(&mut self) -> io::Result<()> {
        let path = &self.config.path;
        match self.config.keep {
            0 => fs::remove_file(path)?,
            keep => {
                for number in (1..keep).rev() {
                    match fs::rename(numbered(path, number), numbered(path, number + 1)) {
                        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                        _ => {}
                    }
                }
                fs::rename(path, numbered(path, 1))?;
            }
        }
        self.reopen()
    }

    fn write_lines(&mut self, lines: &[u8], now: SystemTime) -> io::Result<()> {
        let more = lines.len() as u64;
        if self.reopen.swap(false, Ordering::Relaxed) {
            self.file = None;
            self.reopen()?;
        }
        if self.is_due(more, now)
            && let Err(error) = self.rotate()
        {
            let error = &error as &dyn std::error::Error;
            tracing::warn!(error, "the access log cannot begin anew, it goes on");
        }
        if self.file.is_none() {
            self.reopen()?;
        }
        let Some(file) = &mut self.file else { return Err(io::ErrorKind::NotFound.into()) };
        if let Err(error) = file.write_all(lines) {
            // Not half a line, to which the next would be joined.
            let _ = file.set_len(self.size);
            self.file = None;
            return Err(error);
        }
        self.size += more;
        Ok(())
    }

    fn take(&mut self, lines: &[u8], now: SystemTime) {
        match self.write_lines(lines, now) {
            Ok(()) if self.is_failing => {
                self.is_failing = false;
                let lost = self.lost.load(Ordering::Relaxed);
                tracing::warn!(lost, "the access log can be written again");
            }
            Ok(()) => {}
            Err(error) => {
                let count = lines.iter().filter(|&&byte| byte == b'\n').count();
                self.lost.fetch_add(count as u64, Ordering::Relaxed);
                if !self.is_failing {
                    self.is_failing = true;
                    let error = &error as &dyn std::error::Error;
                    tracing::warn!(error, "the access log cannot be written, its lines are lost");
                }
            }
        }
    }
}

impl Write for LogFile {
    fn write(&mut self, lines: &[u8]) -> io::Result<usize> {
        if !lines.is_empty() {
            self.take(lines, SystemTime::now());
        }
        Ok(lines.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Has a log file opened anew.
#[derive(Clone, Debug)]
pub struct Reopener(Arc<AtomicBool>);

impl Reopener {
    /// With the next lines.
    pub fn reopen(&self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// `access.log.2`
fn numbered(path: &Path, number: usize) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(format!(".{number}"));
    name.into()
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicUsize;

    use super::*;

    /// A directory for one test, removed at the end.
    struct Dir(PathBuf);

    impl Dir {
        fn new() -> Self {
            static NEXT: AtomicUsize = AtomicUsize::new(0);
            let number = NEXT.fetch_add(1, Ordering::Relaxed);
            let name = format!("sterna-access-log-{}-{number}", std::process::id());
            let dir = Self(std::env::temp_dir().join(name));
            fs::create_dir_all(&dir.0).expect("created");
            dir
        }

        fn log(&self, max_size: u64, keep: usize) -> LogFile {
            let config = Config::new(self.0.join("a.log"));
            LogFile::open(Config { max_size, keep, ..config }).expect("opened")
        }

        fn read(&self, name: &str) -> Option<String> {
            fs::read_to_string(self.0.join(name)).ok()
        }
    }

    impl Drop for Dir {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    fn text(text: &str) -> Option<String> {
        Some(text.to_owned())
    }

    #[test]
    fn a_file_is_filled_to_its_size_and_not_beyond() {
        let dir = Dir::new();
        let mut log = dir.log(4, 2);
        for line in ["a\n", "b\n", "c\n", "d\n", "e\n", "f\n", "g\n"] {
            log.write_all(line.as_bytes()).expect("taken");
        }
        assert_eq!(dir.read("a.log"), text("g\n"));
        assert_eq!(dir.read("a.log.1"), text("e\nf\n"));
        assert_eq!(dir.read("a.log.2"), text("c\nd\n"));
        assert_eq!(dir.read("a.log.3"), None, "two are kept");
    }

    #[test]
    fn none_need_be_kept_and_lines_stay_whole_in_a_file_that_is_too_small_for_them() {
        let dir = Dir::new();
        let mut log = dir.log(1, 0);
        log.write_all(b"long\n").expect("taken");
        log.write_all(b"longer\n").expect("taken");
        assert_eq!(dir.read("a.log"), text("longer\n"));
        assert_eq!(dir.read("a.log.1"), None);
    }

    #[test]
    fn an_old_file_begins_anew_and_one_that_is_younger_does_not() {
        let dir = Dir::new();
        let mut log = dir.log(1000, 1);
        log.take(b"a\n", SystemTime::now());
        let old = log.begun + log.config.max_age;
        log.take(b"b\n", old - Duration::from_nanos(1));
        assert_eq!(dir.read("a.log"), text("a\nb\n"));
        log.take(b"c\n", old);
        assert_eq!(dir.read("a.log"), text("c\n"));
        assert_eq!(dir.read("a.log.1"), text("a\nb\n"));
    }

    #[test]
    fn a_file_that_was_moved_away_is_left_when_it_is_asked_for() {
        let dir = Dir::new();
        let mut log = dir.log(1000, 1);
        log.write_all(b"a\n").expect("taken");
        fs::rename(dir.0.join("a.log"), dir.0.join("moved")).expect("moved");
        log.write_all(b"b\n").expect("taken");
        log.reopener().reopen();
        log.write_all(b"c\n").expect("taken");
        assert_eq!(dir.read("moved"), text("a\nb\n"));
        assert_eq!(dir.read("a.log"), text("c\n"));
    }

    #[test]
    fn what_is_there_at_the_start_stays() {
        let dir = Dir::new();
        fs::write(dir.0.join("a.log"), "before\n").expect("written");
        dir.log(1000, 1).write_all(b"now\n").expect("taken");
        assert_eq!(dir.read("a.log"), text("before\nnow\n"));
    }

    #[test]
    fn a_file_that_takes_no_more_costs_its_lines_and_is_tried_again() {
        let dir = Dir::new();
        let mut log = dir.log(1000, 1);
        // Every write to it fails with ENOSPC.
        log.file = Some(OpenOptions::new().write(true).open("/dev/full").expect("opened"));
        log.write_all(b"a\nb\n").expect("taken");
        assert_eq!(log.lost().load(Ordering::Relaxed), 2);
        log.write_all(b"c\n").expect("taken");
        assert_eq!(log.lost().load(Ordering::Relaxed), 2);
        assert_eq!(dir.read("a.log"), text("c\n"));
    }

    #[test]
    fn a_place_that_cannot_be_is_refused_at_the_start() {
        let dir = Dir::new();
        let error = LogFile::open(Config::new(dir.0.join("none/a.log"))).expect_err("no directory");
        assert_eq!(error.kind(), io::ErrorKind::NotFound);
    }
}
