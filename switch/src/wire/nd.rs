//! IPv6 neighbour discovery (RFC 4861), as far as an L3 port needs it: reading solicitations and advertisements,
//! making a solicitation, answering one.

use std::net::Ipv6Addr;

use super::checksum;
use super::ethernet::{self, Mac};
use crate::wire::protocol::ICMPV6;

const IPV6_HEADER: usize = 40;
const ICMP_AT: usize = ethernet::HEADER + IPV6_HEADER;
/// Type, code, checksum, reserved, target (RFC 4861 sections 4.3 and 4.4).
const MESSAGE: usize = 24;
/// Source or target link-layer address option (section 4.6.1).
const OPTION: usize = 8;
/// Bytes of a frame made here.
pub const FRAME: usize = ICMP_AT + MESSAGE + OPTION;

const SOLICITATION: u8 = 135;
const ADVERTISEMENT: u8 = 136;
const SOURCE_LINK_LAYER: u8 = 1;
const TARGET_LINK_LAYER: u8 = 2;
/// Flags (section 4.4).
const SOLICITED: u8 = 0x40;
const OVERRIDE: u8 = 0x20;

/// A neighbour discovery message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Message {
    /// True for a solicitation ("who has the target?"), false for an advertisement.
    pub solicitation: bool,
    /// Source address of the packet; unspecified during duplicate address detection.
    pub source: Ipv6Addr,
    /// The address asked for or advertised.
    pub target: Ipv6Addr,
    /// The link-layer address of the sender (solicitation) or of the target (advertisement), when given.
    pub link_layer: Option<Mac>,
}

/// Reads a neighbour solicitation or advertisement from an untagged IPv6 frame; `None` for everything else, and for
/// messages that section 7.1 says must be ignored (hop limit, code, lengths). So for one with two different link-layer
/// addresses: kernels take the first (Linux `ndisc_parse_options`) or the last.
pub fn parse(frame: &[u8]) -> Option<Message> {
    let ip: &[u8; IPV6_HEADER] = frame.get(ethernet::HEADER..)?.first_chunk()?;
    let payload = usize::from(u16::from_be_bytes([ip[4], ip[5]]));
    let message = frame.get(ICMP_AT..ICMP_AT + payload)?;
    if ip[0] >> 4 != 6 || ip[6] != ICMPV6 || ip[7] != 255 || message.len() < MESSAGE || message[1] != 0 {
        return None;
    }
    // RFC 4861 section 7.1: a message with a wrong checksum teaches nothing.
    let (from, to) = (*ip[8..].first_chunk()?, *ip[24..].first_chunk()?);
    if checksum::Sum::pseudo_v6(from, to, ICMPV6, payload as u32).bytes(message).value() != 0xffff {
        return None;
    }
    let (solicitation, wanted) = match message[0] {
        SOLICITATION => (true, SOURCE_LINK_LAYER),
        ADVERTISEMENT => (false, TARGET_LINK_LAYER),
        _ => return None,
    };
    let mut link_layer = None;
    let mut options = &message[MESSAGE..];
    while let [kind, units, ..] = *options {
        let length = usize::from(units) * 8;
        if length == 0 || length > options.len() {
            return None;
        }
        if kind == wanted && length == OPTION {
            let mac = Mac::from_bytes(*options[2..].first_chunk()?);
            if link_layer.is_some_and(|other| other != mac) {
                return None;
            }
            link_layer = Some(mac);
        }
        options = &options[length..];
    }
    Some(Message {
        solicitation,
        source: Ipv6Addr::from(*ip[8..].first_chunk::<16>()?),
        target: Ipv6Addr::from(*message[8..].first_chunk::<16>()?),
        link_layer,
    })
}

/// True for the ICMPv6 types that [`parse`] reads.
pub fn is_discovery(kind: u8) -> bool {
    matches!(kind, SOLICITATION | ADVERTISEMENT)
}

