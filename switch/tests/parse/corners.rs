//! Cases by hand: what the random frames are too small or too rare for, and what must be readable in a test.

use shunt_switch::flow::key::{Depth, Fragment, L3, L4};
use shunt_switch::flow::parse::{Layout, Unparsed, parse};
use shunt_tests::frames::{Body, Extension, Frame, Ipv4, Piece, SERVICE_TAG, Transport};

use super::fixed::{TCP, UDP, ipv4, ipv6, piece, transport, verdict};
use super::{key, port, whole};

#[test]
fn runts_have_no_key_at_any_depth() {
    let frame = Frame::plain().bytes();
    for depth in [Depth::Ethernet, Depth::Network, Depth::Transport] {
        for length in 0..14 {
            assert_eq!(whole(&frame[..length], depth), Err(Unparsed::Runt));
            assert_eq!(parse(&frame[..length], 60, port(), depth), Err(Unparsed::Split));
        }
        assert!(whole(&frame[..14], depth).is_ok());
    }
}

#[test]
fn at_ethernet_depth_a_tag_is_payload() {
    let frame = Frame { tags: vec![(SERVICE_TAG, 5)], ..Frame::plain() };
    let (key, layout) = whole(&frame.bytes(), Depth::Ethernet).unwrap();
    assert_eq!((key.ethertype(), key.vlan(), layout), (SERVICE_TAG, (0, 0), Layout::default()));
    assert_eq!(key.port(), 77);
}

#[test]
fn headers_that_the_switch_does_not_know_end_the_chain() {
    for protocol in [50, 59, 135, 139, 140, 253] {
        let frame = ipv6(vec![Extension::Destination(0)], Transport::Other(protocol), 16).bytes();
        assert_eq!(verdict(&frame), (L3::Ipv6, L4::Other, protocol));
    }
}

#[test]
fn hop_by_hop_options_come_first_or_the_packet_is_malformed() {
    let chain = |extensions| verdict(&ipv6(extensions, UDP, 0).bytes()).0;
    let (hop, destination) = (Extension::HopByHop(1), Extension::Destination(1));
    assert_eq!(chain(vec![hop, destination]), L3::Ipv6);
    assert_eq!(chain(vec![destination, hop]), L3::Malformed);
    assert_eq!(chain(vec![hop, hop]), L3::Malformed);
}

#[test]
fn an_atomic_fragment_is_whole() {
    let (key, _) = transport(&ipv6(vec![Extension::Fragment(Piece::default())], UDP, 0).bytes());
    assert_eq!((key.marks().fragment, key.marks().options), (Fragment::Whole, true));
    assert_eq!((key.marks().l4, key.ports()), (L4::Known, (1000, 53)));
}

/// CVE-2020-35498, CVE-2023-1668: a header in the padding is not there, and whoever reads it there is deceived.
#[test]
fn padding_is_not_part_of_the_packet() {
    for (transport, header) in
        [(TCP, 20), (UDP, 8), (Transport::Sctp(1, 2), 12), (Transport::Icmp(8, 0, 9), 8)]
    {
        let v4 = ipv4(transport, 0).bytes();
        let v6 = ipv6(vec![Extension::Routing(0)], transport, 0).bytes();
        assert_eq!(verdict(&v4).1, L4::Known);
        assert_eq!(verdict(&v6).1, L4::Known);
        for missing in 1..=header {
            let mut v4 = v4.clone();
            v4[17] -= missing;
            let (key, _) = super::whole(&v4, Depth::Transport).unwrap();
            assert_eq!((key.marks().l3, key.marks().l4, key.ports()), (L3::Ipv4, L4::Malformed, (0, 0)));
            let mut v6 = v6.clone();
            v6[19] -= missing;
            let (key, _) = super::whole(&v6, Depth::Transport).unwrap();
            assert_eq!((key.marks().l3, key.marks().l4, key.ports()), (L3::Ipv6, L4::Malformed, (0, 0)));
        }
    }
}

#[test]
fn a_first_fragment_holds_the_whole_transport_header() {
    let first = Piece { offset: 0, more: true };
    // The length of a datagram is more than its first fragment has.
    let mut frame = ipv4(UDP, 16);
    piece(&mut frame, first);
    let mut bytes = frame.bytes();
    bytes[38..40].copy_from_slice(&3000_u16.to_be_bytes());
    let (key, layout) = transport(&bytes);
    assert_eq!((key.marks().fragment, key.marks().l4), (Fragment::First, L4::Known));
    assert_eq!((key.ports(), layout.l4), ((1000, 53), 34));
    // RFC 1858: eight bytes of TCP are enough for the ports, and hide the flags.
    let mut frame = ipv4(TCP, 4);
    piece(&mut frame, first);
    let mut bytes = frame.bytes();
    bytes[17] = 28;
    assert_eq!(verdict(&bytes), (L3::Ipv4, L4::Malformed, 6));
    // And what looks like a header in a later one is none.
    piece(&mut frame, Piece { offset: 1, more: false });
    let (key, layout) = transport(&frame.bytes());
    assert_eq!((key.marks().fragment, key.marks().l4, key.ports()), (Fragment::Later, L4::Other, (0, 0)));
    assert_eq!(layout, Layout { l3: 14, l4: 0 });
}

