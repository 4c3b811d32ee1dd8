//! Keys in a directory, for the eyes of their owner.
//!
//! One file with a line for each key: its half day, and 64 hexadecimal digits. It appears whole, by rename, and a lock keeps
//! two servers that turn together from making two keys for one half day. Another lock is held by the one whose guard takes early
//! data: the kernel gives it back however that server ends.

use std::{
    fmt::Write as _,
    fs::{self, DirBuilder, File, OpenOptions},
    io::{self, Write as _},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::{Path, PathBuf},
};

use nix::{
    errno::Errno,
    fcntl::{Flock, FlockArg},
};

use super::{Claim, Key, KeyStore};

/// Keeps keys in a directory that it makes if there is none.
#[derive(Clone, Debug)]
pub struct FileKeys {
    directory: PathBuf,
}

impl FileKeys {
    /// In this directory, which servers on one machine may share.
    pub fn new(directory: impl Into<PathBuf>) -> Self {
        Self { directory: directory.into() }
    }

    fn lock(&self) -> io::Result<Flock<File>> {
        let file = self.open("lock")?;
        Flock::lock(file, FlockArg::LockExclusive).map_err(|(_, errno)| errno.into())
    }

    /// A file that is there to be locked.
    fn open(&self, name: &str) -> io::Result<File> {
        DirBuilder::new().recursive(true).mode(0o700).create(&self.directory)?;
        let mut options = OpenOptions::new();
        options.write(true).create(true).truncate(false).mode(0o600);
        options.open(self.directory.join(name))
    }
}

impl KeyStore for FileKeys {
    fn exchange(&self, offered: &[Key], oldest: u64) -> io::Result<Vec<Key>> {
        let _lock = self.lock()?;
        let path = self.directory.join(KEYS);
        let known = match fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
            Err(error) => return Err(error),
        };
        // A line that is none is left out, and its key made anew: tickets are worth no error at the start.
        let known: Vec<Key> = known.lines().filter_map(parse).collect();
        let mut keys: Vec<Key> = known.iter().filter(|key| key.epoch >= oldest).cloned().collect();
        for key in offered.iter().filter(|key| key.epoch >= oldest) {
            if keys.iter().all(|other| other.epoch != key.epoch) {
                keys.push(key.clone());
            }
        }
        if keys != known {
            write(&path, &keys)?;
        }
        Ok(keys)
    }

    fn claim(&self) -> io::Result<Option<Claim>> {
        match Flock::lock(self.open("guard")?, FlockArg::LockExclusiveNonblock) {
            Ok(held) => Ok(Some(Box::new(held))),
            Err((_, Errno::EWOULDBLOCK)) => Ok(None),
            Err((_, errno)) => Err(errno.into()),
        }
    }
}

fn write(path: &Path, keys: &[Key]) -> io::Result<()> {
    let mut text = String::new();
    for Key { epoch, secret } in keys {
        let _ = write!(text, "{epoch} ");
        for byte in secret {
            let _ = write!(text, "{byte:02x}");
        }
        text.push('\n');
    }
    let new = path.with_extension("new");
    // Left by a process that was killed here; its mode might be another one.
    match fs::remove_file(&new) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&new)?;
    // Without a wait for the disk: what a crash loses costs a whole handshake each.
    file.write_all(text.as_bytes())?;
    fs::rename(&new, path)
}

fn parse(line: &str) -> Option<Key> {
    let (epoch, digits) = line.split_once(' ')?;
    let mut secret = [0; 32];
    if digits.len() != 2 * secret.len() || !digits.is_ascii() {
        return None;
    }
    for (byte, pair) in secret.iter_mut().zip(digits.as_bytes().chunks_exact(2)) {
        *byte = u8::from_str_radix(str::from_utf8(pair).ok()?, 16).ok()?;
    }
    Some(Key { epoch: epoch.parse().ok()?, secret })
}

/// The file's name.
const KEYS: &str = "ticket.keys";
