//! Before table 4, in an underlay with `local_route`: what a station sends to a physical router, and this router can deliver
//! without it, is taken for this one. Reads destination address and route; writes the destination MAC address that later stages see.
//!
//! Only for what that router would have to bring back to this node, or cannot bring anywhere: stations of this node in another
//! network, services, and all that is in overlays. Everything else stays on its way, so that the physical router sees both directions.

use super::Ingress;
use super::observe::{Observe, Step};
use super::packet::Packet;
use crate::flow::key::L3;
use crate::table::fib::Route;
use crate::topology::Topology;

/// What an observer is told.
pub const TAKEN: &str = "local_route: not by the physical router";

/// Takes a packet for the network's own gateway, if that knows the way.
///
/// Only of ports whose senders are held against what they have: from the wire a frame to another station's MAC address is that
/// station's.
pub fn take(topology: &Topology, ingress: &Ingress<'_>, packet: &mut Packet<'_>, see: &mut impl Observe) {
    let Some(gateway) = &ingress.network.gateway else { return };
    let elsewhere = packet.dst != gateway.mac && !packet.dst.is_group();
    if !elsewhere || ingress.peer.is_some() || ingress.port.identity.is_none() {
        return;
    }
    let key = packet.key();
    if ingress.has_foreign_tags(key) || !matches!(key.marks().l3, L3::Ipv4 | L3::Ipv6) {
        return;
    }
    let Some((_, destination)) = key.addresses() else { return };
    // To a neighbour, whom the pod has asked for itself.
    if gateway.source_for(destination).is_some() {
        return;
    }
    let route = topology.router(gateway.router).and_then(|router| router.fib.get(destination));
    let services = topology.services(gateway.router);
    let taken = match route {
        _ if services.is_some_and(|services| services.concerns(destination)) => true,
        Some(Route::Unreachable) => true,
        Some(Route::Via(id, _)) => topology.overlay(id).is_some(),
        Some(Route::Connected(id)) if id != ingress.network.id => {
            packet.rests_on.neighbor(id, destination);
            let known = topology.network(id).and_then(|network| network.neighbors.get(destination));
            topology.overlay(id).is_some() || known.is_some_and(|neighbor| neighbor.fixed)
        }
        _ => false,
    };
    if taken {
        packet.dst = gateway.mac;
        see.step(Step::Matched(TAKEN));
    }
}
