//! Diagnostics of HTTP/3, for any server: load generation, comparison of the HTTP versions, conformance
//! cases, a doctor, and the analysis of qlog.
//!
//! Of these there is the [`link`] that comparisons run over: a delay, a rate and a queue between two networks of one
//! machine. This crate may reach below `sterna-net`, as nothing else may, for a conformance peer has to break the rules that
//! the layers above keep; and it does not know the gateway.

pub mod link;
