//! HTTP/3 on the client's QUIC endpoint: requests become stream bytes, stream bytes become responses.
//!
//! As on the server there is no task for a request. A [`Handle`] puts a request on its connection's queue and wakes the
//! driver; the connection's next turn opens a stream, and what the turns make of the response goes straight to who waits
//! for it: one wake there, one back.
//!
//! ```text
//! Handle::send ─▶ queue ─▶ Endpoint::turn ─ run ─┬─ receive   transport events, stream data → sterna_h3 → answers, bodies
//!                                                ├─ submit    requests that wait → streams, as the server allows
//!                                                └─ send      request bodies → DATA → transport, in turn
//! ```

mod application;
mod connection;
mod handle;
mod stream;

pub(crate) use application::{Application, Common, Setup};
pub(crate) use handle::Handle;
