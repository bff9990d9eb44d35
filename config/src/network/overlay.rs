//! `kind = "overlay"`: the tunnels of a network.

use std::net::IpAddr;
use std::path::PathBuf;

use ipnet::IpNet;
use serde::{Serialize, Serializer};

use super::peer::{Peer, derived};
use crate::mac::MacAddr;
use crate::names::NetworkName;

/// UDP port of VXLAN (RFC 7348 section 8).
pub const VXLAN_PORT: u16 = 4789;
/// UDP port of Geneve (RFC 8926 section 3.3).
pub const GENEVE_PORT: u16 = 6081;
/// Largest VNI of VXLAN and Geneve: 24 bits.
pub const VNI_MAX: u32 = (1 << 24) - 1;
/// Bytes of OVN's option with its header (RFC 8926 section 3.5; class 0x0102, type 0x80).
pub(crate) const OVN_OPTION: u16 = 8;
/// Largest logical ingress port in it: 15 bits.
pub(crate) const OVN_INGRESS_MAX: u16 = 0x7fff;
/// Most peers of an overlay: the switch numbers them with 16 bits, and 0 is none.
pub const PEERS_MAX: usize = 65_535;

/// The encapsulation of an overlay.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Encap {
    /// RFC 7348.
    Vxlan,
    /// RFC 8926.
    Geneve,
    /// RFC 2784 with the key of RFC 2890.
    Gre,
    /// RFC 2003 and RFC 2473.
    Ipip,
}

impl Encap {
    /// The word that `encap` takes in the configuration.
    pub const fn name(self) -> &'static str {
        match self {
            Encap::Vxlan => "vxlan",
            Encap::Geneve => "geneve",
            Encap::Gre => "gre",
            Encap::Ipip => "ipip",
        }
    }

    /// The UDP port that it is registered with; `None` for those that are no UDP.
    pub const fn default_port(self) -> Option<u16> {
        match self {
            Encap::Vxlan => Some(VXLAN_PORT),
            Encap::Geneve => Some(GENEVE_PORT),
            Encap::Gre | Encap::Ipip => None,
        }
    }
}

/// What a tunnel carries.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Payload {
    /// Ethernet frames.
    #[default]
    Ethernet,
    /// IP packets.
    Ip,
}

/// DSCP of the outer packets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Dscp {
    /// That of the inner packet (RFC 2983 section 3.1, the uniform model).
    Inherit,
    /// This value, 0 to 63 (RFC 2983 section 3.1, the pipe model).
    Value(u8),
}

impl Default for Dscp {
    fn default() -> Self {
        Dscp::Value(0)
    }
}

impl Serialize for Dscp {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Dscp::Inherit => serializer.serialize_str("inherit"),
            Dscp::Value(value) => serializer.serialize_u8(*value),
        }
    }
}

/// The way of answers to underlay pods whose packets came in a tunnel.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Return {
    /// Back into the tunnel: a peer speaks for those among its prefixes alone.
    #[default]
    Symmetric,
    /// By the underlay: every peer speaks for them.
    Gateway,
}

/// What an overlay has besides.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Overlay {
    /// The encapsulation.
    pub encap: Encap,
    /// VNI of VXLAN and Geneve (always there), key of GRE (`None`: no key); never for IP-in-IP.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub vni: Option<u32>,
    /// What the tunnel carries.
    pub payload: Payload,
    /// The network in which the outer packets are routed; exists and has gateways.
    pub transport: NetworkName,
    /// Source of the outer packets: a gateway address of the transport, of the first peer's family where the text gave
    /// none. For peers of the other family see [`Config::tunnel_local`](crate::Config::tunnel_local).
    pub local: IpAddr,
    /// UDP port of the outer packets; always there for VXLAN and Geneve, never for the others.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub port: Option<u16>,
    /// All addresses of the overlay; those that nothing is known of are unreachable.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub cidr: Vec<IpNet>,
    /// Inner source addresses are learned.
    pub learning: bool,
    /// Broadcast, multicast and unknown frames go to every peer (head-end replication); of L2 overlays only.
    pub flood: bool,
    /// Whether the outer UDP checksum is filled in, as configured; see [`Overlay::udp_checksum_to`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub udp_checksum: Option<bool>,
    /// DSCP of the outer packets.
    pub dscp: Dscp,
    /// Logical ingress port (15 bits) and egress port (16 bits) in OVN's option of Geneve (ovn-architecture(7)); `None`
    /// sends no option, and always for other encapsulations.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ovn_ports: Option<(u16, u16)>,
    /// The switch's own address in an L3 overlay as configured, see [`Overlay::vtep`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub vtep: Option<IpAddr>,
    /// Addresses that this node alone has in an L2 overlay, whose gateway all nodes have, or in an L3 one in the family of which its
    /// vtep is not: one of a family at most. Peers answer to them.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub node_ips: Vec<IpAddr>,
    /// Who may speak for underlay pods, and which way answers to them go.
    #[serde(rename = "return")]
    pub returns: Return,
    /// The other ends, in the order of the text.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub peers: Vec<Peer>,
    /// A file with further peers, by its absolute path. Reading it is the affair of whoever runs the configuration.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub peers_file: Option<PathBuf>,
    /// The peers that were read from that file; none as the configuration comes from its text.
    #[serde(skip)]
    pub file_peers: Vec<Peer>,
}

impl Overlay {
    /// The switch's own address in an L3 overlay: as configured, else the source of the outer packets.
    pub fn vtep(&self) -> IpAddr {
        self.vtep.unwrap_or(self.local)
    }

    /// The Ethernet address that goes with [`Overlay::node_ips`], as the other nodes derive it (see [`Peer::node_mac`]).
    pub fn node_mac(&self) -> Option<MacAddr> {
        derived(&self.node_ips)
    }

    /// True when outer packets to a peer at `peer` have a UDP checksum: as configured, else over IPv6, where receivers
    /// drop those without (RFC 8200 section 8.1; RFC 6935 makes exceptions for tunnels that both ends agree on).
    pub fn udp_checksum_to(&self, peer: IpAddr) -> bool {
        self.udp_checksum.unwrap_or(peer.is_ipv6())
    }

    /// Bytes from the beginning of the outer IP header to the inner IP header: what a tunnel packet is larger than the
    /// packet in it. `ipv6` is the family of the outer header.
    pub const fn overhead(&self, ipv6: bool) -> u16 {
        let outer = if ipv6 { 40 } else { 20 };
        let key = if self.vni.is_some() { 4 } else { 0 };
        let header = match self.encap {
            // UDP and the tunnel header.
            Encap::Vxlan | Encap::Geneve => 8 + 8 + if self.ovn_ports.is_some() { OVN_OPTION } else { 0 },
            Encap::Gre => 4 + key,
            Encap::Ipip => 0,
        };
        let ethernet = match self.payload {
            Payload::Ethernet => 14,
            Payload::Ip => 0,
        };
        outer + header + ethernet
    }

    /// True when some peer is reached over IPv6; without peers, when the source of the outer packets is IPv6.
    pub fn over_ipv6(&self) -> bool {
        match self.all_peers().next() {
            None => self.local.is_ipv6(),
            Some(_) => self.all_peers().any(|peer| peer.address.is_ipv6()),
        }
    }

    /// The other ends, those of the text before those of the file.
    pub fn all_peers(&self) -> impl Iterator<Item = &Peer> {
        self.peers.iter().chain(&self.file_peers)
    }
}
