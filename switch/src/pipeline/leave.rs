//! How a packet leaves a network: the tag that the network has at the port, in place of the tag that the frame came with.
//! Reads the ingress tag; writes the tag edits.

use super::Ingress;
use super::packet::Packet;
use crate::flow::Verdict;
use crate::flow::actions::Edits;
use crate::ids::PortId;
use crate::topology::{Network, retagged};

/// Out of `to`, a port of `network`.
#[inline]
pub fn by_port(ingress: &Ingress<'_>, network: &Network, to: PortId, packet: &mut Packet<'_>) -> Verdict {
    let had = ingress.tag;
    let gets = network.tag_at(to);
    if had.is_none() && gets.is_none() {
        return Verdict::Port(to);
    }
    let service = ingress.port.vlans.as_ref().is_some_and(|vlans| vlans.service);
    // The tag it came with is the tag it leaves with: priority and all.
    let stays = |tci: u16| gets.is_some_and(|tag| retagged(tci, tag) == tci && tag.service == service);
    if had.is_some_and(stays) {
        return Verdict::Port(to);
    }
    let mut edits = packet.actions.edits;
    if had.is_some() {
        edits = edits.and(Edits::POP_VLAN);
    }
    if let Some(tag) = gets {
        packet.actions.tci = retagged(had.unwrap_or_default(), tag);
        edits = edits.and(Edits::PUSH_VLAN);
        if tag.service {
            edits = edits.and(Edits::SERVICE_TAG);
        }
    }
    packet.actions.edits = edits;
    Verdict::Port(to)
}

/// Out of many ports: without a tag here; each port gives its own, with the priority that the frame came with.
#[inline]
pub fn by_many(ingress: &Ingress<'_>, packet: &mut Packet<'_>, verdict: Verdict) -> Verdict {
    if let Some(tci) = ingress.tag {
        packet.actions.edits = packet.actions.edits.and(Edits::POP_VLAN);
        packet.actions.tci = tci;
    }
    verdict
}

/// Into a tunnel: without a tag.
#[inline]
pub fn wrapped(ingress: &Ingress<'_>, packet: &mut Packet<'_>) {
    if ingress.tag.is_some() {
        packet.actions.edits = packet.actions.edits.and(Edits::POP_VLAN);
    }
}

/// Back out of the port it came in by, as a new frame without a tag: it gets the one that the question had.
#[inline]
pub fn as_reply(ingress: &Ingress<'_>, packet: &mut Packet<'_>) -> Verdict {
    if let Some(tci) = ingress.tag {
        let service = ingress.port.vlans.as_ref().is_some_and(|vlans| vlans.service);
        packet.actions.tci = tci;
        let push = if service { Edits::PUSH_VLAN.and(Edits::SERVICE_TAG) } else { Edits::PUSH_VLAN };
        packet.actions.edits = packet.actions.edits.and(push);
    }
    Verdict::Reply
}
