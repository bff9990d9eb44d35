//! The logical tables in the order in which a frame walks them, as plain functions over the immutable topology.
//!
//! ```text
//!   0 ingress ─► 4 conntrack ─► 6 service ─► 8 policy ─► 16 lookup ────────► 20 output (worker)
//!     │ └ L3 port: link                                 │ └ to the gateway: 16 route ► 17 next-hop ► 20
//!     │ └ tunnel: peer                                  │      └ at another node: 18 encap ► 20
//!     └ own ARP/ND: reply                               └ unknown or group: flood   └ own address: host port
//! ```
//! This is the slow path, and it is taken on the same worker for the first frame of a flow only: it decides by the flow key
//! ([`crate::flow::key`]) and writes [`crate::flow::Actions`], which the flow cache keeps.
//!
//! Every stage is generic over an [`Observe`]r. In forwarding it is [`Silent`] and compiles to nothing; a trace runs
//! the very same functions with one that writes down what they decided. A stage is pure: it reads the topology and the key
//! and says what comes next or why the frame is dropped.

pub mod conntrack;
pub mod demux;
pub mod encap;
pub mod guard;
pub mod host;
pub mod ingress;
pub mod keep;
pub mod leave;
pub mod link;
pub mod local;
pub mod lookup;
pub mod nat;
pub mod nexthop;
pub mod observe;
pub mod packet;
pub mod peer;
pub mod policy;
pub mod related;
pub mod route;
pub mod service;
pub mod spoof;

pub use observe::{Observe, Silent, Step};
pub use packet::{Guise, Opens, Packet, Question, Stays, Target, Teach};

use std::net::IpAddr;

use crate::drop::DropReason;
use crate::flow::actions::Edits;
use crate::flow::{Actions, FlowKey, Verdict};
use crate::ids::PortId;
use crate::table::fdb::Place;
use crate::topology::tunnels::bound;
use crate::topology::{Network, Port, Topology};

/// What a stage wants next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// The following stage.
    Continue,
    /// Table 18: into the tunnel to the peer of that number.
    Encap(u16),
    /// No further stage.
    Done(Verdict),
}

/// Where a frame came in.
#[derive(Clone, Copy, Debug)]
pub struct Ingress<'t> {
    /// The port.
    pub port: &'t Port,
    /// The network it belongs to: the port's, that of its tag, or the overlay that it was unwrapped into.
    pub network: &'t Network,
    /// The TCI of its tag, when the port takes notice of tags and it has one.
    pub tag: Option<u16>,
    /// The number of the peer that sent it, when it came in a tunnel.
    pub peer: Option<u16>,
}

impl<'t> Ingress<'t> {
    /// The ingress of a frame with `key`; a drop when the port is not up in this topology or the tag is none of its.
    #[inline]
    pub fn of(topology: &'t Topology, key: &FlowKey) -> Result<Self, DropReason> {
        let id = PortId::new(key.port()).ok_or(DropReason::IngressDown)?;
        let port = topology.port(id).filter(|port| port.up).ok_or(DropReason::IngressDown)?;
        let network = |id| topology.network(id).ok_or(DropReason::IngressDown);
        if let Some((binding, peer)) = key.tunnel() {
            let network = bound(binding).and_then(|id| topology.network(id));
            let network = network.ok_or(DropReason::TunnelUnknownVni)?;
            return Ok(Self { port, network, tag: None, peer: Some(peer) });
        }
        let Some(vlans) = &port.vlans else {
            return Ok(Self { port, network: network(port.network)?, tag: None, peer: None });
        };
        let marks = key.marks();
        let tag = (marks.tags > 0 && marks.service_tag == vlans.service).then_some(key.vlan().0);
        let id = vlans.network(tag).ok_or(DropReason::VlanMismatch)?;
        Ok(Self { port, network: network(id)?, tag, peer: None })
    }

    /// Where the frame's station is.
    #[inline]
    pub fn place(&self) -> Place {
        self.peer.map_or(Place::Port(self.port.id), Place::Peer)
    }

    /// True when the frame has tags that are payload to the port.
    #[inline]
    pub fn has_foreign_tags(&self, key: &FlowKey) -> bool {
        key.marks().tags > u8::from(self.tag.is_some())
    }
}

