//! A frame out of a [`Probe`]: headers by `etherparse`, checksums right, zeros as payload.
//!
//! What the probe leaves open gets a fixed value here: addresses of documentation (RFC 5737, RFC 3849), TTL 64, ports
//! 49152 and 80, a TCP SYN, an echo request, 60 bytes.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use etherparse::{
    Icmpv4Header, Icmpv4Type, Icmpv6Header, Icmpv6Type, IpFragOffset, IpNumber, Ipv4Header, Ipv6FlowLabel,
    Ipv6FragmentHeader, Ipv6Header, TcpHeader, UdpHeader,
};

use super::expression::{ExpressionError, Probe};
use super::fields::{Family, LONGEST};
use crate::wire::ethernet::{self, CUSTOMER_TAG};
use crate::wire::protocol::{ICMP, ICMPV6, SCTP, TCP, UDP};

/// Shortest frame, as Ethernet has it without FCS.
const SHORTEST: usize = 60;
/// Behind a first fragment: what the offset of a later one is, in units of 8 bytes.
const LATER: u16 = 185;
/// First dynamic port (RFC 6335) and the web's.
const PORTS: (u16, u16) = (49152, 80);

/// The source and destination that a packet has when nothing is known.
pub fn documentation(v6: bool) -> (IpAddr, IpAddr) {
    if v6 {
        let address = |last| IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, last));
        (address(1), address(2))
    } else {
        let address = |last| IpAddr::V4(Ipv4Addr::new(192, 0, 2, last));
        (address(1), address(2))
    }
}

/// The frame of `probe`.
///
/// # Errors
/// It is to be shorter than its headers.
pub fn compose(probe: &Probe) -> Result<Vec<u8>, ExpressionError> {
    let mut frame = Vec::new();
    frame.extend(probe.mac("eth.dst").unwrap_or_default());
    frame.extend(probe.mac("eth.src").unwrap_or_default());
    tags(probe, &mut frame);
    let ethertype = match probe.family() {
        Some(Family::Ip4 | Family::Ip) => ethernet::IPV4,
        Some(Family::Ip6) => ethernet::IPV6,
        Some(Family::Arp) => ethernet::ARP,
        None => probe.number("eth.type").unwrap_or_default(),
    };
    frame.extend(ethertype.to_be_bytes());
    let body = |room: usize| match probe.family() {
        Some(Family::Arp) => arp(probe),
        Some(Family::Ip6) => ipv6(probe, room),
        Some(Family::Ip4 | Family::Ip) => ipv4(probe, room),
        None => Vec::new(),
    };
    let least = frame.len() + body(0).len();
    let length = probe.number("len").map_or(SHORTEST.max(least), usize::from);
    if length < least {
        let text = format!("len=={length} is shorter than the headers; give {least} to {LONGEST}");
        return Err(ExpressionError(text));
    }
    frame.extend(body(length - least));
    frame.resize(length, 0);
    Ok(frame)
}

fn tags(probe: &Probe, frame: &mut Vec<u8>) {
    let parts = [probe.number("vlan.pcp").map(|pcp| pcp << 13), probe.number("vlan.id")];
    let outer =
        probe.number("vlan.tci").or_else(|| parts.iter().flatten().copied().reduce(|all, part| all | part));
    let inner = probe.number("vlan.inner.tci");
    let tpid = probe.number("vlan.tpid");
    if outer.is_some() || inner.is_some() || tpid.is_some() {
        frame.extend(tpid.unwrap_or(CUSTOMER_TAG).to_be_bytes());
        frame.extend(outer.unwrap_or_default().to_be_bytes());
    }
    if let Some(inner) = inner {
        frame.extend(CUSTOMER_TAG.to_be_bytes());
        frame.extend(inner.to_be_bytes());
    }
}

