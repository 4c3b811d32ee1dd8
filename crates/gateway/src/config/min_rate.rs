//! The least rate of clients, as people write it: `500B/s after 1m`, or `off`.

use std::fmt;
use std::str::FromStr;

use sterna_net::limit;

use super::setting::word;
use super::units::{ByteSize, Span};

/// The least rate at which clients must send content and take it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MinRate {
    /// None.
    Off,
    /// This one.
    At(limit::MinRate),
}

/// Why a text is no least rate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotAMinRate {
    /// It is not bytes in a second.
    #[error("is not a rate such as `500B/s after 1m`, and not `off`")]
    Form,
    /// A rate of zero is no limit.
    #[error("is no limit: write `off` for none")]
    Zero,
    /// Every client would be cut off at once.
    #[error("gives no time at all: every client would be cut off")]
    NoGrace,
}

impl MinRate {
    pub(super) fn of(rate: Option<limit::MinRate>) -> Self {
        rate.map_or(Self::Off, Self::At)
    }

    /// The endpoint's own form of it.
    pub(super) fn limit(self) -> Option<limit::MinRate> {
        match self {
            Self::Off => None,
            Self::At(rate) => Some(rate),
        }
    }
}

impl FromStr for MinRate {
    type Err = NotAMinRate;

    fn from_str(text: &str) -> Result<Self, NotAMinRate> {
        if text == "off" {
            return Ok(Self::Off);
        }
        let (rate, grace) = text.split_once(" after ").ok_or(NotAMinRate::Form)?;
        let size: Option<ByteSize> = rate.strip_suffix("/s").and_then(|size| size.parse().ok());
        let grace: Option<Span> = grace.parse().ok();
        match (size, grace) {
            (None, _) | (_, None) => Err(NotAMinRate::Form),
            (Some(size), _) if size.0 == 0 => Err(NotAMinRate::Zero),
            (_, Some(grace)) if grace.0.is_zero() => Err(NotAMinRate::NoGrace),
            (Some(size), Some(grace)) => {
                Ok(Self::At(limit::MinRate { bytes_per_second: size.0, grace: grace.0 }))
            }
        }
    }
}

impl fmt::Display for MinRate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Off => f.write_str("off"),
            Self::At(limit::MinRate { bytes_per_second, grace }) => {
                write!(f, "{}/s after {}", ByteSize(*bytes_per_second), Span(*grace))
            }
        }
    }
}

word!(MinRate, "least rate", ["500B/s after 1m", "off"]);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_least_rate_is_read_and_written_in_the_words_of_people() {
        for text in ["off", "500B/s after 1m", "1KiB/s after 1m"] {
            let rate: MinRate = text.parse().expect("a rate");
            assert_eq!(rate.to_string(), text);
        }
        for (text, reason) in [
            ("", NotAMinRate::Form),
            ("500B/s", NotAMinRate::Form),
            ("500 after 1m", NotAMinRate::Form),
            ("500B/s after 30", NotAMinRate::Form),
            ("0B/s after 1m", NotAMinRate::Zero),
            ("1B/s after 0s", NotAMinRate::NoGrace),
        ] {
            assert_eq!(text.parse::<MinRate>(), Err(reason), "{text}");
        }
    }
}
