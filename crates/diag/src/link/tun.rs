//! A TUN device: a network interface whose packets this process reads and writes.
//!
//! The ioctl that attaches to it is the only unsafe code of the crate (docs/adr/0004).
#![expect(
    unsafe_code,
    reason = "TUNSETIFF has no safe wrapper in the crates which are in the tree"
)]

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::os::unix::fs::OpenOptionsExt;

use nix::libc;

/// The name of the interface, in each namespace.
pub(crate) const NAME: &str = "sterna0";

/// One interface. It disappears with its last file descriptor.
#[derive(Debug)]
pub(crate) struct Tun(File);

impl Tun {
    /// Makes the interface in the network namespace of the calling thread.
    pub(crate) fn create() -> io::Result<Self> {
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .custom_flags(libc::O_NONBLOCK | libc::O_CLOEXEC)
            .open("/dev/net/tun")?;
        let request = Request::new(NAME);
        // SAFETY: TUNSETIFF reads a `struct ifreq`, whose size and layout `Request` has, and keeps no pointer to it; the
        // descriptor and the request live until the call returns.
        unsafe { tun_set_iff(file.as_raw_fd(), &raw const request) }?;
        Ok(Self(file))
    }

    /// The next packet, cut to the length of `buffer`.
    pub(crate) fn read(&self, buffer: &mut [u8]) -> io::Result<usize> {
        io::Read::read(&mut &self.0, buffer)
    }

    /// Hands one packet to the kernel.
    pub(crate) fn write(&self, packet: &[u8]) -> io::Result<usize> {
        io::Write::write(&mut &self.0, packet)
    }
}

impl AsFd for Tun {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// Keeps the kernel from introducing itself to routers and groups, so that what crosses the link is what somebody sent.
pub(crate) fn without_ipv6() -> io::Result<()> {
    match fs::write(format!("/proc/sys/net/ipv6/conf/{NAME}/disable_ipv6"), "1") {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()), // a kernel without IPv6
        outcome => outcome,
    }
}

/// `struct ifreq` of <linux/if.h>, as far as TUNSETIFF reads it.
#[repr(C)]
struct Request {
    name: [u8; libc::IFNAMSIZ],
    flags: u16,
    rest: [u8; 22],
}

impl Request {
    fn new(name: &str) -> Self {
        let mut request = Self {
            name: [0; libc::IFNAMSIZ],
            flags: (libc::IFF_TUN | libc::IFF_NO_PI).cast_unsigned() as u16,
            rest: [0; 22],
        };
        // One byte less, because the kernel's names end in a zero.
        let room = &mut request.name[..libc::IFNAMSIZ - 1];
        for (place, byte) in room.iter_mut().zip(name.bytes()) {
            *place = byte;
        }
        request
    }
}

nix::ioctl_write_ptr_bad!(
    /// Makes a file of /dev/net/tun the device that the request names.
    tun_set_iff,
    libc::TUNSETIFF,
    Request
);

const _: () = assert!(size_of::<Request>() == size_of::<libc::ifreq>());
