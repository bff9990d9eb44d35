//! Port kinds: one file and one enum variant each. [`open`] turns a validated configuration into queues for the workers
//! and a [`Device`] for the control thread.
//!
//! A worker sees only [`RxQueue`] and [`TxQueue`]: one `match` per burst, no virtual call.

mod af_xdp;
pub mod bond;
mod ethdev;
mod memif;
mod queue;
mod tap;
mod veth;
mod vhost;

use std::sync::{Arc, Mutex};

use shunt_config::{IpNet, MacAddr};
use shunt_ffi::Mempool;
use shunt_ffi::eal::Eal;
use shunt_ffi::kernel::tap::TapMode;
use shunt_ffi::kernel::{self, KernelError, Lost};

use crate::offload::EgressCapabilities;
use crate::topology::L3Interface;
pub use queue::{Received, RxQueue, Sent, TxQueue};

/// The control thread's side of an open port. Dropping it and all queues closes the device.
#[derive(Debug)]
pub enum Device {
    /// A DPDK device.
    Ethdev(shunt_ffi::ethdev::EthDevice),
    /// The host end of a veth.
    Packet(shunt_ffi::kernel::packet::PacketDevice),
    /// A TAP or TUN interface.
    Tap(shunt_ffi::kernel::tap::TapDevice),
    /// A vhost-user socket.
    Vhost(shunt_ffi::vhost::VhostPort),
    /// A kernel device, by AF_XDP.
    Xdp(af_xdp::XdpDevice),
    /// Several links as one.
    Bond(bond::BondDevice),
}

/// What the control thread reports of a device.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DeviceStatus {
    /// Carrier, or the other side attached.
    pub link: bool,
    /// Frames lost below us: in the kernel's socket, the NIC's ring.
    pub missed: u64,
    /// Descriptors of each queue, of DPDK devices.
    pub rings: Option<shunt_ffi::ethdev::Rings>,
    /// One line about the device: driver, MAC, queues.
    pub about: String,
}

impl Device {
    /// Current state.
    pub fn status(&mut self) -> DeviceStatus {
        match self {
            Self::Ethdev(device) => ethdev::status(device),
            Self::Packet(device) => veth::status(device),
            Self::Tap(device) => tap::status(device),
            Self::Vhost(port) => vhost::status(port),
            Self::Xdp(device) => device.status(),
            Self::Bond(device) => device.status(),
        }
    }

    /// The longest IP packet that the kernel's device takes, bytes; `None` for what is no kernel device, or is gone.
    pub(crate) fn mtu(&self) -> Option<u32> {
        match self {
            Self::Packet(device) => device.mtu().ok(),
            _ => None,
        }
    }

    /// What was set in the kernel when the port was opened, and is not so any more; `None` for devices in which nothing is set.
    pub(crate) fn lost(&self) -> Option<Result<Vec<Lost>, KernelError>> {
        match self {
            Self::Packet(device) => Some(device.lost()),
            Self::Tap(device) => Some(device.lost()),
            _ => None,
        }
    }

    /// Sets it again; says what was lost. Queues go on meanwhile.
    pub(crate) fn restore(&self) -> Option<Result<Vec<Lost>, KernelError>> {
        match self {
            Self::Packet(device) => Some(device.restore()),
            Self::Tap(device) => Some(device.restore()),
            _ => None,
        }
    }

    /// Carrier alone, which costs less than all of [`Device::status`].
    pub(crate) fn link(&self) -> bool {
        match self {
            Self::Ethdev(device) => device.link().up,
            Self::Packet(device) => device.link_up(),
            // Its carrier is ours; an interface that is set down shows when something is sent.
            Self::Tap(_) => true,
            Self::Vhost(_) => true,
            Self::Xdp(device) => device.link(),
            Self::Bond(device) => device.bond().up,
        }
    }
}

/// An open port.
#[derive(Debug)]
pub struct Opened {
    /// Receive queues, as many as configured.
    pub rx: Vec<RxQueue>,
    /// One transmit queue for each worker.
    pub tx: Vec<TxQueue>,
    /// For the control thread.
    pub device: Device,
    /// Longest frame the port takes, Ethernet header included.
    pub max_frame: u32,
    /// Longest frame that its device takes, tags and all, as far as is known.
    pub longest: Option<u32>,
    /// Set for L3 ports.
    pub l3: Option<L3Interface>,
}

/// Where a port is opened.
#[derive(Clone, Copy, Debug)]
pub struct Site {
    /// DPDK runs.
    pub eal: Eal,
    /// Buffers for received frames.
    pub pool: Mempool,
    /// Large buffers for what of a kernel port's large sends does not fit into one of `pool`.
    pub large: Mempool,
    /// Number of workers.
    pub workers: usize,
}

