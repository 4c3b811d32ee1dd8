//! What the local authority has signed lives for a week, and a server for longer: on a thread of its own it is signed anew.

use std::sync::{Arc, Weak};
use std::thread;
use std::time::{Duration, SystemTime};

use super::Operation;
use crate::error::Error;
use crate::report;

/// Looks from now on, as long as the operation lives.
pub(crate) fn start(operation: &Arc<Operation>) -> Result<(), Error> {
    let operation = Arc::downgrade(operation);
    let watch = move || {
        loop {
            // It was signed a moment ago.
            thread::sleep(EVERY);
            match look(&operation) {
                None => return,
                Some(Ok(false)) => {}
                Some(Ok(true)) => report::say("the certificate of the local authority was renewed"),
                Some(Err(error)) => tracing::warn!(
                    error = error.in_full(),
                    "the certificate of the local authority cannot be renewed, trying on"
                ),
            }
        }
    };
    thread::Builder::new().name("renewal".into()).spawn(watch).map(drop).map_err(Error::Signals)
}

fn look(operation: &Weak<Operation>) -> Option<Result<bool, Error>> {
    Some(operation.upgrade()?.renew_local(SystemTime::now()))
}

/// It is renewed two days before its end.
const EVERY: Duration = Duration::from_secs(3600);
