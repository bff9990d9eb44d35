//! How a network forwards. One variant per kind; the fields of a variant are its keys.

use serde::Serialize;

use super::overlay::Overlay;
use crate::mac::MacAddr;
use crate::names::{NetworkName, PortName};
use crate::vlan::VlanSet;

/// The kind of a network, with the keys of that kind.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum NetworkKind {
    /// A learning Ethernet bridge (IEEE 802.1D without spanning tree).
    Bridge(Bridge),
    /// A part of the physical network that pods use: a VLAN of a bridge, or its untagged domain.
    Underlay(Underlay),
    /// Pods of several nodes joined by tunnels.
    Overlay(Box<Overlay>),
}

impl NetworkKind {
    /// The word that `kind` takes in the configuration.
    pub const fn name(&self) -> &'static str {
        match self {
            NetworkKind::Bridge(_) => "bridge",
            NetworkKind::Underlay(_) => "underlay",
            NetworkKind::Overlay(_) => "overlay",
        }
    }
}

impl Default for NetworkKind {
    fn default() -> Self {
        NetworkKind::Bridge(Bridge::default())
    }
}

/// What a bridge has besides.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Bridge {
    /// The VLANs that are told apart (IEEE 802.1Q); empty: tags are payload.
    #[serde(skip_serializing_if = "VlanSet::is_empty")]
    pub vlans: VlanSet,
    /// Broadcast, multicast and unknown-unicast frames per second and port; 0 is no limit.
    pub storm_limit: u32,
    /// Frames to the addresses that no bridge forwards to are flooded.
    pub forward_control: bool,
}

/// What an underlay has besides.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Underlay {
    /// The bridge; exists in the configuration and is one.
    pub bridge: NetworkName,
    /// The VLAN of the bridge that the network is, one of its `vlans`; `None`: its untagged domain.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub vlan: Option<u16>,
    /// Who has which address, and who routes.
    pub mode: UnderlayMode,
    /// The Ethernet address of all endpoints of a `demux` network, see [`Network::parent_mac`](crate::Network::parent_mac).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub parent_mac: Option<MacAddr>,
    /// The TAP port that gets what is sent to the switch's own addresses.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub host_port: Option<PortName>,
    /// Endpoints that appear or move are announced (RFC 5227 section 3, RFC 4861 section 7.2.6).
    pub announce: bool,
    /// What its endpoints send to a physical router is routed here when it is for an overlay or a pod of this node.
    pub local_route: bool,
}

/// How an underlay treats its pods.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum UnderlayMode {
    /// The switch routes for pods that each have an address of their own, and answers ARP for all others.
    #[default]
    Routed,
    /// Pods are stations of the physical network.
    Bridged,
    /// Pods share the Ethernet address of their parent and are told apart by IP address (ipvlan L2).
    Demux,
}