impl Site {
    /// The buffers a kernel port receives into.
    pub(crate) fn kernel_pools(&self) -> kernel::Pools {
        kernel::Pools { small: self.pool, large: self.large }
    }
}

/// Why a port did not open. One line that says what to do.
#[derive(Clone, Debug, thiserror::Error)]
#[error("port `{port}`: {message}")]
pub struct OpenError {
    /// The port.
    pub port: String,
    /// What is wrong and what to do.
    pub message: String,
}

/// What a host port has in common with the gateway of its network.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shared {
    /// The Ethernet address.
    pub mac: MacAddr,
    /// Addresses with their subnets.
    pub addresses: Vec<IpNet>,
}

/// Opens `port` with the given MTU; a host port with what it shares.
pub fn open(
    site: &Site,
    port: &shunt_config::Port,
    mtu: u16,
    shared: Option<&Shared>,
) -> Result<Opened, OpenError> {
    use shunt_config::PortKind;
    let result = match &port.kind {
        PortKind::Veth { device } => veth::open(site, port, device, mtu),
        PortKind::Tap { netns, addresses, routes, peer_mac, .. } => {
            let wanted = tap::Wanted {
                mode: TapMode::Tap,
                netns: netns.as_ref(),
                addresses,
                routes,
                peer_mac: *peer_mac,
                shared,
            };
            tap::open(site, port, &wanted, mtu)
        }
        PortKind::Tun { netns, addresses, peer_mac, .. } => {
            let wanted = tap::Wanted {
                mode: TapMode::Tun,
                netns: netns.as_ref(),
                addresses,
                routes: &[],
                peer_mac: *peer_mac,
                shared: None,
            };
            tap::open(site, port, &wanted, mtu)
        }
        PortKind::VhostUser { path, mode, tso, mergeable } => {
            let wanted = vhost::Wanted { path, mode: *mode, tso: *tso, mergeable: *mergeable };
            vhost::open(site, port, &wanted, mtu)
        }
        PortKind::AfXdp { device, start_queue } => af_xdp::open(site, port, device, *start_queue, mtu),
        PortKind::Memif { path, id, role, secret, ring_size_log2, buffer_size } => {
            let (id, role, secret) = (*id, *role, secret.as_ref());
            let (ring_size_log2, buffer_size) = (*ring_size_log2, *buffer_size);
            let wanted = memif::Wanted { path, id, role, secret, ring_size_log2, buffer_size };
            memif::open(site, port, &wanted, mtu)
        }
        PortKind::Dpdk { devargs } => ethdev::open(site, port, devargs, mtu),
        PortKind::Bond(bond) => bond::open(site, port, bond, mtu),
    };
    result.map_err(|message| OpenError { port: port.name.to_string(), message })
}

/// Bytes a frame has beyond its IP packet: Ethernet header and two VLAN tags.
pub(crate) const FRAME_OVERHEAD: u32 = ETHERNET + 2 * TAG;
/// Bytes of an Ethernet header.
pub(crate) const ETHERNET: u32 = 14;
/// Bytes of a VLAN tag.
pub(crate) const TAG: u32 = 4;

/// The MAC address of a TAP or TUN pod that has none configured: locally administered, from the names of node and port,
/// so that it is the same after a restart and another on the next node.
pub(crate) fn derived_mac(name: &str) -> MacAddr {
    let node = nix::unistd::gethostname().unwrap_or_default();
    // FNV-1a: stable over restarts and versions, which a std hasher is not.
    let hash = node
        .as_encoded_bytes()
        .iter()
        .chain(name.as_bytes())
        .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
            (hash ^ u64::from(*byte)).wrapping_mul(0x100_0000_01b3)
        });
    let [a, b, c, d, e, ..] = hash.to_le_bytes();
    MacAddr([0x02, a, b, c, d, e])
}

/// Gives every worker a transmit queue: its own where the device has enough, else a shared one.
pub(crate) fn spread(queues: Vec<TxQueue>, workers: usize) -> Vec<TxQueue> {
    if queues.len() >= workers {
        return queues.into_iter().take(workers).collect();
    }
    let shared: Vec<(Arc<Mutex<TxQueue>>, EgressCapabilities)> = queues
        .into_iter()
        .map(|queue| {
            let can = queue.capabilities();
            (Arc::new(Mutex::new(queue)), can)
        })
        .collect();
    (0..workers)
        .map(|worker| {
            let (queue, can) = &shared[worker % shared.len()];
            TxQueue::Shared(queue.clone(), *can)
        })
        .collect()
}
