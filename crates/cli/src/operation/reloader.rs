//! Reloads that nobody waits for: after a signal, or when a file has changed.

use std::sync::Arc;
use std::sync::mpsc::{self, SyncSender};
use std::thread;

use super::{Operation, Reloaded};
use crate::error::Error;
use crate::report::{self, counted};

/// Reloads when it is asked to, and tells what came of it on stderr.
#[derive(Clone)]
pub(crate) struct Reloader(SyncSender<Option<SyncSender<()>>>);

impl Reloader {
    /// Starts its thread.
    pub(crate) fn start(operation: Arc<Operation>) -> Result<Self, Error> {
        // Who asks while another already waits is served by the same reload.
        let (ask, asked) = mpsc::sync_channel::<Option<SyncSender<()>>>(1);
        thread::Builder::new()
            .name("reload".into())
            .spawn(move || {
                while let Ok(waits) = asked.recv() {
                    tell(&operation.reload());
                    if let Some(waits) = waits {
                        let _ = waits.send(());
                    }
                }
            })
            .map_err(Error::Signals)?;
        Ok(Self(ask))
    }

    /// Asks for a reload, soon.
    pub(crate) fn ask(&self) {
        let _ = self.0.try_send(None);
    }

    /// Reloads, and waits for its end.
    pub(crate) fn reload(&self) {
        let (ended, end) = mpsc::sync_channel(1);
        if self.0.send(Some(ended)).is_ok() {
            let _ = end.recv();
        }
    }
}

/// Tells what came of a reload on stderr.
fn tell(reloaded: &Result<Reloaded, Error>) {
    match reloaded {
        Ok(reloaded) => report::say(&reloaded.to_string()),
        Err(error) => {
            report::failure(error);
            report::say("not reloaded: what was served before is served on");
        }
    }
}

impl std::fmt::Display for Reloaded {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (generation, took) = (self.generation, self.took.as_millis());
        match self.changes.iter().count() {
            0 => write!(f, "reloaded in {took} ms, generation {generation}: nothing has changed"),
            count => {
                let count = counted(count, "change");
                write!(f, "reloaded in {took} ms, generation {generation}: {count}")?;
                self.changes.iter().try_for_each(|change| write!(f, "\n  {change}"))
            }
        }
    }
}
