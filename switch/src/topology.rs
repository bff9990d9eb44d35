//! The topology: everything a worker looks at to decide where a frame goes, immutable and shared.
//!
//! The control thread builds a whole new [`Topology`] for every change, reusing the tables that did not change (each is
//! an `Arc`), and publishes it through [`shunt_ffi::rcu`]. [`Topology::build`] is a pure function of its input.

mod diff;

use std::net::{Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use shunt_config::{NetworkName, PortName};

use crate::ids::{MAX_PORTS, NetworkId, PortId};
use crate::table::fdb::Fdb;
use crate::table::neighbor::NeighborTable;
use crate::wire::ethernet::Mac;

pub use diff::{Change, diff};

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

/// A port as the data path sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Port {
    /// Slot.
    pub id: PortId,
    /// Name, for people.
    pub name: PortName,
    /// Network it belongs to.
    pub network: NetworkId,
    /// Administratively up and alive: frames go in and out.
    pub up: bool,
    /// Longest frame it takes, Ethernet header included, FCS not; large sends count by their segments.
    pub max_frame: u32,
    /// Set for L3 ports.
    pub l3: Option<L3Interface>,
}

/// A network: one isolated broadcast domain.
#[derive(Clone, Debug)]
pub struct Network {
    /// Index.
    pub id: NetworkId,
    /// Name, for people.
    pub name: NetworkName,
    /// The ports of the network that are up.
    pub members: Arc<[PortId]>,
    /// MAC table.
    pub fdb: Arc<Fdb>,
    /// Neighbours; filled only while the network has an L3 port.
    pub neighbors: Arc<NeighborTable>,
    /// True when a port of the network is L3: only then does ARP and ND traffic have to be looked at.
    pub has_l3: bool,
}

/// What [`Topology::build`] makes a topology of. Networks are in the order of their ids.
#[derive(Clone, Debug, Default)]
pub struct Plan {
    /// Names and tables of the networks.
    pub networks: Vec<PlannedNetwork>,
    /// All ports, in any order; their `network` indexes `networks`.
    pub ports: Vec<Port>,
}

/// A network in a [`Plan`].
#[derive(Clone, Debug)]
pub struct PlannedNetwork {
    /// Name.
    pub name: NetworkName,
    /// MAC table.
    pub fdb: Arc<Fdb>,
    /// Neighbours.
    pub neighbors: Arc<NeighborTable>,
}

/// An immutable topology.
#[derive(Debug)]
pub struct Topology {
    generation: u64,
    ports: Box<[Option<Port>]>,
    networks: Box<[Network]>,
}

impl Topology {
    /// A topology without ports.
    pub fn empty() -> Self {
        Self::build(0, &Plan::default())
    }

    /// Builds the topology of `plan`. Pure: the same plan gives the same topology.
    ///
    /// # Panics
    /// If a port names a network that the plan does not have; the control side makes plans from validated configuration.
    pub fn build(generation: u64, plan: &Plan) -> Self {
        let mut ports: Box<[Option<Port>]> = (0..MAX_PORTS).map(|_| None).collect();
        for port in &plan.ports {
            assert!(port.network.index() < plan.networks.len(), "port {} is in no network", port.name);
            ports[port.id.index()] = Some(port.clone());
        }
        let networks = plan.networks.iter().enumerate().map(|(index, network)| {
            let id = NetworkId(index as u16);
            let of_network = || plan.ports.iter().filter(move |port| port.network == id);
            let mut members: Vec<PortId> = of_network().filter(|port| port.up).map(|port| port.id).collect();
            members.sort_unstable();
            Network {
                id,
                name: network.name.clone(),
                members: members.into(),
                fdb: network.fdb.clone(),
                neighbors: network.neighbors.clone(),
                has_l3: of_network().any(|port| port.l3.is_some()),
            }
        });
        Self { generation, ports, networks: networks.collect() }
    }

    /// Number of the publication this topology was built for.
    #[inline]
    pub fn generation(&self) -> u64 {
        self.generation
    }

    /// The port in slot `id`.
    #[inline]
    pub fn port(&self, id: PortId) -> Option<&Port> {
        self.ports[id.index()].as_ref()
    }

    /// The network `id`.
    #[inline]
    pub fn network(&self, id: NetworkId) -> Option<&Network> {
        self.networks.get(id.index())
    }

    /// All ports in the order of their slots.
    pub fn ports(&self) -> impl Iterator<Item = &Port> {
        self.ports.iter().flatten()
    }

    /// All networks.
    pub fn networks(&self) -> &[Network] {
        &self.networks
    }
}
