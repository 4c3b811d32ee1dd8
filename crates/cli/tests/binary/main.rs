//! The built binary as its users meet it: what it refuses, what it serves, how it ends.

mod bad_input;
mod config;
mod drain;
mod get;
mod server;
mod serving;
