//! What a user of this crate chooses of QUIC.

pub use sterna_quic::{Config, Retry, congestion::Algorithm};
