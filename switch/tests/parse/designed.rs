//! Where the parser differs from `etherparse` on purpose: what it says, and what etherparse says.

use etherparse::err::packet::SliceError;
use etherparse::{SlicedPacket, TransportSlice};
use shunt_switch::flow::key::{Depth, Fragment, L3, L4};
use shunt_switch::flow::parse::Layout;
use shunt_tests::frames::{Body, CUSTOMER_TAG, Extension, Frame, Piece, SERVICE_TAG, Transport};

use super::fixed::{TCP, UDP, ipv4, ipv6, transport, verdict};
use super::{key, model};

#[test]
fn two_tags_are_read_and_the_third_is_payload() {
    let tags = vec![(SERVICE_TAG, 0xe064), (CUSTOMER_TAG, 200), (CUSTOMER_TAG, 300)];
    let mut frame = Frame { tags: tags[..2].to_vec(), ..Frame::plain() };
    let (two, layout) = transport(&frame.bytes());
    assert_eq!((two.ethertype(), two.vlan()), (0x0800, (0xe064, 200)));
    assert_eq!((two.marks().tags, two.marks().service_tag), (2, true));
    assert_eq!((two.ports(), layout), ((1024, 5000), Layout { l3: 22, l4: 42 }));

    frame.tags = tags;
    let (three, layout) = transport(&frame.bytes());
    assert_eq!((three.ethertype(), three.marks().tags), (CUSTOMER_TAG, 2));
    assert_eq!((three.marks().l3, layout), (L3::Other, Layout::default()));
    // Etherparse reads the third.
    let bytes = frame.bytes();
    assert!(SlicedPacket::from_ethernet(&bytes).unwrap().net.is_some());
}

#[test]
fn the_old_service_tag_type_is_no_tag() {
    let frame = Frame { tags: vec![(0x9100, 5)], ..Frame::plain() }.bytes();
    let (key, _) = transport(&frame);
    assert_eq!((key.ethertype(), key.marks().tags, key.marks().l3), (0x9100, 0, L3::Other));
    assert!(SlicedPacket::from_ethernet(&frame).unwrap().net.is_some());
}

#[test]
fn a_tag_that_does_not_fit_is_no_tag() {
    let frame = Frame { tags: vec![(CUSTOMER_TAG, 5)], ..Frame::plain() }.bytes();
    for length in 14..18 {
        let (key, _) = transport(&frame[..length]);
        assert_eq!((key.ethertype(), key.marks().tags, key.vlan()), (CUSTOMER_TAG, 0, (0, 0)));
        assert!(SlicedPacket::from_ethernet(&frame[..length]).is_err());
    }
}

#[test]
fn an_authentication_header_in_ipv4_is_the_payload() {
    let mut frame = ipv4(Transport::Other(51), 0);
    let Body::Ipv4(_, payload) = &mut frame.body else { unreachable!() };
    payload.data = [&[17, 1][..], &[0; 10], &[0, 1, 0, 2, 0, 8, 0, 0]].concat();
    let bytes = frame.bytes();
    assert_eq!(verdict(&bytes), (L3::Ipv4, L4::Other, 51));
    let read = SlicedPacket::from_ethernet(&bytes).unwrap().transport;
    assert!(matches!(read, Some(TransportSlice::Udp(_))));
}

#[test]
fn an_ipv6_payload_length_of_zero_is_an_empty_packet() {
    let mut bytes = ipv6(vec![], TCP, 0).bytes();
    bytes[18..20].fill(0);
    assert_eq!(verdict(&bytes), (L3::Ipv6, L4::Malformed, 6));
    assert!(SlicedPacket::from_ethernet(&bytes).unwrap().transport.is_some());

    let mut bytes = ipv6(vec![Extension::HopByHop(0)], TCP, 0).bytes();
    bytes[18..20].fill(0);
    assert_eq!(verdict(&bytes), (L3::Malformed, L4::Other, 0));
}

