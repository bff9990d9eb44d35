//! Frames by hand: tunnel packets around anything, and ways to spoil them.

use shunt_tests::frames::{Body, Extension, Frame, Ipv4, Ipv6, Payload, Piece, Transport};

/// A station: its addresses, and the outer address of the node it is behind.
#[derive(Clone, Copy)]
pub(crate) struct Who {
    pub(crate) mac: [u8; 6],
    pub(crate) ip: [u8; 4],
    pub(crate) outer: [u8; 4],
}

/// What is inside a tunnel packet.
pub(crate) struct Inner<'a>(pub(crate) &'a [u8]);

pub(crate) const BROADCAST: [u8; 6] = [0xff; 6];
/// Our end of the tunnels: its MAC address in the transport network.
pub(crate) const NEAR: Who = Who { mac: [2, 0, 0xc0, 0, 2, 1], ip: [0; 4], outer: [192, 0, 2, 1] };
/// The router's address in the networks that have one.
pub(crate) const GATEWAY: Who = Who { mac: [2, 0, 0, 0, 0, 0xfe], ip: [0; 4], outer: [0; 4] };
/// The pod behind our node.
pub(crate) const POD: Who = Who { mac: [2, 0, 0, 0x50, 0, 1], ip: [10, 50, 0, 1], outer: [192, 0, 2, 1] };
/// A pod behind the first peer.
pub(crate) const FAR: Who = Who { mac: [2, 0, 0, 0x50, 0, 2], ip: [10, 50, 0, 2], outer: [192, 0, 2, 2] };
/// A pod behind the second peer.
pub(crate) const OTHER: Who = Who { mac: [2, 0, 0, 0x50, 0, 3], ip: [10, 50, 0, 3], outer: [192, 0, 2, 3] };

/// Where an outer IPv4 header and what follows it are.
const IP: usize = 14;
const UDP: usize = 34;

/// An Ethernet frame around `body`, which begins with its EtherType.
pub(crate) fn ethernet(to: [u8; 6], from: [u8; 6], body: &[u8]) -> Vec<u8> {
    [&to[..], &from, body].concat()
}

/// An IPv4 packet with a UDP datagram, its EtherType before it.
pub(crate) fn udp(from: [u8; 4], to: [u8; 4], ttl: u8, data: &[u8]) -> Vec<u8> {
    datagram(from, to, ttl, Transport::Udp(40_000, 5000, true), data)
}

/// An IPv6 packet, its EtherType before it.
pub(crate) fn v6(source: [u8; 16], destination: [u8; 16], transport: Transport, data: &[u8]) -> Vec<u8> {
    let ip = Ipv6 { source, destination, class: 0, hop_limit: 255, extensions: vec![] };
    let body = Body::Ipv6(ip, Payload { transport, data: data.to_vec() });
    Frame { body, ..Frame::plain() }.bytes()[12..].to_vec()
}

/// The address of that station in fd50::/64.
pub(crate) fn own_v6(n: u8) -> [u8; 16] {
    [0xfd, 0x50, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, n]
}

/// A solicitation (135) or an advertisement (136) with these link-layer addresses, behind `extensions`.
pub(crate) fn neighbor(
    kind: u8,
    from: [u8; 16],
    to: [u8; 16],
    target: [u8; 16],
    macs: &[[u8; 6]],
    extensions: Vec<Extension>,
) -> Vec<u8> {
    let ip = Ipv6 { source: from, destination: to, class: 0, hop_limit: 255, extensions };
    let option = |mac: &[u8; 6]| [&[kind - 134, 1][..], mac].concat();
    let options: Vec<u8> = macs.iter().flat_map(option).collect();
    // The writer's header has type, code and checksum, and zeros where the flags are.
    let data = [&target[..], &options].concat();
    let body = Body::Ipv6(ip, Payload { transport: Transport::Icmp(kind, 0, 0), data });
    Frame { body, ..Frame::plain() }.bytes()[12..].to_vec()
}

/// An IPv4 packet, its EtherType before it.
pub(crate) fn datagram(
    source: [u8; 4],
    destination: [u8; 4],
    ttl: u8,
    transport: Transport,
    data: &[u8],
) -> Vec<u8> {
    let piece = Piece::default();
    let ip = Ipv4 { source, destination, class: 0, ttl, id: 7, whole: true, piece, options: 0 };
    let body = Body::Ipv4(ip, Payload { transport, data: data.to_vec() });
    Frame { body, ..Frame::plain() }.bytes()[12..].to_vec()
}

/// An ARP request of `who` for `target`, its EtherType before it.
pub(crate) fn arp(who: Who, target: [u8; 4]) -> Vec<u8> {
    let head = [8, 6, 0, 1, 8, 0, 6, 4, 0, 1];
    [&head[..], &who.mac, &who.ip, &[0; 6], &target].concat()
}

/// A tunnel packet on the wire, from a node to ours, without a UDP checksum.
pub(crate) fn within(to: [u8; 4], from: [u8; 4], port: u16, tunnel: &[u8]) -> Vec<u8> {
    let mac = [2, 0, 0xc0, 0, 2, from[3]];
    ethernet(NEAR.mac, mac, &datagram(from, to, 64, Transport::Udp(50_000, port, false), tunnel))
}

/// RFC 7348 section 5.
pub(crate) fn vxlan(vni: u32, inner: &Inner<'_>) -> Vec<u8> {
    [&[8, 0, 0, 0][..], &(vni << 8).to_be_bytes(), inner.0].concat()
}

/// RFC 8926 section 3.4, with one option of an experimental class whose length field says `words` of four bytes.
pub(crate) fn geneve(vni: u32, critical: bool, words: u8, inner: &Inner<'_>) -> Vec<u8> {
    let (flag, kind) = if critical { (0x40, 0x81) } else { (0, 1) };
    // The header has room for the option's own four bytes and one word.
    let header = [2, flag, 0x65, 0x58];
    [&header[..], &(vni << 8).to_be_bytes(), &[0xff, 0xff, kind, words.min(31), 0, 0, 0, 0], inner.0].concat()
}

/// Says that the datagram is longer than the packet.
pub(crate) fn longer(mut frame: Vec<u8>) -> Vec<u8> {
    frame[UDP + 4] = 0x20;
    frame
}

/// Gives the datagram a checksum.
pub(crate) fn checked(mut frame: Vec<u8>, sum: u16) -> Vec<u8> {
    frame[UDP + 6..UDP + 8].copy_from_slice(&sum.to_be_bytes());
    frame
}

/// Makes the outer packet the first of several.
pub(crate) fn fragment(mut frame: Vec<u8>) -> Vec<u8> {
    frame[IP + 6] = 0x20;
    with_sum(frame)
}

/// Marks the outer packet as one that met congestion.
pub(crate) fn congested(mut frame: Vec<u8>) -> Vec<u8> {
    frame[IP + 1] |= 3;
    with_sum(frame)
}

/// Puts the outer header's checksum right (RFC 791 section 3.1).
fn with_sum(mut frame: Vec<u8>) -> Vec<u8> {
    frame[IP + 10..IP + 12].fill(0);
    let words = frame[IP..UDP].chunks_exact(2).map(|pair| u32::from(u16::from_be_bytes([pair[0], pair[1]])));
    let sum: u32 = words.sum();
    let folded = (sum & 0xffff) + (sum >> 16);
    frame[IP + 10..IP + 12].copy_from_slice(&(!(folded as u16)).to_be_bytes());
    frame
}
