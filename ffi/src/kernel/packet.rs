//! The host end of a veth (or any Ethernet interface of the kernel), by AF_PACKET with virtio-net headers (packet(7)).
//!
//! Nothing is changed inside the pod. What its kernel sends arrives as it left the pod's stack: TCP as frames of up to
//! 64 KiB, checksums partial; what we send enters the pod's stack the same way.
//!
//! **What the header cannot say** cannot be carried. A large send inside the pod's own tunnel is cut here. Lost, and
//! counted as undecodable, since the kernel itself drops it: large SCTP sends, and, before Linux 6.2, large UDP sends
//! (`UDP_SEGMENT`); where a pod makes such, switch `tx-sctp-segmentation` or `tx-udp-segmentation` off on its interface.
//!
//! **The host's own stack** sees the same frames, since a packet socket only listens. With
//! [`PacketOptions::isolate`] it does nothing with them: ARP is off (`IFF_NOARP`), IPv6 is off
//! (`disable_ipv6`), and without an address on the interface the reverse path filter (`rp_filter`) drops IPv4 before
//! local delivery, so a pod cannot reach the host around the switch. Left over: a broadcast from 0.0.0.0 (DHCP) reaches a
//! host's DHCP server that listens on all interfaces. These settings stay when the port is closed.

mod rx;
mod socket;
mod tag;
mod tx;

use std::fs;
use std::os::fd::OwnedFd;
use std::sync::Arc;

pub use rx::PacketRxQueue;
pub use tx::PacketTxQueue;

use super::error::KernelError;
use super::landing::Pools;
use super::link::Interface;
use super::setting::{Lost, Setting};

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
    setting: Setting,
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
        let uso = release().is_none_or(|release| release >= (6, 2));
        if !uso {
            tracing::warn!(
                interface = interface.name(),
                "this kernel is older than 6.2 and drops large udp sends of the pod; \
                 run `ethtool -K DEVICE tx-udp-segmentation off` in the pod if it makes any"
            );
        }
        let mut receivers = Vec::new();
        for _ in 0..options.queues.max(1) {
            receivers.push(Arc::new(socket::receiver(&interface, options)?));
        }
        if receivers.len() > 1 {
            socket::fan_out(interface.name(), &receivers)?;
        }
        let sender = socket::sender(&interface, options)?;
        // Up last: the first frame of the pod finds the sockets in place.
        interface.add_flags(if options.isolate { libc::IFF_UP | libc::IFF_NOARP } else { libc::IFF_UP })?;
        let rx = receivers
            .iter()
            .map(|socket| PacketRxQueue::new(socket.clone(), interface.clone(), options.pools))
            .collect();
        let tx = PacketTxQueue::new(Arc::new(sender), interface.clone(), uso);
        let setting = Setting { mtu: options.mtu, ..Setting::default() };
        Ok(Opened { device: Self { interface, receivers, drops: 0, setting }, rx, tx })
    }

    /// Frames that the kernel dropped since the port was opened because a queue's buffer was full
    /// (`PACKET_STATISTICS`).
    pub fn kernel_drops(&mut self) -> u64 {
        self.drops += self.receivers.iter().map(|socket| socket::take_drops(socket)).sum::<u64>();
        self.drops
    }

    /// True when the interface is up and its peer too.
    pub fn link_up(&self) -> bool {
        let wanted = libc::IFF_UP | libc::IFF_RUNNING;
        self.interface.flags().is_ok_and(|flags| flags & wanted == wanted)
    }

    /// Whether somebody has set the host end down, or changed an MTU that was given.
    ///
    /// # Errors
    /// The interface is gone.
    pub fn lost(&self) -> Result<Vec<Lost>, KernelError> {
        self.setting.lost(self.interface.name())
    }

    /// Sets it again; returns what was lost. Frames go on meanwhile.
    ///
    /// # Errors
    /// The interface is gone, or the kernel refuses.
    pub fn restore(&self) -> Result<Vec<Lost>, KernelError> {
        self.setting.restore(self.interface.name())
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

/// The running kernel's version.
fn release() -> Option<(u32, u32)> {
    let text = fs::read_to_string("/proc/sys/kernel/osrelease").ok()?;
    let mut numbers = text.split(|char: char| !char.is_ascii_digit()).map(str::parse);
    Some((numbers.next()?.ok()?, numbers.next()?.ok()?))
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
