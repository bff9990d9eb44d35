//! Table 0, ingress: which frames may enter, and what the switch answers itself.
//!
//! Reads the Ethernet header; of ARP and neighbour discovery also the message, but only in networks in which the switch has
//! addresses of its own (a gateway, an L3 port) and answers for them. Writes the frame when it answers, and `teach`.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::observe::{Observe, Step};
use super::packet::{Packet, Teach};
use super::{Ingress, Next, guard, host, leave, link, peer, spoof};
use crate::drop::DropReason;
use crate::flow::FlowKey;
use crate::table::fdb::Entry;
use crate::topology::{Answers, Topology};
use crate::wire::ethernet::{self, Mac};
use crate::wire::protocol::ICMPV6;
use crate::wire::{arp, nd};

/// Number of this table in traces and flow dumps.
pub const TABLE: u8 = 0;

/// Admits a frame: a frame of an L3 port gets its Ethernet header, a source address is checked and learned, and a
/// request for one of the switch's own addresses is answered.
#[inline]
pub fn admit(
    topology: &Topology,
    ingress: &Ingress<'_>,
    packet: &mut Packet<'_>,
    see: &mut impl Observe,
) -> Result<Next, DropReason> {
    see.step(Step::Table(TABLE, "ingress"));
    if guard::is_link_local(packet.key().dst()) && !ingress.network.forward_control {
        return Err(DropReason::LinkControl);
    }
    if ingress.port.guarded && ingress.peer.is_none() {
        guard::check(packet.key())?;
    }
    if let Some(interface) = &ingress.port.l3 {
        return link::resolve(ingress, interface, packet, see);
    }
    let source = packet.key().src();
    if source.is_group() {
        return Err(DropReason::SourceIsGroup);
    }
    if ingress.peer.is_none()
        && let Some(identity) = &ingress.port.identity
    {
        spoof::check(ingress, identity, packet)?;
    }
    if let Some(sender) = ingress.peer {
        peer::admit(topology, ingress, sender, packet)?;
        // What has no Ethernet header is for the router. Configuration sees that there is one.
        if peer::carries_ip(topology, ingress) {
            packet.dst = ingress.network.gateway.as_ref().ok_or(DropReason::NoRoute)?.mac;
        }
    } else if is_gateway(ingress, source) && !host::is_ingress(ingress) {
        return Err(DropReason::SourceIsGateway);
    }
    if let Some(mac) = topology.own_end(ingress.network.id).and_then(|end| end.mac) {
        if source == mac {
            return Err(DropReason::SourceIsGateway);
        }
        // What is for this node alone is for its router, as what is for the address that all nodes have.
        if packet.dst == mac {
            packet.dst = ingress.network.gateway.as_ref().ok_or(DropReason::NoRoute)?.mac;
        }
    }
    packet.rests_on.source(ingress.network.id, source);
    if ingress.network.has_l3 {
        return answer(ingress, packet, see);
    }
    Ok(Next::Continue)
}

/// What the source address of a frame teaches; keeps the row of a known one alive. Asked for every frame on the slow path,
/// and for a cached flow once a second and when the row of its source has changed: a station that comes back is heard at
/// once.
#[inline]
pub fn learn(ingress: &Ingress<'_>, key: &FlowKey, now: u32) -> Teach {
    let source = key.src();
    let from_port = ingress.peer.is_none();
    // The node's own stack has the gateway's address.
    let is_node = from_port && is_gateway(ingress, source);
    if is_node || source.is_group() || source == Mac(0) || from_port && ingress.port.l3.is_some() {
        return Teach::Nothing;
    }
    match ingress.network.fdb.get(source) {
        // That of many stations is nobody's place.
        _ if ingress.network.demux.as_ref().is_some_and(|demux| demux.mac == source) => Teach::Nothing,
        // Another node's gateway is ours.
        None if !from_port && is_gateway(ingress, source) => Teach::Nothing,
        Some(entry) if entry.place() == ingress.place() => {
            entry.touch(now);
            Teach::Nothing
        }
        // What configuration gives, traffic cannot take away.
        Some(entry) if entry.is_fixed() => Teach::Nothing,
        _ => Teach::Source,
    }
}

/// True when `source` is the gateway's MAC address, and nobody else's: in a demux network all stations have it.
#[inline]
fn is_gateway(ingress: &Ingress<'_>, source: Mac) -> bool {
    ingress.network.demux.is_none()
        && ingress.network.gateway.as_ref().is_some_and(|gateway| gateway.mac == source)
}

/// Answers ARP and ND requests for the switch's own addresses, and learns neighbours.
fn answer(
    ingress: &Ingress<'_>,
    packet: &mut Packet<'_>,
    see: &mut impl Observe,
) -> Result<Next, DropReason> {
    match packet.key().ethertype() {
        _ if ingress.has_foreign_tags(packet.key()) => Ok(Next::Continue),
        ethernet::ARP => answer_arp(ingress, packet, see),
        ethernet::IPV6 if packet.key().protocol() == ICMPV6 => answer_nd(ingress, packet, see),
        _ => Ok(Next::Continue),
    }
}

