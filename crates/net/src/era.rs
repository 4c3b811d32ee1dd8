//! With which certificates a connection began, and when it is told to go because others have replaced them.

use std::{
    cell::Cell,
    time::{Duration, Instant},
};

use tokio::{sync::Notify, time::sleep_until};

/// When connections that began with other certificates are told to go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Retirement {
    at: Instant,
    /// From the first to the last of them: all at once would come back at once, each with a handshake.
    spread: Duration,
}

impl Retirement {
    /// Of what has been replaced at `now`.
    pub(crate) fn new(now: Instant, after: Duration) -> Self {
        Self { at: now + after, spread: after / 10 }
    }

    /// For a client with this lot.
    fn of(self, lot: u16) -> Instant {
        self.at + self.spread / u32::from(u16::MAX) * lot.into()
    }
}

/// What the connections of a worker have in common that began with the same certificates.
#[derive(Debug, Default)]
pub(crate) struct Era {
    retirement: Cell<Option<Retirement>>,
    ended: Notify,
}

impl Era {
    /// Others have replaced its certificates.
    pub(crate) fn end(&self, retirement: Option<Retirement>) {
        self.retirement.set(retirement);
        self.ended.notify_waiters();
    }

    /// When a connection with this lot is told to go, once that is known. The port of its client is as good as chance.
    pub(crate) fn retires(&self, lot: u16) -> Option<Instant> {
        self.retirement.get().map(|retirement| retirement.of(lot))
    }

    /// Waits until a connection with this lot is to be told to go; for ever while its certificates are shown.
    pub(crate) async fn over(&self, lot: u16) {
        loop {
            match self.retires(lot) {
                Some(at) => return sleep_until(at.into()).await,
                None => self.ended.notified().await,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clients_are_told_to_go_one_after_the_other_over_a_tenth_of_the_time() {
        let (now, hour) = (Instant::now(), Duration::from_secs(3600));
        let retirement = Retirement::new(now, hour);
        let of = |lot: u16| retirement.of(lot) - now;
        assert_eq!(of(0), hour);
        assert!(of(1000) > hour && of(1000) < of(60_000));
        let last = of(u16::MAX);
        assert!(last > hour + hour / 11 && last <= hour + hour / 10, "{last:?}");
        let longest = Retirement::new(now, crate::server::NEVER);
        assert!(longest.of(u16::MAX) > now);
    }
}
