//! The sockets of DPDK's AF_XDP driver, found among the descriptors of the process.
//!
//! The driver keeps them to itself. Yet a worker can only sleep on a descriptor, frames lost in a full ring are counted
//! in the socket alone, and with libxdp 1.3 the driver leaves the socket open, and its queue taken, when it is closed.

use std::collections::{BTreeSet, HashSet};
use std::fs;
use std::io;
use std::mem::{size_of, zeroed};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

use super::pool::OwnPool;
use super::reclaim;
use crate::ethdev::KeepOpen;

/// The AF_XDP sockets the process has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Sockets(BTreeSet<RawFd>);

impl Sockets {
    /// Notes which there are now.
    pub(super) fn mark() -> io::Result<Self> {
        let mut found = BTreeSet::new();
        for entry in fs::read_dir("/proc/self/fd")? {
            let Some(number) = entry?.file_name().to_str().and_then(|name| name.parse().ok()) else {
                continue;
            };
            if domain(number) == Some(libc::AF_XDP) {
                found.insert(number);
            }
        }
        Ok(Self(found))
    }

    /// Those that came since `self` was noted. The caller has opened one device in between, and nobody else another.
    pub(super) fn since(&self) -> io::Result<Vec<DriverSocket>> {
        let now = Self::mark()?;
        let found = now.0.difference(&self.0);
        Ok(found.filter_map(|&number| Some(DriverSocket { number, inode: inode(number)? })).collect())
    }
}

/// A descriptor that the driver made and should own.
#[derive(Debug)]
pub(super) struct DriverSocket {
    number: RawFd,
    /// What tells one socket from another: a number may be given away (sockets of one kernel share a file system).
    inode: libc::ino_t,
}

impl DriverSocket {
    /// Another descriptor of the same socket, for as long as the device is open.
    pub(super) fn share(&self, device: KeepOpen) -> io::Result<XdpSocket> {
        // SAFETY: plain system call; on success the result is a fresh descriptor that nobody else owns.
        let copy = unsafe { libc::fcntl(self.number, libc::F_DUPFD_CLOEXEC, 0) };
        if copy < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: see above.
        Ok(XdpSocket { socket: unsafe { OwnedFd::from_raw_fd(copy) }, _device: device })
    }

    /// The number still stands for the socket.
    fn is_open(&self) -> bool {
        inode(self.number) == Some(self.inode) && domain(self.number) == Some(libc::AF_XDP)
    }
}

/// What is left to do when a device is closed, done on drop: buffers still in the kernel's rings go back to their pool,
/// the driver's sockets are closed, the pool waits for another device.
#[derive(Debug)]
pub(crate) struct Aftermath {
    pub(super) sockets: Vec<DriverSocket>,
    pub(super) pool: Option<OwnPool>,
}

impl Drop for Aftermath {
    fn drop(&mut self) {
        let mut buffers = HashSet::new();
        for socket in self.sockets.iter().filter(|socket| socket.is_open()) {
            if let Some(pool) = &self.pool {
                reclaim::outstanding(socket.number, pool.handle(), &mut buffers);
            }
            // SAFETY: still the socket that the driver made and, being closed itself, will not use again. Closing the
            // last descriptor ends all use of the buffers by the kernel (`xsk_unbind_dev` waits for it).
            unsafe { libc::close(socket.number) };
        }
        if let Some(pool) = self.pool.take() {
            tracing::debug!(buffers = buffers.len(), "buffers taken back from af_xdp rings");
            // SAFETY: each was in a ring of a socket that is closed, so the kernel is done with it, and the driver,
            // which had given it to the kernel, is closed too: nobody else refers to it. A set has each once.
            unsafe { reclaim::free(&buffers) };
            pool.retire();
        }
    }
}

fn inode(number: RawFd) -> Option<libc::ino_t> {
    // SAFETY: all-zero is a valid value of this plain structure.
    let mut found: libc::stat = unsafe { zeroed() };
    // SAFETY: writes one structure; a number that is no descriptor (any more) is an error, not a fault.
    (unsafe { libc::fstat(number, &mut found) } == 0).then_some(found.st_ino)
}

fn domain(number: RawFd) -> Option<libc::c_int> {
    let mut domain: libc::c_int = 0;
    let mut length = size_of::<libc::c_int>() as u32;
    let value = std::ptr::from_mut(&mut domain).cast();
    // SAFETY: writes one integer; a number that is no socket (any more) is an error, not a fault.
    let code = unsafe { libc::getsockopt(number, libc::SOL_SOCKET, libc::SO_DOMAIN, value, &mut length) };
    (code == 0).then_some(domain)
}

/// A descriptor of a socket that the driver works with: for waiting and for statistics, never for data. It keeps the
/// device open.
#[derive(Debug)]
pub struct XdpSocket {
    // First: the device's end expects to close the last descriptor.
    socket: OwnedFd,
    _device: KeepOpen,
}

/// Frames a socket lost (`struct xdp_statistics`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct XdpLosses {
    /// Longer than a buffer, or no buffer was free.
    pub no_buffer: u64,
    /// The receive ring was full: the worker came too late.
    pub ring_full: u64,
}

impl XdpSocket {
    /// Frames lost so far (`XDP_STATISTICS`).
    pub fn losses(&self) -> io::Result<XdpLosses> {
        // SAFETY: all-zero is a valid value of this plain structure.
        let mut lost: libc::xdp_statistics = unsafe { zeroed() };
        let mut length = size_of::<libc::xdp_statistics>() as u32;
        let value = std::ptr::from_mut(&mut lost).cast();
        let socket = self.socket.as_raw_fd();
        // SAFETY: the kernel writes at most `length` bytes, the size of the structure.
        let code =
            unsafe { libc::getsockopt(socket, libc::SOL_XDP, libc::XDP_STATISTICS, value, &mut length) };
        if code < 0 {
            return Err(io::Error::last_os_error());
        }
        Ok(XdpLosses { no_buffer: lost.rx_dropped, ring_full: lost.rx_ring_full })
    }
}

impl AsFd for XdpSocket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use std::os::fd::IntoRawFd;

    use shunt_tests::require;

    use super::super::open_xdp;
    use super::*;

    #[test]
    fn what_the_driver_left_is_closed_unless_its_number_was_given_away() {
        require!(root());
        let before = Sockets::mark().unwrap();
        let forgotten = open_xdp().unwrap().into_raw_fd();
        let sockets = before.since().unwrap();
        assert_eq!(sockets.len(), 1);
        drop(Aftermath { sockets, pool: None });
        assert_eq!(Sockets::mark().unwrap(), before);
        assert_eq!(inode(forgotten), None);

        let closed_by_its_owner = open_xdp().unwrap();
        let number = closed_by_its_owner.as_raw_fd();
        let sockets = before.since().unwrap();
        drop(closed_by_its_owner);
        let heir = open_xdp().unwrap();
        assert_eq!(heir.as_raw_fd(), number, "the lowest free number is given");
        drop(Aftermath { sockets, pool: None });
        assert!(inode(number).is_some());
    }
}
