//! The operator's interface: JSON over HTTP/1.1 on a unix socket or a loopback address (docs/admin.md).
//!
//! Who may ask is judged in [`guard`], what is answered in [`answer`].

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use sterna_gateway::config::AdminPlace;
use sterna_net::local::{Listener, Place, Served};

use self::guard::Guard;
use crate::error::Error;
use crate::operation::Operation;
use crate::serve::Args;

mod answer;
pub(crate) mod ask;
mod backends;
pub(crate) mod certificates;
mod etag;
mod flame;
mod guard;
mod metrics;
mod page;
mod process;
mod profile;
mod revisions;
mod status;

/// The interface, bound.
pub(crate) struct Interface {
    listener: Option<Listener>,
    guard: Guard,
    /// What to tell of it.
    note: String,
}

impl Interface {
    /// Binds what was asked for; without a choice the usual socket, if it can be had.
    ///
    /// # Errors
    /// When a place that was asked for cannot be had.
    pub(crate) fn bind(args: &Args, addresses: &[SocketAddr]) -> Result<Self, Error> {
        let (place, token) = args.admin();
        let guard = Guard::new(token);
        let (listener, note) = match place {
            Some(AdminPlace::Off) => (None, "operator: off".to_owned()),
            Some(place) => {
                let listener = bind(place)?;
                let note = format!("operator: {}", listener.place());
                (Some(listener), note)
            }
            None => {
                let port = addresses.first().map_or(0, SocketAddr::port);
                let place = Place::Unix(default_directory().join(format!("{port}.sock")));
                match Listener::bind(place.clone()) {
                    Ok(listener) => (Some(listener), format!("operator: {place}")),
                    Err(error) => (None, format!("operator: none, {place} cannot be had: {error}")),
                }
            }
        };
        Ok(Self { listener, guard, note })
    }

    /// Answers from now on, as long as what is returned lives; and what to tell of it.
    pub(crate) fn serve(
        self,
        operation: &Arc<Operation>,
    ) -> Result<(Option<Served>, String), Error> {
        let Self { listener, guard, note } = self;
        let Some(listener) = listener else { return Ok((None, note)) };
        let place = listener.place().clone();
        let (operation, guard) = (operation.clone(), Arc::new(guard));
        let served = listener.serve("admin", move |request| {
            answer::answer(operation.clone(), guard.clone(), request)
        });
        let served = served.map_err(|source| Error::Admin { place: place.to_string(), source })?;
        Ok((Some(served), note))
    }
}

fn bind(place: &AdminPlace) -> Result<Listener, Error> {
    let refused = |source| Error::Admin { place: place.to_string(), source };
    let place = match place {
        AdminPlace::Unix(path) => Place::Unix(path.clone()),
        AdminPlace::At(listen) => {
            let address = listen.resolve()?.into_iter().next();
            let none = || refused(io::ErrorKind::AddrNotAvailable.into());
            Place::Tcp(address.ok_or_else(none)?)
        }
        AdminPlace::Off => return Err(refused(io::ErrorKind::InvalidInput.into())),
    };
    Listener::bind(place).map_err(refused)
}

/// Where sockets are that nobody has named.
pub(crate) fn default_directory() -> PathBuf {
    let runtime = std::env::var_os("XDG_RUNTIME_DIR").filter(|directory| !directory.is_empty());
    runtime.map_or_else(|| PathBuf::from("/run"), PathBuf::from).join("sterna")
}
