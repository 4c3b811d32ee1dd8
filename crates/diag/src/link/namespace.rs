//! A network namespace without a name: it ends with the last process and descriptor in it, however they end.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::{Child, Command};
use std::thread;

use nix::sched::{CloneFlags, setns, unshare};
use nix::unistd::Pid;

/// A network of its own, with nothing in it but a loopback interface that is down.
#[derive(Debug)]
pub(crate) struct Namespace(File);

impl Namespace {
    /// Makes one. The calling thread stays where it is.
    pub(crate) fn new() -> io::Result<Self> {
        // Namespaces belong to threads: one that ends takes no other along.
        let made = thread::spawn(|| {
            unshare(CloneFlags::CLONE_NEWNET)?;
            File::open("/proc/thread-self/ns/net")
        });
        made.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)).map(Self)
    }

    /// Runs `work` on a thread inside. The sockets it makes stay inside, whoever uses them later.
    pub(crate) fn enter<T: Send>(&self, work: impl FnOnce() -> T + Send) -> io::Result<T> {
        thread::scope(|scope| {
            let inside = scope.spawn(|| {
                setns(&self.0, CloneFlags::CLONE_NEWNET)?;
                Ok(work())
            });
            inside.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        })
    }

    /// Starts `command` inside.
    pub(crate) fn spawn(&self, command: &mut Command) -> io::Result<Child> {
        self.enter(|| command.spawn())?
    }

    /// The processes inside. One that ends meanwhile is not among them, and neither is one that ended and was not waited for.
    pub(crate) fn processes(&self) -> io::Result<Vec<Pid>> {
        let ours = self.0.metadata()?;
        let is_inside = |process: &Path| {
            let inside = fs::metadata(process.join("ns/net"));
            inside.is_ok_and(|it| (it.dev(), it.ino()) == (ours.dev(), ours.ino()))
        };
        let mut inside = Vec::new();
        for entry in fs::read_dir("/proc")? {
            let path = entry?.path();
            let id = path.file_name().and_then(OsStr::to_str).and_then(|id| id.parse().ok());
            if let Some(id) = id.filter(|_| is_inside(&path)) {
                inside.push(Pid::from_raw(id));
            }
        }
        Ok(inside)
    }

    /// Where other processes find the namespace for as long as this value lives.
    pub(crate) fn path(&self) -> String {
        use std::os::fd::AsRawFd;
        format!("/proc/{}/fd/{}", std::process::id(), self.0.as_raw_fd())
    }
}