/// Sizes that no length field can hold, as GSO frames of Linux have them ("BIG TCP"); the headers are at hand.
#[test]
fn frames_over_64_kib_may_have_a_length_of_zero() {
    let mut v4 = ipv4(TCP, 100).bytes();
    let big = 14 + 20 + 65_516;
    assert_eq!(parse(&v4, big, port(), Depth::Transport).unwrap().0.marks().l3, L3::Ipv4);
    v4[16..18].fill(0);
    for (len, l3) in
        [(154, L3::Malformed), (14 + 65_535, L3::Malformed), (14 + 65_536, L3::Ipv4), (200_000, L3::Ipv4)]
    {
        for depth in [Depth::Network, Depth::Transport] {
            let (key, _) = parse(&v4, len, port(), depth).unwrap();
            assert_eq!(key.marks().l3, l3, "{depth:?} of {len}");
        }
    }
    let (found, _) = parse(&v4, 200_000, port(), Depth::Transport).unwrap();
    assert_eq!(found.ports(), (1000, 80));

    for extensions in [vec![], vec![Extension::HopByHop(0)]] {
        let mut v6 = ipv6(extensions, UDP, 100).bytes();
        v6[18..20].fill(0);
        let udp = v6.len() - 100 - 8;
        let at = |bytes: &[u8], len| parse(bytes, len, port(), Depth::Transport).unwrap().0.marks();
        v6[udp + 4..udp + 6].fill(0);
        assert_eq!(at(&v6, 14 + 40 + 66_000).l4, L4::Known);
        assert_ne!(at(&v6, 14 + 40 + 65_535).l4, L4::Known);
    }
}

#[test]
fn headers_in_a_later_segment_are_asked_for() {
    let Body::Ipv4(ip, payload) = ipv4(TCP, 40).body else { unreachable!() };
    let ip = Ipv4 { options: 3, ..ip };
    let frame = Frame { body: Body::Ipv4(ip, payload), ..Frame::plain() }.bytes();
    let len = frame.len() as u32;
    let at = |split, depth| parse(&frame[..split], len, port(), depth).map(|(_, layout)| layout);
    let layout = Layout { l3: 14, l4: 46 };
    // Ethernet 14, IPv4 20, options 12, TCP 20.
    for (depth, needed, found) in [
        (Depth::Ethernet, 14, Layout::default()),
        (Depth::Network, 46, layout),
        (Depth::Transport, 66, layout),
    ] {
        assert_eq!(at(needed - 1, depth), Err(Unparsed::Split), "{depth:?}");
        assert_eq!(at(needed, depth), Ok(found), "{depth:?}");
    }
}

#[test]
fn ttl_classes() {
    for (ttl, expired) in [(0, true), (1, true), (2, false), (255, false)] {
        let mut v4 = ipv4(UDP, 0).bytes();
        v4[22] = ttl;
        let mut v6 = ipv6(vec![], UDP, 0).bytes();
        v6[21] = ttl;
        for bytes in [v4, v6] {
            for depth in [Depth::Network, Depth::Transport] {
                assert_eq!(whole(&bytes, depth).unwrap().0.marks().ttl_expired, expired);
            }
        }
    }
}

#[test]
fn every_offset_but_zero_is_a_later_fragment() {
    for (offset, more) in [(1, false), (1, true), (31, true), (32, false), (256, true), (0x1fff, false)] {
        let later = Piece { offset, more };
        let mut v4 = ipv4(UDP, 8);
        piece(&mut v4, later);
        for frame in [v4, ipv6(vec![Extension::Fragment(later)], UDP, 8)] {
            for depth in [Depth::Network, Depth::Transport] {
                assert_eq!(key(&frame, depth).marks().fragment, Fragment::Later, "{later:?}");
            }
        }
    }
}

#[test]
fn extension_headers_in_a_later_segment_are_asked_for() {
    let frame = ipv6(vec![Extension::HopByHop(0), Extension::Destination(2)], TCP, 4).bytes();
    let len = frame.len() as u32;
    let at = |split, depth| parse(&frame[..split], len, port(), depth).map(|(_, layout)| layout);
    let found = Layout { l3: 14, l4: 86 };
    // Ethernet 14, IPv6 40, hop-by-hop 8, destination 24, TCP 20.
    for (depth, needed) in [(Depth::Network, 86), (Depth::Transport, 106)] {
        assert_eq!(at(needed - 1, depth), Err(Unparsed::Split), "{depth:?}");
        assert_eq!(at(needed, depth), Ok(found), "{depth:?}");
    }
}
