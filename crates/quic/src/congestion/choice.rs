//! Which controller a path has, and with which window it begins.

use std::{fmt, sync::Arc};

use super::{Bbr, Controller, Cubic, NewPath, Reno, adapter, minimum_window};

/// Which congestion controller: `cubic` (default), `reno`, `bbr`, or a user's own.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub enum Algorithm {
    /// RFC 9438, with the slow start of RFC 9406.
    #[default]
    Cubic,
    /// RFC 9002 §7.
    Reno,
    /// BBR version 3 (draft-ietf-ccwg-bbr): by the rate that the path delivers, whatever is lost at random.
    Bbr,
    /// One that comes from outside of this crate.
    Custom(Arc<dyn Factory>),
}

/// Makes the controllers of a user's own; `examples/controller.rs` has one.
pub trait Factory: fmt::Debug + Send + Sync + 'static {
    /// What it is called where figures are shown.
    fn name(&self) -> &'static str;

    /// A fresh controller for a path.
    fn build(&self, path: &NewPath) -> Box<dyn Controller>;
}

impl Algorithm {
    /// Its name, as a configuration has it.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Cubic => "cubic",
            Self::Reno => "reno",
            Self::Bbr => "bbr",
            Self::Custom(factory) => factory.name(),
        }
    }

    /// A fresh controller for a path.
    pub fn build(&self, path: &NewPath) -> Box<dyn Controller> {
        match self {
            Self::Cubic => Box::new(Cubic::new(path)),
            Self::Reno => Box::new(Reno::new(path)),
            Self::Bbr => Box::new(Bbr::new(path)),
            Self::Custom(factory) => factory.build(path),
        }
    }
}

/// Two of a user's own are the same when one factory makes them.
impl PartialEq for Algorithm {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Cubic, Self::Cubic) | (Self::Reno, Self::Reno) | (Self::Bbr, Self::Bbr) => true,
            (Self::Custom(one), Self::Custom(other)) => Arc::ptr_eq(one, other),
            _ => false,
        }
    }
}

impl fmt::Display for Algorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// How an endpoint's paths are kept from congestion; `Algorithm::Bbr.into()` is one.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Congestion {
    /// The controller. Default: cubic.
    pub algorithm: Algorithm,
    /// Bytes that may be in flight on a new path, two datagrams at least. Default: `None`, which is ten datagrams and 14,720
    /// bytes at most (RFC 9002 §7.2). Before a client's address is proven three times what came from it is the limit as well.
    pub initial_window: Option<u64>,
}

impl Congestion {
    pub(crate) fn factory(
        &self,
    ) -> Arc<dyn quinn_proto::congestion::ControllerFactory + Send + Sync> {
        Arc::new(adapter::Factory(self.clone()))
    }

    /// A fresh controller, and the window that it begins with.
    pub(super) fn build(&self, path: NewPath) -> (Box<dyn Controller>, u64) {
        let window = self.initial_window.map_or(path.window, |window| {
            // What is below it could not probe the path.
            window.max(minimum_window(path.mtu))
        });
        (self.algorithm.build(&NewPath { window, ..path }), window)
    }
}

impl From<Algorithm> for Congestion {
    fn from(algorithm: Algorithm) -> Self {
        Self { algorithm, initial_window: None }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;

    #[test]
    fn every_controller_begins_with_the_window_that_was_asked_for_and_never_below_two_datagrams() {
        let path = NewPath::new(Instant::now(), 1200);
        for algorithm in [Algorithm::Cubic, Algorithm::Reno, Algorithm::Bbr] {
            for (asked, begins) in [(None, 12_000), (Some(40_000), 40_000), (Some(1), 2_400)] {
                let congestion = Congestion { initial_window: asked, ..algorithm.clone().into() };
                let (controller, window) = congestion.build(path);
                assert_eq!(
                    (controller.window(), window),
                    (begins, begins),
                    "{algorithm}, {asked:?}"
                );
            }
        }
    }
}
