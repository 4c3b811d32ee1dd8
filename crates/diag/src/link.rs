//! A link with a delay, a rate, a queue and losses, between two networks of this machine.
//!
//! [`Link::up`] makes two network namespaces, a TUN device in each, and a relay between them: two threads of this process,
//! one for each direction, which hold every packet for as long as the link would. [`Queue`] computes these times and has
//! neither clock nor socket. Programs run at one end or the other with [`End::spawn`]. All of it ends with the value, or
//! with the process, and leaves nothing behind: the namespaces have no names, and the devices live in them.
//!
//! The kernel's netem would do the same, where it is built in. A relay of ours is everywhere, and counts what it drops.

use std::io;
use std::net::Ipv4Addr;
use std::process::{Child, Command};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};

pub use self::chance::{Bursts, Loss, NotAShare, Share};
use self::namespace::Namespace;
pub use self::queue::{Counters, Queue, Shape};
pub use self::rate::{NotARate, Rate};
use self::relay::Relay;
use self::tun::Tun;

mod chance;
mod namespace;
mod queue;
mod rate;
mod relay;
mod tun;

/// What a link is like; both directions are the same.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Delay there and back, without the time that packets take to be sent.
    pub round_trip: Duration,
    /// Bits per second, each way.
    pub rate: Rate,
    /// Bytes that wait at each end when the wire is busy. What finds the queue full is dropped.
    pub queue: u64,
    /// What is lost by chance, each way.
    pub loss: Loss,
    /// Each packet is later by up to this, so that one may overtake another.
    pub jitter: Duration,
    /// Decides what chance does: the same seed does the same to the same packets. The directions have different luck.
    pub seed: u64,
    /// TCP's congestion control at both ends, by the kernel's name for it. `None` is the default of the machine.
    pub tcp_congestion: Option<String>,
}

impl Settings {
    /// A link with a queue of one bandwidth-delay product, and without losses and jitter.
    pub fn new(round_trip: Duration, rate: Rate) -> Self {
        Self {
            round_trip,
            rate,
            queue: rate.bytes_in(round_trip),
            loss: Loss::None,
            jitter: Duration::ZERO,
            seed: 0,
            tcp_congestion: None,
        }
    }

    /// One direction of it; `salt` tells the two apart.
    fn shape(&self, salt: u64) -> Shape {
        let Self { rate, queue, loss, jitter, .. } = *self;
        let seed = self.seed.wrapping_mul(2).wrapping_add(salt);
        Shape { loss, jitter, seed, ..Shape::new(self.round_trip / 2, rate, queue) }
    }
}

/// A link that is up. Dropping it takes it down.
#[derive(Debug)]
pub struct Link {
    a: End,
    b: End,
    a_to_b: Relay,
    b_to_a: Relay,
}

/// One end of a link: a network of its own.
#[derive(Debug)]
pub struct End {
    namespace: Namespace,
    address: Ipv4Addr,
}

impl Link {
    /// Makes the two networks and joins them.
    ///
    /// # Errors
    /// Without root's rights, `/dev/net/tun` and the program `ip` there is no link.
    pub fn up(settings: &Settings) -> Result<Self, LinkError> {
        let (a, tun_a) = End::make(ADDRESS_A, ADDRESS_B, settings)?;
        let (b, tun_b) = End::make(ADDRESS_B, ADDRESS_A, settings)?;
        let start = |from: &Arc<Tun>, to: &Arc<Tun>, shape| {
            Relay::start(Arc::clone(from), Arc::clone(to), shape).map_err(LinkError::Relay)
        };
        let a_to_b = start(&tun_a, &tun_b, settings.shape(0))?;
        let b_to_a = start(&tun_b, &tun_a, settings.shape(1))?;
        Ok(Self { a, b, a_to_b, b_to_a })
    }

    /// The end where servers are by custom.
    pub fn a(&self) -> &End {
        &self.a
    }

    /// The end where clients are by custom.
    pub fn b(&self) -> &End {
        &self.b
    }

    /// Ends what runs at both ends, whoever started it: asks by SIGTERM, and insists by SIGKILL after `patience`. What is left
    /// of a child is the caller's to wait for.
    ///
    /// # Errors
    /// When the list of processes cannot be read, or one of them does not end for ten seconds after SIGKILL.
    pub fn clear(&self, patience: Duration) -> io::Result<()> {
        for (signal, patience) in [(Signal::SIGTERM, patience), (Signal::SIGKILL, STUBBORN)] {
            let until = Instant::now() + patience;
            // Again and again: what is asked may start something else before it ends.
            while Instant::now() < until {
                let left = [self.a.namespace.processes()?, self.b.namespace.processes()?].concat();
                if left.is_empty() {
                    return Ok(());
                }
                for process in left {
                    // It fails when the process has ended by itself.
                    let _ = kill(process, signal);
                }
                thread::sleep(LOOK);
            }
        }
        Err(io::Error::new(io::ErrorKind::TimedOut, "a program at an end of the link does not end"))
    }

