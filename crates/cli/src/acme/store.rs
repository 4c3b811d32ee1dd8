//! What is kept of an authority: the account, and a file for each certificate with its key.
//!
//! Key and chain are in one file which appears by rename: a reader sees a pair that belongs together, whenever the writer
//! was killed. A lock keeps two processes that share the directory from ordering the same.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};

use super::pair::Pair;

/// A directory for one authority.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Store {
    dir: PathBuf,
}

/// Why something cannot be kept, or read again.
#[derive(Debug, thiserror::Error)]
#[error("cannot use {}: check the directory and its permissions", path.display())]
pub(crate) struct StoreError {
    path: PathBuf,
    source: io::Error,
}

impl Store {
    /// That of the authority with this directory URL, below `root`.
    pub(super) fn new(root: &Path, directory: &str) -> Self {
        let plain = |c: char| if c.is_ascii_alphanumeric() || c == '.' { c } else { '-' };
        let name: String = directory.trim_start_matches("https://").chars().map(plain).collect();
        Self { dir: root.join(name) }
    }

    /// Waits until no other process orders; `None` when it took too long.
    pub(super) async fn lock(&self, patience: Duration) -> Result<Option<Flock<File>>, StoreError> {
        self.make()?;
        let path = self.dir.join("lock");
        let until = tokio::time::Instant::now() + patience;
        let open =
            OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(&path);
        let mut file = open.map_err(|source| StoreError { path: path.clone(), source })?;
        loop {
            file = match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
                Ok(lock) => return Ok(Some(lock)),
                Err((file, Errno::EWOULDBLOCK)) if tokio::time::Instant::now() < until => file,
                Err((_, Errno::EWOULDBLOCK)) => return Ok(None),
                Err((_, errno)) => return Err(StoreError { path, source: errno.into() }),
            };
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    }

    /// What is kept for a host; what cannot be read or has ended is as if it were not there.
    pub(super) fn pair(&self, host: &str) -> Option<Pair> {
        let path = self.path(host);
        let pem = fs::read_to_string(&path).ok()?;
        let pair = Pair::of_pem(&pem);
        if let Err(error) = &pair {
            tracing::warn!(%error, path = %path.display(), "a kept certificate cannot be used");
        }
        pair.ok()
    }

    pub(super) fn keep(&self, host: &str, pem: &str) -> Result<(), StoreError> {
        self.make()?;
        write(&self.path(host), pem.as_bytes())
    }

    pub(super) fn account(&self) -> Result<Option<Vec<u8>>, StoreError> {
        let path = self.dir.join("account.json");
        match fs::read(&path) {
            Ok(content) => Ok(Some(content)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(source) => Err(StoreError { path, source }),
        }
    }

    pub(super) fn keep_account(&self, content: &[u8]) -> Result<(), StoreError> {
        self.make()?;
        write(&self.dir.join("account.json"), content)
    }

    /// Makes room for another.
    pub(super) fn forget_account(&self) -> Result<(), StoreError> {
        let path = self.dir.join("account.json");
        fs::remove_file(&path).map_err(|source| StoreError { path, source })
    }

    fn path(&self, host: &str) -> PathBuf {
        // A host has been checked to be letters, digits, hyphens and dots, with a star in front at most.
        self.dir.join(format!("{}.pem", host.replace('*', "_wildcard")))
    }

    fn make(&self) -> Result<(), StoreError> {
        let made = DirBuilder::new().recursive(true).mode(0o700).create(&self.dir);
        made.map_err(|source| StoreError { path: self.dir.clone(), source })
    }
}

/// Replaces the file; its owner alone may read it.
fn write(path: &Path, content: &[u8]) -> Result<(), StoreError> {
    let new = path.with_extension("new");
    let written = (|| {
        // Left by a process that was killed here.
        match fs::remove_file(&new) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&new)?;
        file.write_all(content)?;
        file.sync_all()?;
        fs::rename(&new, path)
    })();
    written.map_err(|source| StoreError { path: path.to_owned(), source })
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn folder(name: &str) -> PathBuf {
        let folder =
            std::env::temp_dir().join(format!("sterna-acme-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&folder);
        folder
    }

    #[test]
    fn what_is_kept_is_for_its_owner_alone_and_comes_back_whole() {
        let root = folder("kept");
        let store = Store::new(&root, "https://ca.example/dir");
        let pair = rcgen::generate_simple_self_signed(["a.example".to_owned()]).expect("a pair");
        let pem = format!("{}{}", pair.signing_key.serialize_pem(), pair.cert.pem());
        store.keep("*.a.example", &pem).expect("writable");
        assert_eq!(store.pair("*.a.example").expect("kept").pem, pem);
        assert!(store.pair("a.example").is_none());
        let path = root.join("ca.example-dir/_wildcard.a.example.pem");
        let mode = fs::metadata(path).expect("a file").permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        fs::remove_dir_all(root).expect("removable");
    }

    #[test]
    fn a_file_that_was_cut_is_as_if_it_were_not_there() {
        let root = folder("cut");
        let store = Store::new(&root, "https://ca.example/dir");
        let pair = rcgen::generate_simple_self_signed(["a.example".to_owned()]).expect("a pair");
        store.keep("a.example", &pair.signing_key.serialize_pem()).expect("writable");
        assert!(store.pair("a.example").is_none());
        fs::remove_dir_all(root).expect("removable");
    }

    #[test]
    fn two_do_not_hold_the_lock_at_once() {
        let root = folder("lock");
        let store = Store::new(&root, "https://ca.example/dir");
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        runtime.expect("a runtime").block_on(async {
            let first = store.lock(Duration::ZERO).await.expect("a file").expect("free");
            assert!(store.lock(Duration::ZERO).await.expect("a file").is_none());
            drop(first);
            assert!(store.lock(Duration::ZERO).await.expect("a file").is_some());
        });
        fs::remove_dir_all(root).expect("removable");
    }
}
