//! The transport header: TCP (RFC 9293), UDP (RFC 768), SCTP (RFC 9260), ICMP (RFC 792), ICMPv6 (RFC 4443).
//!
//! Lengths are checked against the IP payload, not against the frame, which may be padded: what is read here as ports is
//! what a receiver reads as ports. The first fragment of a packet must hold the whole header (RFC 1858, RFC 7112).

use super::bytes::{Bytes, Refused};
use super::deep::Ip;
use crate::flow::key::{Fragment, L3};
use crate::wire::protocol::{ICMP, ICMPV6, SCTP, TCP, UDP};

/// What the key wants of a transport header, see [`crate::flow::key::FlowKey::ports`].
type Ports = (u16, u16);

/// Reads the header behind `ip`; `packet` ends where the IP packet does. `None` for a protocol that the switch does not
/// know, ICMP in IPv6 and ICMPv6 in IPv4 among them.
pub(super) fn read(packet: Bytes<'_>, ip: &Ip, version: L3) -> Result<Option<Ports>, Refused> {
    let ports = match (ip.protocol, version) {
        (TCP, _) => tcp(packet, ip)?,
        (UDP, _) => udp(packet, ip)?,
        (SCTP, _) => {
            let &[a, b, c, d, ..] = packet.read::<12>(ip.l4)?;
            ports(a, b, c, d)
        }
        (ICMP, L3::Ipv4) => icmp(packet, ip, [8, 0])?,
        (ICMPV6, L3::Ipv6) => icmp(packet, ip, [128, 129])?,
        _ => return Ok(None),
    };
    Ok(Some(ports))
}

fn ports(a: u8, b: u8, c: u8, d: u8) -> Ports {
    (u16::from_be_bytes([a, b]), u16::from_be_bytes([c, d]))
}

fn tcp(packet: Bytes<'_>, ip: &Ip) -> Result<Ports, Refused> {
    let &[a, b, c, d, _, _, _, _, _, _, _, _, offset, ..] = packet.read::<20>(ip.l4)?;
    let length = usize::from(offset >> 4) * 4;
    // Options may lie in a later segment: nothing here reads them.
    if length < 20 || length > ip.payload {
        return Err(Refused::Malformed);
    }
    Ok(ports(a, b, c, d))
}

fn udp(packet: Bytes<'_>, ip: &Ip) -> Result<Ports, Refused> {
    let &[a, b, c, d, e, f, ..] = packet.read::<8>(ip.l4)?;
    let length = usize::from(u16::from_be_bytes([e, f]));
    let sound = match length {
        // A datagram too large for the field (RFC 2675 section 4).
        0 => ip.payload > usize::from(u16::MAX),
        // The length is that of the datagram, of which a first fragment is only the start.
        _ => length >= 8 && (length <= ip.payload || ip.fragment == Fragment::First),
    };
    if !sound {
        return Err(Refused::Malformed);
    }
    Ok(ports(a, b, c, d))
}

/// `echo`: the types that have an identifier by which replies find their request.
fn icmp(packet: Bytes<'_>, ip: &Ip, echo: [u8; 2]) -> Result<Ports, Refused> {
    let &[kind, code, _, _, a, b, ..] = packet.read::<8>(ip.l4)?;
    let identifier = if echo.contains(&kind) { u16::from_be_bytes([a, b]) } else { 0 };
    Ok((u16::from_be_bytes([kind, code]), identifier))
}
