//! One of the servers of the process, HTTPS or plain HTTP: what its workers make their gateways from.

use std::sync::{Arc, Mutex};

use sterna_gateway::access_log::Recorders;
use sterna_gateway::{Config, Gateway, Shared, client};
use sterna_net::{Bound, Running};

use super::lock;
use crate::error::Error;

/// What a server does with requests from the next reload on.
pub(crate) struct Site {
    content: Arc<Mutex<Content>>,
}

#[derive(Clone)]
pub(super) struct Content {
    config: Arc<Config>,
    recorders: Option<Recorders>,
}

impl Site {
    pub(crate) fn new(config: Config, recorders: Option<Recorders>) -> Self {
        Self { content: Arc::new(Mutex::new(Content { config: Arc::new(config), recorders })) }
    }

    /// Starts the workers, each with a gateway of its own, which is made anew when it is asked for.
    pub(crate) fn start(&self, bound: Bound, shared: &Shared) -> Result<Running, Error> {
        let (content, shared) = (self.content.clone(), shared.clone());
        let make = move |_worker| {
            let Content { config, recorders } = lock(&content).clone();
            Gateway::new(&config, &shared, recorders.map(|recorders| recorders.make()))
        };
        Ok(bound.serve_with(make)?)
    }

    /// What is made from now on; what was made before is returned.
    pub(super) fn next(&self, config: Config, recorders: Option<Recorders>) -> Content {
        let mut content = lock(&self.content);
        let next = Content { config: Arc::new(config), recorders };
        std::mem::replace(&mut content, next)
    }

    /// The same, which believes other proxies from now on.
    pub(super) fn next_client(&self, client: client::Config, recorders: Option<Recorders>) {
        let mut content = lock(&self.content);
        content.config = Arc::new(Config { client, ..Config::clone(&content.config) });
        content.recorders = recorders;
    }

    pub(super) fn restore(&self, before: Content) {
        *lock(&self.content) = before;
    }
}
