//! What chance does to packets: which are lost, and how late each is. The same seed does the same to the same packets.

use std::fmt;
use std::num::NonZeroU32;
use std::str::FromStr;
use std::time::Duration;

/// How packets are lost on the way, beside those that find the queue full.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Loss {
    /// None is.
    #[default]
    None,
    /// Each with the same probability, whatever became of the others.
    Random(Share),
    /// Several in a row.
    Bursts(Bursts),
}

impl Loss {
    /// This share of the packets, each for itself.
    pub fn random(share: Share) -> Self {
        if share == Share::NONE { Self::None } else { Self::Random(share) }
    }

    /// This share of the packets, in bursts that are `mean` packets long on average; `None` where no such bursts add up to
    /// the share, because there would be nothing between them.
    pub fn bursts(share: Share, mean: NonZeroU32) -> Option<Self> {
        let kept = u64::from(WHOLE - share.0);
        let begins = Odds { of: u64::from(share.0), among: u64::from(mean.get()) * kept };
        if share == Share::NONE {
            return Some(Self::None);
        }
        (begins.of <= begins.among).then_some(Self::Bursts(Bursts { share, begins, mean }))
    }
}

impl fmt::Display for Loss {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::None => f.write_str("no loss"),
            Self::Random(share) => write!(f, "{share} lost"),
            Self::Bursts(Bursts { share, mean, .. }) => write!(f, "{share} lost, {mean} in a row"),
        }
    }
}

/// Gilbert's model, Gilbert and Elliott's with all or nothing: a link that is good or bad, and loses everything while it is bad.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bursts {
    share: Share,
    /// That the next packet is the first of a burst.
    begins: Odds,
    /// Packets in a burst, on average; the burst ends behind each with one over this.
    mean: NonZeroU32,
}

/// A probability, as a fraction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Odds {
    of: u64,
    among: u64,
}

/// A part of all packets, in millionths.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Share(u32);

impl Share {
    /// Nothing.
    pub const NONE: Self = Self(0);
}

impl FromStr for Share {
    type Err = NotAShare;

    /// Reads a number of up to four decimals and a percent sign, from `0%` to `100%`.
    fn from_str(text: &str) -> Result<Self, NotAShare> {
        let number = text.strip_suffix('%').ok_or(NotAShare)?;
        let (whole, decimals) = number.split_once('.').unwrap_or((number, "0"));
        let digits = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
        if !digits(whole) || !digits(decimals) || whole.len() > 3 || decimals.len() > 4 {
            return Err(NotAShare);
        }
        let millionths: u32 = format!("{whole}{decimals:0<4}").parse().map_err(|_| NotAShare)?;
        if millionths > WHOLE { Err(NotAShare) } else { Ok(Self(millionths)) }
    }
}

impl fmt::Display for Share {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (whole, rest) = (self.0 / 10_000, format!("{:04}", self.0 % 10_000));
        match rest.trim_end_matches('0') {
            "" => write!(f, "{whole}%"),
            decimals => write!(f, "{whole}.{decimals}%"),
        }
    }
}

/// The text is not a share.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a share is a number from 0 to 100 with up to four decimals and `%`, such as `0.5%`")]
pub struct NotAShare;

/// The fate of one packet after the other.
#[derive(Debug)]
pub(crate) struct Fate {
    loss: Loss,
    in_burst: bool,
    dice: Dice,
}

impl Fate {
    pub(crate) fn new(loss: Loss, seed: u64) -> Self {
        Self { loss, in_burst: false, dice: Dice(seed) }
    }

    /// Whether the next packet is lost.
    pub(crate) fn loses(&mut self) -> bool {
        match self.loss {
            Loss::None => false,
            Loss::Random(Share(share)) => {
                self.dice.says(Odds { of: share.into(), among: WHOLE.into() })
            }
            Loss::Bursts(Bursts { begins, mean, .. }) => {
                let ends = Odds { of: 1, among: mean.get().into() };
                self.in_burst =
                    if self.in_burst { !self.dice.says(ends) } else { self.dice.says(begins) };
                self.in_burst
            }
        }
    }

    /// How late the next packet is: from nothing to `most`, each as likely.
    pub(crate) fn delays(&mut self, most: Duration) -> Duration {
        let nanoseconds = u64::try_from(most.as_nanos()).unwrap_or(u64::MAX);
        if nanoseconds == 0 {
            return Duration::ZERO; // without a throw, so that jitter changes nothing about losses that have none
        }
        Duration::from_nanos(self.dice.below(nanoseconds.saturating_add(1)))
    }
}

/// SplitMix64: numbers that look like chance, and are the same in every version of every library.
#[derive(Debug)]
struct Dice(u64);

impl Dice {
    fn throw(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut number = self.0;
        number = (number ^ (number >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        number = (number ^ (number >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        number ^ (number >> 31)
    }

    fn below(&mut self, bound: u64) -> u64 {
        let scaled = u128::from(self.throw()) * u128::from(bound);
        u64::try_from(scaled >> 64).unwrap_or(u64::MAX)
    }

    fn says(&mut self, odds: Odds) -> bool {
        self.below(odds.among.max(1)) < odds.of
    }
}

/// All packets, in millionths.
const WHOLE: u32 = 1_000_000;

#[cfg(test)]
mod tests;
