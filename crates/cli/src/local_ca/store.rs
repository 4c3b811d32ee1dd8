//! The directory in which the local authority is kept.
//!
//! Whole files appear by rename, and a lock keeps two servers that start together from making two
//! authorities. Keys are readable by their owner alone.

use std::env;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use nix::fcntl::{Flock, FlockArg};
use rcgen::KeyPair;
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;

use super::LocalCaError;

/// A directory, locked until this is dropped.
#[derive(Debug)]
pub(super) struct Store {
    dir: PathBuf,
    _lock: Flock<File>,
}

/// Who may read a file.
#[derive(Clone, Copy, Debug)]
pub(super) enum Access {
    Owner,
    /// All that may enter the directory; it says that the content is no secret.
    Everyone,
}

impl Store {
    /// Makes the directory if there is none, and waits for the lock on it.
    pub(super) fn lock(dir: &Path) -> Result<Self, LocalCaError> {
        let refused = |source| LocalCaError::Store { path: dir.to_owned(), source };
        DirBuilder::new().recursive(true).mode(0o700).create(dir).map_err(refused)?;
        let mut options = OpenOptions::new();
        options.write(true).create(true).truncate(false).mode(0o600);
        let file = options.open(dir.join("lock")).map_err(refused)?;
        let lock = Flock::lock(file, FlockArg::LockExclusive);
        let lock = lock.map_err(|(_, errno)| refused(errno.into()))?;
        Ok(Self { dir: dir.to_owned(), _lock: lock })
    }

    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }

    /// The file, or `None` when there is none.
    pub(super) fn read(&self, name: &str) -> Result<Option<String>, LocalCaError> {
        match fs::read_to_string(self.path(name)) {
            Ok(text) => Ok(Some(text)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) if error.kind() == io::ErrorKind::InvalidData => Err(self.broken(name)),
            Err(source) => Err(LocalCaError::Store { path: self.path(name), source }),
        }
    }

    /// Replaces the file: whoever reads it sees the old content or the new one.
    pub(super) fn write(
        &self,
        name: &str,
        content: &str,
        access: Access,
    ) -> Result<(), LocalCaError> {
        let path = self.path(name);
        let new = path.with_extension("new");
        let mode = match access {
            Access::Owner => 0o600,
            Access::Everyone => 0o644,
        };
        let written = (|| {
            // Left by a process that was killed here; its mode might be another one.
            match fs::remove_file(&new) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
            let mut file = OpenOptions::new().write(true).create_new(true).mode(mode).open(&new)?;
            file.write_all(content.as_bytes())?;
            file.sync_all()?;
            fs::rename(&new, &path)
        })();
        written.map_err(|source| LocalCaError::Store { path, source })
    }

    pub(super) fn certificate(
        &self,
        name: &str,
        pem: &str,
    ) -> Result<CertificateDer<'static>, LocalCaError> {
        CertificateDer::from_pem_slice(pem.as_bytes()).map_err(|_| self.broken(name))
    }

    pub(super) fn key(&self, name: &str, pem: &str) -> Result<KeyPair, LocalCaError> {
        KeyPair::from_pem(pem).map_err(|_| self.broken(name))
    }

    pub(super) fn broken(&self, name: &str) -> LocalCaError {
        LocalCaError::Broken { path: self.path(name) }
    }
}

/// Where the authority is kept: below `STERNA_DATA`, else where XDG puts the data of a user.
pub(crate) fn directory() -> Result<PathBuf, LocalCaError> {
    let variable = |name| env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let data = variable("STERNA_DATA")
        .or_else(|| variable("XDG_DATA_HOME").map(|data| data.join("sterna")))
        .or_else(|| variable("HOME").map(|home| home.join(".local/share/sterna")));
    Ok(data.ok_or(LocalCaError::NoDirectory)?.join("local-ca"))
}
