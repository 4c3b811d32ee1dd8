//! The secret of QUIC, kept where the local authority is: after a restart clients learn at once that their connections are
//! gone, and tokens that they were given still count.

use std::fs::{self, DirBuilder, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::Path;
use std::process;

use sterna_net::quic::Secret;

use crate::local_ca;

/// That of the directory, or `None` where it cannot be used: worth a word, and no failure.
pub(crate) fn open() -> Option<Secret> {
    let Ok(directory) = local_ca::directory() else {
        tracing::warn!("QUIC's secret ends with this process: neither STERNA_DATA nor HOME is set");
        return None;
    };
    let directory = directory.with_file_name("quic");
    let kept = keep(&directory);
    if let Err(error) = &kept {
        let directory = directory.display();
        tracing::warn!(%error, %directory, "QUIC's secret ends with this process");
    }
    kept.ok()
}

/// The secret in there, made if there is none. Of two servers that make it at once one wins, and both have it.
fn keep(directory: &Path) -> io::Result<Secret> {
    DirBuilder::new().recursive(true).mode(0o700).create(directory)?;
    let path = directory.join(NAME);
    match read(&path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        secret => return secret,
    }
    let new = directory.join(format!("{NAME}.{}", process::id()));
    let mut bytes = [0; Secret::LENGTH];
    aws_lc_rs::rand::fill(&mut bytes).map_err(|_| io::Error::other("no randomness"))?;
    // Left by a process of this number that was killed here; its mode might be another one.
    let _ = fs::remove_file(&new);
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&new)?;
    file.write_all(&bytes)?;
    // Unlike a rename it does not take the place of another's.
    let linked = fs::hard_link(&new, &path);
    fs::remove_file(&new)?;
    match linked {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error),
        _ => read(&path),
    }
}

fn read(path: &Path) -> io::Result<Secret> {
    let file = OpenOptions::new().read(true).open(path)?;
    if file.metadata()?.permissions().mode() & 0o077 != 0 {
        return Err(io::Error::other(format!(
            "others may read {}: remove it, and restart with a new one",
            path.display()
        )));
    }
    let mut bytes = Vec::new();
    file.take(Secret::LENGTH as u64 + 1).read_to_end(&mut bytes)?;
    let bytes = <[u8; Secret::LENGTH]>::try_from(bytes);
    bytes.map(Secret::new).map_err(|_| {
        let path = path.display();
        io::Error::other(format!("{path} is no secret of {} bytes: remove it", Secret::LENGTH))
    })
}

/// The file's name.
const NAME: &str = "secret";

#[cfg(test)]
mod tests {
    use std::env;
    use std::path::PathBuf;

    use super::*;

    struct Folder(PathBuf);

    impl Folder {
        fn new(name: &str) -> Self {
            let folder = env::temp_dir().join(format!("sterna-secret-{name}-{}", process::id()));
            let _ = fs::remove_dir_all(&folder);
            Self(folder)
        }

        fn bytes(&self) -> Vec<u8> {
            fs::read(self.0.join(NAME)).unwrap()
        }
    }

    impl Drop for Folder {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    #[test]
    fn a_secret_is_made_once_for_its_owner_s_eyes_and_then_kept() {
        let folder = Folder::new("kept");
        keep(&folder.0).unwrap();
        let bytes = folder.bytes();
        keep(&folder.0).unwrap();
        assert_eq!(folder.bytes(), bytes);
        assert_eq!((bytes.len(), bytes == [0; Secret::LENGTH]), (Secret::LENGTH, false));
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode(&folder.0), mode(&folder.0.join(NAME))), (0o700, 0o600));
        assert_eq!(fs::read_dir(&folder.0).unwrap().count(), 1, "nothing else is left");
    }

    #[test]
    fn what_others_may_read_and_what_has_another_length_is_not_used() {
        let folder = Folder::new("refused");
        keep(&folder.0).unwrap();
        let path = folder.0.join(NAME);
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
        assert!(keep(&folder.0).unwrap_err().to_string().contains("others may read"));
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        for length in [0, Secret::LENGTH - 1, Secret::LENGTH + 1] {
            fs::write(&path, vec![7; length]).unwrap();
            assert!(keep(&folder.0).unwrap_err().to_string().contains("no secret of 32 bytes"));
        }
    }
}
