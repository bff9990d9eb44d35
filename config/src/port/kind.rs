//! What a port is connected to. One variant per kind; the fields of a variant are its keys.

use std::path::PathBuf;

use ipnet::IpNet;
use serde::Serialize;

use super::bond::{Bond, BondMember};
use super::netns::Netns;
use super::route::KernelRoute;
use super::secret::Secret;
use crate::mac::MacAddr;
use crate::names::PortName;

/// The kind of a port, with the keys of that kind.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum PortKind {
    /// The host end of a veth pair, which must exist: AF_PACKET with the virtio-net header, so that checksum state and
    /// large frames pass whole (packet(7), `PACKET_VNET_HDR`).
    Veth {
        /// Name of the host end.
        device: String,
    },
    /// A kernel TAP device that the daemon makes, with the virtio-net header.
    Tap {
        /// Kernel name; the port's name when `None`. See [`Port::device`](crate::Port::device).
        #[serde(skip_serializing_if = "Option::is_none")]
        device: Option<String>,
        /// Namespace the device is moved into; the daemon's own when `None`.
        #[serde(skip_serializing_if = "Option::is_none")]
        netns: Option<Netns>,
        /// Addresses given to the kernel's side.
        #[serde(skip_serializing_if = "Vec::is_empty")]
        addresses: Vec<IpNet>,
        /// Routes of the kernel's side.
        #[serde(skip_serializing_if = "Vec::is_empty")]
        routes: Vec<KernelRoute>,
        /// Ethernet address of the kernel's side; the kernel draws one when `None`.
        #[serde(skip_serializing_if = "Option::is_none")]
        peer_mac: Option<MacAddr>,
    },
    /// A kernel TUN device that the daemon makes: no Ethernet header, so the switch answers ARP and neighbor
    /// solicitations for its addresses.
    Tun {
        /// Kernel name; the port's name when `None`. See [`Port::device`](crate::Port::device).
        #[serde(skip_serializing_if = "Option::is_none")]
        device: Option<String>,
        /// Namespace the device is moved into; the daemon's own when `None`.
        #[serde(skip_serializing_if = "Option::is_none")]
        netns: Option<Netns>,
        /// Addresses of the kernel's side, at least one.
        addresses: Vec<IpNet>,
        /// Ethernet address the switch answers with for `addresses`; drawn when `None`.
        #[serde(skip_serializing_if = "Option::is_none")]
        peer_mac: Option<MacAddr>,
    },
    /// An AF_XDP socket per queue of a kernel device.
    #[serde(rename = "af_xdp")]
    AfXdp {
        /// Name of the kernel device.
        device: String,
        /// First queue of the device; the port takes as many as it has queues.
        start_queue: u16,
    },
    /// A virtio-net device of a guest, over the vhost-user protocol.
    VhostUser {
        /// Unix socket, at most 107 bytes.
        path: PathBuf,
        /// Who makes the socket.
        mode: VhostMode,
        /// Offers TCP segmentation and checksum offload to the guest.
        tso: bool,
        /// Offers mergeable receive buffers to the guest.
        mergeable: bool,
    },
    /// Shared memory with another process, over the memif protocol.
    Memif {
        /// Unix socket, at most 107 bytes.
        path: PathBuf,
        /// Number of the interface on that socket; both sides give the same.
        id: u32,
        /// Who makes the socket.
        role: MemifRole,
        /// Secret that both sides must give.
        #[serde(skip_serializing_if = "Option::is_none")]
        secret: Option<Secret>,
        /// Binary logarithm of the entries of a ring, 1 to 14.
        ring_size_log2: u8,
        /// Bytes per buffer of the shared memory.
        buffer_size: u16,
    },
    /// Any device of DPDK, by its device arguments.
    Dpdk {
        /// PCI address or virtual device with arguments, as `0000:03:00.0` or `net_pcap0,rx_pcap=f.pcap`.
        devargs: String,
    },
    /// Several links as one.
    Bond(Bond),
}

impl PortKind {
    /// The word that `kind` takes in the configuration.
    pub const fn name(&self) -> &'static str {
        match self {
            PortKind::Veth { .. } => "veth",
            PortKind::Tap { .. } => "tap",
            PortKind::Tun { .. } => "tun",
            PortKind::AfXdp { .. } => "af_xdp",
            PortKind::VhostUser { .. } => "vhost-user",
            PortKind::Memif { .. } => "memif",
            PortKind::Dpdk { .. } => "dpdk",
            PortKind::Bond(_) => "bond",
        }
    }

    /// Addresses of the kernel's side; empty for kinds without.
    pub fn addresses(&self) -> &[IpNet] {
        match self {
            PortKind::Tap { addresses, .. } | PortKind::Tun { addresses, .. } => addresses,
            _ => &[],
        }
    }

    /// Routes of the kernel's side; empty for kinds without.
    pub fn routes(&self) -> &[KernelRoute] {
        match self {
            PortKind::Tap { routes, .. } => routes,
            _ => &[],
        }
    }

    /// The links of a bond; empty for other kinds.
    pub fn members(&self) -> &[BondMember] {
        match self {
            PortKind::Bond(bond) => &bond.members,
            _ => &[],
        }
    }

    /// Namespace of the kernel's side, where one was asked for.
    pub fn netns(&self) -> Option<&Netns> {
        match self {
            PortKind::Tap { netns, .. } | PortKind::Tun { netns, .. } => netns.as_ref(),
            _ => None,
        }
    }

    /// The kernel device, given the name of the port; `None` for kinds without.
    pub fn device<'a>(&'a self, name: &'a PortName) -> Option<&'a str> {
        match self {
            PortKind::Veth { device } | PortKind::AfXdp { device, .. } => Some(device),
            PortKind::Tap { device, .. } | PortKind::Tun { device, .. } => {
                Some(device.as_deref().unwrap_or(name.as_str()))
            }
            _ => None,
        }
    }
}

/// Who makes the socket of a vhost-user port.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum VhostMode {
    /// The switch makes the socket, the guest connects.
    #[default]
    Server,
    /// The guest makes the socket, the switch connects, and again after either restarts.
    Client,
}

/// Who makes the socket of a memif port.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum MemifRole {
    /// The switch makes the socket and receives the memory.
    #[default]
    Server,
    /// The other side makes the socket; the switch connects and provides the memory.
    Client,
}
