//! `cargo xtask bench`: what is measured, and how.

use crate::Outcome;

/// Runs the measurement that `arguments` name.
pub(crate) fn run(_arguments: &[String]) -> Outcome {
    Err("no measurement exists yet".into())
}
