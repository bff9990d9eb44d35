use etherparse::{Icmpv4Type, Icmpv6Type, NetSlice, SlicedPacket, TransportSlice};
use proptest::prelude::*;

use super::*;

const ALL: [Error; 7] = [
    Error::NoRoute,
    Error::NoHost,
    Error::NoProtocol,
    Error::NoPort,
    Error::Prohibited,
    Error::Expired,
    Error::TooBig(1400),
];

/// An Ethernet header with so many tags.
fn link(tags: usize, ethertype: [u8; 2]) -> Vec<u8> {
    let mut header = vec![1; 12];
    header.extend([0x81, 0, 0, 7].repeat(tags));
    header.extend(ethertype);
    header
}

fn behind(header: &[u8]) -> Link<'_> {
    Link { header, to: Mac::from_bytes([2, 0, 0, 0, 0, 1]), from: Mac::from_bytes([2, 0, 0, 0, 0, 2]) }
}

fn macs() -> Vec<u8> {
    vec![2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2]
}

/// Pieces of `bytes`, as a chain of buffers has them.
fn pieces(bytes: &[u8], at: usize) -> impl Iterator<Item = &[u8]> {
    let (first, rest) = bytes.split_at(at.min(bytes.len()));
    [first, rest].into_iter()
}

proptest! {
    #[test]
    fn an_error_quotes_the_packet_as_it_came(
        error in prop::sample::select(ALL.to_vec()), tags in 0_usize..3, cut in 0_usize..2000,
        packet in prop::collection::vec(any::<u8>(), 20..1600), padding in 0_usize..20,
    ) {
        let length = packet.len() - padding.min(packet.len() - 20);
        let header = link(tags, [8, 0]);
        let (from, to) = (Ipv4Addr::new(10, 0, 0, 1), Ipv4Addr::new(10, 0, 0, 9));
        let frame = error_v4(error, &behind(&header), (from, to), pieces(&packet, cut), length).unwrap();
        let bytes = frame.bytes();
        prop_assert_eq!((&bytes[..12], &bytes[12..header.len()]), (&macs()[..], &header[12..]));
        prop_assert!(bytes.len() - header.len() <= LONGEST_V4);
        let read = SlicedPacket::from_ethernet(bytes).unwrap();
        let Some(NetSlice::Ipv4(ip)) = read.net else { panic!("not IPv4") };
        prop_assert_eq!((ip.header().source_addr(), ip.header().destination_addr()), (from, to));
        prop_assert_eq!(ip.header().header_checksum(), ip.header().to_header().calc_header_checksum());
        let Some(TransportSlice::Icmpv4(icmp)) = read.transport else { panic!("not ICMP") };
        prop_assert_eq!(Sum::new().bytes(icmp.slice()).value(), 0xffff);
        prop_assert_eq!(icmp.payload(), &packet[..length.min(548)]);
    }

    #[test]
    fn an_icmpv6_error_quotes_the_packet_as_it_came(
        error in prop::sample::select(ALL.to_vec()), tags in 0_usize..3, cut in 0_usize..2000,
        packet in prop::collection::vec(any::<u8>(), 40..1600),
    ) {
        let header = link(tags, [0x86, 0xdd]);
        let (from, to): (Ipv6Addr, Ipv6Addr) = ("fd00::1".parse().unwrap(), "fd00::9".parse().unwrap());
        let frame = error_v6(error, &behind(&header), (from, to), pieces(&packet, cut), packet.len()).unwrap();
        let bytes = frame.bytes();
        prop_assert_eq!((&bytes[..12], &bytes[12..header.len()]), (&macs()[..], &header[12..]));
        prop_assert!(bytes.len() - header.len() <= LONGEST_V6);
        let read = SlicedPacket::from_ethernet(bytes).unwrap();
        let Some(NetSlice::Ipv6(ip)) = read.net else { panic!("not IPv6") };
        prop_assert_eq!((ip.header().source_addr(), ip.header().destination_addr()), (from, to));
        let Some(TransportSlice::Icmpv6(icmp)) = read.transport else { panic!("not ICMPv6") };
        prop_assert!(icmp.is_checksum_valid(from.octets(), to.octets()));
        prop_assert_eq!(icmp.payload(), &packet[..packet.len().min(1232)]);
    }

    #[test]
    fn an_echo_request_becomes_its_reply(
        v6: bool, ttl: u8, id: u16, sequence: u16, data in prop::collection::vec(any::<u8>(), 0..100),
    ) {
        let link = etherparse::PacketBuilder::ethernet2([1; 6], [2; 6]);
        let mut bytes = Vec::new();
        if v6 {
            let ip = link.ipv6([3; 16], [4; 16], ttl);
            ip.icmpv6_echo_request(id, sequence).write(&mut bytes, &data).unwrap();
            echo_v6(&mut bytes[14..], 40).unwrap();
        } else {
            let ip = link.ipv4([3; 4], [4; 4], ttl);
            ip.icmpv4_echo_request(id, sequence).write(&mut bytes, &data).unwrap();
            echo_v4(&mut bytes[14..]).unwrap();
        }
        let read = SlicedPacket::from_ethernet(&bytes).unwrap();
        let echo = etherparse::IcmpEchoHeader { id, seq: sequence };
        match (read.net, read.transport) {
            (Some(NetSlice::Ipv4(ip)), Some(TransportSlice::Icmpv4(icmp))) => {
                let ip = ip.header();
                prop_assert_eq!((ip.source(), ip.destination(), ip.ttl()), ([4; 4], [3; 4], 64));
                prop_assert_eq!(ip.header_checksum(), ip.to_header().calc_header_checksum());
                prop_assert_eq!(icmp.icmp_type(), Icmpv4Type::EchoReply(echo));
                prop_assert_eq!((Sum::new().bytes(icmp.slice()).value(), icmp.payload()), (0xffff, &data[..]));
            }
            (Some(NetSlice::Ipv6(ip)), Some(TransportSlice::Icmpv6(icmp))) => {
                let ip = ip.header();
                prop_assert_eq!((ip.source(), ip.destination(), ip.hop_limit()), ([4; 16], [3; 16], 64));
                prop_assert_eq!(icmp.icmp_type(), Icmpv6Type::EchoReply(echo));
                prop_assert!(icmp.is_checksum_valid([4; 16], [3; 16]) && icmp.payload() == data);
            }
            other => prop_assert!(false, "{other:?}"),
        }
    }

    #[test]
    fn no_bytes_are_too_bad(mut bytes in prop::collection::vec(any::<u8>(), 0..80), header in 0_usize..90) {
        echo_v4(&mut bytes);
        echo_v6(&mut bytes, header);
    }
}

