//! Carries packets from one TUN device to another, at the times that a [`Queue`] says. One thread for each direction.

use std::io::{self, PipeReader, PipeWriter};
use std::os::fd::AsFd;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Instant;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, ppoll};
use nix::sys::prctl::set_timerslack;
use nix::sys::time::TimeSpec;
use rustix::process::setpriority_process;

use super::MTU;
use super::queue::{Counters, Queue, Shape};
use super::tun::Tun;

/// One direction at work. Dropping it ends its thread.
#[derive(Debug)]
pub(crate) struct Relay {
    /// The thread ends when its end of the pipe hangs up.
    stop: Option<PipeWriter>,
    thread: Option<JoinHandle<()>>,
    counters: Arc<Mutex<Counters>>,
}

impl Relay {
    /// Starts to carry packets.
    pub(crate) fn start(from: Arc<Tun>, to: Arc<Tun>, shape: Shape) -> io::Result<Self> {
        let (stopped, stop) = io::pipe()?;
        let counters = Arc::default();
        let direction = Direction {
            from,
            to,
            queue: Queue::new(shape),
            spare: Vec::new(),
            counters: Arc::clone(&counters),
        };
        let thread = thread::Builder::new()
            .name("link".to_owned())
            .spawn(move || direction.run(&stopped))?;
        Ok(Self { stop: Some(stop), thread: Some(thread), counters })
    }

    pub(crate) fn counters(&self) -> Counters {
        *self.counters.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.stop = None;
        if let Some(thread) = self.thread.take() {
            // A panic of the relay has been printed; there is nothing to add to it here.
            let _ = thread.join();
        }
    }
}

struct Direction {
    from: Arc<Tun>,
    to: Arc<Tun>,
    queue: Queue<Packet>,
    /// Buffers that have been carried once.
    spare: Vec<Packet>,
    counters: Arc<Mutex<Counters>>,
}

struct Packet {
    bytes: Box<[u8; MTU]>,
    len: usize,
}

impl Direction {
    fn run(mut self, stopped: &PipeReader) {
        // 50 µs of slack, the default, are half a packet at 100 Mbit/s, and a packet should not wait for the programs at the
        // ends. Where these are not to be had, the link is less exact.
        let _ = set_timerslack(1);
        let _ = setpriority_process(None, HIGHEST);
        while self.wait(stopped) {
            self.deliver();
            self.take_in();
            *self.counters.lock().unwrap_or_else(PoisonError::into_inner) = self.queue.counters();
        }
    }

    /// Sleeps until a packet comes in or has to go out. False once the relay is dropped, or the device deleted.
    fn wait(&self, stopped: &PipeReader) -> bool {
        let timeout = self.queue.next_arrival().map(|arrival| {
            TimeSpec::from_duration(arrival.saturating_duration_since(Instant::now()))
        });
        let mut ready = [
            PollFd::new(self.from.as_fd(), PollFlags::POLLIN),
            PollFd::new(stopped.as_fd(), PollFlags::POLLIN),
        ];
        match ppoll(&mut ready, timeout, None) {
            Ok(_) | Err(Errno::EINTR) => !(gone(&ready[0]) || ready[1].any() == Some(true)),
            Err(_) => false,
        }
    }

    fn deliver(&mut self) {
        while let Some(packet) = self.queue.pop(Instant::now()) {
            // A receiver that refuses a packet is an interface that is down: on a real link it would be lost as well.
            let _ = self.to.write(&packet.bytes[..packet.len]);
            self.spare.push(packet);
        }
    }

    /// Takes what waits in the kernel, but never so much that a packet leaves late for it.
    fn take_in(&mut self) {
        for _ in 0..BATCH {
            let mut packet =
                self.spare.pop().unwrap_or_else(|| Packet { bytes: Box::new([0; MTU]), len: 0 });
            match self.from.read(&mut packet.bytes[..]) {
                Ok(len) => packet.len = len,
                Err(_) => return self.spare.push(packet), // nothing waits
            }
            let len = packet.len as u64;
            if let Err(dropped) = self.queue.push(Instant::now(), len, packet) {
                self.spare.push(dropped);
            }
        }
    }
}

/// A device that was deleted is ready for ever.
fn gone(device: &PollFd<'_>) -> bool {
    device.revents().is_some_and(|events| events.contains(PollFlags::POLLERR))
}

/// Packets that are read before those that are due are looked at again.
const BATCH: usize = 16;

/// Of the thread's nice value.
const HIGHEST: i32 = -20;
