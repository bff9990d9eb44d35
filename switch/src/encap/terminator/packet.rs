//! The outer IP header and the ports behind it, as far as telling tunnels apart needs them.

use super::{BAD, Opening};
use crate::encap::geneve;
use crate::encap::outer::{IPV4, IPV6, UDP_HEADER};
use crate::wire::ethernet;

const HOP_BY_HOP: u8 = 0;
const FRAGMENT: u8 = 44;
const DESTINATION: u8 = 60;
/// Extension headers in front of a tunnel header: Linux sends one (RFC 2473 section 4.1.1), RFC 8200 allows three.
const MAX_EXTENSIONS: usize = 3;
/// A tunnel header and anything behind it.
const SHORTEST_UDP: usize = UDP_HEADER + 8;

/// Which part of a packet this is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fragment {
    Whole,
    First,
    Later,
}

/// The outer packet. Offsets are from the start of the frame; the packet ends within it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Packet {
    pub(super) v6: bool,
    pub(super) source: u128,
    pub(super) destination: u128,
    pub(super) protocol: u8,
    /// Traffic class.
    pub(super) class: u8,
    pub(super) fragment: Fragment,
    /// What is behind the IP header.
    pub(super) l4: usize,
    pub(super) end: usize,
}

/// `N` bytes at `at` of what ends at `end`. What the packet does not have is not ours; what is not at hand is split.
fn read<const N: usize>(data: &[u8], at: usize, end: usize) -> Result<&[u8; N], Opening> {
    if at.checked_add(N).is_none_or(|behind| behind > end) {
        return Err(Opening::NotOurs);
    }
    data.get(at..).and_then(<[u8]>::first_chunk).ok_or(Opening::Split)
}

/// Reads the IP header at offset `l3`, behind its EtherType. One that is not sound is nobody's tunnel: the parser says of what kind it is.
pub(super) fn packet(data: &[u8], len: u32, l3: usize) -> Result<Packet, Opening> {
    let len = (len as usize).max(data.len());
    let &[a, b, first] = read::<3>(data, l3.wrapping_sub(2), len)?;
    match (u16::from_be_bytes([a, b]), first >> 4) {
        (ethernet::IPV4, 4) => ipv4(data, len, l3),
        (ethernet::IPV6, 6) => ipv6(data, len, l3),
        _ => Err(Opening::NotOurs),
    }
}

/// RFC 791 section 3.1.
fn ipv4(data: &[u8], len: usize, l3: usize) -> Result<Packet, Opening> {
    let &[first, class, a, b, _, _, c, d, _, protocol, _, _, s0, s1, s2, s3, d0, d1, d2, d3] =
        read::<IPV4>(data, l3, len)?;
    let header = usize::from(first & 0x0f) * 4;
    let total = usize::from(u16::from_be_bytes([a, b]));
    let end = l3 + total;
    if header < IPV4 || total < header || end > len {
        return Err(Opening::NotOurs);
    }
    let offset = u16::from_be_bytes([c, d]) & 0x3fff;
    Ok(Packet {
        v6: false,
        source: u32::from_be_bytes([s0, s1, s2, s3]).into(),
        destination: u32::from_be_bytes([d0, d1, d2, d3]).into(),
        protocol,
        class,
        fragment: fragment(offset & 0x1fff != 0, offset & 0x2000 != 0),
        l4: l3 + header,
        end,
    })
}

/// RFC 8200 section 3. Behind a routing header a packet is not at its end yet, or says where it has been: not ours.
fn ipv6(data: &[u8], len: usize, l3: usize) -> Result<Packet, Opening> {
    let header = read::<IPV6>(data, l3, len)?;
    let [first, second, _, _, a, b, protocol, ..] = *header;
    let l4 = l3 + IPV6;
    let end = l4 + usize::from(u16::from_be_bytes([a, b]));
    if end > len {
        return Err(Opening::NotOurs);
    }
    let address = |at: usize| {
        header.get(at..).and_then(<[u8]>::first_chunk).map_or(0, |address| u128::from_be_bytes(*address))
    };
    let class = first << 4 | second >> 4;
    let (source, destination) = (address(8), address(24));
    let fragment = Fragment::Whole;
    let mut packet = Packet { v6: true, source, destination, protocol, class, fragment, l4, end };
    for _ in 0..MAX_EXTENSIONS {
        if !matches!(packet.protocol, HOP_BY_HOP | DESTINATION | FRAGMENT) {
            break;
        }
        let &[next, words, offset_high, offset_low, ..] = read::<8>(data, packet.l4, end)?;
        if packet.protocol == FRAGMENT {
            packet.fragment = self::fragment(offset_high != 0 || offset_low & 0xf8 != 0, offset_low & 1 != 0);
            packet.l4 += 8;
        } else {
            packet.l4 += usize::from(words) * 8 + 8;
        }
        packet.protocol = next;
        if packet.fragment == Fragment::Later {
            break;
        }
    }
    if packet.l4 > end {
        return Err(Opening::NotOurs);
    }
    Ok(packet)
}

const fn fragment(later: bool, more: bool) -> Fragment {
    match (later, more) {
        (false, false) => Fragment::Whole,
        (false, true) => Fragment::First,
        (true, _) => Fragment::Later,
    }
}

impl Packet {
    /// Destination port of a UDP packet.
    pub(super) fn udp_port(&self, data: &[u8]) -> Result<u16, Opening> {
        let &[_, _, a, b] = read::<4>(data, self.l4, self.end)?;
        Ok(u16::from_be_bytes([a, b]))
    }

    /// What stands for the port of a GRE packet: what it carries, both IP versions as 0.
    pub(super) fn gre_port(&self, data: &[u8]) -> Result<u16, Opening> {
        let &[_, _, a, b] = read::<4>(data, self.l4, self.end)?;
        Ok(match u16::from_be_bytes([a, b]) {
            ethernet::IPV4 | ethernet::IPV6 => 0,
            other if other == geneve::ETHERNET => other,
            _ => u16::MAX,
        })
    }

    /// Where the UDP datagram ends, and whether it has a checksum (RFC 768).
    pub(super) fn datagram(&self, data: &[u8]) -> Result<(usize, bool), Opening> {
        let &[.., a, b, c, d] = match read::<UDP_HEADER>(data, self.l4, self.end) {
            Err(Opening::NotOurs) => return Err(BAD),
            header => header?,
        };
        let length = usize::from(u16::from_be_bytes([a, b]));
        if length < SHORTEST_UDP || self.l4 + length > self.end {
            return Err(BAD);
        }
        Ok((self.l4 + length, [c, d] != [0, 0]))
    }
}