/// True for the MAC addresses of solicited-node groups (RFC 4291 section 2.7.1, RFC 2464 section 7).
pub fn is_solicited(mac: Mac) -> bool {
    mac.bytes()[..3] == [0x33, 0x33, 0xff]
}

/// The solicitation "who has `target`?" from `mac` and `source`, to the target's solicited-node group (RFC 4291 2.7.1).
pub fn solicitation(mac: Mac, source: Ipv6Addr, target: Ipv6Addr) -> [u8; FRAME] {
    let [.., a, b, c] = target.octets();
    let group = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 1, 0xff00 | u16::from(a), u16::from_be_bytes([b, c]));
    let group_mac = Mac::from_bytes([0x33, 0x33, 0xff, a, b, c]);
    build(SOLICITATION, 0, SOURCE_LINK_LAYER, (mac, source), (group_mac, group), target)
}

/// The solicitation to `neighbor` alone whether it still has `target` (RFC 4861 section 7.3.3).
pub fn probe(mac: Mac, source: Ipv6Addr, target: Ipv6Addr, neighbor: Mac) -> [u8; FRAME] {
    build(SOLICITATION, 0, SOURCE_LINK_LAYER, (mac, source), (neighbor, target), target)
}

/// The unsolicited advertisement "`mac` has `address`" to everybody (RFC 4861 section 7.2.6).
pub fn announcement(mac: Mac, address: Ipv6Addr) -> [u8; FRAME] {
    let all_nodes = (Mac::from_bytes([0x33, 0x33, 0, 0, 0, 1]), Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1));
    build(ADVERTISEMENT, OVERRIDE, TARGET_LINK_LAYER, (mac, address), all_nodes, address)
}

/// The advertisement "`mac` has `target`" that answers a solicitation from `to`. What goes to a group, to somebody who has no address
/// yet, is not solicited (RFC 4861 section 7.2.4): kernels ignore it otherwise (section 7.1.2, Linux `ndisc_recv_na`).
pub fn advertisement(mac: Mac, target: Ipv6Addr, to: (Mac, Ipv6Addr)) -> [u8; FRAME] {
    let flags = if to.1.is_multicast() { OVERRIDE } else { SOLICITED | OVERRIDE };
    build(ADVERTISEMENT, flags, TARGET_LINK_LAYER, (mac, target), to, target)
}

fn build(
    kind: u8,
    flags: u8,
    option: u8,
    from: (Mac, Ipv6Addr),
    to: (Mac, Ipv6Addr),
    target: Ipv6Addr,
) -> [u8; FRAME] {
    let mut frame = [0; FRAME];
    ethernet::set_addresses(&mut frame, to.0, from.0);
    frame[12..14].copy_from_slice(&ethernet::IPV6.to_be_bytes());
    let (header, message) = frame[ethernet::HEADER..].split_at_mut(IPV6_HEADER);
    header[0] = 0x60;
    header[4..6].copy_from_slice(&((MESSAGE + OPTION) as u16).to_be_bytes());
    header[6] = ICMPV6;
    header[7] = 255;
    header[8..24].copy_from_slice(&from.1.octets());
    header[24..40].copy_from_slice(&to.1.octets());
    message[0] = kind;
    message[4] = flags;
    message[8..24].copy_from_slice(&target.octets());
    message[24] = option;
    message[25] = 1;
    message[26..32].copy_from_slice(&from.0.bytes());
    let sum = checksum::transport_v6(&from.1.octets(), &to.1.octets(), ICMPV6, message);
    message[2..4].copy_from_slice(&sum.to_be_bytes());
    frame
}

#[cfg(test)]
mod tests {
    use super::*;

    const ASKER: Mac = Mac::from_bytes([2, 0, 0, 0, 0, 1]);
    const OWNER: Mac = Mac::from_bytes([2, 0, 0, 0, 0, 2]);

