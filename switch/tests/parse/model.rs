//! What the parser should find, from `etherparse`, layer by layer.
//!
//! Where the two differ on purpose, a comment that begins with "By design" says so; `designed.rs` has a test for each.

use std::net::IpAddr;

use etherparse::{
    EtherType, Ethernet2Slice, Icmpv4Slice, Icmpv6Slice, IpNumber, Ipv4Slice, Ipv6ExtensionSlice,
    Ipv6ExtensionsSlice, Ipv6HeaderSlice, Ipv6Slice, SingleVlanSlice, TcpSlice, UdpHeaderSlice, UdpSlice,
    ether_type, ip_number,
};
use shunt_switch::flow::key::{Depth, FlowKey, Fragment, L3, L4, Marks};
use shunt_switch::flow::parse::Layout;
use shunt_switch::ids::PortId;
use shunt_switch::wire::ethernet::Mac;

/// More extension headers than this are taken for malformed.
pub(crate) const MAX_EXTENSIONS: usize = 8;

/// Key and layout of a frame in one segment at [`Depth::Transport`]; `None` for a runt.
pub(crate) fn expected(frame: &[u8], port: PortId) -> Option<(FlowKey, Layout)> {
    let link = Ethernet2Slice::from_slice_without_fcs(frame).ok()?;
    let mut behind = link.payload();
    let mut marks = Marks { depth: Depth::Transport, ..Marks::default() };
    let mut tci = [0; 2];
    // By design: the third tag is payload, and 0x9100 is no tag.
    while usize::from(marks.tags) < tci.len()
        && matches!(behind.ether_type, ether_type::VLAN_TAGGED_FRAME | ether_type::PROVIDER_BRIDGING)
    {
        // By design: a tag that does not fit is no tag.
        let Ok(tag) = SingleVlanSlice::from_slice(behind.payload) else { break };
        let whole = tag.to_header();
        let [a, b, ..] = whole.to_bytes();
        tci[usize::from(marks.tags)] = u16::from_be_bytes([a, b]);
        marks.service_tag |= marks.tags == 0 && behind.ether_type == ether_type::PROVIDER_BRIDGING;
        marks.tags += 1;
        behind = tag.payload();
    }
    let mac = |bytes: [u8; 6]| Mac::from_bytes(bytes);
    let mut key = FlowKey::ethernet(port, mac(link.destination()), mac(link.source()), 0);
    key.set_vlan(behind.ether_type.0, tci[0], tci[1]);

    let l3 = frame.len() - behind.payload.len();
    let (version, packet) = match behind.ether_type {
        EtherType::IPV4 => (L3::Ipv4, ipv4(behind.payload)),
        EtherType::IPV6 => (L3::Ipv6, ipv6(behind.payload)),
        _ => {
            key.set_facts(0, 0, marks);
            return Some((key, Layout::default()));
        }
    };
    let Some(packet) = packet else {
        marks.l3 = L3::Malformed;
        key.set_facts(0, 0, marks);
        return Some((key, Layout::default()));
    };
    marks.l3 = version;
    marks.fragment = packet.fragment;
    marks.ttl_expired = packet.ttl < 2;
    marks.options = packet.header > if version == L3::Ipv4 { 20 } else { 40 };
    match packet.addresses {
        (IpAddr::V4(from), IpAddr::V4(to)) => key.set_ipv4(from.to_bits(), to.to_bits()),
        (IpAddr::V6(from), IpAddr::V6(to)) => key.set_ipv6(from.octets(), to.octets()),
        mixed => unreachable!("{mixed:?}"),
    }
    let l4 = if packet.fragment == Fragment::Later { 0 } else { l3 + packet.header };
    if let Some(transport) = transport(&packet, version) {
        match transport {
            Some((from, to)) => {
                key.set_ports(from, to);
                marks.l4 = L4::Known;
            }
            None => marks.l4 = L4::Malformed,
        }
    }
    key.set_facts(packet.protocol.0, packet.class, marks);
    Some((key, Layout { l3: l3 as u16, l4: l4 as u16 }))
}

struct Packet {
    addresses: (IpAddr, IpAddr),
    class: u8,
    ttl: u8,
    protocol: IpNumber,
    fragment: Fragment,
    /// Bytes of the header with all that belongs to it.
    header: usize,
    payload: Vec<u8>,
}

fn ipv4(bytes: &[u8]) -> Option<Packet> {
    const PROTOCOL: usize = 9;
    let protocol = IpNumber(*bytes.get(PROTOCOL)?);
    // By design: an authentication header in IPv4 is the payload. Hidden from etherparse, which reads through it.
    let mut bytes = bytes.to_vec();
    if protocol == ip_number::AUTH {
        bytes[PROTOCOL] = 253;
    }
    let packet = Ipv4Slice::from_slice(&bytes).ok()?;
    let header = packet.header();
    Some(Packet {
        addresses: (header.source_addr().into(), header.destination_addr().into()),
        class: header.dcp().value() << 2 | header.ecn().value(),
        ttl: header.ttl(),
        protocol,
        fragment: fragment(header.fragments_offset().value(), header.more_fragments()),
        header: header.slice().len(),
        payload: packet.payload().payload.to_vec(),
    })
}

fn fragment(offset: u16, more: bool) -> Fragment {
    match (offset, more) {
        (0, false) => Fragment::Whole,
        (0, true) => Fragment::First,
        _ => Fragment::Later,
    }
}