#[test]
fn what_follows_a_later_fragment_is_not_read() {
    let later = Extension::Fragment(Piece { offset: 3, more: true });
    let frame = ipv6(vec![Extension::Destination(0), later, Extension::Destination(0)], TCP, 0).bytes();
    let (key, layout) = transport(&frame);
    assert_eq!((key.protocol(), key.marks().fragment), (60, Fragment::Later));
    assert_eq!((key.marks().l3, key.marks().l4, key.ports()), (L3::Ipv6, L4::Other, (0, 0)));
    assert_eq!(layout, Layout { l3: 14, l4: 0 });
    let etherparse::NetSlice::Ipv6(read) = SlicedPacket::from_ethernet(&frame).unwrap().net.unwrap() else {
        panic!("not IPv6")
    };
    assert_eq!(read.payload().ip_number, etherparse::ip_number::TCP);
    // So much of the middle of something that looks like an extension header that it does not fit.
    let mut frame = frame;
    frame[14 + 40 + 8 + 8 + 1] = 255;
    assert_eq!(transport(&frame).0, key);
    assert!(SlicedPacket::from_ethernet(&frame).is_err());
}

#[test]
fn more_than_eight_extension_headers_are_malformed() {
    let chain = |count| ipv6(vec![Extension::Destination(0); count], UDP, 4).bytes();
    assert_eq!(verdict(&chain(model::MAX_EXTENSIONS)), (L3::Ipv6, L4::Known, 17));
    let long = chain(model::MAX_EXTENSIONS + 1);
    assert_eq!(verdict(&long), (L3::Malformed, L4::Other, 0));
    assert!(SlicedPacket::from_ethernet(&long).unwrap().transport.is_some());
}

#[test]
fn udp_lengths_are_checked_against_the_packet() {
    let mut bytes = ipv4(UDP, 10).bytes();
    let length = 14 + 20 + 4;
    for (value, known) in
        [(18, true), (17, true), (8, true), (19, false), (7, false), (0, false), (0xffff, false)]
    {
        bytes[length..length + 2].copy_from_slice(&u16::to_be_bytes(value));
        let wanted = if known { L4::Known } else { L4::Malformed };
        assert_eq!(verdict(&bytes).1, wanted, "length {value}");
        // Etherparse takes 0 for "the rest" in every packet.
        let lax = value == 0;
        assert_eq!(SlicedPacket::from_ethernet(&bytes).is_ok(), known || lax, "length {value}");
    }
}

#[test]
fn icmp_belongs_to_its_ip_version() {
    assert_eq!(verdict(&ipv4(Transport::Other(58), 8).bytes()), (L3::Ipv4, L4::Other, 58));
    assert_eq!(verdict(&ipv6(vec![], Transport::Other(1), 8).bytes()), (L3::Ipv6, L4::Other, 1));
    for frame in [ipv4(Transport::Other(58), 8), ipv6(vec![], Transport::Other(1), 8)] {
        let bytes = frame.bytes();
        assert!(SlicedPacket::from_ethernet(&bytes).unwrap().transport.is_some());
    }
    let echo = key(&ipv4(Transport::Icmp(8, 0, 99), 0), Depth::Transport);
    assert_eq!(echo.ports(), (0x0800, 99));
    let unreachable = key(&ipv4(Transport::Icmp(3, 4, 99), 0), Depth::Transport);
    assert_eq!(unreachable.ports(), (0x0304, 0));
    let reply = key(&ipv6(vec![], Transport::Icmp(129, 0, 99), 0), Depth::Transport);
    assert_eq!(reply.ports(), (0x8100, 99));
}

/// A timestamp message has twenty bytes; the key has its type and code, whatever follows.
#[test]
fn timestamp_messages_of_any_length_are_known() {
    let bytes = ipv4(Transport::Icmp(13, 0, 0), 5).bytes();
    assert_eq!(verdict(&bytes), (L3::Ipv4, L4::Known, 1));
    assert!(matches!(SlicedPacket::from_ethernet(&bytes), Err(SliceError::Len(_))));
}