    #[test]
    fn solicitation_and_advertisement_read_back_with_valid_checksums() {
        let (asker, owner): (Ipv6Addr, Ipv6Addr) = ("fd00::1".parse().unwrap(), "fd00::2".parse().unwrap());
        let asked = solicitation(ASKER, asker, owner);
        let read = parse(&asked).unwrap();
        assert_eq!(
            read,
            Message { solicitation: true, source: asker, target: owner, link_layer: Some(ASKER) }
        );
        let answer = advertisement(OWNER, owner, (ASKER, asker));
        let read = parse(&answer).unwrap();
        assert_eq!(
            read,
            Message { solicitation: false, source: owner, target: owner, link_layer: Some(OWNER) }
        );
        for frame in [asked, answer] {
            let packet = etherparse::SlicedPacket::from_ethernet(&frame).unwrap();
            let Some(etherparse::NetSlice::Ipv6(ip)) = packet.net else { panic!("not IPv6") };
            let Some(etherparse::TransportSlice::Icmpv6(icmp)) = packet.transport else {
                panic!("not ICMPv6")
            };
            assert!(icmp.is_checksum_valid(ip.header().source(), ip.header().destination()));
        }
        for length in 0..FRAME {
            assert_eq!(parse(&asked[..length]), None, "cut to {length}");
        }
        for at in ICMP_AT..FRAME {
            let mut damaged = asked;
            damaged[at] ^= 0x10;
            assert_eq!(parse(&damaged), None, "damaged at {at}");
        }
    }

    #[test]
    fn an_answer_to_a_group_is_not_solicited() {
        let (own, asker): (Ipv6Addr, Ipv6Addr) = ("fd00::2".parse().unwrap(), "fd00::1".parse().unwrap());
        let group = "ff02::1".parse().unwrap();
        assert_eq!(advertisement(OWNER, own, (ASKER, asker))[ICMP_AT + 4], SOLICITED | OVERRIDE);
        assert_eq!(advertisement(OWNER, own, (ASKER, group))[ICMP_AT + 4], OVERRIDE);
    }

    #[test]
    fn two_addresses_in_one_message_teach_nothing() {
        let (own, asker): (Ipv6Addr, Ipv6Addr) = ("fd00::2".parse().unwrap(), "fd00::1".parse().unwrap());
        let twice = |second: Mac| {
            let mut frame = advertisement(OWNER, own, (ASKER, asker)).to_vec();
            frame.extend([TARGET_LINK_LAYER, 1]);
            frame.extend(second.bytes());
            frame[19] += OPTION as u8;
            frame[ICMP_AT + 2..ICMP_AT + 4].fill(0);
            let sum = checksum::transport_v6(&own.octets(), &asker.octets(), ICMPV6, &frame[ICMP_AT..]);
            frame[ICMP_AT + 2..ICMP_AT + 4].copy_from_slice(&sum.to_be_bytes());
            parse(&frame)
        };
        assert_eq!(twice(OWNER).and_then(|read| read.link_layer), Some(OWNER));
        assert_eq!(twice(ASKER), None);
    }

    #[test]
    fn an_announcement_is_unsolicited_and_a_probe_is_for_one_station() {
        let (own, other): (Ipv6Addr, Ipv6Addr) = ("fd00::1".parse().unwrap(), "fd00::2".parse().unwrap());
        let said = announcement(OWNER, own);
        assert_eq!(said[..6], [0x33, 0x33, 0, 0, 0, 1]);
        assert_eq!(said[ICMP_AT + 4], OVERRIDE);
        let read = parse(&said).unwrap();
        assert_eq!((read.solicitation, read.target, read.link_layer), (false, own, Some(OWNER)));
        let asked = probe(OWNER, own, other, ASKER);
        assert_eq!((&asked[..6], &asked[38..54]), (&ASKER.bytes()[..], &other.octets()[..]));
        let read = parse(&asked).unwrap();
        assert_eq!((read.solicitation, read.target, read.link_layer), (true, other, Some(OWNER)));
    }
}
