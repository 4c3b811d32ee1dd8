//! The signals that end a load: after its report, or at once.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::signal::unix::{SignalKind, signal};

use super::INTERRUPTED;
use crate::error::Error;

/// Set by the first SIGINT or SIGTERM; the second ends the process.
pub(super) fn watch() -> Result<Arc<AtomicBool>, Error> {
    let interrupted = Arc::new(AtomicBool::new(false));
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_io()
        .build()
        .map_err(Error::Signals)?;
    let (mut interrupt, mut terminate) = {
        let _inside = runtime.enter();
        let watched = |kind| signal(kind).map_err(Error::Signals);
        (watched(SignalKind::interrupt())?, watched(SignalKind::terminate())?)
    };
    let flag = interrupted.clone();
    let watch = move || {
        runtime.block_on(async move {
            for is_first in [true, false] {
                tokio::select! {
                    _ = interrupt.recv() => {}
                    _ = terminate.recv() => {}
                }
                flag.store(true, Ordering::Relaxed);
                if !is_first {
                    std::process::exit(INTERRUPTED.into());
                }
            }
        });
    };
    std::thread::Builder::new().name("signals".into()).spawn(watch).map_err(Error::Signals)?;
    Ok(interrupted)
}
