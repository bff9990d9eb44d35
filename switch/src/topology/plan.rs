//! What the control thread makes of configuration and of what it has learned, for [`Topology::build`](super::Topology::build).

use std::sync::Arc;

use shunt_config::NetworkName;

use super::{
    Answers, Crossing, Demux, Gateway, Management, Meter, OwnEnd, PlannedOverlay, PlannedRouter, Port,
};
use crate::flow::execute::Rewrites;
use crate::ids::PortId;
use crate::state::Affinity;
use crate::table::fdb::Fdb;
use crate::table::nat::Nat;
use crate::table::neighbor::NeighborTable;
use crate::table::policy::Policies;
use crate::table::service::Services;

/// What [`Topology::build`](super::Topology::build) makes a topology of. Networks and routers are in the order of their ids.
#[derive(Clone, Debug, Default)]
pub struct Plan {
    /// Names and tables of the networks.
    pub networks: Vec<PlannedNetwork>,
    /// Names and routes of the routers.
    pub routers: Vec<PlannedRouter>,
    /// All ports, in any order; their `network` indexes `networks`.
    pub ports: Vec<Port>,
    /// Flow keys hold every field they can, whatever the stages read: for measuring.
    pub full_key: bool,
    /// Networks that other networks carry in tunnels.
    pub overlays: Vec<Arc<PlannedOverlay>>,
    /// Translations that actions name by index. A plan that changes them gives what is new a new index: cached flows keep
    /// theirs. Its templates are not looked at: those of the overlays take their place.
    pub rewrites: Arc<Rewrites>,
    /// The services of each router, by its index; routers at the end may be left out.
    pub services: Vec<Option<Arc<Services>>>,
    /// The static translations of each router, by its index; routers at the end may be left out.
    pub nat: Vec<Option<Arc<Nat>>>,
    /// Which backends clients of services are to stay with.
    pub affinity: Option<Arc<Affinity>>,
    /// The management port of each router, by its index; routers at the end may be left out.
    pub management: Vec<Option<Management>>,
    /// What this node alone has in overlays, of those in which it has something.
    pub ends: Vec<OwnEnd>,
}

/// A network in a [`Plan`].
#[derive(Clone, Debug)]
pub struct PlannedNetwork {
    /// Name.
    pub name: NetworkName,
    /// MAC table.
    pub fdb: Arc<Fdb>,
    /// Neighbours; a gateway's own addresses are among them.
    pub neighbors: Arc<NeighborTable>,
    /// Gateway; its `router` indexes the plan's routers.
    pub gateway: Option<Gateway>,
    /// See [`Network::answers`](super::Network::answers).
    pub answers: Answers,
    /// See [`Network::demux`](super::Network::demux).
    pub demux: Option<Demux>,
    /// The port to the node's own stack, one of the network's ports.
    pub host: Option<PortId>,
    /// See [`Network::mtu`](super::Network::mtu).
    pub mtu: u16,
    /// See [`Network::mss_clamp`](super::Network::mss_clamp).
    pub mss_clamp: bool,
    /// See [`Network::masquerade`](super::Network::masquerade).
    pub masquerade: bool,
    /// See [`Network::closed`](super::Network::closed).
    pub closed: bool,
    /// The number that its router has among connections, the same as long as the router lives.
    pub zone: u16,
    /// See [`Network::tracks_bridged`](super::Network::tracks_bridged); then it has connections whether or not something is masqueraded.
    pub tracks_bridged: bool,
    /// See [`Network::policies`](super::Network::policies); then `tracks_bridged`, too.
    pub policies: Option<Arc<Policies>>,
    /// See [`Network::storm_limit`](super::Network::storm_limit).
    pub storm_limit: u32,
    /// See [`Network::forward_control`](super::Network::forward_control).
    pub forward_control: bool,
    /// See [`Network::meter`](super::Network::meter).
    pub meter: Option<Arc<Meter>>,
    /// See [`Network::crossing`](super::Network::crossing).
    pub crossing: Crossing,
}

impl PlannedNetwork {
    /// A network of this name alone: no station, no gateway, 1,500 bytes. For what builds topologies without a configuration (benches, tests).
    pub fn plain(name: NetworkName) -> Self {
        Self {
            name,
            fdb: Arc::new(Fdb::build([].into_iter())),
            neighbors: Arc::default(),
            gateway: None,
            answers: Answers::default(),
            demux: None,
            host: None,
            mtu: 1500,
            mss_clamp: false,
            masquerade: false,
            closed: false,
            zone: 0,
            tracks_bridged: false,
            policies: None,
            storm_limit: 0,
            forward_control: false,
            meter: None,
            crossing: Crossing::default(),
        }
    }
}
