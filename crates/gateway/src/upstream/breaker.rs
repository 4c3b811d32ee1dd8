//! How much a backend may have to do: beyond that it is not asked, rather than made slower for all.

/// Limits of each backend. Default: none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Config {
    /// Requests at the same time, from the choice until the response has ended.
    pub requests: Option<u32>,
    /// Requests of one worker that wait for a connection.
    pub pending: Option<u32>,
    /// Connections of one worker.
    pub connections: Option<u32>,
}
