//! The link layer of an L3 port (TUN): its packets have no Ethernet header, so the switch gives them one.
//!
//! The port's driver delivers them with 14 zero bytes and the EtherType in front. Destination by neighbour table; an
//! unknown one is asked for by ARP or ND *in place of* the packet (whose loss is counted by its reason).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::observe::{Observe, Step};
use super::packet::Packet;
use super::{Ingress, Next, Verdict};
use crate::drop::DropReason;
use crate::topology::L3Interface;
use crate::wire::ethernet::{self, Mac};
use crate::wire::{arp, nd};

/// Gives a frame from an L3 port its addresses.
pub fn resolve(
    ingress: &Ingress<'_>,
    interface: &L3Interface,
    packet: &mut Packet<'_>,
    see: &mut impl Observe,
) -> Result<Next, DropReason> {
    let destination = destination(packet).ok_or(DropReason::NotIp)?;
    let group = group_mac(destination);
    let known = ingress.network.neighbors.get(destination).map(|neighbor| neighbor.mac);
    if let Some(mac) = group.or(known) {
        packet.set_addresses(mac, interface.mac);
        see.step(Step::Rewrote("ethernet header of an L3 port"));
        return Ok(Next::Continue);
    }
    match (destination, interface.ipv4, interface.ipv6) {
        (IpAddr::V4(target), Some(source), _) => {
            replace(packet, &arp::request(interface.mac, source, target))?
        }
        (IpAddr::V6(target), _, Some(source)) => {
            replace(packet, &nd::solicitation(interface.mac, source, target))?
        }
        _ => return Err(DropReason::NeighborUnresolved),
    }
    see.step(Step::Rewrote("request for an unknown neighbour"));
    packet.lost = Some(DropReason::NeighborUnresolved);
    Ok(Next::Done(Verdict::Flood))
}

/// Destination address of the IP packet behind the Ethernet header.
fn destination(packet: &Packet<'_>) -> Option<IpAddr> {
    let ip = packet.frame.data().get(ethernet::HEADER..)?;
    match packet.header.ethertype {
        ethernet::IPV4 => Some(Ipv4Addr::from(*ip.get(16..)?.first_chunk::<4>()?).into()),
        ethernet::IPV6 => Some(Ipv6Addr::from(*ip.get(24..)?.first_chunk::<16>()?).into()),
        _ => None,
    }
}

/// MAC address of a group or limited broadcast address (RFC 1112 section 6.4, RFC 2464 section 7).
fn group_mac(address: IpAddr) -> Option<Mac> {
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

/// Makes the frame consist of `bytes` and nothing else. Fails when it is in several segments or too short a buffer.
pub(super) fn replace(packet: &mut Packet<'_>, bytes: &[u8]) -> Result<(), DropReason> {
    packet.frame.clear_offload();
    packet.frame.replace(bytes).ok_or(DropReason::TooLongForBuffer)?;
    packet.header = ethernet::parse(bytes).ok_or(DropReason::Runt)?;
    Ok(())
}
