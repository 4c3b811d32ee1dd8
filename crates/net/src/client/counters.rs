//! What a client has done, in numbers.

use crate::{Protocol, counters::Counter};

/// Declares the public snapshot and the atomic block behind it from one list.
macro_rules! counters {
    ($($(#[doc = $doc:literal])+ $name:ident,)+) => {
        /// What a client has done since it was built; the last four are of this moment.
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        #[non_exhaustive]
        pub struct ClientCounters {
            $($(#[doc = $doc])+ pub $name: u64,)+
            /// Connections that are open or being made.
            pub connections: u64,
            /// Of these, idle ones.
            pub idle_connections: u64,
            /// Bytes of responses on HTTP/3 that wait for their readers.
            pub waiting_response_bytes: u64,
            /// Bytes of requests on HTTP/3 that wait for the transport.
            pub waiting_request_bytes: u64,
        }

        #[derive(Debug, Default)]
        pub(crate) struct Counts {
            $(pub(crate) $name: Counter,)+
        }

        impl Counts {
            pub(crate) fn snapshot(&self) -> ClientCounters {
                ClientCounters { $($name: self.$name.value(),)+ ..ClientCounters::default() }
            }
        }
    };
}

counters! {
    /// Requests that were asked for.
    requests,
    /// Requests that were sent once more.
    retries,
    /// HTTP/1.1 connections made.
    http1_connections,
    /// HTTP/2 connections made.
    http2_connections,
    /// HTTP/3 connections made.
    http3_connections,
    /// Attempts to reach an origin that failed, whatever was tried.
    dials_failed,
    /// Origins reached over TCP although HTTP/3 was tried.
    fallbacks,
    /// HTTP/3 connections that went on from another local address.
    migrations,
    /// Requests sent as early data (0-RTT).
    early_data_offered,
    /// Of these, taken by the server.
    early_data_accepted,
    /// Of these, refused and sent again.
    early_data_rejected,
}

impl Counts {
    pub(crate) fn opened(&self, protocol: Protocol) {
        match protocol {
            Protocol::Http1 => self.http1_connections.increment(),
            Protocol::Http2 => self.http2_connections.increment(),
            Protocol::Http3 => self.http3_connections.increment(),
        }
    }
}
