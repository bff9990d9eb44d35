//! A port as the data path sees it, and what is put together of it for every burst from it and every frame to it.

use std::net::{Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use shunt_config::PortName;

use super::{Identity, Meter, Network, Tag, Vlans};
use crate::flow::Depth;
use crate::ids::{NetworkId, PortId};
use crate::wire::ethernet::Mac;

/// A port as the data path sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Port {
    /// Slot.
    pub id: PortId,
    /// Name, for people.
    pub name: PortName,
    /// Network it belongs to: of a port with `vlans` the bridge, whose VLANs are networks of their own.
    pub network: NetworkId,
    /// The VLANs it belongs to; to a port without, tags are payload.
    pub vlans: Option<Vlans>,
    /// Administratively up and alive: frames go in and out.
    pub up: bool,
    /// Longest frame it takes, Ethernet header and tags included, FCS not; large sends count by their segments.
    pub max_frame: u32,
    /// Set for L3 ports.
    pub l3: Option<L3Interface>,
    /// Who may send behind it; `None` lets everybody.
    pub identity: Option<Arc<Identity>>,
    /// It does not send control protocols of links and routers, nor from addresses that nobody has.
    pub guarded: bool,
    /// Port that gets copies of frames of this one.
    pub mirror: Option<Mirror>,
    /// What may come in by it.
    pub meter: Option<Arc<Meter>>,
}

impl Port {
    /// A port of one network that is up and lets everything through, frames of 1,514 bytes: no VLANs, no rules. For what builds topologies
    /// without a configuration (benches, tests).
    pub fn plain(id: PortId, name: PortName, network: NetworkId) -> Self {
        Self {
            id,
            name,
            network,
            vlans: None,
            up: true,
            max_frame: 1514,
            l3: None,
            identity: None,
            guarded: false,
            mirror: None,
            meter: None,
        }
    }

    /// The networks it is attached to, each with the tag it has there.
    pub fn attachments(&self) -> impl Iterator<Item = (NetworkId, Option<Tag>)> + '_ {
        let alone = self.vlans.is_none().then_some((self.network, None));
        alone.into_iter().chain(self.vlans.iter().flat_map(Vlans::attachments))
    }

    /// How deep its frames must be looked into.
    pub(super) fn depth(&self, networks: &[Network]) -> Depth {
        let needed =
            |(network, _): (NetworkId, _)| networks.get(network.index()).map(|network| network.depth);
        let deepest = self.attachments().filter_map(needed).max().unwrap_or_default();
        if self.guarded {
            return Depth::Transport;
        }
        // At this depth tags are told apart, and addresses read.
        let deeper = self.vlans.is_some() || self.identity.is_some();
        if deeper { deepest.max(Depth::Network) } else { deepest }
    }
}

/// The addresses with which the switch speaks for an L3 port (TUN), whose frames have no Ethernet header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct L3Interface {
    /// MAC address that the network sees.
    pub mac: Mac,
    /// First IPv4 address: sender of ARP requests.
    pub ipv4: Option<Ipv4Addr>,
    /// First IPv6 address: sender of neighbour solicitations.
    pub ipv6: Option<Ipv6Addr>,
}

/// Who gets copies of a port's frames, and of which.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mirror {
    /// The port that gets them.
    pub to: PortId,
    /// Of what comes in.
    pub ingress: bool,
    /// Of what goes out.
    pub egress: bool,
}

/// What a burst from a port is received by.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Inlet {
    /// The port is there and up.
    pub up: bool,
    /// Tunnels end behind it: [`Topology::openers`](super::Topology::openers) parse its frames.
    pub opens: bool,
    /// Some of its frames may belong to connections.
    pub tracks: bool,
    /// It or a network of its frames has a [`Meter`].
    pub police: bool,
    /// Its frames are copied.
    pub mirror: bool,
    /// How deep its frames are looked into: as deep as the deepest of its networks reads.
    pub depth: Depth,
}

/// What sending out of a port asks of it for every frame, in 8 bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Egress {
    /// Longest frame it takes; 0 while it is down or not there.
    pub max_frame: u32,
    /// It is an L3 port.
    pub l3: bool,
    /// What leaves by it is copied.
    pub mirror: bool,
}