/// An ARP message for IPv4 over Ethernet (RFC 826).
fn arp(probe: &Probe) -> Vec<u8> {
    let address = |field| match probe.address(field) {
        Some(IpAddr::V4(address)) => address.octets(),
        _ => [0; 4],
    };
    let mut message = vec![0, 1, 8, 0, 6, 4];
    message.extend(probe.number("arp.op").unwrap_or(1).to_be_bytes());
    message.extend(probe.mac("arp.sha").or(probe.mac("eth.src")).unwrap_or_default());
    message.extend(address("arp.spa"));
    message.extend(probe.mac("arp.tha").unwrap_or_default());
    message.extend(address("arp.tpa"));
    message
}

fn ends(probe: &Probe, v6: bool) -> (IpAddr, IpAddr) {
    let (source, destination) = documentation(v6);
    (probe.address("ip.src").unwrap_or(source), probe.address("ip.dst").unwrap_or(destination))
}

fn ttl(probe: &Probe) -> u8 {
    // Neighbour discovery is not listened to with another one (RFC 4861 section 7.1).
    let usual = if probe.value("nd.target").is_some() { 255 } else { 64 };
    probe.number("ip.ttl").unwrap_or(usual) as u8
}

/// An IPv4 packet with `room` bytes of payload behind its transport header.
fn ipv4(probe: &Probe, room: usize) -> Vec<u8> {
    let (IpAddr::V4(source), IpAddr::V4(destination)) = ends(probe, false) else { return Vec::new() };
    let payload = transport(probe, (source.into(), destination.into()), room);
    let mut header = Ipv4Header {
        total_len: (Ipv4Header::MIN_LEN + payload.len()) as u16,
        time_to_live: ttl(probe),
        protocol: IpNumber(probe.protocol()),
        source: source.octets(),
        destination: destination.octets(),
        more_fragments: probe.number("ip.frag") == Some(1),
        fragment_offset: offset(probe),
        ..Ipv4Header::default()
    };
    let mut bytes = header.to_bytes();
    // The type of service, in one byte as the key has it.
    bytes[1] = probe.number("ip.tos").unwrap_or_default() as u8;
    if let Ok((again, _)) = Ipv4Header::from_slice(&bytes) {
        header = again;
        header.header_checksum = header.calc_header_checksum();
        bytes = header.to_bytes();
    }
    [&bytes[..], &payload].concat()
}

fn offset(probe: &Probe) -> IpFragOffset {
    let units = if probe.number("ip.frag") == Some(2) { LATER } else { 0 };
    IpFragOffset::try_new(units).unwrap_or_default()
}

/// An IPv6 packet with `room` bytes of payload behind its transport header.
fn ipv6(probe: &Probe, room: usize) -> Vec<u8> {
    let (IpAddr::V6(source), IpAddr::V6(destination)) = ends(probe, true) else { return Vec::new() };
    let mut payload = Vec::new();
    let protocol = IpNumber(probe.protocol());
    let mut next_header = protocol;
    if let Some(piece @ 1..) = probe.number("ip.frag") {
        next_header = IpNumber::IPV6_FRAGMENTATION_HEADER;
        payload.extend(Ipv6FragmentHeader::new(protocol, offset(probe), piece == 1, 1).to_bytes());
    }
    payload.extend(transport(probe, (source.into(), destination.into()), room));
    let header = Ipv6Header {
        traffic_class: probe.number("ip.tos").unwrap_or_default() as u8,
        flow_label: Ipv6FlowLabel::ZERO,
        payload_length: payload.len() as u16,
        next_header,
        hop_limit: ttl(probe),
        source: source.octets(),
        destination: destination.octets(),
    };
    [&header.to_bytes()[..], &payload].concat()
}

