//! Which HTTP versions a request may take.

/// The versions that may be tried; which of them is taken, the race decides. Default: all.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Versions {
    /// HTTP/1.1, over TCP.
    pub h1: bool,
    /// HTTP/2, over TCP.
    pub h2: bool,
    /// HTTP/3, over QUIC; with `https` URLs alone.
    pub h3: bool,
}

impl Versions {
    /// Whatever the server has.
    pub const ALL: Self = Self { h1: true, h2: true, h3: true };
    /// HTTP/1.1 or nothing.
    pub const ONLY_H1: Self = Self { h1: true, h2: false, h3: false };
    /// HTTP/2 or nothing.
    pub const ONLY_H2: Self = Self { h1: false, h2: true, h3: false };
    /// HTTP/3 or nothing.
    pub const ONLY_H3: Self = Self { h1: false, h2: false, h3: true };

    /// Those over TCP alone.
    #[must_use]
    pub const fn without_h3(self) -> Self {
        Self { h3: false, ..self }
    }

    /// One of those over TCP is allowed.
    pub const fn tcp(self) -> bool {
        self.h1 || self.h2
    }
}

impl Default for Versions {
    fn default() -> Self {
        Self::ALL
    }
}
