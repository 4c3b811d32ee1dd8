//! What the operating system lets the process have.

use nix::sys::resource::{Resource, getrlimit, setrlimit};

/// Raises the limit of open files to what the administrator allows.
///
/// The usual soft limit of 1,024 is for programs that call `select`; a server would meet it as refused
/// connections. When it cannot be raised, it stays, and `accept` will tell.
pub(crate) fn raise_open_files() {
    let raised = getrlimit(Resource::RLIMIT_NOFILE)
        .and_then(|(_, hard)| setrlimit(Resource::RLIMIT_NOFILE, hard, hard));
    if let Err(error) = raised {
        tracing::warn!(%error, "the limit of open files cannot be raised");
    }
}
