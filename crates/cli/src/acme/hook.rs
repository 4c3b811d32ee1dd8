//! The operator's program that publishes TXT records for DNS-01.

use std::io;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use tokio::process::Command;
use tokio::time::timeout;

/// Why a record is not there.
#[derive(Debug, thiserror::Error)]
pub(crate) enum HookError {
    #[error("cannot run {}: name a program that this user may run as `dns_hook`", path.display())]
    Run { path: PathBuf, source: io::Error },
    #[error("{} failed with {status}; what it says is above", path.display())]
    Failed { path: PathBuf, status: ExitStatus },
    #[error("{} has not ended within {} s", path.display(), PATIENCE.as_secs())]
    TooLate { path: PathBuf },
}

/// Runs `HOOK VERB NAME VALUE`.
pub(super) async fn run(path: &Path, verb: &str, name: &str, value: &str) -> Result<(), HookError> {
    let mut command = Command::new(path);
    command.args([verb, name, value]).stdin(Stdio::null()).stdout(Stdio::null()).kill_on_drop(true);
    let ended = timeout(PATIENCE, command.status()).await;
    let ended = ended.map_err(|_| HookError::TooLate { path: path.to_owned() })?;
    let status = ended.map_err(|source| HookError::Run { path: path.to_owned(), source })?;
    match status.success() {
        true => Ok(()),
        false => Err(HookError::Failed { path: path.to_owned(), status }),
    }
}

/// For one run.
const PATIENCE: Duration = Duration::from_secs(120);

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_program_that_is_not_there_or_fails_is_named() {
        let failed = run(Path::new("false"), "present", "a", "b").await.unwrap_err();
        assert!(failed.to_string().starts_with("false failed"), "{failed}");
        let missing = run(Path::new("/no/such/hook"), "present", "a", "b").await.unwrap_err();
        assert!(matches!(missing, HookError::Run { .. }));
        assert!(run(Path::new("true"), "present", "a", "b").await.is_ok());
    }
}
