//! What signals tell a server: SIGTERM and SIGINT drain it, SIGHUP reloads, SIGUSR1 opens the access log anew.

use std::io;
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::Duration;

use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::error::Error;
use crate::operation::{Operation, Reloader};
use crate::report;

/// Heeds signals from now on, on a thread of their own.
pub(crate) fn heed(operation: &Arc<Operation>, reloader: &Reloader) -> Result<(), Error> {
    let (watching, watched) = mpsc::channel();
    let (operation, reloader) = (operation.clone(), reloader.clone());
    thread::Builder::new()
        .name("signals".into())
        .spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build();
            let runtime = match runtime {
                Ok(runtime) => runtime,
                Err(error) => return drop(watching.send(Err(error))),
            };
            runtime.block_on(async {
                let mut signals = match Signals::watch() {
                    Ok(signals) => signals,
                    Err(error) => return drop(watching.send(Err(error))),
                };
                let _ = watching.send(Ok(()));
                signals.until_the_end(&operation, &reloader).await;
                report::say(&format!(
                    "draining for up to {} s; once more ends at once",
                    DRAIN.as_secs()
                ));
                operation.drain(DRAIN);
                let signal = signals.until_the_end(&operation, &reloader).await;
                std::process::exit(128 + signal);
            });
        })
        .map_err(Error::Signals)?;
    match watched.recv() {
        Ok(watching) => watching.map_err(Error::Signals),
        Err(mpsc::RecvError) => Err(Error::Signals(io::ErrorKind::BrokenPipe.into())),
    }
}

struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hangup: Signal,
    user: Signal,
}

impl Signals {
    fn watch() -> io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hangup: signal(SignalKind::hangup())?,
            user: signal(SignalKind::user_defined1())?,
        })
    }

    /// Does what the others say until one comes that ends the server: its number.
    async fn until_the_end(&mut self, operation: &Operation, reloader: &Reloader) -> i32 {
        loop {
            tokio::select! {
                _ = self.terminate.recv() => return SignalKind::terminate().as_raw_value(),
                _ = self.interrupt.recv() => return SignalKind::interrupt().as_raw_value(),
                _ = self.hangup.recv() => reloader.ask(),
                _ = self.user.recv() => operation.reopen_log(),
            }
        }
    }
}

/// How long requests may still run after the first signal.
const DRAIN: Duration = Duration::from_secs(30);
