//! TLS sessions that may be resumed, and what HTTP/3 has to remember with them: in memory, for so many servers.
//!
//! rustls gives no way to write a client's session down, so that nothing here survives the process.

use std::{
    collections::{HashMap, VecDeque},
    fmt,
    sync::Mutex,
};

use rustls::{
    NamedGroup,
    client::{ClientSessionStore, Tls12ClientSessionValue, Tls13ClientSessionValue},
};
use rustls_pki_types::ServerName;
use sterna_h3::Settings;

use crate::context::lock;

/// The sessions of the servers that were used last.
pub(crate) struct Sessions {
    inner: Mutex<Inner>,
    capacity: usize,
}

#[derive(Default)]
struct Inner {
    servers: HashMap<ServerName<'static>, Server>,
    /// Counts uses: the server with the smallest last one goes first.
    clock: u64,
}

/// What is known of one server.
#[derive(Default)]
struct Server {
    used: u64,
    group: Option<NamedGroup>,
    tls12: Option<Tls12ClientSessionValue>,
    tickets: VecDeque<Tls13ClientSessionValue>,
    settings: Option<Settings>,
}

impl Sessions {
    /// Remembers at most `capacity` servers.
    pub(crate) fn new(capacity: usize) -> Self {
        Self { inner: Mutex::default(), capacity }
    }

    /// The server's SETTINGS, on which the requests of early data rely (RFC 9114 §7.2.4.2).
    pub(crate) fn settings(&self, name: &str) -> Option<Settings> {
        let name = ServerName::try_from(name).ok()?;
        lock(&self.inner).servers.get(&name)?.settings.clone()
    }

    pub(crate) fn remember_settings(&self, name: &str, settings: Settings) {
        if let Ok(name) = ServerName::try_from(name) {
            self.with(name.to_owned(), |server| server.settings = Some(settings));
        }
    }

    fn with<T>(&self, name: ServerName<'static>, change: impl FnOnce(&mut Server) -> T) -> T {
        let inner = &mut *lock(&self.inner);
        inner.clock += 1;
        if inner.servers.len() >= self.capacity && !inner.servers.contains_key(&name) {
            // Some hundred entries, and only when a server is new.
            let oldest = inner.servers.iter().min_by_key(|(_, server)| server.used);
            if let Some(oldest) = oldest.map(|(name, _)| name.clone()) {
                inner.servers.remove(&oldest);
            }
        }
        let server = inner.servers.entry(name).or_default();
        server.used = inner.clock;
        change(server)
    }
}

impl ClientSessionStore for Sessions {
    fn set_kx_hint(&self, name: ServerName<'static>, group: NamedGroup) {
        self.with(name, |server| server.group = Some(group));
    }

    fn kx_hint(&self, name: &ServerName<'_>) -> Option<NamedGroup> {
        lock(&self.inner).servers.get(name)?.group
    }

    fn set_tls12_session(&self, name: ServerName<'static>, value: Tls12ClientSessionValue) {
        self.with(name, |server| server.tls12 = Some(value));
    }

    fn tls12_session(&self, name: &ServerName<'_>) -> Option<Tls12ClientSessionValue> {
        lock(&self.inner).servers.get(name)?.tls12.clone()
    }

    fn remove_tls12_session(&self, name: &ServerName<'static>) {
        if let Some(server) = lock(&self.inner).servers.get_mut(name) {
            server.tls12 = None;
        }
    }

    fn insert_tls13_ticket(&self, name: ServerName<'static>, value: Tls13ClientSessionValue) {
        self.with(name, |server| {
            if server.tickets.len() >= TICKETS {
                server.tickets.pop_front();
            }
            server.tickets.push_back(value);
        });
    }

    fn take_tls13_ticket(&self, name: &ServerName<'static>) -> Option<Tls13ClientSessionValue> {
        // The newest: it is valid for longest. Each is used once, so that nobody can link two connections.
        lock(&self.inner).servers.get_mut(name)?.tickets.pop_back()
    }
}

impl fmt::Debug for Sessions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sessions").field("servers", &lock(&self.inner).servers.len()).finish()
    }
}

/// Tickets that are kept for one server.
const TICKETS: usize = 8;

#[cfg(test)]
mod tests {
    use super::*;

    fn name(number: usize) -> ServerName<'static> {
        ServerName::try_from(format!("host-{number}.example")).unwrap()
    }

    #[test]
    fn one_server_too_many_replaces_the_one_that_was_used_longest_ago() {
        let sessions = Sessions::new(3);
        for number in 0..3 {
            sessions.set_kx_hint(name(number), NamedGroup::X25519);
        }
        sessions.set_kx_hint(name(0), NamedGroup::X25519MLKEM768);
        sessions.set_kx_hint(name(3), NamedGroup::X25519);
        let known: Vec<_> = (0..4).filter(|n| sessions.kx_hint(&name(*n)).is_some()).collect();
        assert_eq!(known, [0, 2, 3]);
        assert_eq!(lock(&sessions.inner).servers.len(), 3);
    }
}
