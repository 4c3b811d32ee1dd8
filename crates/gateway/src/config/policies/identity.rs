//! By which name a request is found again: its own, and that of its trace.

use http::HeaderName;

use crate::config::setting::{choice, section};
use crate::config::site::FieldName;
use crate::middleware::{request_id, trace_context};

section! {
    /// A name for each request, where on or off is not enough.
    pub struct RequestId {
        /// The field that carries it.
        pub header: FieldName = FieldName(HeaderName::from_static("x-request-id")),
        /// Whose names are kept: those of trusted proxies, everybody's, or nobody's.
        pub keep: Keep = Keep::Trusted,
        /// Whether the client is told.
        pub response: bool = true,
    }
}

choice! {
    /// Whose names are kept.
    pub enum Keep {
        /// Nobody's.
        Never = "never",
        /// Those of trusted proxies.
        Trusted = "trusted",
        /// Everybody's.
        Always = "always",
    }
}

choice! {
    /// What is done about the trace of a request (W3C Trace Context).
    pub enum TraceContext {
        /// Its fields are none of our business.
        Off = "off",
        /// It goes on, with a parent of our own.
        Continue = "continue",
        /// It goes on, or begins here, recorded.
        Start = "start",
    }
}

impl RequestId {
    pub(super) fn build(&self) -> request_id::Config {
        let Self { header, keep, response, at: _ } = self;
        request_id::Config {
            header: header.0.clone(),
            keep: match keep {
                Keep::Never => request_id::Keep::Never,
                Keep::Trusted => request_id::Keep::Trusted,
                Keep::Always => request_id::Keep::Always,
            },
            response: *response,
        }
    }
}

impl TraceContext {
    pub(super) fn build(self) -> Option<trace_context::Config> {
        match self {
            Self::Off => None,
            Self::Continue => Some(trace_context::Config { start: false }),
            Self::Start => Some(trace_context::Config { start: true }),
        }
    }
}
