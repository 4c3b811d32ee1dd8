//! Diagnostics of HTTP/3, for any server: load generation, comparison of the HTTP versions, conformance
//! cases, a doctor, and the analysis of qlog.
//!
//! This crate is empty: none of it is written yet. It has its place now because its place is part of
//! the design. It may reach below `sterna-net`, as nothing else may, for a conformance peer has to
//! break the rules that the layers above keep; and it does not know the gateway.
#![forbid(unsafe_code)]
