//! Table 0, ingress: which frames may enter, and what the switch answers itself.
//!
//! Reads the Ethernet header; of ARP and neighbour discovery also the message, but only in networks with an L3 port,
//! for whose addresses the switch answers. Writes the frame when it answers, and `teach`.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::observe::{Observe, Step};
use super::packet::{Packet, Teach};
use super::{Ingress, Next, Verdict, link};
use crate::drop::DropReason;
use crate::wire::ethernet::{self, Mac};
use crate::wire::{arp, nd};

/// Number of this table in traces and flow dumps.
pub const TABLE: u8 = 0;

/// Admits a frame: a frame of an L3 port gets its Ethernet header, a source address is checked and learned, and a
/// request for an L3 port's address is answered.
#[inline]
pub fn admit(
    ingress: &Ingress<'_>,
    packet: &mut Packet<'_>,
    see: &mut impl Observe,
) -> Result<Next, DropReason> {
    see.step(Step::Table(TABLE, "ingress"));
    if let Some(interface) = &ingress.port.l3 {
        return link::resolve(ingress, interface, packet, see);
    }
    let header = packet.header;
    if header.src.is_group() {
        return Err(DropReason::SourceIsGroup);
    }
    learn(ingress, packet);
    if ingress.network.has_l3 {
        return answer(ingress, packet, see);
    }
    Ok(Next::Continue)
}

/// Notes where the source address is, unless the table knows.
#[inline]
fn learn(ingress: &Ingress<'_>, packet: &mut Packet<'_>) {
    match ingress.network.fdb.get(packet.header.src) {
        Some(entry) if entry.port() == ingress.port.id => entry.touch(packet.now),
        _ => packet.teach = Teach::Source,
    }
}

/// Answers ARP and ND requests for addresses of L3 ports, and learns neighbours for them.
fn answer(
    ingress: &Ingress<'_>,
    packet: &mut Packet<'_>,
    see: &mut impl Observe,
) -> Result<Next, DropReason> {
    match packet.header.ethertype {
        ethernet::ARP => answer_arp(ingress, packet, see),
        ethernet::IPV6 => answer_nd(ingress, packet, see),
        _ => Ok(Next::Continue),
    }
}

fn answer_arp(
    ingress: &Ingress<'_>,
    packet: &mut Packet<'_>,
    see: &mut impl Observe,
) -> Result<Next, DropReason> {
    let Some(message) = arp::parse(packet.frame.data()) else { return Ok(Next::Continue) };
    learn_neighbor(ingress, packet, message.sender_ip.into(), message.sender_mac);
    let asked = ingress.network.neighbors.get(message.target_ip.into()).filter(|neighbor| neighbor.own);
    match (message.operation, asked) {
        (arp::Operation::Request, Some(own)) if arp::turn_into_reply(packet.frame.data_mut(), own.mac) => {
            see.step(Step::Rewrote("arp reply for an L3 port"));
            Ok(Next::Done(Verdict::Reply))
        }
        _ => Ok(Next::Continue),
    }
}

fn answer_nd(
    ingress: &Ingress<'_>,
    packet: &mut Packet<'_>,
    see: &mut impl Observe,
) -> Result<Next, DropReason> {
    let Some(message) = nd::parse(packet.frame.data()) else { return Ok(Next::Continue) };
    let learned = if message.solicitation { message.source } else { message.target };
    if let Some(mac) = message.link_layer {
        learn_neighbor(ingress, packet, learned.into(), mac);
    }
    let own = ingress.network.neighbors.get(message.target.into()).filter(|neighbor| neighbor.own);
    // Somebody probing an address before using it (RFC 4862 section 5.4) must hear of it too: he has no address yet,
    // so the answer goes to all nodes.
    let (Some(own), true) = (own, message.solicitation) else { return Ok(Next::Continue) };
    let to = if message.source.is_unspecified() {
        (Mac::from_bytes([0x33, 0x33, 0, 0, 0, 1]), Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1))
    } else {
        (packet.header.src, message.source)
    };
    let reply = nd::advertisement(own.mac, message.target, to);
    link::replace(packet, &reply)?;
    see.step(Step::Rewrote("neighbour advertisement for an L3 port"));
    Ok(Next::Done(Verdict::Reply))
}

fn learn_neighbor(ingress: &Ingress<'_>, packet: &mut Packet<'_>, address: IpAddr, mac: Mac) {
    let unusable = mac.is_group()
        || address == IpAddr::V4(Ipv4Addr::UNSPECIFIED)
        || address.is_unspecified()
        || address.is_multicast();
    let known = ingress.network.neighbors.get(address);
    // An address of our own is configuration; traffic cannot take it away.
    if !unusable && known.is_none_or(|neighbor| !neighbor.own && neighbor.mac != mac) {
        packet.teach = Teach::Neighbor(address, mac);
    }
}
