//! Where content goes: stdout, a file, or nowhere.
//!
//! A file is written under another name beside it and renamed when it is whole, so that half of it never looks like all
//! of it. What is no ordinary file, such as `/dev/null`, is written to as it is.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;

use super::GetError;

/// Takes content, and keeps it when it is whole.
pub(super) enum Sink {
    Stdout,
    Nowhere,
    Device { file: Arc<File>, path: PathBuf },
    File(Partial),
}

/// A file that is not whole. Dropping it removes it.
pub(super) struct Partial {
    file: Option<File>,
    beside: PathBuf,
    path: PathBuf,
}

impl Sink {
    /// Opens what the command line names. A pipe waits until somebody reads it: see [`waiting`].
    pub(super) fn open(output: Option<&Path>, is_json: bool) -> Result<Self, GetError> {
        match output {
            None if is_json => Ok(Self::Nowhere),
            None => Ok(Self::Stdout),
            Some(path) if path == Path::new("-") && is_json => Ok(Self::Nowhere),
            Some(path) if path == Path::new("-") => Ok(Self::Stdout),
            Some(path) => {
                Self::at(path).map_err(|source| GetError::File { path: path.to_owned(), source })
            }
        }
    }

    fn at(path: &Path) -> io::Result<Self> {
        // A link stays, and what it leads to is replaced.
        let path = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
        let kept = match fs::metadata(&path) {
            Ok(found) if found.is_dir() => return Err(io::ErrorKind::IsADirectory.into()),
            Ok(found) if found.is_file() => Some(found.permissions().mode() & 0o777),
            Ok(_) => {
                let file = OpenOptions::new().write(true).open(&path)?;
                return Ok(Self::Device { file: Arc::new(file), path });
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => return Err(error),
        };
        let beside = beside(&path).ok_or(io::ErrorKind::InvalidFilename)?;
        let mut options = OpenOptions::new();
        options.write(true).create_new(true).mode(kept.unwrap_or(0o666));
        let file = match options.open(&beside) {
            // Left by a process of the same number, which is gone.
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                fs::remove_file(&beside)?;
                options.open(&beside)?
            }
            opened => opened?,
        };
        Ok(Self::File(Partial { file: Some(file), beside, path }))
    }

    /// Takes a piece of the content.
    ///
    /// # Cancel safety
    /// Part of the piece may have been written.
    pub(super) async fn write(&mut self, piece: Bytes) -> Result<(), GetError> {
        match self {
            Self::Nowhere => Ok(()),
            Self::Stdout => waiting(move || stdout(|out| out.write_all(&piece))).await,
            Self::Device { file, path } => {
                let (file, path) = (file.clone(), path.clone());
                let refused = move |source| GetError::File { path, source };
                waiting(move || (&*file).write_all(&piece).map_err(refused)).await
            }
            Self::File(partial) => {
                let refused = |source| GetError::File { path: partial.path.clone(), source };
                match &mut partial.file {
                    Some(file) => file.write_all(&piece).map_err(refused),
                    None => Ok(()),
                }
            }
        }
    }

    /// All of it is here: it may be seen.
    pub(super) async fn finish(self) -> Result<(), GetError> {
        match self {
            Self::Nowhere | Self::Device { .. } => Ok(()),
            Self::Stdout => waiting(|| stdout(|out| out.flush())).await,
            Self::File(mut partial) => {
                let path = partial.path.clone();
                partial.keep().map_err(|source| GetError::File { path, source })
            }
        }
    }
}

impl Partial {
    fn keep(&mut self) -> io::Result<()> {
        let Some(file) = &self.file else { return Ok(()) };
        // Renamed before it is written, it could be found empty after the power was lost.
        file.sync_all()?;
        fs::rename(&self.beside, &self.path)?;
        self.file = None;
        Ok(())
    }
}

impl Drop for Partial {
    fn drop(&mut self) {
        if self.file.is_some() {
            let _ = fs::remove_file(&self.beside);
        }
    }
}