fn answer_arp(
    ingress: &Ingress<'_>,
    packet: &mut Packet<'_>,
    see: &mut impl Observe,
) -> Result<Next, DropReason> {
    let Some(message) = arp::parse(message(ingress, packet)) else { return Ok(Next::Continue) };
    learn_neighbor(ingress, packet, message.sender_ip.into(), message.sender_mac);
    let target = IpAddr::from(message.target_ip);
    let known = ingress.network.neighbors.get(target);
    let own = known.is_some_and(|neighbor| neighbor.own);
    let probe = message.sender_ip.is_unspecified() || message.sender_ip == message.target_ip;
    match (message.operation, answer_with(ingress, packet.key().src(), target, probe)) {
        (arp::Operation::Request, Some(mac)) => {
            let reply = arp::reply(mac, &message);
            let (frame, _) = packet.look_inside();
            frame.clear_offload();
            frame.replace(&reply).ok_or(DropReason::TooLongForBuffer)?;
            see.step(Step::Rewrote(ANSWERED[usize::from(own)]));
            Ok(Next::Done(leave::as_reply(ingress, packet)))
        }
        (arp::Operation::Reply, _) if own => Ok(Next::Done(host::answered(ingress, packet))),
        _ => Ok(Next::Continue),
    }
}

fn answer_nd(
    ingress: &Ingress<'_>,
    packet: &mut Packet<'_>,
    see: &mut impl Observe,
) -> Result<Next, DropReason> {
    let Some(message) = nd::parse(message(ingress, packet)) else { return Ok(Next::Continue) };
    let learned = if message.solicitation { message.source } else { message.target };
    if let Some(mac) = message.link_layer {
        learn_neighbor(ingress, packet, learned.into(), mac);
    }
    let target = IpAddr::from(message.target);
    let known = ingress.network.neighbors.get(target);
    let own = known.is_some_and(|neighbor| neighbor.own);
    let answer = answer_with(ingress, packet.key().src(), target, message.source.is_unspecified());
    // Somebody probing an address before using it (RFC 4862 section 5.4) must hear of it too: he has no address yet,
    // so the answer goes to all nodes.
    let (Some(mac), true) = (answer, message.solicitation) else {
        let to = packet.key().addresses().and_then(|(_, to)| ingress.network.neighbors.get(to));
        let answers_us = !message.solicitation && to.is_some_and(|to| to.own);
        return Ok(if answers_us { Next::Done(host::answered(ingress, packet)) } else { Next::Continue });
    };
    let to = if message.source.is_unspecified() {
        (Mac::from_bytes([0x33, 0x33, 0, 0, 0, 1]), Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1))
    } else {
        (packet.key().src(), message.source)
    };
    let reply = nd::advertisement(mac, message.target, to);
    let (frame, _) = packet.look_inside();
    frame.clear_offload();
    frame.replace(&reply).ok_or(DropReason::TooLongForBuffer)?;
    see.step(Step::Rewrote(ANSWERED[usize::from(own)]));
    Ok(Next::Done(leave::as_reply(ingress, packet)))
}

/// What a trace says of an answer: for another, or for the switch itself.
const ANSWERED: [&str; 2] = [
    "the answer to a request for an address, in place of its owner",
    "the answer for an address of the switch",
];

/// The MAC address with which the switch answers a request for `target` from `asker`; `None` leaves it to others. A `probe`
/// asks whether an address is free (RFC 5227 section 1.1, RFC 4862 section 5.4): only its owner says no.
fn answer_with(ingress: &Ingress<'_>, asker: Mac, target: IpAddr, probe: bool) -> Option<Mac> {
    let network = ingress.network;
    let known = network.neighbors.get(target);
    let node = network.gateway.as_ref().filter(|_| host::is_ingress(ingress));
    match (known.filter(|neighbor| neighbor.own), node) {
        // The node asks for an address that it shares with the switch to announce it.
        (Some(own), Some(gateway)) if gateway.mac == own.mac => return None,
        (Some(own), _) => return Some(own.mac),
        // It has a route to the link for what is beyond its subnets: that leads to the router.
        (None, Some(gateway)) if !probe && host::is_beyond(gateway, target) => return Some(gateway.mac),
        _ => {}
    }
    let is_here = |mac: Mac| network.fdb.get(mac).is_some_and(|entry| entry.place() == ingress.place());
    if probe || ingress.peer.is_some() || target.is_multicast() {
        return None;
    }
    let given = known.filter(|neighbor| neighbor.fixed && !is_here(neighbor.mac));
    match network.answers {
        Answers::Own => None,
        Answers::Given => given.map(|neighbor| neighbor.mac),
        Answers::Everybody => {
            let gateway = network.gateway.as_ref()?.mac;
            // Only to those whose router we are; for others, on the wire, we speak for our own stations alone.
            let ours = network.fdb.get(asker).is_some_and(Entry::is_fixed) && is_here(asker);
            let other = !known.is_some_and(|neighbor| is_here(neighbor.mac));
            (given.is_some() || ours && other).then_some(gateway)
        }
    }
}

/// The frame as it would be without the tag of its VLAN, apart from its first addresses: which nobody reads who looks for
/// a message in it.
pub(super) fn message<'p>(ingress: &Ingress<'_>, packet: &'p mut Packet<'_>) -> &'p [u8] {
    let tag = if ingress.tag.is_some() { 4 } else { 0 };
    packet.look_inside().0.data().get(tag..).unwrap_or_default()
}

fn learn_neighbor(ingress: &Ingress<'_>, packet: &mut Packet<'_>, address: IpAddr, mac: Mac) {
    let unusable = mac.is_group()
        || address == IpAddr::V4(Ipv4Addr::UNSPECIFIED)
        || address.is_unspecified()
        || address.is_multicast();
    let known = ingress.network.neighbors.get(address);
    // What configuration gives, traffic cannot take away.
    if known.is_some_and(|neighbor| neighbor.mac == mac) {
        ingress.network.neighbors.touch(address, packet.now);
    } else if !unusable && known.is_none_or(|neighbor| !neighbor.fixed) {
        packet.teach = Teach::Neighbor(address, mac);
    }
}