/// What is behind the IP header, `room` bytes of zeros included.
fn transport(probe: &Probe, ends: (IpAddr, IpAddr), room: usize) -> Vec<u8> {
    let data = vec![0; room];
    if probe.number("ip.frag") == Some(2) {
        return data;
    }
    let port = |field: &str, usual| probe.number(field).unwrap_or(usual);
    match probe.protocol() {
        TCP => tcp(probe, ends, &data),
        UDP => udp((port("udp.src", PORTS.0), port("udp.dst", PORTS.1)), ends, data),
        ICMP => {
            let [id, id_low] = port("icmp4.id", 0).to_be_bytes();
            let type_u8 = port("icmp4.type", 8) as u8;
            let code_u8 = port("icmp4.code", 0) as u8;
            let kind = Icmpv4Type::Unknown { type_u8, code_u8, bytes5to8: [id, id_low, 0, 0] };
            [&Icmpv4Header::with_checksum(kind, &data).to_bytes()[..], &data].concat()
        }
        ICMPV6 => icmp6(probe, ends, data),
        SCTP => {
            let ports = [port("sctp.src", PORTS.0).to_be_bytes(), port("sctp.dst", PORTS.1).to_be_bytes()];
            // Verification tag and checksum (RFC 9260 section 3.1) are zero: no switch looks at them.
            [&ports.concat()[..], &[0; 8], &data].concat()
        }
        _ => data,
    }
}

fn tcp(probe: &Probe, ends: (IpAddr, IpAddr), data: &[u8]) -> Vec<u8> {
    let port = |field: &str, usual| probe.number(field).unwrap_or(usual);
    let flags = port("tcp.flags", 2);
    let mut header = TcpHeader::new(port("tcp.src", PORTS.0), port("tcp.dst", PORTS.1), 1, 0xffff);
    (header.fin, header.syn, header.rst) = (flags & 1 != 0, flags & 2 != 0, flags & 4 != 0);
    (header.psh, header.ack, header.urg) = (flags & 8 != 0, flags & 16 != 0, flags & 32 != 0);
    let checksum = match ends {
        (IpAddr::V4(a), IpAddr::V4(b)) => header.calc_checksum_ipv4_raw(a.octets(), b.octets(), data).ok(),
        (IpAddr::V6(a), IpAddr::V6(b)) => header.calc_checksum_ipv6_raw(a.octets(), b.octets(), data).ok(),
        _ => None,
    };
    header.checksum = checksum.unwrap_or_default();
    [&header.to_bytes()[..], data].concat()
}

fn udp((src, dst): (u16, u16), ends: (IpAddr, IpAddr), data: Vec<u8>) -> Vec<u8> {
    let length = (UdpHeader::LEN + data.len()) as u16;
    let mut header = UdpHeader { source_port: src, destination_port: dst, length, checksum: 0 };
    let checksum = match ends {
        (IpAddr::V4(a), IpAddr::V4(b)) => header.calc_checksum_ipv4_raw(a.octets(), b.octets(), &data).ok(),
        (IpAddr::V6(a), IpAddr::V6(b)) => header.calc_checksum_ipv6_raw(a.octets(), b.octets(), &data).ok(),
        _ => None,
    };
    header.checksum = checksum.unwrap_or_default();
    [&header.to_bytes()[..], &data].concat()
}

fn icmp6(probe: &Probe, ends: (IpAddr, IpAddr), data: Vec<u8>) -> Vec<u8> {
    let (IpAddr::V6(source), IpAddr::V6(destination)) = ends else { return data };
    let target = match probe.address("nd.target") {
        Some(IpAddr::V6(target)) => Some(target),
        _ => None,
    };
    // An echo request, or a neighbour solicitation (RFC 4861 section 4.3) when it has a target.
    let usual = if target.is_some() { 135 } else { 128 };
    let [id, id_low] = probe.number("icmp6.id").unwrap_or_default().to_be_bytes();
    let kind = Icmpv6Type::Unknown {
        type_u8: probe.number("icmp6.type").unwrap_or(usual) as u8,
        code_u8: probe.number("icmp6.code").unwrap_or_default() as u8,
        bytes5to8: [id, id_low, 0, 0],
    };
    let mut body = target.map_or(Vec::new(), |target| target.octets().to_vec());
    body.extend(data);
    match Icmpv6Header::with_checksum(kind, source.octets(), destination.octets(), &body) {
        Ok(header) => [&header.to_bytes()[..], &body].concat(),
        Err(_) => body,
    }
}

#[cfg(test)]
mod tests;
