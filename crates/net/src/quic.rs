//! What a user of this crate chooses of QUIC.

pub use sterna_quic::{
    Config, Counters, Retry, Secret,
    congestion::{Algorithm, Congestion},
};
