//! Part of table 0: a port whose stations are given sends with their addresses only (RFC 2827 in the small). Reads source
//! addresses, of ARP and neighbour discovery also what the message claims; writes nothing.

use std::net::IpAddr;

use super::Ingress;
use super::packet::Packet;
use crate::drop::DropReason;
use crate::flow::key::L3;
use crate::topology::Identity;
use crate::wire::ethernet;
use crate::wire::protocol::ICMPV6;
use crate::wire::{arp, nd};

/// Admits what a station of `identity` may send.
pub fn check(ingress: &Ingress<'_>, identity: &Identity, packet: &mut Packet<'_>) -> Result<(), DropReason> {
    let key = packet.key();
    let owns = identity.of(key.src()).ok_or(DropReason::SpoofedMac)?;
    if key.ethertype() == ethernet::ARP {
        let source = key.src();
        // What cannot be read claims nothing that anybody would believe, but might be read differently elsewhere.
        let claim = arp::parse(super::ingress::message(ingress, packet)).ok_or(DropReason::SpoofedArp)?;
        let address = claim.sender_ip;
        let own = claim.sender_mac == source && (address.is_unspecified() || owns.contains(&address.into()));
        return if own { Ok(()) } else { Err(DropReason::SpoofedArp) };
    }
    match key.addresses() {
        Some((address, _)) if is_nobodys(address) || owns.contains(&address) => {}
        Some(_) => return Err(DropReason::SpoofedIp),
        None if key.marks().l3 == L3::Malformed => return Err(DropReason::BadIpHeader),
        None => return Ok(()),
    }
    if key.ethertype() == ethernet::IPV6 && key.protocol() == ICMPV6 {
        let source = key.src();
        let own = match nd::parse(super::ingress::message(ingress, packet)) {
            Some(claim) => {
                let target = IpAddr::from(claim.target);
                let own = claim.solicitation || is_nobodys(target) || owns.contains(&target);
                own && claim.link_layer.is_none_or(|mac| mac == source)
            }
            // As with ARP: behind an extension header, in fragments, with two addresses, kernels may read it and we do not.
            None => !is_discovery(packet),
        };
        return if own { Ok(()) } else { Err(DropReason::SpoofedArp) };
    }
    Ok(())
}

/// True when the type of an ICMPv6 message is that of neighbour discovery, wherever in the frame it is.
fn is_discovery(packet: &mut Packet<'_>) -> bool {
    let (frame, layout) = packet.look_inside();
    let kind = frame.data().get(usize::from(layout.l4)).copied();
    // Of a later fragment the message is not known, nor is it to anybody without the first one, which was refused.
    layout.l4 != 0 && kind.is_none_or(nd::is_discovery)
}

/// Addresses that a station has before it has one of its own (RFC 1122 section 3.2.1.3), or beside it: link-local ones. They
/// are no proof of who sends.
pub(super) fn is_nobodys(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => v4.is_unspecified(),
        IpAddr::V6(v6) => v6.is_unspecified() || v6.is_unicast_link_local(),
    }
}
