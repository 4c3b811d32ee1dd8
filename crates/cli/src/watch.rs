//! `--watch`: reloads when a file of the configuration changes.
//!
//! Directories are watched, not files: an editor writes a new file and renames it over the old one. What happens within a
//! short time is one change, so that a half-written set of files is not read.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::io;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify};

use crate::error::Error;
use crate::operation::{Operation, Reloader};

/// Watches from now on, on a thread of its own.
pub(crate) fn start(operation: &Arc<Operation>, reloader: &Reloader) -> Result<(), Error> {
    let mut watch = Watch::new().map_err(Error::Watch)?;
    watch.follow(operation.files());
    let (operation, reloader) = (operation.clone(), reloader.clone());
    let spawned = thread::Builder::new().name("watch".into()).spawn(move || {
        loop {
            match watch.changed(Some(AGAIN)) {
                Ok(true) => reloader.reload(),
                Ok(false) => {}
                Err(error) => {
                    tracing::error!(%error, "the files are not watched any more");
                    return;
                }
            }
            // Those of the last configuration that could be served: a mistake is mended in one of them. There are others too
            // after a reload that somebody else has asked for.
            watch.follow(operation.files());
        }
    });
    spawned.map(drop).map_err(Error::Watch)
}

struct Watch {
    inotify: Inotify,
    directories: BTreeSet<PathBuf>,
    files: Vec<PathBuf>,
}

impl Watch {
    fn new() -> io::Result<Self> {
        let inotify = Inotify::init(InitFlags::IN_CLOEXEC | InitFlags::IN_NONBLOCK)?;
        Ok(Self { inotify, directories: BTreeSet::new(), files: Vec::new() })
    }

    /// Watches the directories of these files, beside those which it watches already.
    fn follow(&mut self, files: Vec<PathBuf>) {
        if files == self.files {
            return;
        }
        self.files = files;
        for file in &self.files {
            // A link may be what changes, or what it leads to.
            for file in [Some(file.clone()), file.canonicalize().ok()].into_iter().flatten() {
                let directory = match file.parent() {
                    Some(parent) if parent != Path::new("") => parent.to_owned(),
                    _ => PathBuf::from("."),
                };
                if self.directories.contains(&directory) {
                    continue;
                }
                match self.inotify.add_watch(&directory, CHANGES) {
                    Ok(_) => drop(self.directories.insert(directory)),
                    Err(error) => {
                        tracing::warn!(%error, directory = %directory.display(), "not watched");
                    }
                }
            }
        }
    }

    /// Waits until one of the files has changed, and nothing more happens for a moment; `false` when none has for as many
    /// milliseconds as `limit` says. Who writes on and on is not waited for longer than [`LONGEST`].
    fn changed(&mut self, limit: Option<u16>) -> io::Result<bool> {
        let mut since: Option<Instant> = None;
        loop {
            let patience = match since {
                Some(since) if since.elapsed() >= LONGEST => return Ok(true),
                Some(_) => QUIET.into(),
                None => limit.map_or(PollTimeout::NONE, PollTimeout::from),
            };
            let mut fds = [PollFd::new(self.inotify.as_fd(), PollFlags::POLLIN)];
            match poll(&mut fds, patience) {
                Ok(0) => return Ok(since.is_some()),
                Ok(_) | Err(nix::errno::Errno::EINTR) => {}
                Err(error) => return Err(error.into()),
            }
            match self.inotify.read_events() {
                Ok(events) => {
                    // An event without a name tells that the kernel's queue was full.
                    let is_ours = events
                        .iter()
                        .any(|event| event.name.as_deref().is_none_or(|name| self.is_ours(name)));
                    if is_ours {
                        since.get_or_insert_with(Instant::now);
                    }
                }
                Err(nix::errno::Errno::EAGAIN | nix::errno::Errno::EINTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// A file that was read, or one that an `include` may take in. Kubernetes changes a link named `..data`.
    fn is_ours(&self, name: &OsStr) -> bool {
        let is_toml = Path::new(name).extension() == Some(OsStr::new("toml"));
        is_toml || name == "..data" || self.files.iter().any(|file| file.file_name() == Some(name))
    }
}

const CHANGES: AddWatchFlags = AddWatchFlags::IN_CLOSE_WRITE
    .union(AddWatchFlags::IN_MOVED_TO)
    .union(AddWatchFlags::IN_MOVED_FROM)
    .union(AddWatchFlags::IN_DELETE);

/// Milliseconds without an event, after which a change is complete: a key and its certificate are two files.
const QUIET: u8 = 200;

/// How long a change may take: a directory in which something is written all the time is read in between.
const LONGEST: Duration = Duration::from_millis(600);

/// Milliseconds after which it is asked again which files there are.
const AGAIN: u16 = 1000;

#[cfg(test)]
mod tests {
    use std::fs;
    use std::sync::mpsc::{self, RecvTimeoutError};

    use super::*;

    #[test]
    fn a_file_that_an_editor_replaces_has_changed_and_its_swap_file_has_not() {
        let directory = std::env::temp_dir().join(format!("sterna-watch-{}", std::process::id()));
        fs::create_dir_all(&directory).expect("created");
        let file = directory.join("sterna.toml");
        fs::write(&file, "a").expect("written");
        let mut watch = Watch::new().expect("inotify");
        watch.follow(vec![file.clone()]);
        assert!(!watch.is_ours(OsStr::new(".sterna.toml.swp")));
        assert!(!watch.is_ours(OsStr::new("4913")));
        fs::write(directory.join("new"), "b").expect("written");
        fs::rename(directory.join("new"), &file).expect("renamed");
        assert!(watch.changed(None).expect("told"));
        assert!(!watch.changed(Some(1)).expect("asked"), "nothing else has happened");

        let (over, ends) = mpsc::channel::<()>();
        let noise = directory.join("noise");
        let writer = thread::spawn(move || {
            // Far more often than a moment of quiet would need.
            while ends.recv_timeout(Duration::from_millis(10)) == Err(RecvTimeoutError::Timeout) {
                fs::write(&noise, "c").expect("written");
            }
        });
        fs::write(&file, "d").expect("written");
        assert!(watch.changed(None).expect("told"), "though something else is never quiet");
        drop(over);
        writer.join().expect("ended");
        fs::remove_dir_all(&directory).expect("removed");
    }
}
