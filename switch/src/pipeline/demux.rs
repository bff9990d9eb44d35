//! Table 16, lookup, in a demux network (ipvlan L2): its stations share one MAC address and are told apart by IP address.
//! Reads destination and ingress, of ARP and of neighbour solicitations the target; writes the tag edits.
//!
//! A gateway of the network is one more of them: what is for its addresses, or for nobody in the network, is routed.
//!
//! Everybody else on the wire sees one station. A station's row in the neighbour table leads to a name of its own in the MAC
//! table (`control/publish.rs` gives it), which no frame ever has.

use std::net::IpAddr;

use super::observe::{Observe, Step};
use super::packet::Packet;
use super::{Ingress, Next, leave};
use crate::drop::DropReason;
use crate::flow::Verdict;
use crate::table::fdb::{Entry, Place};
use crate::topology::{Demux, Topology};
use crate::wire::ethernet::{self, Mac};
use crate::wire::protocol::ICMPV6;
use crate::wire::{arp, nd};

use super::lookup::TABLE;

/// What an observer is told of what is for no station.
pub const TO_HOST: &str = "no station: the host's port";

/// Finds the port of a frame to the shared MAC address, or of a request (ARP, neighbour discovery) for one of its stations.
/// `Continue` leaves it to the MAC table.
pub fn demux(
    topology: &Topology,
    ingress: &Ingress<'_>,
    demux: &Demux,
    packet: &mut Packet<'_>,
    see: &mut impl Observe,
) -> Result<Next, DropReason> {
    let dst = packet.dst;
    let shared = dst == demux.mac;
    if !shared && !dst.is_group() {
        return Ok(Next::Continue);
    }
    let is_arp = packet.key().ethertype() == ethernet::ARP && !ingress.has_foreign_tags(packet.key());
    let target = match shared {
        true if is_arp => arp_target(ingress, packet),
        true => packet.key().addresses().map(|(_, destination)| destination),
        // What everybody is to hear: groups, and who says what he has or asks whether he may have it.
        false => match asked_of_all(ingress, packet, is_arp) {
            Some(target) => Some(target),
            None => return Ok(Next::Continue),
        },
    };
    see.step(Step::Table(TABLE, "lookup"));
    let child = target.and_then(|target| station(topology, ingress, target, packet, see));
    match (child, demux.host) {
        (Some(port), _) if port == ingress.port.id => Err(DropReason::SamePort),
        (Some(port), _) => Ok(Next::Done(leave::by_port(ingress, ingress.network, port, packet))),
        // A request from a station goes to the wire and the host, with no harm done to other stations.
        (None, _) if !shared => {
            Ok(Next::Done(leave::by_many(ingress, packet, Verdict::Flood(ingress.network.id))))
        }
        (None, _) if target.is_some_and(|target| !is_arp && is_for_gateway(ingress, target)) => {
            Ok(Next::Continue)
        }
        (None, Some(host)) if host != ingress.port.id => {
            see.step(Step::Matched(TO_HOST));
            Ok(Next::Done(leave::by_port(ingress, ingress.network, host, packet)))
        }
        (None, _) => Err(DropReason::NoStation),
    }
}

fn arp_target(ingress: &Ingress<'_>, packet: &mut Packet<'_>) -> Option<IpAddr> {
    arp::parse(super::ingress::message(ingress, packet)).map(|message| message.target_ip.into())
}

/// Whose MAC address a frame to a group asks for; `None` for all else. Announcements (RFC 5227 section 3) and probes are not for the owner
/// alone: everybody may have known another one.
fn asked_of_all(ingress: &Ingress<'_>, packet: &mut Packet<'_>, is_arp: bool) -> Option<IpAddr> {
    let (key, dst) = (packet.key(), packet.dst);
    if is_arp && dst == Mac::BROADCAST {
        let message = arp::parse(super::ingress::message(ingress, packet))?;
        let (sender, target) = (message.sender_ip, message.target_ip);
        return (!sender.is_unspecified() && sender != target).then_some(target.into());
    }
    let may_ask = key.ethertype() == ethernet::IPV6 && key.protocol() == ICMPV6;
    if !may_ask || !nd::is_solicited(dst) || ingress.has_foreign_tags(key) {
        return None;
    }
    let message = nd::parse(super::ingress::message(ingress, packet))?;
    (message.solicitation && !message.source.is_unspecified()).then_some(message.target.into())
}

/// True for an IP packet that no stage after this one sees: for a station of the network, or for nobody.
pub fn is_for_station(ingress: &Ingress<'_>, demux: &Demux, packet: &Packet<'_>) -> bool {
    let to = packet.key().addresses().map(|(_, destination)| destination);
    packet.dst == demux.mac && to.is_some_and(|to| !is_for_gateway(ingress, to))
}

/// True when the network has a gateway, and a packet for `address` is for it: to itself, or beyond the network's subnets. (What
/// no station has is not sent back to where it came from.)
fn is_for_gateway(ingress: &Ingress<'_>, address: IpAddr) -> bool {
    let gateway = ingress.network.gateway.as_ref();
    gateway.is_some_and(|gateway| gateway.owns(address) || gateway.source_for(address).is_none())
}

/// The port of the station that has `address`.
fn station(
    topology: &Topology,
    ingress: &Ingress<'_>,
    address: IpAddr,
    packet: &mut Packet<'_>,
    see: &mut impl Observe,
) -> Option<crate::ids::PortId> {
    let network = ingress.network;
    packet.rests_on.neighbor(network.id, address);
    let neighbor = network.neighbors.get(address);
    see.step(Step::Neighbor(address, neighbor.map(|neighbor| neighbor.mac)));
    let mac = neighbor?.mac;
    packet.rests_on.station(network.id, mac);
    let place = network.fdb.get(mac).map(Entry::place);
    see.step(Step::Station(topology, network, mac, place));
    place.and_then(Place::port)
}
