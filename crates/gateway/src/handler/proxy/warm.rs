//! Connections to backends that are there before a request needs them.
//!
//! Each worker looks once a second: what ended is made anew, and a backend that is back or new has its own before long.

use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use sterna_net::Client;
use tokio::runtime;
use tokio::task::AbortHandle;

use super::clients;
use super::reach::Reach;
use crate::upstream::Upstream;

/// The task that keeps them; it ends with this.
#[derive(Debug)]
pub(super) struct Warm(AbortHandle);

impl Warm {
    /// `None` where nothing is to be kept, or there is no runtime to keep it on.
    pub(super) fn begin(reach: &Reach, upstream: &Arc<Upstream>) -> Option<Self> {
        let connections = reach.warm_up();
        if connections == 0 || runtime::Handle::try_current().is_err() {
            return None;
        }
        let task = keep(reach.clone(), Arc::clone(upstream), connections);
        Some(Self(tokio::task::spawn_local(task).abort_handle()))
    }
}

impl Drop for Warm {
    fn drop(&mut self) {
        self.0.abort();
    }
}

async fn keep(reach: Reach, upstream: Arc<Upstream>, connections: usize) {
    // A client that nobody holds closes its connections: those of the last look are held until those of the next are.
    let mut held: Vec<Rc<Client>> = Vec::new();
    loop {
        let mut clients = Vec::with_capacity(held.len());
        for backend in upstream.open(Instant::now()) {
            // What is wrong with one is told to the request that needs it.
            if let Ok((client, origin)) = clients::reach(&reach, &backend) {
                client.keep_warm(&origin, connections);
                clients.push(client);
            }
        }
        held = clients;
        tokio::time::sleep(PAUSE).await;
    }
}

const PAUSE: Duration = Duration::from_secs(1);
