//! What a frame out of a tunnel must fulfil besides what the outer headers showed: its source is behind the peer that sent
//! it, so that no node speaks for another's pods, or for ours. Reads source addresses; writes nothing.

use std::net::IpAddr;

use super::Ingress;
use super::packet::Packet;
use super::spoof::is_nobodys;
use crate::drop::DropReason;
use crate::encap::Payload;
use crate::ids::NetworkId;
use crate::table::fdb::{Entry, Place};
use crate::table::fib::Route;
use crate::topology::{Network, Topology};
use crate::wire::ethernet::Mac;

/// Where the sender of a packet is, as far as tables say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Owner {
    /// At a node: the peer of that number in that network.
    Peer(NetworkId, u16),
    /// At this node, or on a wire of it.
    Here(Asked),
    Unknown(Option<Asked>),
}

/// The rows by which somebody is no peer's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Asked {
    network: NetworkId,
    address: IpAddr,
    mac: Option<Mac>,
    /// One that configuration puts behind a port, or the switch itself.
    is_ours: bool,
}

/// Admits a frame that peer number `peer` of the ingress network sent.
pub fn admit(
    topology: &Topology,
    ingress: &Ingress<'_>,
    peer: u16,
    packet: &mut Packet<'_>,
) -> Result<(), DropReason> {
    let network = ingress.network;
    let overlay = topology.overlay(network.id).ok_or(DropReason::TunnelUnknownVni)?;
    let sender = overlay.tunnel(peer).ok_or(DropReason::TunnelUnknownPeer)?;
    packet.rests_on.peer(network.id, peer);
    let source = packet.key().src();
    // Every node's gateway has the same address: what another node has routed comes from there. A packet without an
    // Ethernet header comes from nowhere.
    let routed = source == Mac(0) || network.gateway.as_ref().is_some_and(|gateway| gateway.mac == source);
    if !routed {
        match network.fdb.get(source).map(Entry::place) {
            Some(Place::Peer(owner)) if owner == peer => {}
            None if overlay.planned.learning => {
                packet.rests_on.station(network.id, source);
            }
            // It may have moved: learning will say so, unless configuration says where it is.
            Some(_) if overlay.planned.learning && !is_fixed(network, source) => {}
            _ => {
                packet.rests_on.station(network.id, source);
                return Err(DropReason::TunnelInnerSource);
            }
        }
    }
    let Some((address, _)) = packet.key().addresses() else { return Ok(()) };
    if is_nobodys(address) {
        return Ok(());
    }
    match owner(topology, network, address) {
        Owner::Peer(through, owner) => {
            packet.rests_on.peer(through, owner);
            let known = topology.overlay(through).and_then(|overlay| overlay.tunnel(owner));
            match known {
                Some(known) if known.remote == sender.remote => Ok(()),
                _ => Err(DropReason::TunnelInnerSource),
            }
        }
        Owner::Unknown(asked) => {
            rest_on(asked, packet);
            let outside = overlay.planned.admits_underlays && is_outside(topology, asked, address, packet);
            if overlay.planned.learning || outside { Ok(()) } else { Err(DropReason::TunnelInnerSource) }
        }
        Owner::Here(asked) => {
            rest_on(Some(asked), packet);
            let outside =
                overlay.planned.admits_underlays && is_outside(topology, Some(asked), address, packet);
            if outside { Ok(()) } else { Err(DropReason::TunnelInnerSource) }
        }
    }
}

/// Another row for the sender, in whatever network it is looked for, is another decision.
fn rest_on(asked: Option<Asked>, packet: &mut Packet<'_>) {
    let Some(Asked { network, address, mac, .. }) = asked else { return };
    packet.rests_on.neighbor(network, address);
    if let Some(mac) = mac {
        packet.rests_on.station(network, mac);
    }
}

/// True when `sender` is in the subnet of an underlay, and is not one of this node's own stations: those need no peer to speak
/// for them. What is sent to him leaves by that underlay, to himself or to the router that a route names there.
fn is_outside(topology: &Topology, asked: Option<Asked>, sender: IpAddr, packet: &mut Packet<'_>) -> bool {
    let Some(asked) = asked.filter(|asked| !asked.is_ours && topology.overlay(asked.network).is_none())
    else {
        return false;
    };
    if asked.address == sender {
        return true;
    }
    let Some(network) = topology.network(asked.network) else { return false };
    packet.rests_on.neighbor(network.id, sender);
    let near = network.gateway.as_ref().is_some_and(|gateway| gateway.source_for(sender).is_some());
    near && network.neighbors.get(sender).is_none_or(|station| !station.own && !station.fixed)
}

/// True when the tunnel carries IP packets, whose Ethernet addresses are nobody's.
pub fn carries_ip(topology: &Topology, ingress: &Ingress<'_>) -> bool {
    let overlay = topology.overlay(ingress.network.id);
    overlay.is_some_and(|overlay| overlay.planned.encap.payload() == Payload::Ip)
}

fn is_fixed(network: &Network, mac: Mac) -> bool {
    network.fdb.get(mac).is_some_and(Entry::is_fixed)
}

fn owner(topology: &Topology, network: &Network, address: IpAddr) -> Owner {
    let router = network.gateway.as_ref().and_then(|gateway| topology.router(gateway.router));
    let (through, hop) = match router.map(|router| router.fib.get(address)) {
        None => (Some(network), address),
        Some(Some(Route::Connected(id))) => (topology.network(id), address),
        Some(Some(Route::Via(id, hop))) => (topology.network(id), hop),
        Some(_) => return Owner::Unknown(None),
    };
    let Some(through) = through else { return Owner::Unknown(None) };
    let asked = Asked { network: through.id, address: hop, mac: None, is_ours: false };
    let Some(neighbor) = through.neighbors.get(hop) else { return Owner::Unknown(Some(asked)) };
    if neighbor.own {
        return Owner::Here(Asked { is_ours: true, ..asked });
    }
    let asked = Asked { mac: Some(neighbor.mac), ..asked };
    match through.fdb.get(neighbor.mac).map(Entry::place) {
        Some(Place::Peer(peer)) => Owner::Peer(through.id, peer),
        Some(Place::Port(_)) => Owner::Here(Asked { is_ours: neighbor.fixed, ..asked }),
        None => Owner::Unknown(Some(asked)),
    }
}
