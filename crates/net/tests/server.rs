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
#[path = "server/streaming.rs"]
mod streaming;
#[path = "server/versions.rs"]
mod versions;
#[path = "server/world.rs"]
mod world;
