//! Table 17, next hop: the neighbour's MAC address and its port. Reads the hop; writes the MAC edit, the MTU and the MSS edit.

use super::observe::{Observe, Step};
use super::packet::{Packet, Question};
use super::route::Hop;
use super::{Ingress, Next, conntrack, host, leave, service};
use crate::drop::DropReason;
use crate::flow::actions::Edits;
use crate::flow::{Answer, Verdict};
use crate::table::fdb::{Entry, Place};
use crate::topology::{Network, Topology};
use crate::wire::protocol::TCP;

/// Number of this table in traces and flow dumps.
pub const TABLE: u8 = 17;

/// Addresses a routed packet to its next hop. An unknown neighbour is asked for; one whose port is not known yet is
/// looked for in the whole network.
#[inline]
pub fn resolve<'t>(
    topology: &'t Topology,
    ingress: &Ingress<'_>,
    hop: &Hop,
    packet: &mut Packet<'_>,
    see: &mut impl Observe,
) -> Result<(&'t Network, Next), DropReason> {
    see.step(Step::Table(TABLE, "next-hop"));
    let network = topology.network(hop.network).ok_or(DropReason::NoRoute)?;
    let gateway = network.gateway.as_ref().ok_or(DropReason::NoRoute)?;
    if hop.own {
        return Ok((network, Next::Done(host::deliver(topology, ingress, network, packet, see)?)));
    }
    // A route by way of the switch itself leads nowhere. (The address of an L3 port is ours for ARP only.)
    if gateway.owns(hop.address) {
        return Err(DropReason::ForSwitch);
    }
    if network.closed && conntrack::is_outsider(ingress, network, packet) {
        return Err(DropReason::OverlayNotReachable);
    }
    packet.rests_on.neighbor(network.id, hop.address);
    let Some(neighbor) = network.neighbors.get(hop.address) else {
        see.step(Step::Neighbor(hop.address, None));
        let source = gateway.source_for(hop.address).ok_or(DropReason::NeighborUnresolved)?;
        return Err(packet.ask(Question {
            network: network.id,
            target: hop.address,
            source,
            mac: gateway.mac,
        }));
    };
    see.step(Step::Neighbor(hop.address, Some(neighbor.mac)));
    // Ours for the connections that leave with it (`snat_pool`), and this is of none of them. No station has our MAC address,
    // so it would be sent to all.
    if neighbor.own && neighbor.mac == gateway.mac {
        return Err(packet.reject(DropReason::ForSwitch, Answer::Own));
    }
    conntrack::masquerade(topology, ingress, network, hop.address, packet, see)?;
    packet.actions.set_macs(network.mac_on_wire(&neighbor), gateway.mac);
    packet.rests_on.station(network.id, neighbor.mac);
    let place = network.fdb.get(neighbor.mac).map(Entry::place);
    see.step(Step::Station(topology, network, neighbor.mac, place));
    service::masquerade(topology, network, hop.address, place, packet, see)?;
    let port = place.and_then(Place::port).and_then(|port| topology.port(port));
    packet.actions.mtu = port.map_or(network.mtu, |port| network.mtu_at(port));
    if (network.mss_clamp || ingress.network.mss_clamp) && packet.key().protocol() == TCP {
        packet.actions.edits = packet.actions.edits.and(Edits::CLAMP_MSS);
    }
    let next = match place {
        Some(Place::Port(port)) => Next::Done(leave::by_port(ingress, network, port, packet)),
        Some(Place::Peer(_)) if ingress.peer.is_some() && network.id == ingress.network.id => {
            return Err(DropReason::SplitHorizon);
        }
        Some(Place::Peer(peer)) => Next::Encap(peer),
        // In an overlay whose peers are all known, nobody has it.
        None if topology.overlay(network.id).is_some_and(|overlay| !overlay.planned.learning) => {
            return Err(packet.reject(DropReason::NoFdbEntry, Answer::NoHost));
        }
        None => Next::Done(leave::by_many(ingress, packet, Verdict::FloodInto(network.id))),
    };
    Ok((network, next))
}
