//! The keys of session tickets, kept where the local authority is: clients resume after a restart.

use std::sync::Arc;

use sterna_net::Tickets;
use sterna_net::tickets::{FileKeys, Window};

use crate::local_ca;

/// Those of the directory, or of this process alone where that cannot be used: worth a word, and no failure.
pub(crate) fn open() -> Arc<Tickets> {
    let directory = match local_ca::directory() {
        Ok(directory) => directory.with_file_name("tickets"),
        Err(_) => {
            tracing::warn!(
                "session tickets end with this process: neither STERNA_DATA nor HOME is set"
            );
            return Tickets::in_memory();
        }
    };
    Tickets::open(FileKeys::new(&directory), Window::default()).unwrap_or_else(|error| {
        let directory = directory.display();
        tracing::warn!(%error, %directory, "session tickets end with this process: no keys can be kept");
        Tickets::in_memory()
    })
}
