//! How backends are reached: a client for each way of connecting, made by its worker at the first request.
//!
//! Clients belong to the worker and not to the configuration: one that reaches backends as before keeps its connections
//! when it is loaded anew.

use std::cell::RefCell;
use std::fmt;
use std::rc::{Rc, Weak};
use std::sync::Arc;

use rustc_hash::FxHashMap;
use sterna_net::Client;
use sterna_net::client::{self, BuildError, Host, Origin};
use tokio::runtime;

use super::failure::Failure;
use super::reach::{Reach, Way as Kind};
use super::warm::Warm;
use crate::upstream::{Address, Backend, Place, Scheme, Upstream};

/// The clients of one handler.
pub(super) struct Clients {
    reach: Reach,
    ways: RefCell<FxHashMap<*const Backend, Rc<Way>>>,
    /// Those which an earlier configuration of this worker has made: it may be gone before this one has its first request.
    _kept: Vec<Rc<Client>>,
    _warm: Option<Warm>,
}

/// The way to one backend.
pub(super) struct Way {
    pub(super) client: Rc<Client>,
    pub(super) origin: Origin,
    /// So that its address is not another's.
    backend: Arc<Backend>,
}

impl Clients {
    pub(super) fn new(reach: Reach, upstream: &Arc<Upstream>) -> Self {
        let kept = OF_WORKER.with_borrow(|clients| {
            let same = clients.iter().filter(|((_, kind), _)| kind.is_of(&reach));
            same.filter_map(|(_, client)| client.upgrade()).collect()
        });
        let warm = Warm::begin(&reach, upstream);
        Self { reach, ways: RefCell::default(), _kept: kept, _warm: warm }
    }

    /// The way to a backend.
    pub(super) fn way(&self, backend: &Arc<Backend>) -> Result<Rc<Way>, Failure> {
        let key = Arc::as_ptr(backend);
        if let Some(way) = self.ways.borrow().get(&key) {
            return Ok(way.clone());
        }
        let way = Rc::new(self.find(backend)?);
        let mut ways = self.ways.borrow_mut();
        // Other workers may hold those which are gone as well.
        ways.retain(|_, way| !way.backend.is_gone());
        ways.insert(key, way.clone());
        Ok(way)
    }

    fn find(&self, backend: &Arc<Backend>) -> Result<Way, Failure> {
        let (client, origin) = reach(&self.reach, backend)?;
        Ok(Way { client, origin, backend: backend.clone() })
    }
}

/// This worker's client for a backend, and what it calls it.
pub(super) fn reach(reach: &Reach, backend: &Backend) -> Result<(Rc<Client>, Origin), Failure> {
    let origin = origin(backend.address())?;
    let client = of_worker(reach, reach.way(backend)).map_err(Failure::NoClient)?;
    Ok((client, origin))
}

fn origin(address: &Address) -> Result<Origin, Failure> {
    let scheme = match address.scheme {
        Scheme::Http | Scheme::H2c => client::Scheme::Http,
        Scheme::Https | Scheme::H3 => client::Scheme::Https,
    };
    let (host, port) = match &address.place {
        Place::Net { host, port } => (&**host, *port),
        // What a backend hears of whose client names no host.
        Place::Unix(_) => ("localhost", scheme.default_port()),
    };
    let host = Host::parse(host).map_err(|_| Failure::NoPlace(host.to_owned()))?;
    Ok(Origin::new(scheme, host, port))
}

thread_local! {
    /// The clients of this worker. A runtime is a part of the key, for a client lives no longer than that.
    static OF_WORKER: RefCell<FxHashMap<(runtime::Id, Kind), Weak<Client>>> = RefCell::default();
}

/// The client of this kind, which is made if nobody has one.
fn of_worker(reach: &Reach, kind: Kind) -> Result<Rc<Client>, BuildError> {
    let runtime = runtime::Handle::current().id();
    OF_WORKER.with_borrow_mut(|clients| {
        let key = (runtime, kind);
        if let Some(client) = clients.get(&key).and_then(Weak::upgrade) {
            return Ok(client);
        }
        clients.retain(|(of, _), client| *of == runtime && client.strong_count() > 0);
        let client = Rc::new(reach.builder(&key.1).build_local()?);
        clients.insert(key, Rc::downgrade(&client));
        Ok(client)
    })
}

impl fmt::Debug for Clients {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Clients").field("reach", &self.reach).finish_non_exhaustive()
    }
}