fn ipv6(bytes: &[u8]) -> Option<Packet> {
    let header = Ipv6HeaderSlice::from_slice(bytes).ok()?;
    let payload_length = usize::from(header.payload_length());
    // By design: a payload length of 0 is a packet without payload, not one of unknown length.
    let bytes = if payload_length == 0 { &bytes[..40] } else { bytes };
    let rest = bytes.get(40..40 + payload_length)?;

    // By design: behind the first fragment header with an offset there is no header. Etherparse goes on, so find it
    // with the lax reader, which returns what came before whatever stopped it.
    let (chain, _, _, _) = Ipv6ExtensionsSlice::from_slice_lax(header.next_header(), rest);
    let mut passed = 0;
    let mut first = false;
    let mut read = 0;
    let mut extensions = chain.clone().into_iter();
    // The iterator of etherparse 0.21 reads past the end of a chain that the lax reader cut short.
    while read < chain.slice().len() {
        let Some(extension) = extensions.next() else { break };
        passed += 1;
        if passed > MAX_EXTENSIONS {
            return None;
        }
        read += match &extension {
            Ipv6ExtensionSlice::HopByHop(header)
            | Ipv6ExtensionSlice::Routing(header)
            | Ipv6ExtensionSlice::DestinationOptions(header) => header.slice().len(),
            Ipv6ExtensionSlice::Authentication(header) => header.slice().len(),
            Ipv6ExtensionSlice::Fragment(header) => header.slice().len(),
        };
        if let Ipv6ExtensionSlice::Fragment(piece) = extension {
            match fragment(piece.fragment_offset().value(), piece.more_fragments()) {
                Fragment::Later => {
                    return Some(packet6(header, piece.next_header(), Fragment::Later, read, &rest[read..]));
                }
                piece => first |= piece == Fragment::First,
            }
        }
    }
    let whole = Ipv6Slice::from_slice(bytes).ok()?;
    assert_eq!(whole.is_payload_fragmented(), first);
    let payload = whole.payload();
    let state = if first { Fragment::First } else { Fragment::Whole };
    Some(packet6(header, payload.ip_number, state, read, payload.payload))
}

fn packet6(
    header: Ipv6HeaderSlice<'_>,
    protocol: IpNumber,
    fragment: Fragment,
    extensions: usize,
    payload: &[u8],
) -> Packet {
    Packet {
        addresses: (header.source_addr().into(), header.destination_addr().into()),
        class: header.traffic_class(),
        ttl: header.hop_limit(),
        protocol,
        fragment,
        header: 40 + extensions,
        payload: payload.to_vec(),
    }
}

/// Outer `None`: not a protocol the key knows, or not here. Inner `None`: malformed.
#[expect(clippy::option_option, reason = "three verdicts: unknown, malformed, known")]
fn transport(packet: &Packet, version: L3) -> Option<Option<(u16, u16)>> {
    if packet.fragment == Fragment::Later {
        return None;
    }
    let payload = &packet.payload[..];
    let known = match (packet.protocol, version) {
        (ip_number::TCP, _) => {
            TcpSlice::from_slice(payload).ok().map(|tcp| (tcp.source_port(), tcp.destination_port()))
        }
        // The length is that of the whole datagram, which etherparse does not read in a fragment.
        (ip_number::UDP, _) if packet.fragment == Fragment::First => UdpHeaderSlice::from_slice(payload)
            .ok()
            .filter(|udp| udp.length() >= 8)
            .map(|udp| (udp.source_port(), udp.destination_port())),
        // By design: a length of 0 is wrong where the real one fits into the field.
        (ip_number::UDP, _) => UdpSlice::from_slice(payload)
            .ok()
            .filter(|udp| udp.length() != 0)
            .map(|udp| (udp.source_port(), udp.destination_port())),
        // Etherparse has no SCTP: the common header has twelve bytes.
        (ip_number::SCTP, _) => payload.first_chunk::<12>().map(|header| {
            let port = |at: usize| u16::from_be_bytes([header[at], header[at + 1]]);
            (port(0), port(2))
        }),
        (ip_number::ICMP, L3::Ipv4) => {
            // By design: a timestamp message of another length than 20 is not our affair. Hidden by another code.
            let mut bytes = payload.to_vec();
            let code = bytes.get(1).copied().unwrap_or(0);
            if let Some(byte) = bytes.get_mut(1) {
                *byte = 255;
            }
            Icmpv4Slice::from_slice(&bytes)
                .ok()
                .map(|icmp| ping(icmp.type_u8(), code, icmp.bytes5to8(), [8, 0]))
        }
        (ip_number::IPV6_ICMP, L3::Ipv6) => Icmpv6Slice::from_slice(payload)
            .ok()
            .map(|icmp| ping(icmp.type_u8(), icmp.code_u8(), icmp.bytes5to8(), [128, 129])),
        // By design: ICMP over IPv6 and ICMPv6 over IPv4 are nothing.
        _ => return None,
    };
    Some(known)
}

fn ping(kind: u8, code: u8, [a, b, _, _]: [u8; 4], echo: [u8; 2]) -> (u16, u16) {
    let identifier = if echo.contains(&kind) { u16::from_be_bytes([a, b]) } else { 0 };
    (u16::from_be_bytes([kind, code]), identifier)
}
