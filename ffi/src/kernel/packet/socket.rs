//! The packet sockets behind a port's queues (packet(7)): for the control thread.

use std::mem::{size_of, zeroed};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::sync::Arc;

use super::PacketOptions;
use crate::kernel::error::KernelError;
use crate::kernel::link::Interface;

/// A socket that receives what comes from the interface, and nothing that goes to it.
pub(super) fn receiver(interface: &Interface, options: &PacketOptions) -> Result<OwnedFd, KernelError> {
    // Protocol 0: nothing is received before `bind` names interface and protocol.
    let socket = packet_socket(interface.name())?;
    let set = Options { interface: interface.name(), socket: socket.as_raw_fd() };
    set.packet(libc::PACKET_VNET_HDR, "PACKET_VNET_HDR", &1)?;
    set.packet(libc::PACKET_AUXDATA, "PACKET_AUXDATA", &1)?;
    set.packet(libc::PACKET_IGNORE_OUTGOING, "PACKET_IGNORE_OUTGOING", &1)?;
    set.buffer(libc::SO_RCVBUFFORCE, libc::SO_RCVBUF, "SO_RCVBUF", options.receive_buffer)?;
    // The pod's frames are addressed to other pods. The membership ends with the socket.
    let membership = libc::packet_mreq {
        mr_ifindex: interface.index(),
        mr_type: libc::PACKET_MR_PROMISC as u16,
        mr_alen: 0,
        mr_address: [0; 8],
    };
    set.packet(libc::PACKET_ADD_MEMBERSHIP, "PACKET_ADD_MEMBERSHIP", &membership)?;
    bind(&socket, interface, libc::ETH_P_ALL as u16)?;
    Ok(socket)
}

/// A socket that only sends. Through the queueing discipline of the interface, so that one set there is obeyed:
/// `PACKET_QDISC_BYPASS` gains nothing on a veth, which has none of its own.
pub(super) fn sender(interface: &Interface, options: &PacketOptions) -> Result<OwnedFd, KernelError> {
    let socket = packet_socket(interface.name())?;
    let set = Options { interface: interface.name(), socket: socket.as_raw_fd() };
    set.packet(libc::PACKET_VNET_HDR, "PACKET_VNET_HDR", &1)?;
    set.buffer(libc::SO_SNDBUFFORCE, libc::SO_SNDBUF, "SO_SNDBUF", options.send_buffer)?;
    bind(&socket, interface, 0)?;
    Ok(socket)
}

fn packet_socket(interface: &str) -> Result<OwnedFd, KernelError> {
    // SAFETY: plain system call.
    let fd = unsafe {
        libc::socket(libc::AF_PACKET, libc::SOCK_RAW | libc::SOCK_NONBLOCK | libc::SOCK_CLOEXEC, 0)
    };
    if fd < 0 {
        return Err(KernelError::last(interface, "socket(AF_PACKET)"));
    }
    // SAFETY: a fresh descriptor that nobody else owns.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

fn bind(socket: &OwnedFd, interface: &Interface, protocol: u16) -> Result<(), KernelError> {
    // SAFETY: all-zero is a valid `sockaddr_ll`.
    let mut address: libc::sockaddr_ll = unsafe { zeroed() };
    address.sll_family = libc::AF_PACKET as u16;
    address.sll_protocol = protocol.to_be();
    address.sll_ifindex = interface.index();
    // SAFETY: a complete address of the length given.
    let code = unsafe {
        libc::bind(
            socket.as_raw_fd(),
            (&raw const address).cast(),
            size_of::<libc::sockaddr_ll>() as libc::socklen_t,
        )
    };
    if code < 0 { Err(KernelError::last(interface.name(), "bind(AF_PACKET)")) } else { Ok(()) }
}

/// Makes the sockets share the interface's frames by flow hash, so that a flow stays in order on one queue.
pub(super) fn fan_out(interface: &str, sockets: &[Arc<OwnedFd>]) -> Result<(), KernelError> {
    let mode = libc::PACKET_FANOUT_HASH | libc::PACKET_FANOUT_FLAG_IGNORE_OUTGOING;
    let mut group: u32 = 0;
    for (index, socket) in sockets.iter().enumerate() {
        let set = Options { interface, socket: socket.as_raw_fd() };
        // The kernel finds a free group number for the first member; the others join it.
        let unique = if index == 0 { libc::PACKET_FANOUT_FLAG_UNIQUEID } else { 0 };
        set.packet(libc::PACKET_FANOUT, "PACKET_FANOUT", &(group | (mode | unique) << 16))?;
        if index == 0 {
            let mut length = size_of::<u32>() as libc::socklen_t;
            // SAFETY: a writable integer of the length given.
            let code = unsafe {
                let to = (&raw mut group).cast();
                libc::getsockopt(socket.as_raw_fd(), libc::SOL_PACKET, libc::PACKET_FANOUT, to, &mut length)
            };
            if code < 0 {
                return Err(KernelError::last(interface, "PACKET_FANOUT"));
            }
            group &= 0xffff;
        }
    }
    Ok(())
}

/// Frames that the kernel dropped since the last call because the socket's buffer was full (`PACKET_STATISTICS`).
pub(super) fn take_drops(socket: &OwnedFd) -> u64 {
    // SAFETY: all-zero is valid for this structure of integers.
    let mut statistics: libc::tpacket_stats = unsafe { zeroed() };
    let mut length = size_of::<libc::tpacket_stats>() as libc::socklen_t;
    // SAFETY: a writable structure of the length given. Reading resets the kernel's counters.
    let code = unsafe {
        let to = (&raw mut statistics).cast();
        libc::getsockopt(socket.as_raw_fd(), libc::SOL_PACKET, libc::PACKET_STATISTICS, to, &mut length)
    };
    if code == 0 { u64::from(statistics.tp_drops) } else { 0 }
}

/// Socket options of one socket, with errors that name the interface.
struct Options<'a> {
    interface: &'a str,
    socket: RawFd,
}

impl Options<'_> {
    fn packet<T: Copy>(&self, option: libc::c_int, call: &'static str, value: &T) -> Result<(), KernelError> {
        self.set(libc::SOL_PACKET, option, call, value)
    }

    /// A buffer size beyond the system's limit needs the forced form, which needs a capability.
    fn buffer(
        &self,
        forced: libc::c_int,
        plain: libc::c_int,
        call: &'static str,
        bytes: u32,
    ) -> Result<(), KernelError> {
        let bytes = bytes.min(i32::MAX.cast_unsigned() / 2).cast_signed();
        self.set(libc::SOL_SOCKET, forced, call, &bytes)
            .or_else(|_| self.set(libc::SOL_SOCKET, plain, call, &bytes))
    }

    fn set<T: Copy>(
        &self,
        level: libc::c_int,
        option: libc::c_int,
        call: &'static str,
        value: &T,
    ) -> Result<(), KernelError> {
        // SAFETY: a readable value of the length given; the kernel copies it.
        let code = unsafe {
            let from = std::ptr::from_ref(value).cast();
            libc::setsockopt(self.socket, level, option, from, size_of::<T>() as libc::socklen_t)
        };
        if code < 0 { Err(KernelError::last(self.interface, call)) } else { Ok(()) }
    }
}