/// Does what may wait for a reader, on a thread of its own: whoever waits for it hears of signals and of the time.
///
/// # Cancel safety
/// It goes on, and is ended by the end of the process.
pub(super) async fn waiting<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, GetError> + Send + 'static,
) -> Result<T, GetError> {
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => done,
        Err(error) => match error.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            // The runtime ends, and so does whoever waits.
            Err(_) => Err(GetError::Interrupted),
        },
    }
}

/// Writes to stdout; that nobody reads it any more is told apart from a full disk behind it.
pub(super) fn stdout(
    write: impl FnOnce(&mut io::StdoutLock<'static>) -> io::Result<()>,
) -> Result<(), GetError> {
    write(&mut io::stdout().lock()).map_err(|error| match error.kind() {
        io::ErrorKind::BrokenPipe => GetError::NobodyReads,
        _ => GetError::Stdout(error),
    })
}

/// In the same directory, so that it can be renamed, and hidden.
fn beside(path: &Path) -> Option<PathBuf> {
    let name = path.file_name()?.to_str()?;
    Some(path.with_file_name(format!(".{name}.part-{}", std::process::id())))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A directory that goes when the test ends.
    struct Directory(PathBuf);

    impl Directory {
        fn new(name: &str) -> Self {
            let path =
                std::env::temp_dir().join(format!("sterna-sink-{name}-{}", std::process::id()));
            let _ = fs::remove_dir_all(&path);
            fs::create_dir_all(&path).unwrap();
            Self(path)
        }

        fn names(&self) -> Vec<String> {
            let entries = fs::read_dir(&self.0).unwrap();
            entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
        }
    }

    impl Drop for Directory {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    fn now<T>(future: impl Future<Output = T>) -> T {
        tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(future)
    }

    #[test]
    fn file_appears_when_it_is_whole_and_keeps_its_mode() {
        let dir = Directory::new("whole");
        let path = dir.0.join("out");
        fs::write(&path, "old").unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
        let mut sink = Sink::open(Some(&path), false).unwrap();
        now(sink.write(Bytes::from_static(b"new "))).unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "old");
        now(sink.write(Bytes::from_static(b"content"))).unwrap();
        now(sink.finish()).unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "new content");
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o640);
        assert_eq!(dir.names(), ["out"]);
    }

    #[test]
    fn what_is_not_finished_leaves_nothing() {
        let dir = Directory::new("half");
        let mut sink = Sink::open(Some(&dir.0.join("out")), false).unwrap();
        now(sink.write(Bytes::from_static(b"half"))).unwrap();
        assert_eq!(dir.names().len(), 1);
        drop(sink);
        assert!(dir.names().is_empty());
    }

    #[test]
    fn link_stays_and_leads_to_the_new_content() {
        let dir = Directory::new("link");
        let (path, link) = (dir.0.join("out"), dir.0.join("link"));
        fs::write(&path, "old").unwrap();
        std::os::unix::fs::symlink(&path, &link).unwrap();
        let mut sink = Sink::open(Some(&link), true).unwrap();
        now(sink.write(Bytes::from_static(b"new"))).unwrap();
        now(sink.finish()).unwrap();
        assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
        assert_eq!(fs::read_to_string(&path).unwrap(), "new");
    }

    #[test]
    fn device_is_written_to_and_a_directory_refused() {
        let mut sink = Sink::open(Some(Path::new("/dev/null")), false).unwrap();
        now(sink.write(Bytes::from_static(b"gone"))).unwrap();
        now(sink.finish()).unwrap();
        assert!(!fs::metadata("/dev/null").unwrap().is_file());
        let dir = Directory::new("dir");
        assert!(matches!(Sink::open(Some(&dir.0), false), Err(GetError::File { .. })));
        let mut full = Sink::open(Some(Path::new("/dev/full")), false).unwrap();
        assert_eq!(now(full.write(Bytes::from_static(b"x"))).unwrap_err().exit_code(), 22);
    }
}
