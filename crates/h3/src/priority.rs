//! Skeleton.

/// Urgency and incremental (RFC 9218 §4).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Priority {
    /// 0 (first) to 7. Default 3.
    pub urgency: u8,
    /// May be interleaved with others of the same urgency. Default false.
    pub incremental: bool,
}

impl Default for Priority {
    fn default() -> Self {
        Self { urgency: 3, incremental: false }
    }
}
