//! The host end of a veth (or any Ethernet interface of the kernel), by AF_PACKET with virtio-net headers (packet(7)).
//!
//! Nothing is changed inside the pod. What its kernel sends arrives as it left the pod's stack: TCP as frames of up to
//! 64 KiB, checksums partial; what we send enters the pod's stack the same way.
//!
//! **The host's own stack** sees the same frames, since a packet socket only listens. With
//! [`PacketOptions::isolate`] it does nothing with them: ARP is off (`IFF_NOARP`), IPv6 is off
//! (`disable_ipv6`), and without an address on the interface the reverse path filter (`rp_filter`) drops IPv4 before
//! local delivery, so a pod cannot reach the host around the switch. Left over: a broadcast from 0.0.0.0 (DHCP) reaches a
//! host's DHCP server that listens on all interfaces.

mod rx;
mod tx;

use std::fs;
use std::mem::{size_of, zeroed};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::sync::Arc;

pub use rx::PacketRxQueue;
pub use tx::PacketTxQueue;

use super::error::KernelError;
use super::landing::Pools;
use super::link::Interface;

/// Bytes of frames that may wait in the kernel for a worker, by default: some hundred 64 KiB frames.
pub const RECEIVE_BUFFER: u32 = 16 << 20;
/// Bytes of frames that may be on their way through the kernel's transmit path, by default.
pub const SEND_BUFFER: u32 = 4 << 20;

/// What to open and how.
#[derive(Clone, Debug)]
pub struct PacketOptions {
    /// Name of the interface in this network namespace.
    pub interface: String,
    /// Receive queues; with more than one, flows are spread by their hash (`PACKET_FANOUT_HASH`).
    pub queues: u16,
    /// Largest IP packet, in bytes, to set on our end; `None` leaves it.
    pub mtu: Option<u32>,
    /// Keep the host's stack away from the interface. False for an interface that the host itself uses.
    pub isolate: bool,
    /// Where received frames are stored.
    pub pools: Pools,
    /// Bytes that may wait in the kernel for each queue.
    pub receive_buffer: u32,
    /// Bytes that may be under way to the interface.
    pub send_buffer: u32,
}

impl PacketOptions {
    /// One queue, isolated, default buffers, MTU as it is.
    pub fn new(interface: &str, pools: Pools) -> Self {
        Self {
            interface: interface.to_owned(),
            queues: 1,
            mtu: None,
            isolate: true,
            pools,
            receive_buffer: RECEIVE_BUFFER,
            send_buffer: SEND_BUFFER,
        }
    }
}

/// An opened interface with its queues.
#[derive(Debug)]
pub struct Opened {
    /// The control side.
    pub device: PacketDevice,
    /// As many as asked for.
    pub rx: Vec<PacketRxQueue>,
    /// One; clone it for each worker (the kernel locks).
    pub tx: PacketTxQueue,
}

/// The interface itself: control thread only. Dropping it leaves the queues working.
#[derive(Debug)]
pub struct PacketDevice {
    interface: Arc<Interface>,
    receivers: Vec<Arc<OwnedFd>>,
    drops: u64,
}

impl PacketDevice {
    /// Finds the interface in the calling thread's namespace, sets it up and opens its queues.
    pub fn open(options: &PacketOptions) -> Result<Opened, KernelError> {
        let interface = Arc::new(Interface::find(&options.interface)?);
        interface.mac()?;
        if let Some(mtu) = options.mtu {
            interface.set_mtu(mtu)?;
        }
        if options.isolate {
            isolate(interface.name());
        }
        let mut receivers = Vec::new();
        for _ in 0..options.queues.max(1) {
            receivers.push(Arc::new(receiver(&interface, options)?));
        }
        if receivers.len() > 1 {
            fan_out(interface.name(), &receivers)?;
        }
        let sender = sender(&interface, options)?;
        // Up last: the first frame of the pod finds the sockets in place.
        interface.add_flags(if options.isolate { libc::IFF_UP | libc::IFF_NOARP } else { libc::IFF_UP })?;
        let rx = receivers
            .iter()
            .map(|socket| PacketRxQueue::new(socket.clone(), interface.clone(), options.pools))
            .collect();
        let tx = PacketTxQueue::new(Arc::new(sender), interface.clone());
        Ok(Opened { device: Self { interface, receivers, drops: 0 }, rx, tx })
    }

    /// Frames that the kernel dropped since the port was opened because a queue's buffer was full
    /// (`PACKET_STATISTICS`).
    pub fn kernel_drops(&mut self) -> u64 {
        for socket in &self.receivers {
            // SAFETY: all-zero is valid for this structure of integers.
            let mut statistics: libc::tpacket_stats = unsafe { zeroed() };
            let mut length = size_of::<libc::tpacket_stats>() as libc::socklen_t;
            // SAFETY: a writable structure of the length given. Reading resets the kernel's counters.
            let code = unsafe {
                let to = (&raw mut statistics).cast();
                libc::getsockopt(
                    socket.as_raw_fd(),
                    libc::SOL_PACKET,
                    libc::PACKET_STATISTICS,
                    to,
                    &mut length,
                )
            };
            if code == 0 {
                self.drops += u64::from(statistics.tp_drops);
            }
        }
        self.drops
    }

    /// True when the interface is up and its peer too.
    pub fn link_up(&self) -> bool {
        let wanted = libc::IFF_UP | libc::IFF_RUNNING;
        self.interface.flags().is_ok_and(|flags| flags & wanted == wanted)
    }

    /// MAC address of the host end.
    pub fn mac(&self) -> Result<[u8; 6], KernelError> {
        self.interface.mac()
    }

    /// Largest IP packet, in bytes, of the host end.
    pub fn mtu(&self) -> Result<u32, KernelError> {
        self.interface.mtu()
    }
}

/// A socket that receives what comes from the interface, and nothing that goes to it.
fn receiver(interface: &Interface, options: &PacketOptions) -> Result<OwnedFd, KernelError> {
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

/// A socket that only sends.
fn sender(interface: &Interface, options: &PacketOptions) -> Result<OwnedFd, KernelError> {
    let socket = packet_socket(interface.name())?;
    let set = Options { interface: interface.name(), socket: socket.as_raw_fd() };
    set.packet(libc::PACKET_VNET_HDR, "PACKET_VNET_HDR", &1)?;
    if std::env::var_os("BYPASS").is_some() {
        set.packet(libc::PACKET_QDISC_BYPASS, "PACKET_QDISC_BYPASS", &1)?;
    }
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
fn fan_out(interface: &str, sockets: &[Arc<OwnedFd>]) -> Result<(), KernelError> {
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

/// Keeps the host's stack from answering or accepting what the pod sends; see the module's text. A setting that this
/// kernel lacks or a read-only /proc leaves the port working, so it is only logged.
fn isolate(interface: &str) {
    let settings = [
        ("ipv6", "disable_ipv6", "1"),
        ("ipv4", "rp_filter", "1"),
        ("ipv4", "forwarding", "0"),
        ("ipv4", "arp_ignore", "8"),
        ("ipv4", "accept_local", "0"),
    ];
    for (family, key, value) in settings {
        let path = format!("/proc/sys/net/{family}/conf/{interface}/{key}");
        if let Err(error) = fs::write(&path, value) {
            tracing::warn!(
                interface,
                "{path} could not be set to {value}: {error}; the host's stack may see the pod's frames"
            );
        }
    }
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
