//! What became of an AF_XDP port's interface, and the descriptor an idle worker sleeps on.
//!
//! The sockets of a deleted interface just stay silent, and DPDK's driver shows a link that is always up. So each
//! receive queue listens to the kernel's link messages (rtnetlink(7), `RTMGRP_LINK`) and asks about its own interface
//! when any has come. One epoll descriptor covers the sockets and the messages: a sleeping worker learns of a frame and
//! of a deletion alike.
//!
//! Cost: a transmit burst reads one flag. An idle queue makes one system call every [`EVERY`] empty polls and one after
//! each sleep.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use nix::errno::Errno;
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags};
use nix::sys::socket::{self, AddressFamily, MsgFlags, NetlinkAddr, SockFlag, SockProtocol, SockType};
use shunt_ffi::kernel::Gone;
use shunt_ffi::kernel::xdp::{XdpInterface, XdpSocket};

/// Empty polls between two looks at the link messages: a few milliseconds of a busy worker's time.
const EVERY: u32 = 1024;
/// Multicast group of link messages (`RTMGRP_LINK` of `linux/rtnetlink.h`).
const LINK_GROUP: u32 = 1;

/// State of the interface, shared by the queues and the control side of a port.
#[derive(Debug)]
pub(super) struct Carrier {
    interface: XdpInterface,
    up: AtomicBool,
    gone: AtomicBool,
}

impl Carrier {
    pub(super) fn new(interface: XdpInterface) -> Self {
        let carrier = Self { interface, up: AtomicBool::new(false), gone: AtomicBool::new(false) };
        carrier.examine();
        carrier
    }

    /// A frame handed to the kernel would leave.
    #[inline]
    pub(super) fn is_up(&self) -> bool {
        self.up.load(Ordering::Relaxed)
    }

    /// The interface was deleted, or moved to another namespace. That is final.
    #[inline]
    fn is_gone(&self) -> bool {
        self.gone.load(Ordering::Relaxed)
    }

    /// Asks the kernel.
    #[cold]
    pub(super) fn examine(&self) {
        let link = self.interface.link();
        self.up.store(link == Ok(true), Ordering::Relaxed);
        if link == Err(Gone::Deleted) {
            self.gone.store(true, Ordering::Relaxed);
        }
    }
}

/// One receive queue's view of its interface.
#[derive(Debug)]
pub(super) struct Watch {
    epoll: Epoll,
    messages: OwnedFd,
    // All sockets of the port: the driver does not say which of them is this queue's. They live as long as the epoll
    // descriptor watches them, and are closed before the driver's own, since the queue that follows us in
    // `XdpRxQueue` keeps the driver open.
    _sockets: Arc<[XdpSocket]>,
    carrier: Arc<Carrier>,
    quiet: u32,
}

impl Watch {
    pub(super) fn new(sockets: Arc<[XdpSocket]>, carrier: Arc<Carrier>) -> Result<Self, Errno> {
        let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
        let messages =
            socket::socket(AddressFamily::Netlink, SockType::Raw, flags, SockProtocol::NetlinkRoute)?;
        socket::bind(messages.as_raw_fd(), &NetlinkAddr::new(0, LINK_GROUP))?;
        let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
        for fd in sockets.iter().map(AsFd::as_fd).chain([messages.as_fd()]) {
            epoll.add(fd, EpollEvent::new(EpollFlags::EPOLLIN, 0))?;
        }
        // What changed before the messages were listened to.
        carrier.examine();
        Ok(Self { epoll, messages, _sockets: sockets, carrier, quiet: 0 })
    }

    /// Becomes readable with a frame or a link message.
    pub(super) fn wake_fd(&self) -> BorrowedFd<'_> {
        self.epoll.0.as_fd()
    }

    /// To be called for an empty poll; true when the interface is gone.
    #[inline]
    pub(super) fn empty(&mut self) -> bool {
        self.quiet += 1;
        if self.quiet >= EVERY {
            self.look();
        }
        self.carrier.is_gone()
    }

    /// Reads the link messages, and asks about the interface if there were any.
    #[cold]
    pub(super) fn look(&mut self) {
        self.quiet = 0;
        let mut message = [0_u8; 64];
        let mut news = false;
        loop {
            // The rest of a longer message is thrown away: that there was one is all we want to know.
            match socket::recv(self.messages.as_raw_fd(), &mut message, MsgFlags::MSG_DONTWAIT) {
                // More came than fits the socket.
                Ok(_) | Err(Errno::ENOBUFS) => news = true,
                Err(Errno::EINTR) => {}
                Err(_) => break,
            }
        }
        if news {
            self.carrier.examine();
        }
    }
}
