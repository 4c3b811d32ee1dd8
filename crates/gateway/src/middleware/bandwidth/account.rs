//! What responses pay for their bytes: a bucket without a clock, and a rate as people write it.

use std::fmt;
use std::num::NonZeroU64;
use std::str::FromStr;
use std::time::Duration;

use sterna_net::limit::Used;

use crate::config::ByteSize;

/// A rate, and who shares it: `2MiB/s`, `2MiB/s per ip`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Limit {
    /// Bytes in a second.
    pub rate: NonZeroU64,
    /// Who shares it.
    pub key: Key,
}

/// Who shares a rate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Key {
    /// Nobody: each response has it.
    Response,
    /// All responses to an address; an IPv6 address stands for its /64.
    Ip,
    /// All responses of a route.
    Route,
    /// All responses.
    Global,
}

/// Why a text is no bandwidth.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotALimit {
    /// It is not bytes in a second.
    #[error("is not a bandwidth such as `2MiB/s` or `500KB/s per ip`")]
    Form,
    /// Nothing would ever be sent.
    #[error("is no bandwidth at all: nothing would ever be sent")]
    Zero,
    /// Nobody is called that.
    #[error("is for `{0}`: write `per ip`, `per route`, `global`, or nothing for each response")]
    Key(String),
}

impl FromStr for Limit {
    type Err = NotALimit;

    fn from_str(text: &str) -> Result<Self, NotALimit> {
        let (rate, key) = text.trim().split_once(' ').unwrap_or((text.trim(), ""));
        let size: ByteSize =
            rate.strip_suffix("/s").and_then(|size| size.parse().ok()).ok_or(NotALimit::Form)?;
        let rate = NonZeroU64::new(size.0).ok_or(NotALimit::Zero)?;
        let words: Vec<&str> = key.split_ascii_whitespace().collect();
        let key = match words.as_slice() {
            [] => Key::Response,
            ["per", "ip"] => Key::Ip,
            ["per", "route"] => Key::Route,
            ["global"] => Key::Global,
            _ => return Err(NotALimit::Key(key.trim().to_owned())),
        };
        Ok(Self { rate, key })
    }
}

impl fmt::Display for Limit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/s", ByteSize(self.rate.get()))?;
        f.write_str(match self.key {
            Key::Response => "",
            Key::Ip => " per ip",
            Key::Route => " per route",
            Key::Global => " global",
        })
    }
}

/// When everything that was paid for has been sent, in nanoseconds since an epoch that is its keeper's.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Account(u64);

impl Account {
    /// Pays for `bytes` to a client with this round-trip time; returns how long they have to wait.
    pub(super) fn pay(
        &mut self,
        limit: &Limit,
        bytes: usize,
        rtt: Option<Duration>,
        now: u64,
    ) -> Duration {
        let burst = nanos(BURST.saturating_sub(bytes as u64), limit.rate.get());
        let cost = nanos(bytes as u64, limit.rate.get());
        let rtt = rtt.unwrap_or(NEAR).max(NEAR);
        let cost = scaled(cost, rtt.as_micros(), NEAR.as_micros());
        let ahead = self.0.saturating_sub(now);
        self.0 = now.saturating_add(ahead).saturating_add(cost);
        Duration::from_nanos(ahead.saturating_sub(burst))
    }
}

impl Used for Account {
    fn used(&self, now: u64) -> u64 {
        self.0.saturating_sub(now)
    }
}

/// In which so many bytes are sent at the rate.
fn nanos(bytes: u64, rate: u64) -> u64 {
    scaled(bytes, 1_000_000_000, rate.into())
}

/// `value × by / of`, at most what fits.
fn scaled(value: u64, by: u128, of: u128) -> u64 {
    let scaled = u128::from(value).saturating_mul(by) / of.max(1);
    u64::try_from(scaled).unwrap_or(u64::MAX)
}

/// What leaves at once after a rest.
const BURST: u64 = 256 * 1024;

/// The round-trip time up to which a client has the whole rate.
const NEAR: Duration = Duration::from_millis(100);

#[cfg(test)]
mod tests {
    use super::*;

    const PIECE: usize = 16 * 1024;

    fn limit(text: &str) -> Limit {
        text.parse().expect("a bandwidth")
    }

    /// Nanoseconds in which `bytes` have left, one piece after the other.
    fn duration(limit: &Limit, bytes: usize, rtt: Option<Duration>) -> u64 {
        let (mut account, mut now) = (Account::default(), 0);
        for _ in 0..bytes / PIECE {
            let wait = account.pay(limit, PIECE, rtt, now);
            now += u64::try_from(wait.as_nanos()).expect("short");
        }
        now
    }

    #[test]
    fn a_burst_of_256_kib_leaves_at_once_and_the_rest_at_the_rate() {
        let limit = limit("1MiB/s");
        assert_eq!(duration(&limit, 256 * 1024, None), 0);
        let after_burst = duration(&limit, (256 + 1024) * 1024, None);
        assert_eq!(after_burst / 1_000_000, 1000, "a MiB more takes a second more");
    }

    #[test]
    fn a_far_client_gets_less_and_a_near_one_no_more() {
        let limit = limit("1MiB/s");
        let bytes = 8 << 20;
        let seconds =
            |millis| duration(&limit, bytes, Some(Duration::from_millis(millis))) / 1_000_000_000;
        assert_eq!([seconds(1), seconds(100)], [7, 7]);
        assert_eq!([seconds(200), seconds(400)], [15, 31], "half, and a quarter of the rate");
    }

    #[test]
    fn those_who_share_an_account_share_the_rate_by_turns() {
        let limit = limit("1MiB/s global");
        let mut account = Account::default();
        let waits: Vec<_> = (0..32).map(|_| account.pay(&limit, PIECE, None, 0)).collect();
        assert!(waits.is_sorted(), "who asks later is served later");
        let step = nanos(PIECE as u64, limit.rate.get());
        assert_eq!(
            waits[31],
            Duration::from_nanos(step * 16),
            "31 before it, a burst but one at once"
        );
    }

    #[test]
    fn the_smallest_rate_and_the_largest_piece_do_not_overflow() {
        let mut account = Account(u64::MAX - 1);
        account.pay(&limit("1B/s"), usize::MAX, Some(Duration::MAX), 0);
        assert_eq!(account.0, u64::MAX);
    }

    #[test]
    fn a_bandwidth_is_read_and_written_in_the_words_of_people() {
        for (text, rate, written) in [
            ("2MiB/s", 2 << 20, "2MiB/s"),
            ("500KB/s per ip", 500_000, "500KB/s per ip"),
            ("1024KiB/s  per  route", 1 << 20, "1MiB/s per route"),
            ("1GB/s global", 1_000_000_000, "1GB/s global"),
        ] {
            let limit = limit(text);
            assert_eq!((limit.rate.get(), &*limit.to_string()), (rate, written));
        }
        for (text, reason) in [
            ("", NotALimit::Form),
            ("2MiB", NotALimit::Form),
            ("2Mbit/s", NotALimit::Form),
            ("2MiB/m", NotALimit::Form),
            ("0B/s", NotALimit::Zero),
            ("1B/s per user", NotALimit::Key("per user".to_owned())),
        ] {
            assert_eq!(text.parse::<Limit>(), Err(reason), "{text}");
        }
    }
}
