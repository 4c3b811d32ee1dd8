//! A timer that is finer than the runtime's, whose wheel turns once a millisecond.

use std::{
    io,
    os::fd::OwnedFd,
    time::{Duration, Instant},
};

use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create,
    timerfd_settime,
};
use tokio::io::unix::AsyncFd;

/// Wakes at a moment, to some microseconds.
#[derive(Debug)]
pub(super) struct Alarm {
    timer: AsyncFd<OwnedFd>,
}

impl Alarm {
    /// A new one; it is a file descriptor.
    pub(super) fn new() -> io::Result<Self> {
        let flags = TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC;
        let timer = timerfd_create(TimerfdClockId::Monotonic, flags)?;
        #[expect(
            deprecated,
            reason = "its successor is unsafe, for descriptors that can change; an owned one does not"
        )]
        Ok(Self { timer: AsyncFd::new(timer)? })
    }

    /// Waits until `at`.
    ///
    /// # Cancel safety
    /// Dropped, it has no effect but that the timer may still run, which the next call sets anew.
    pub(super) async fn until(&self, at: Instant) -> io::Result<()> {
        loop {
            let left = at.saturating_duration_since(Instant::now()).min(LONGEST);
            if left.is_zero() {
                return Ok(());
            }
            let time = Timespec {
                tv_sec: left.as_secs().cast_signed(),
                tv_nsec: left.subsec_nanos().into(),
            };
            let once =
                Itimerspec { it_interval: Timespec { tv_sec: 0, tv_nsec: 0 }, it_value: time };
            timerfd_settime(self.timer.get_ref(), TimerfdTimerFlags::empty(), &once)?;
            let mut ready = self.timer.readable().await?;
            // Setting it has taken back what was readable; what this finds may be of an earlier call, hence the loop.
            ready.clear_ready();
        }
    }
}

/// Far above any wait, and far from what the kernel cannot add to its clock.
const LONGEST: Duration = Duration::from_secs(3600);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_waits_for_its_moment_also_after_it_was_dropped_before() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let alarm = Alarm::new().unwrap();
            let early = Instant::now() + Duration::from_millis(1);
            let late = Instant::now() + Duration::from_millis(20);
            tokio::select! {
                biased;
                _ = alarm.until(late + LONGEST) => panic!("an hour has passed"),
                done = alarm_of(early) => done,
            }
            alarm.until(late).await.unwrap();
            assert!(Instant::now() >= late);
        });
    }

    async fn alarm_of(at: Instant) {
        Alarm::new().unwrap().until(at).await.unwrap();
        assert!(Instant::now() >= at);
    }
}
