//! Table 16, lookup, by IP address: the longest matching prefix of the gateway's router (RFC 1812 section 5.2.4.3).
//! Reads the destination address and the TTL class; writes the TTL edit.

use std::net::{IpAddr, Ipv4Addr};

use super::observe::{Observe, Step};
use super::packet::Packet;
use super::{Ingress, host};
use crate::drop::DropReason;
use crate::flow::Answer;
use crate::flow::actions::Edits;
use crate::flow::key::L3;
use crate::ids::NetworkId;
use crate::table::fib::Route;
use crate::topology::{Gateway, Topology};

/// Where a routed packet goes next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hop {
    /// Through which network.
    pub network: NetworkId,
    /// To whom: the destination itself or the next router.
    pub address: IpAddr,
    /// The destination is an address that the switch has in that network.
    pub own: bool,
}

/// Finds the next hop of a packet that was sent to the gateway's MAC address.
#[inline]
pub fn route(
    topology: &Topology,
    ingress: &Ingress<'_>,
    packet: &mut Packet<'_>,
    see: &mut impl Observe,
) -> Result<Hop, DropReason> {
    let key = packet.key();
    let marks = key.marks();
    // What is behind a tag that is not ours is not for us.
    if ingress.has_foreign_tags(key) {
        return Err(DropReason::NotForGateway);
    }
    let ttl = match marks.l3 {
        L3::Ipv4 => Edits::TTL,
        L3::Ipv6 => Edits::HOP_LIMIT,
        L3::Malformed => return Err(DropReason::BadIpHeader),
        L3::Other => return Err(DropReason::NotForGateway),
    };
    let (source, _) = key.addresses().ok_or(DropReason::BadIpHeader)?;
    let destination = packet.destination().ok_or(DropReason::BadIpHeader)?;
    let own = |network| Hop { network, address: destination, own: true };
    // Before all else: an address of ours may be link-local.
    let owns = |gateway: &Gateway| gateway.owns(destination);
    if packet.by_host
        || host::has(ingress.network, destination)
        || ingress.network.gateway.as_ref().is_some_and(owns)
    {
        return Ok(own(ingress.network.id));
    }
    if !may_be_routed(source, destination) {
        return Err(DropReason::NotRoutable);
    }
    let gateway = ingress.network.gateway.as_ref().ok_or(DropReason::NoRoute)?;
    let route = topology.router(gateway.router).and_then(|router| router.fib.get(destination));
    see.step(Step::Route(topology, destination, route));
    // Nothing is passed on to the switch itself, so the packet loses no hop.
    if let Some(Route::Connected(network)) = route
        && topology.network(network).and_then(|it| it.gateway.as_ref()).is_some_and(|it| it.owns(destination))
    {
        return Ok(own(network));
    }
    if marks.ttl_expired {
        return Err(packet.reject(DropReason::TtlExceeded, Answer::Expired));
    }
    packet.actions.edits = packet.actions.edits.and(ttl);
    if let Some(hop) = host::way_out(topology, ingress, gateway, route, packet, see) {
        return Ok(hop);
    }
    match route {
        Some(Route::Connected(network)) => Ok(Hop { network, address: destination, own: false }),
        Some(Route::Via(network, address)) => Ok(Hop { network, address, own: false }),
        Some(Route::Blackhole) => Err(DropReason::Blackhole),
        Some(Route::Unreachable) => Err(packet.reject(DropReason::OverlayUnreachable, Answer::NoHost)),
        None => Err(packet.reject(DropReason::NoRoute, Answer::NoRoute)),
    }
}

/// False for addresses that no router passes on: loopback, unspecified, multicast, link-local
/// (RFC 1812 section 5.3.7, RFC 3927 section 2.7, RFC 4291 section 2.5).
fn may_be_routed(source: IpAddr, destination: IpAddr) -> bool {
    let never = |address: IpAddr| match address {
        IpAddr::V4(v4) => {
            v4.is_loopback() || v4.is_multicast() || v4.is_link_local() || v4 == Ipv4Addr::BROADCAST
        }
        IpAddr::V6(v6) => v6.is_loopback() || v6.is_multicast() || v6.is_unicast_link_local(),
    };
    !never(source) && !never(destination) && !destination.is_unspecified() && !source.is_unspecified()
}
