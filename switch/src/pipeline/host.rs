//! The node's own stack: a TAP port that shares the gateway's MAC and IP addresses of its network (`host_port`). What is
//! sent to these addresses and is nothing that the switch answers itself is the node's. Reads the network's host port;
//! writes the MAC edit and the tag edits.

use std::net::IpAddr;

use super::observe::{Observe, Step};
use super::packet::Packet;
use super::{Ingress, leave};
use crate::drop::DropReason;
use crate::flow::{Answer, Verdict};
use crate::topology::{Gateway, Network};

/// True when the frame came from the node's own stack: the gateway's MAC address is its own.
#[inline]
pub fn is_ingress(ingress: &Ingress<'_>) -> bool {
    ingress.peer.is_none() && ingress.network.host == Some(ingress.port.id)
}

/// A packet for an address that the switch has in `network`.
pub fn deliver(
    ingress: &Ingress<'_>,
    network: &Network,
    packet: &mut Packet<'_>,
    see: &mut impl Observe,
) -> Result<Verdict, DropReason> {
    let (Some(host), Some(gateway)) = (network.host, &network.gateway) else {
        return Err(packet.reject(DropReason::ForSwitch, Answer::Own));
    };
    if is_ingress(ingress) && network.id == ingress.network.id {
        return Err(DropReason::SamePort);
    }
    see.step(Step::Matched("an address of the node"));
    if network.id != ingress.network.id {
        packet.actions.set_macs(gateway.mac, gateway.mac);
    }
    Ok(leave::by_port(ingress, network, host, packet))
}

/// An answer to a question that the switch or the node has asked, with the addresses they share: the switch has learned
/// from it already, the node is to.
pub fn answered(ingress: &Ingress<'_>, packet: &mut Packet<'_>) -> Verdict {
    match ingress.network.host {
        Some(host) if !is_ingress(ingress) => leave::by_port(ingress, ingress.network, host, packet),
        _ => Verdict::Consume,
    }
}

/// True when `target` is in no subnet of the network, so that only its gateway can lead there: the node has a route to it
/// that names no other router.
pub fn is_beyond(gateway: &Gateway, target: IpAddr) -> bool {
    let link_local = matches!(target, IpAddr::V6(v6) if v6.is_unicast_link_local());
    !link_local && gateway.source_for(target).is_none()
}

/// True when `address`, to which a packet was sent through the gateway's MAC address of `network`, is the node's own there:
/// one that it shares with the gateway, or a link-local one, which no router passes on (RFC 4291 section 2.5.6).
pub fn has(network: &Network, address: IpAddr) -> bool {
    let link_local = match address {
        IpAddr::V4(v4) => v4.is_link_local(),
        IpAddr::V6(v6) => v6.is_unicast_link_local(),
    };
    let shared = || network.gateway.as_ref().is_some_and(|gateway| gateway.owns(address));
    network.host.is_some() && (link_local || shared())
}