/// Walks all stages and says what is to be done.
#[inline]
pub fn run(topology: &Topology, packet: &mut Packet<'_>, see: &mut impl Observe) -> Actions {
    let ingress = Ingress::of(topology, packet.key());
    let decided = ingress.and_then(|ingress| walk(topology, &ingress, packet, see));
    conclude(topology, decided, packet, see)
}

/// Walks the stages behind the router for a packet of the switch's own, from an address that it has in the ingress network: nobody has to
/// let it in, and it is for nobody's MAC address yet.
pub fn originate(
    topology: &Topology,
    ingress: &Ingress<'_>,
    packet: &mut Packet<'_>,
    see: &mut impl Observe,
) -> Actions {
    let mut onward = || {
        let (source, address) = packet.key().addresses().ok_or(DropReason::BadIpHeader)?;
        let (near, ttl) = match source {
            IpAddr::V4(v4) => (v4.is_link_local(), Edits::TTL),
            IpAddr::V6(v6) => (v6.is_unicast_link_local(), Edits::HOP_LIMIT),
        };
        let hop = if near {
            // From such an address only neighbours can be asked (RFC 3927 section 2.7): no router has a say in that.
            packet.actions.edits = packet.actions.edits.and(ttl);
            route::Hop { network: ingress.network.id, address, own: false }
        } else {
            route::route(topology, ingress, packet, see)?
        };
        match nexthop::resolve(topology, ingress, &hop, packet, see)? {
            (_, Next::Done(verdict)) => Ok(verdict),
            (network, Next::Encap(peer)) => encap::encap(topology, ingress, network, peer, packet, see),
            (_, Next::Continue) => Err(DropReason::NoRoute),
        }
    };
    let decided = onward();
    conclude(topology, decided, packet, see)
}

/// Writes down what was decided.
#[inline]
fn conclude(
    topology: &Topology,
    decided: Result<Verdict, DropReason>,
    packet: &mut Packet<'_>,
    see: &mut impl Observe,
) -> Actions {
    match decided {
        Ok(verdict) => {
            packet.actions.verdict = verdict;
        }
        // What is dropped need not be edited first.
        Err(reason) => {
            let rejected = packet.answer.map(|answer| Verdict::Reject(reason, answer));
            let edits = packet.actions.edits.only(Edits::STRANGER);
            packet.refused();
            packet.opens = None;
            packet.actions =
                Actions { edits, ..Actions::unchanged(rejected.unwrap_or(Verdict::Drop(reason))) };
        }
    }
    see.step(Step::Verdict(topology, packet.actions.verdict));
    packet.actions
}

#[inline]
fn walk(
    topology: &Topology,
    ingress: &Ingress<'_>,
    packet: &mut Packet<'_>,
    see: &mut impl Observe,
) -> Result<Verdict, DropReason> {
    if let Next::Done(verdict) = ingress::admit(topology, ingress, packet, see)? {
        return Ok(verdict);
    }
    if let Some(shared) = &ingress.network.demux {
        // These stations are told apart by address: what is for one of them goes no further. It may be what a backend in the same
        // subnet answers to a service's client.
        if ingress.network.tracks_bridged && demux::is_for_station(ingress, shared, packet) {
            conntrack::find(topology, ingress, packet, see);
            policy::check(ingress, packet, see)?;
        }
        if let Next::Done(verdict) = demux::demux(topology, ingress, shared, packet, see)? {
            return Ok(verdict);
        }
    }
    if ingress.network.crossing.local_route {
        local::take(topology, ingress, packet, see);
    }
    conntrack::find(topology, ingress, packet, see);
    service::translate(topology, ingress, packet, see)?;
    nat::inward(topology, ingress, packet, see)?;
    policy::check(ingress, packet, see)?;
    let next = lookup::lookup(topology, ingress, packet, see)?;
    let (network, next) = match next {
        Next::Continue => {
            let hop = route::route(topology, ingress, packet, see)?;
            nexthop::resolve(topology, ingress, &hop, packet, see)?
        }
        next => (ingress.network, next),
    };
    match next {
        Next::Done(verdict) => Ok(verdict),
        Next::Encap(peer) => encap::encap(topology, ingress, network, peer, packet, see),
        Next::Continue => Err(DropReason::NoRoute),
    }
}
