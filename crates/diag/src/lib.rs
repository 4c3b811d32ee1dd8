//! Diagnostics of HTTP/3, for any server: load generation, comparison of the HTTP versions, conformance
//! cases, a doctor, and the analysis of qlog.
//!
//! Of these there are the [`load`] generator, and the [`link`] that comparisons run over: a delay, a rate, a queue and losses
//! between two networks of one machine. This crate may reach below `sterna-net`, as nothing else may, for a load generator must
//! cost less than what it loads, and a conformance peer has to break the rules that the layers above keep; and it does not
//! know the gateway.

pub mod link;
pub mod load;
