//! How many bits a link carries in a second.

use std::num::NonZeroU64;
use std::str::FromStr;
use std::time::Duration;
use std::{error, fmt};

/// Bits per second, never zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Rate(NonZeroU64);

impl Rate {
    /// A rate in bits per second; `None` for zero, at which nothing would ever arrive.
    pub const fn bits_per_second(bits: u64) -> Option<Self> {
        match NonZeroU64::new(bits) {
            Some(bits) => Some(Self(bits)),
            None => None,
        }
    }

    /// How long `bytes` bytes are on the wire, rounded down to a nanosecond.
    pub fn time_for(self, bytes: u64) -> Duration {
        let nanoseconds = u128::from(bytes) * 8 * 1_000_000_000 / u128::from(self.0.get());
        Duration::from_nanos(u64::try_from(nanoseconds).unwrap_or(u64::MAX))
    }

    /// How many bytes go on the wire in `time`: with a round trip, the bandwidth-delay product.
    pub fn bytes_in(self, time: Duration) -> u64 {
        let bytes = u128::from(self.0.get()) * time.as_nanos() / 8_000_000_000;
        u64::try_from(bytes).unwrap_or(u64::MAX)
    }
}

impl FromStr for Rate {
    type Err = NotARate;

    /// Reads a whole number with one of tc's units: `kbit`, `mbit`, `gbit`.
    fn from_str(text: &str) -> Result<Self, NotARate> {
        let digits = text.find(|c: char| !c.is_ascii_digit()).ok_or(NotARate)?;
        let (number, unit) = text.split_at(digits);
        let unit: u64 = match unit {
            "kbit" => 1_000,
            "mbit" => 1_000_000,
            "gbit" => 1_000_000_000,
            _ => return Err(NotARate),
        };
        let number: u64 = number.parse().map_err(|_| NotARate)?;
        number.checked_mul(unit).and_then(Self::bits_per_second).ok_or(NotARate)
    }
}

impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bits = self.0.get();
        for (unit, name) in [(1_000_000_000, "gbit"), (1_000_000, "mbit"), (1_000, "kbit")] {
            if bits.is_multiple_of(unit) {
                return write!(f, "{}{name}", bits / unit);
            }
        }
        write!(f, "{bits} bit/s")
    }
}

/// The text is not a rate above zero with a unit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotARate;

impl fmt::Display for NotARate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a rate is a number above zero and `kbit`, `mbit` or `gbit`, such as `100mbit`")
    }
}

impl error::Error for NotARate {}

#[cfg(test)]
mod tests {
    use super::*;

    const HUNDRED_MEGABIT: Rate = Rate::bits_per_second(100_000_000).unwrap();

    #[test]
    fn a_rate_is_read_as_it_is_written() {
        for text in ["1kbit", "100mbit", "1gbit", "1500kbit"] {
            assert_eq!(text.parse::<Rate>().map(|rate| rate.to_string()), Ok(text.to_owned()));
        }
    }

    #[test]
    fn what_is_no_rate_is_refused() {
        for text in ["", "100", "mbit", "0mbit", "1.5mbit", "100Mbit", "18446744073709551615gbit"] {
            assert_eq!(text.parse::<Rate>(), Err(NotARate), "{text}");
        }
    }

    #[test]
    fn a_full_packet_takes_120_microseconds_of_100_megabit() {
        assert_eq!(HUNDRED_MEGABIT.time_for(1500), Duration::from_micros(120));
    }

    #[test]
    fn the_product_of_bandwidth_and_delay_is_in_bytes() {
        assert_eq!(HUNDRED_MEGABIT.bytes_in(Duration::from_millis(50)), 625_000);
    }
}
