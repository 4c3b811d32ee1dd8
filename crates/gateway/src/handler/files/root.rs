//! Opening files below one directory, and nothing else.
//!
//! The kernel holds the border: `openat2` with `RESOLVE_BENEATH` refuses every step that leaves the
//! directory, by `..`, by an absolute path or by a symbolic link, also when the tree changes in the
//! middle of the call. Links that stay inside are followed. Where `openat2` is not to be had, a walk
//! follows no link at all.
//!
//! A worker must not wait for a disk, so that a file is first sought with what the kernel has in
//! memory (`RESOLVE_CACHED`), and on the blocking pool only if that is not enough.

use std::ffi::OsStr;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;
use std::{fmt, io};

use rustix::fs::{AtFlags, Mode, OFlags, ResolveFlags, Stat, fstat, open, openat, openat2, statat};
use rustix::io::Errno;

use super::document::Identity;
use crate::error::Error;

/// A directory whose files may be served.
#[derive(Clone)]
pub struct Root {
    shared: Arc<Shared>,
}

struct Shared {
    dir: OwnedFd,
    resolve: Resolve,
}

/// How the border is held, best first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Resolve {
    /// By `openat2`, which can also answer from memory alone (Linux 5.12).
    Cached,
    /// By `openat2` (Linux 5.6).
    Beneath,
    /// By a walk of our own, without symbolic links.
    Walk,
}

impl Root {
    /// Opens the directory at `path`.
    ///
    /// # Errors
    /// When it does not exist, is not a directory, or may not be entered.
    pub fn open(path: &Path) -> Result<Self, RootError> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let dir = open(path, flags, Mode::empty())
            .map_err(|errno| RootError { path: path.to_owned(), source: errno.into() })?;
        let resolve = Resolve::probe(&dir);
        Ok(Self { shared: Arc::new(Shared { dir, resolve }) })
    }

    /// Opens the file `name`, which [`super::path`] has made relative and clean.
    ///
    /// # Cancel safety
    /// Dropping the future leaves nothing open.
    pub(super) async fn file(&self, name: &[u8]) -> Result<OwnedFd, Error> {
        let name = OsStr::from_bytes(name);
        if self.shared.resolve == Resolve::Cached {
            match self.shared.beneath(name, FILE, ResolveFlags::CACHED) {
                Err(Errno::AGAIN) => {}
                opened => return opened.map_err(refused),
            }
        }
        let (shared, name) = (Arc::clone(&self.shared), name.to_owned());
        let opened = tokio::task::spawn_blocking(move || shared.open(&name, FILE));
        opened.await.map_err(|cause| Error::Io(cause.into()))?.map_err(refused)
    }

    /// Opens the directory `name` to read what is in it; the empty name is the root itself. May wait
    /// for a disk.
    pub(super) fn directory(&self, name: &[u8]) -> Result<OwnedFd, Error> {
        let name = if name.is_empty() { b"." } else { name };
        self.shared.open(OsStr::from_bytes(name), FILE | OFlags::DIRECTORY).map_err(refused)
    }

    /// What `name` leads to, if that is inside. May wait for a disk.
    pub(super) fn stat(&self, name: &[u8]) -> Result<Stat, Error> {
        let flags = OFlags::PATH | OFlags::CLOEXEC;
        let found = self.shared.open(OsStr::from_bytes(name), flags).map_err(refused)?;
        fstat(&found).map_err(refused)
    }

    /// Which file `name` leads to, if to any.
    ///
    /// This opens nothing and may look outside: it tells only whether a file that was opened before is
    /// still the one behind its name.
    pub(super) fn identity(&self, name: &[u8]) -> Option<Identity> {
        let found = statat(&self.shared.dir, OsStr::from_bytes(name), AtFlags::empty());
        found.ok().map(|stat| Identity::of(&stat))
    }
}

impl Shared {
    fn open(&self, name: &OsStr, flags: OFlags) -> Result<OwnedFd, Errno> {
        match self.resolve {
            Resolve::Cached | Resolve::Beneath => self.beneath(name, flags, ResolveFlags::empty()),
            Resolve::Walk => self.walk(name, flags),
        }
    }

    /// One `openat2`, with a few more attempts when a rename elsewhere disturbed it.
    fn beneath(&self, name: &OsStr, flags: OFlags, more: ResolveFlags) -> Result<OwnedFd, Errno> {
        let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS | more;
        let attempt = || openat2(&self.dir, name, flags, Mode::empty(), resolve);
        if more.contains(ResolveFlags::CACHED) {
            return attempt();
        }
        let mut opened = attempt();
        for _ in 0..ATTEMPTS {
            match opened {
                Err(Errno::AGAIN | Errno::INTR) => opened = attempt(),
                _ => break,
            }
        }
        opened
    }

    fn walk(&self, name: &OsStr, flags: OFlags) -> Result<OwnedFd, Errno> {
        if name == "." {
            return openat(&self.dir, name, flags, Mode::empty());
        }
        let step = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let mut components = Path::new(name).components().peekable();
        let mut dir = openat(&self.dir, ".", step, Mode::empty())?;
        while let Some(component) = components.next() {
            let Component::Normal(component) = component else { return Err(Errno::XDEV) };
            if components.peek().is_none() {
                return openat(&dir, component, flags | OFlags::NOFOLLOW, Mode::empty());
            }
            dir = openat(&dir, component, step, Mode::empty())?;
        }
        Err(Errno::NOENT)
    }
}

impl Resolve {
    /// Tries each way on the directory itself.
    fn probe(dir: &OwnedFd) -> Self {
        let attempt = |resolve| openat2(dir, ".", OFlags::PATH, Mode::empty(), resolve);
        // The directory's own entry is in memory, for it has just been opened.
        if attempt(ResolveFlags::BENEATH | ResolveFlags::CACHED).is_ok() {
            Self::Cached
        } else if attempt(ResolveFlags::BENEATH).is_ok() {
            Self::Beneath
        } else {
            Self::Walk
        }
    }
}

impl fmt::Debug for Root {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Root").field("resolve", &self.shared.resolve).finish_non_exhaustive()
    }
}

/// Why a directory cannot be a [`Root`].
#[derive(Debug, thiserror::Error)]
#[error("cannot serve the directory {}", path.display())]
pub struct RootError {
    path: PathBuf,
    source: io::Error,
}

/// What a refused open is to the client.
///
/// A link out of the root (`EXDEV`, `ELOOP`) is as good as no file: whether its target exists is not
/// the client's business.
fn refused(errno: Errno) -> Error {
    match errno {
        Errno::ACCESS | Errno::PERM => Error::Forbidden,
        Errno::MFILE | Errno::NFILE | Errno::NOMEM => Error::Exhausted(errno.into()),
        Errno::NOENT
        | Errno::NOTDIR
        | Errno::XDEV
        | Errno::LOOP
        | Errno::NAMETOOLONG
        | Errno::NXIO
        | Errno::NODEV
        | Errno::ILSEQ
        | Errno::INVAL => Error::NotFound,
        _ => Error::Io(errno.into()),
    }
}

/// `NONBLOCK`: opening a FIFO for reading must not wait for its writer.
const FILE: OFlags =
    OFlags::RDONLY.union(OFlags::CLOEXEC).union(OFlags::NONBLOCK).union(OFlags::NOCTTY);

/// How often a lookup that a concurrent rename disturbed is tried again.
const ATTEMPTS: usize = 8;

#[cfg(test)]
mod tests;