    /// What became of the packets from `a` to `b`, so far.
    pub fn a_to_b(&self) -> Counters {
        self.a_to_b.counters()
    }

    /// What became of the packets from `b` to `a`, so far.
    pub fn b_to_a(&self) -> Counters {
        self.b_to_a.counters()
    }
}

impl End {
    fn make(
        address: Ipv4Addr,
        peer: Ipv4Addr,
        settings: &Settings,
    ) -> Result<(Self, Arc<Tun>), LinkError> {
        let namespace = Namespace::new().map_err(LinkError::Namespace)?;
        let tun = namespace
            .enter(|| -> Result<Tun, LinkError> {
                let tun = Tun::create().map_err(LinkError::Tun)?;
                tun::without_ipv6().map_err(LinkError::Tun)?;
                for command in configuration(address, peer, settings) {
                    ip(&command)?;
                }
                Ok(tun)
            })
            .map_err(LinkError::Namespace)??;
        Ok((Self { namespace, address }, Arc::new(tun)))
    }

    /// The address of this end.
    pub fn address(&self) -> Ipv4Addr {
        self.address
    }

    /// Starts `command` at this end. It is the caller's to wait for it or to end it.
    ///
    /// # Errors
    /// Those of [`Command::spawn`], and of entering the namespace.
    pub fn spawn(&self, command: &mut Command) -> io::Result<Child> {
        self.namespace.spawn(command)
    }

    /// Runs `work` on a thread at this end. Sockets made there stay at this end.
    ///
    /// # Errors
    /// When the namespace cannot be entered.
    ///
    /// # Panics
    /// When `work` does.
    pub fn enter<T: Send>(&self, work: impl FnOnce() -> T + Send) -> io::Result<T> {
        self.namespace.enter(work)
    }

    /// The network namespace as a path, for `nsenter --net=`; valid while the link is up.
    pub fn namespace(&self) -> String {
        self.namespace.path()
    }
}

/// Why there is no link.
#[derive(Debug, thiserror::Error)]
pub enum LinkError {
    /// The kernel made no network namespace, or does not let us into it.
    #[error("no network namespace: run as root, or in `unshare --user --map-root-user`")]
    Namespace(#[source] io::Error),
    /// The kernel made no TUN device.
    #[error("no TUN device: /dev/net/tun has to exist and to be writable")]
    Tun(#[source] io::Error),
    /// The program `ip` does not start.
    #[error("`ip` does not run: install iproute2")]
    NoIp(#[source] io::Error),
    /// The program `ip` refused a step of the configuration.
    #[error("`ip {command}` failed: {message}")]
    Ip {
        /// Its arguments.
        command: String,
        /// What it said.
        message: String,
    },
    /// The relay's threads do not start.
    #[error("the relay does not start")]
    Relay(#[source] io::Error),
}

/// Arguments of `ip` that configure one end.
///
/// With `gso_max_segs 1` the kernel makes a packet of each segment itself, so that TCP and UDP are counted alike. The
/// kernel's own queue is long, for all waiting and dropping is the relay's.
fn configuration(address: Ipv4Addr, peer: Ipv4Addr, settings: &Settings) -> Vec<String> {
    let device = tun::NAME;
    let mut commands = vec![
        "link set lo up".to_owned(),
        format!("addr add {address} peer {peer} dev {device}"),
        format!("link set {device} mtu {MTU} txqueuelen {KERNEL_QUEUE} gso_max_segs 1 up"),
    ];
    if let Some(name) = &settings.tcp_congestion {
        commands.push(format!("route change {peer} dev {device} src {address} congctl {name}"));
    }
    commands
}

fn ip(command: &str) -> Result<(), LinkError> {
    let output = Command::new("ip").args(command.split(' ')).output().map_err(LinkError::NoIp)?;
    if output.status.success() {
        return Ok(());
    }
    let message = String::from_utf8_lossy(&output.stderr).trim().to_owned();
    Err(LinkError::Ip { command: command.to_owned(), message })
}

/// How often it is looked who still runs.
const LOOK: Duration = Duration::from_millis(20);

/// How long the kernel may take to end a process.
const STUBBORN: Duration = Duration::from_secs(10);

/// The longest packet. Ethernet's, and enough for QUIC's 1,200 bytes.
const MTU: usize = 1500;

/// Packets: more than any rate brings in while the relay is not scheduled.
const KERNEL_QUEUE: u32 = 10_000;

const ADDRESS_A: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 1);
const ADDRESS_B: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 2);