#[test]
fn types_codes_and_the_mtu_are_those_of_the_standards() {
    let packet = [0x45; 60];
    let of = |error| {
        let (v4, v6) = (link(0, [8, 0]), link(0, [0x86, 0xdd]));
        let v4 = error_v4(
            error,
            &behind(&v4),
            (Ipv4Addr::LOCALHOST, Ipv4Addr::LOCALHOST),
            pieces(&packet, 60),
            60,
        );
        let v6 = error_v6(
            error,
            &behind(&v6),
            (Ipv6Addr::LOCALHOST, Ipv6Addr::LOCALHOST),
            pieces(&packet, 60),
            60,
        );
        let read = |frame: Option<Frame>, at: usize| {
            let frame = frame.unwrap();
            let message = &frame.bytes()[at..];
            (message[0], message[1], u32::from_be_bytes(*message[4..].first_chunk().unwrap()))
        };
        (read(v4, 34), read(v6, 54))
    };
    assert_eq!(of(Error::NoRoute), ((3, 0, 0), (1, 0, 0)));
    assert_eq!(of(Error::NoHost), ((3, 1, 0), (1, 3, 0)));
    assert_eq!(of(Error::NoProtocol), ((3, 2, 0), (4, 1, 6)));
    assert_eq!(of(Error::NoPort), ((3, 3, 0), (1, 4, 0)));
    assert_eq!(of(Error::Prohibited), ((3, 13, 0), (1, 1, 0)));
    assert_eq!(of(Error::Expired), ((11, 0, 0), (3, 0, 0)));
    assert_eq!(of(Error::TooBig(1400)), ((3, 4, 1400), (2, 0, 1400)));
}

#[test]
fn only_requests_and_their_replies_are_no_errors() {
    assert!([0, 8, 13, 14].iter().all(|kind| !is_error_v4(*kind)));
    assert!([3, 4, 5, 11, 12, 250].iter().all(|kind| is_error_v4(*kind)));
    assert!([128, 129, 135, 136].iter().all(|kind| !is_error_v6(*kind)));
    assert!([1, 2, 3, 4, 100, 137].iter().all(|kind| is_error_v6(*kind)));
}

#[test]
fn what_is_no_echo_request_stays_as_it_is() {
    let refused = |mut packet: Vec<u8>| {
        let before = packet.clone();
        assert!(echo_v4(&mut packet).is_none() && packet == before, "{before:?}");
    };
    let header = |words: u8| {
        let mut header = vec![0; usize::from(words) * 4];
        header[0] = 0x40 | words;
        header
    };
    refused([header(5), vec![0, 0, 0, 0, 0, 0, 0, 0]].concat());
    refused([header(5), vec![8, 1, 0, 0, 0, 0, 0, 0]].concat());
    refused([header(5), vec![8, 0, 0, 0, 0, 0, 0]].concat());
    // A loose source route, and options that are not sound.
    for options in [[131, 4, 4, 0], [1, 137, 3, 4], [7, 9, 0, 0], [7, 1, 0, 0]] {
        let mut header = header(6);
        header[20..].copy_from_slice(&options);
        refused([header, vec![8, 0, 0, 0, 0, 0, 0, 0]].concat());
    }
    let mut packet = [header(6), vec![8, 0, 0, 0, 0, 0, 0, 0]].concat();
    packet[20..24].copy_from_slice(&[1, 7, 3, 4]);
    assert!(echo_v4(&mut packet).is_some(), "a recorded route is no source route");
}
