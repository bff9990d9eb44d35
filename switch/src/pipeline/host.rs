//! The node's own stack: a TAP port that shares the gateway's MAC and IP addresses of its network (`host_port`). What is
//! sent to these addresses and is nothing that the switch answers itself is the node's. Reads the network's host port;
//! writes the MAC edit and the tag edits.

use std::net::IpAddr;

use shunt_config::NODE_MASQUERADE;

use super::observe::{Observe, Step};
use super::packet::{Guise, Packet};
use super::route::Hop;
use super::{Ingress, leave, nat, service};
use crate::drop::DropReason;
use crate::flow::{Answer, Verdict};
use crate::state::{Direction, Found};
use crate::table::fib::Route;
use crate::topology::{Gateway, Management, Network, Topology};

/// True when the frame came from the node's own stack: the gateway's MAC address is its own.
#[inline]
pub fn is_ingress(ingress: &Ingress<'_>) -> bool {
    ingress.peer.is_none() && ingress.network.host == Some(ingress.port.id)
}

/// What an observer is told of what comes from outside for a service in gateway mode `local`.
pub const PASSES_ON: &str = "for a service: the node's own stack passes it on";

/// Leaves to the node's own stack what comes from outside for a connection that it has passed on to the switch: it sees all of that,
/// or would take the rest for strays. Says whether it is so.
pub fn passes_on(topology: &Topology, ingress: &Ingress<'_>, found: Found, packet: &mut Packet<'_>) -> bool {
    let outside = ingress.network.host.is_some_and(|host| host != ingress.port.id);
    if !outside || found.direction != Direction::Original || rule(topology, found) & service::PASSED == 0 {
        return false;
    }
    packet.by_host = true;
    let router = ingress.network.gateway.as_ref().map(|gateway| gateway.router);
    if !router.and_then(|router| topology.management(router)).is_some_and(|it| it.leads_out) {
        // The mode is another one by now: this holds for as long as the connection.
        packet.look_inside();
    }
    true
}

/// What opened a connection.
fn rule(topology: &Topology, found: Found) -> u32 {
    topology.connections().and_then(|table| table.get(found.conn)).map_or(0, |connection| connection.rule)
}

/// The next hop of a packet that leaves the node through its own stack: the node's address at the management port. `None` for what
/// goes by `route` itself. In gateway mode `local` it is all that leaves but what belongs to connections that came in directly; in any
/// mode the answers to what it has passed on.
pub fn way_out(
    topology: &Topology,
    ingress: &Ingress<'_>,
    gateway: &Gateway,
    route: Option<Route>,
    packet: &Packet<'_>,
    see: &mut impl Observe,
) -> Option<Hop> {
    let management = topology.management(gateway.router)?;
    // From outside, and from the node itself, it would go round in a circle.
    if ingress.network.host.is_some() || ingress.port.id == management.port {
        return None;
    }
    let answered = packet.connection.filter(|known| known.found.direction == Direction::Reply);
    let by_host = match answered.map_or(0, |known| rule(topology, known.found)) {
        rule if rule & service::PASSED != 0 => true,
        rule if rule & nat::INWARD != 0 => false,
        _ => management.leads_out,
    };
    if !by_host {
        return None;
    }
    let through = match route {
        Some(Route::Connected(network) | Route::Via(network, _)) => Some(topology.network(network)?),
        // The node may know.
        None => None,
        Some(Route::Blackhole | Route::Unreachable) => return None,
    };
    if through.is_some_and(|network| network.host.is_none()) {
        return None;
    }
    let (source, _) = packet.key().addresses()?;
    // What has an address of the switch's there since before the mode was chosen is answered there.
    let known = packet.connection.filter(|known| known.found.direction == Direction::Original);
    if known.is_some_and(|known| known.to.source() != source) {
        return None;
    }
    let address = management.like(packet.destination()?)?;
    see.step(Step::Matched("outside: by the node's own stack"));
    Some(Hop { network: management.network, address, own: false })
}

/// A packet of the node's own stack that a service sends back to the node leaves with an address for that ([`NODE_MASQUERADE`]).
fn disguise(topology: &Topology, ingress: &Ingress<'_>, packet: &mut Packet<'_>, see: &mut impl Observe) {
    let Some(gateway) = &ingress.network.gateway else { return };
    let own = |management: &Management| management.port == ingress.port.id;
    let Some(opens) = packet.opens.as_mut().filter(|opens| opens.source.is_none()) else { return };
    if !topology.management(gateway.router).is_some_and(own) {
        return;
    }
    let like = |address: &IpAddr| address.is_ipv4() == opens.tuple.is_v4();
    let Some(address) = NODE_MASQUERADE.into_iter().find(like) else { return };
    see.step(Step::Masquerade(address));
    opens.source = Some(Guise::own(address, false));
}

/// A packet for an address that the switch has in `network`.
pub fn deliver(
    topology: &Topology,
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
    disguise(topology, ingress, packet, see);
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
