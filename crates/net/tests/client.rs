//! The client as its users see it, against this crate's own server and against servers that do what they must not.

#![expect(clippy::unwrap_used, reason = "a test that fails may panic")]

#[path = "client/addresses.rs"]
mod addresses;
#[path = "client/bad_input.rs"]
mod bad_input;
#[path = "client/early.rs"]
mod early;
#[path = "client/exchange.rs"]
mod exchange;
#[path = "client/fall_back.rs"]
mod fall_back;
#[path = "client/futures.rs"]
mod futures;
#[path = "client/migration.rs"]
mod migration;
#[path = "client/own_tls.rs"]
mod own_tls;
#[path = "client/peer.rs"]
mod peer;
#[path = "client/pool.rs"]
mod pool;
#[path = "client/time.rs"]
mod time;
#[path = "client/trust.rs"]
mod trust;
#[path = "client/versions.rs"]
mod versions;
#[path = "client/world.rs"]
mod world;
