//! The link layer of an L3 port (TUN): its packets have no Ethernet header, so the switch gives them one.
//!
//! The port's driver delivers them with 14 zero bytes and the EtherType in front. Destination by neighbour table; an
//! unknown one is asked for by ARP or ND in place of the packet (whose loss is counted by its reason).

use std::net::{IpAddr, Ipv4Addr};

use super::observe::{Observe, Step};
use super::packet::{Packet, Question};
use super::{Ingress, Next};
use crate::drop::DropReason;
use crate::topology::L3Interface;
use crate::wire::ethernet::Mac;

/// What an observer is told.
pub const HEADER: &str = "ethernet header of an L3 port";

/// Gives a frame from an L3 port its addresses.
pub fn resolve(
    ingress: &Ingress<'_>,
    interface: &L3Interface,
    packet: &mut Packet<'_>,
    see: &mut impl Observe,
) -> Result<Next, DropReason> {
    let (_, destination) = packet.key().addresses().ok_or(DropReason::NotIp)?;
    let network = ingress.network;
    packet.rests_on.neighbor(network.id, destination);
    let known = || network.neighbors.get(destination).map(|neighbor| neighbor.mac);
    // What is in no subnet of the network is for its gateway, as the pod's own routing table would say.
    let beyond = || {
        let gateway = network.gateway.as_ref()?;
        gateway.source_for(destination).is_none().then_some(gateway.mac)
    };
    if let Some(mac) = group_mac(destination).or_else(known).or_else(beyond) {
        packet.actions.set_macs(mac, interface.mac);
        packet.dst = mac;
        see.step(Step::Rewrote(HEADER));
        return Ok(Next::Continue);
    }
    see.step(Step::Neighbor(destination, None));
    let source: IpAddr = match (destination, interface.ipv4, interface.ipv6) {
        (IpAddr::V4(_), Some(source), _) => source.into(),
        (IpAddr::V6(_), _, Some(source)) => source.into(),
        _ => return Err(DropReason::NeighborUnresolved),
    };
    Err(packet.ask(Question { network: network.id, target: destination, source, mac: interface.mac }))
}

/// MAC address of a group or limited broadcast address (RFC 1112 section 6.4, RFC 2464 section 7).
pub(crate) fn group_mac(address: IpAddr) -> Option<Mac> {
    match address {
        IpAddr::V4(Ipv4Addr::BROADCAST) => Some(Mac::BROADCAST),
        IpAddr::V4(v4) if v4.is_multicast() => {
            let [_, b, c, d] = v4.octets();
            Some(Mac::from_bytes([1, 0, 0x5e, b & 0x7f, c, d]))
        }
        IpAddr::V6(v6) if v6.is_multicast() => {
            let [.., a, b, c, d] = v6.octets();
            Some(Mac::from_bytes([0x33, 0x33, a, b, c, d]))
        }
        _ => None,
    }
}
