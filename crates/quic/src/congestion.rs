//! Skeleton: own trait `Controller` (per-packet sent, acked, lost; window; pacing rate), `Algorithm` enum, adapter to the engine.

/// Which congestion controller: `cubic` (default) or `reno`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Algorithm {
    /// RFC 9438.
    #[default]
    Cubic,
    /// RFC 9002 §7.
    Reno,
}
