//! The server end to end, in one process, over real loopback sockets.

#[path = "server/bind.rs"]
mod bind;
#[path = "server/client.rs"]
mod client;
#[path = "server/drain.rs"]
mod drain;
#[path = "server/http3.rs"]
mod http3;
#[path = "server/limits.rs"]
mod limits;
#[path = "server/live_limits.rs"]
mod live_limits;
#[path = "server/per_address.rs"]
mod per_address;
#[path = "server/proxy_protocol.rs"]
mod proxy_protocol;
#[path = "server/reconfigure.rs"]
mod reconfigure;
#[path = "server/slow_clients.rs"]
mod slow_clients;
#[path = "server/streaming.rs"]
mod streaming;
#[path = "server/versions.rs"]
mod versions;
#[path = "server/world.rs"]
mod world;
